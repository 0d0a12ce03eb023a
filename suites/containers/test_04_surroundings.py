"""CONTAINER-04: A container sees nothing of its machine but its own directories."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.containers.exercise import exercise

if TYPE_CHECKING:
    from smos.containers.lab import ContainerLab


@pytest.mark.containers
@pytest.mark.check("CONTAINER-04")
def test_nothing_of_the_machine_is_seen(container_lab: "ContainerLab", prove: Prove) -> None:
    """A container sees nothing of its machine but its own directories."""
    prove(exercise("CONTAINER-04", container_lab))
