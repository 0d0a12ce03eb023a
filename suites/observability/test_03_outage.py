"""OBS-03: What was accepted while ClickHouse was down arrives after collector and ClickHouse were started again."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-03")
def test_an_outage_and_a_killed_collector_lose_nothing(
    observability_lab: "ObservabilityLab", prove: Prove
) -> None:
    """What was accepted while ClickHouse was down arrives after collector and ClickHouse were started again."""
    prove(exercise("OBS-03", observability_lab))
