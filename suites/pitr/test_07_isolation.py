"""PITR-07: Backups and archive are as they were; the sandbox obeyed nothing of the backup."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.pitr.exercise import judge
from smos.target import Target

if TYPE_CHECKING:
    from smos.physical.facts import PitrRecord


@pytest.mark.pitr
@pytest.mark.check("PITR-07")
def test_the_drill_writes_nothing_and_obeys_nothing(
    pitr_record: "PitrRecord", target: Target, prove: Prove
) -> None:
    """Backups and archive are as they were; the sandbox obeyed nothing of the backup."""
    prove(judge("PITR-07", pitr_record, target.objectives))
