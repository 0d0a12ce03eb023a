"""CONTAINER-02: A container changes neither its programs nor its root file system."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.containers.exercise import exercise

if TYPE_CHECKING:
    from smos.containers.lab import ContainerLab


@pytest.mark.containers
@pytest.mark.check("CONTAINER-02")
def test_nothing_can_be_changed_or_run_that_was_written(container_lab: "ContainerLab", prove: Prove) -> None:
    """A container changes neither its programs nor its root file system."""
    prove(exercise("CONTAINER-02", container_lab))
