"""FAILOVER-04: Every failover is within the time objective."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.failover.exercise import exercise

if TYPE_CHECKING:
    from smos.checks.failover.exercise import FailoverLab


@pytest.mark.failover
@pytest.mark.check("FAILOVER-04")
def test_every_failover_is_within_the_time_objective(failover_lab: "FailoverLab", prove: Prove) -> None:
    """Every failover is within the time objective."""
    prove(exercise("FAILOVER-04", failover_lab))
