"""FAILOVER-03: No acknowledged commit is lost with a quorum of standbys."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.failover.exercise import exercise

if TYPE_CHECKING:
    from smos.checks.failover.exercise import FailoverLab


@pytest.mark.failover
@pytest.mark.check("FAILOVER-03")
def test_no_acknowledged_commit_is_lost_with_a_quorum_of_standbys(
    failover_lab: "FailoverLab", prove: Prove
) -> None:
    """No acknowledged commit is lost with a quorum of standbys."""
    prove(exercise("FAILOVER-03", failover_lab))
