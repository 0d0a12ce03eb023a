"""FAILOVER-05: An old primary that comes back takes no writes."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.failover.exercise import exercise

if TYPE_CHECKING:
    from smos.checks.failover.exercise import FailoverLab


@pytest.mark.failover
@pytest.mark.check("FAILOVER-05")
def test_an_old_primary_that_comes_back_takes_no_writes(failover_lab: "FailoverLab", prove: Prove) -> None:
    """An old primary that comes back takes no writes."""
    prove(exercise("FAILOVER-05", failover_lab))
