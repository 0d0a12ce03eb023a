"""FAILOVER-07: A Vault cluster without its leader loses nothing."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.failover.exercise import exercise

if TYPE_CHECKING:
    from smos.checks.failover.exercise import FailoverLab


@pytest.mark.failover
@pytest.mark.check("FAILOVER-07")
def test_a_vault_cluster_without_its_leader_loses_nothing(failover_lab: "FailoverLab", prove: Prove) -> None:
    """A Vault cluster without its leader loses nothing."""
    prove(exercise("FAILOVER-07", failover_lab))
