"""CONTAINER-07: With its audit disk full Vault serves nothing that is not logged."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.containers.exercise import exercise

if TYPE_CHECKING:
    from smos.containers.lab import ContainerLab


@pytest.mark.containers
@pytest.mark.check("CONTAINER-07")
def test_with_a_full_audit_disk_vault_serves_nothing_unlogged(
    container_lab: "ContainerLab", prove: Prove
) -> None:
    """With its audit disk full Vault serves nothing that is not logged."""
    prove(exercise("CONTAINER-07", container_lab))
