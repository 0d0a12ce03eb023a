"""PITR-04: A moment before the oldest backup or after the end of the log is refused."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.pitr.exercise import judge
from smos.target import Target

if TYPE_CHECKING:
    from smos.physical.facts import PitrRecord


@pytest.mark.pitr
@pytest.mark.check("PITR-04")
def test_a_moment_that_cannot_be_reached_is_refused(
    pitr_record: "PitrRecord", target: Target, prove: Prove
) -> None:
    """A moment before the oldest backup or after the end of the log is refused."""
    prove(judge("PITR-04", pitr_record, target.objectives))
