"""FAILOVER-02: No acknowledged commit is lost with a synchronous standby."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.failover.exercise import exercise

if TYPE_CHECKING:
    from smos.checks.failover.exercise import FailoverLab


@pytest.mark.failover
@pytest.mark.check("FAILOVER-02")
def test_no_acknowledged_commit_is_lost_with_a_synchronous_standby(
    failover_lab: "FailoverLab", prove: Prove
) -> None:
    """No acknowledged commit is lost with a synchronous standby."""
    prove(exercise("FAILOVER-02", failover_lab))
