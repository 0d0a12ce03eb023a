"""FAILOVER-01: What an asynchronous failover loses is counted and within the objective."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.failover.exercise import exercise

if TYPE_CHECKING:
    from smos.checks.failover.exercise import FailoverLab


@pytest.mark.failover
@pytest.mark.check("FAILOVER-01")
def test_what_an_asynchronous_failover_loses_is_counted_and_within_the_objective(
    failover_lab: "FailoverLab", prove: Prove
) -> None:
    """What an asynchronous failover loses is counted and within the objective."""
    prove(exercise("FAILOVER-01", failover_lab))
