"""FAILOVER-06: The old primary rejoins with the same content."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.failover.exercise import exercise

if TYPE_CHECKING:
    from smos.checks.failover.exercise import FailoverLab


@pytest.mark.failover
@pytest.mark.check("FAILOVER-06")
def test_the_old_primary_rejoins_with_the_same_content(failover_lab: "FailoverLab", prove: Prove) -> None:
    """The old primary rejoins with the same content."""
    prove(exercise("FAILOVER-06", failover_lab))
