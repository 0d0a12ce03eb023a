"""DR-08: Backups are kept for the retention period, no shorter and no longer."""

import pytest

from fixtures.evidence import Prove
from smos.checks.dr.production import of_all
from smos.checks.dr.retention import judge_retention
from smos.drill.record import DrillRecord


@pytest.mark.dr
@pytest.mark.check("DR-08")
def test_backups_are_kept_for_the_retention_period(drill: DrillRecord, prove: Prove) -> None:
    """Backups are kept for the retention period, no shorter and no longer."""
    prove(
        of_all(
            drill.target,
            drill.live,
            lambda: judge_retention(
                drill.target, drill.catalog, drill.disaster_at, drill.last_verified_set, drill.first_backup_at
            ),
        )
    )
