"""OBS-12: What each collector declares holds; what it lacks is listed."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-12")
def test_a_collector_can_do_what_it_declares(observability_lab: "ObservabilityLab", prove: Prove) -> None:
    """What each collector declares holds; what it lacks is listed."""
    prove(exercise("OBS-12", observability_lab))
