"""PITR-03: What was committed before the moment is there, what was committed after it is not."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.pitr.exercise import judge
from smos.target import Target

if TYPE_CHECKING:
    from smos.physical.facts import PitrRecord


@pytest.mark.pitr
@pytest.mark.check("PITR-03")
def test_recovery_meets_the_moment_no_less_and_no_more(
    pitr_record: "PitrRecord", target: Target, prove: Prove
) -> None:
    """What was committed before the moment is there, what was committed after it is not."""
    prove(judge("PITR-03", pitr_record, target.objectives))
