"""CONTAINER-06: No container of one stack reaches a server of another."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.containers.exercise import exercise

if TYPE_CHECKING:
    from smos.containers.lab import ContainerLab


@pytest.mark.containers
@pytest.mark.check("CONTAINER-06")
def test_one_stack_is_not_reached_from_another(container_lab: "ContainerLab", prove: Prove) -> None:
    """No container of one stack reaches a server of another."""
    prove(exercise("CONTAINER-06", container_lab))
