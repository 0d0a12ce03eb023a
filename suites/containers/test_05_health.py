"""CONTAINER-05: What is frozen, dead or cut off is never called healthy."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.containers.exercise import exercise

if TYPE_CHECKING:
    from smos.containers.lab import ContainerLab


@pytest.mark.containers
@pytest.mark.check("CONTAINER-05")
def test_the_frozen_the_dead_and_the_cut_off_are_never_called_healthy(
    container_lab: "ContainerLab", prove: Prove
) -> None:
    """What is frozen, dead or cut off is never called healthy."""
    prove(exercise("CONTAINER-05", container_lab))
