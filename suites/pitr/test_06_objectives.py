"""PITR-06: The recovery point meets its objective, and no stretch is uncovered."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.pitr.exercise import judge
from smos.target import Target

if TYPE_CHECKING:
    from smos.physical.facts import PitrRecord


@pytest.mark.pitr
@pytest.mark.check("PITR-06")
def test_the_recovery_point_meets_its_objective(
    pitr_record: "PitrRecord", target: Target, prove: Prove
) -> None:
    """The recovery point meets its objective, and no stretch is uncovered."""
    prove(judge("PITR-06", pitr_record, target.objectives))
