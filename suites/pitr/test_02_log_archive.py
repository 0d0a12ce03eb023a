"""PITR-02: The archived log is this cluster's own, without a gap, and replays to its end."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.pitr.exercise import judge
from smos.target import Target

if TYPE_CHECKING:
    from smos.physical.facts import PitrRecord


@pytest.mark.pitr
@pytest.mark.check("PITR-02")
def test_the_archived_log_has_no_gap_and_replays_to_its_end(
    pitr_record: "PitrRecord", target: Target, prove: Prove
) -> None:
    """The archived log is this cluster's own, without a gap, and replays to its end."""
    prove(judge("PITR-02", pitr_record, target.objectives))
