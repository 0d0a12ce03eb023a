"""DR-02: Every artifact is complete and unaltered."""

import pytest

from fixtures.evidence import Prove
from smos.checks.dr.integrity import judge_integrity
from smos.checks.dr.production import of_all
from smos.drill.record import DrillRecord


@pytest.mark.dr
@pytest.mark.check("DR-02")
def test_every_artifact_is_complete_and_unaltered(drill: DrillRecord, prove: Prove) -> None:
    """Every artifact is complete and unaltered."""
    prove(
        of_all(
            drill.target,
            drill.live,
            lambda: judge_integrity(
                drill.target,
                drill.sets,
                drill.safety.backups_changed,
                [item.id for item in drill.catalog.sets],
            ),
        )
    )
