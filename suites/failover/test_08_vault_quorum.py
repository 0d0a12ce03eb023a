"""FAILOVER-08: A Vault cluster without a quorum acknowledges nothing."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.failover.exercise import exercise

if TYPE_CHECKING:
    from smos.checks.failover.exercise import FailoverLab


@pytest.mark.failover
@pytest.mark.check("FAILOVER-08")
def test_a_vault_cluster_without_a_quorum_acknowledges_nothing(
    failover_lab: "FailoverLab", prove: Prove
) -> None:
    """A Vault cluster without a quorum acknowledges nothing."""
    prove(exercise("FAILOVER-08", failover_lab))
