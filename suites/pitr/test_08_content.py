"""PITR-08: What was recovered equals what the source held at that moment, row by row."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.pitr.exercise import judge
from smos.target import Target

if TYPE_CHECKING:
    from smos.physical.facts import PitrRecord


@pytest.mark.pitr
@pytest.mark.check("PITR-08")
def test_the_recovered_databases_equal_the_source(
    pitr_record: "PitrRecord", target: Target, prove: Prove
) -> None:
    """What was recovered equals what the source held at that moment, row by row."""
    prove(judge("PITR-08", pitr_record, target.objectives))
