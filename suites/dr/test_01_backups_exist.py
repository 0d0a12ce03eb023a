"""DR-01: Backups of everything declared exist, are recent, and none is missing from the schedule."""

import pytest

from fixtures.evidence import Prove
from smos.checks.dr.backups import judge_existence
from smos.checks.dr.production import of_all
from smos.drill.record import DrillRecord


@pytest.mark.dr
@pytest.mark.check("DR-01")
def test_backups_of_everything_declared_exist_and_are_recent(drill: DrillRecord, prove: Prove) -> None:
    """Backups of everything declared exist, are recent, and none is missing from the schedule."""
    prove(
        of_all(
            drill.target,
            drill.live,
            lambda: judge_existence(drill.target, drill.catalog, drill.disaster_at, drill.offsite),
        )
    )
