"""CONTAINER-08: With its disk full PostgreSQL refuses writes and keeps what was committed."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.containers.exercise import exercise

if TYPE_CHECKING:
    from smos.containers.lab import ContainerLab


@pytest.mark.containers
@pytest.mark.check("CONTAINER-08")
def test_with_a_full_disk_postgres_keeps_what_was_committed(
    container_lab: "ContainerLab", prove: Prove
) -> None:
    """With its disk full PostgreSQL refuses writes and keeps what was committed."""
    prove(exercise("CONTAINER-08", container_lab))
