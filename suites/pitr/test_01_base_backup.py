"""PITR-01: The base backup that recovery starts from is complete and unaltered."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.pitr.exercise import judge
from smos.target import Target

if TYPE_CHECKING:
    from smos.physical.facts import PitrRecord


@pytest.mark.pitr
@pytest.mark.check("PITR-01")
def test_the_base_backup_is_complete_and_unaltered(
    pitr_record: "PitrRecord", target: Target, prove: Prove
) -> None:
    """The base backup that recovery starts from is complete and unaltered."""
    prove(judge("PITR-01", pitr_record, target.objectives))
