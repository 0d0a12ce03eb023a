"""OBS-11: A drill is a trace, its RTO and RPO are metrics, the dashboard shows them; a dead endpoint costs nothing."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-11")
def test_a_drill_is_a_trace_with_its_recovery_time(
    observability_lab: "ObservabilityLab", prove: Prove
) -> None:
    """A drill is a trace, its RTO and RPO are metrics, the dashboard shows them; a dead endpoint costs nothing."""
    prove(exercise("OBS-11", observability_lab))
