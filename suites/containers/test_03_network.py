"""CONTAINER-03: Containers listen where they are declared to, and are published on loopback alone."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.containers.exercise import exercise

if TYPE_CHECKING:
    from smos.containers.lab import ContainerLab


@pytest.mark.containers
@pytest.mark.check("CONTAINER-03")
def test_nothing_listens_or_is_published_beyond_what_is_declared(
    container_lab: "ContainerLab", prove: Prove
) -> None:
    """Containers listen where they are declared to, and are published on loopback alone."""
    prove(exercise("CONTAINER-03", container_lab))
