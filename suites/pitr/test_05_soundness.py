"""PITR-05: Pages, indexes and references of what was recovered are sound."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.pitr.exercise import judge
from smos.target import Target

if TYPE_CHECKING:
    from smos.physical.facts import PitrRecord


@pytest.mark.pitr
@pytest.mark.check("PITR-05")
def test_the_recovered_databases_are_sound(pitr_record: "PitrRecord", target: Target, prove: Prove) -> None:
    """Pages, indexes and references of what was recovered are sound."""
    prove(judge("PITR-05", pitr_record, target.objectives))
