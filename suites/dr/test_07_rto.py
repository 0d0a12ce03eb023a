"""DR-07: Recovery time and recovery point, measured, meet their objectives."""

import pytest

from fixtures.evidence import Prove
from smos.checks.dr.objectives import judge_objectives
from smos.checks.dr.production import of_newest
from smos.drill.record import DrillRecord


@pytest.mark.dr
@pytest.mark.check("DR-07")
def test_measured_recovery_time_and_point_meet_their_objectives(drill: DrillRecord, prove: Prove) -> None:
    """Recovery time and recovery point, measured, meet their objectives."""
    prove(of_newest(drill.live, lambda: judge_objectives(drill.target, drill.timing)))
