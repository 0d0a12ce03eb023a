"""OBS-01: Every span, metric point and log record that is sent arrives, exactly once."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-01")
def test_everything_that_is_sent_arrives_exactly_once(
    observability_lab: "ObservabilityLab", prove: Prove
) -> None:
    """Every span, metric point and log record that is sent arrives, exactly once."""
    prove(exercise("OBS-01", observability_lab))
