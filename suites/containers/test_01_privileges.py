"""CONTAINER-01: Processes run as an unprivileged user, without capabilities or a way to any."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.containers.exercise import exercise

if TYPE_CHECKING:
    from smos.containers.lab import ContainerLab


@pytest.mark.containers
@pytest.mark.check("CONTAINER-01")
def test_processes_run_unprivileged(container_lab: "ContainerLab", prove: Prove) -> None:
    """Processes run as an unprivileged user, without capabilities or a way to any."""
    prove(exercise("CONTAINER-01", container_lab))
