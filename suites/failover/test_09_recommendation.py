"""FAILOVER-09: A mode meets the objectives and its cost is known."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.failover.exercise import exercise

if TYPE_CHECKING:
    from smos.checks.failover.exercise import FailoverLab


@pytest.mark.failover
@pytest.mark.check("FAILOVER-09")
def test_a_mode_meets_the_objectives_and_its_cost_is_known(failover_lab: "FailoverLab", prove: Prove) -> None:
    """A mode meets the objectives and its cost is known."""
    prove(exercise("FAILOVER-09", failover_lab))
