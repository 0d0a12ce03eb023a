"""OBS-08: An alert fires when its condition holds, reaches a webhook, and resolves."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-08")
def test_alerts_fire_arrive_and_resolve(observability_lab: "ObservabilityLab", prove: Prove) -> None:
    """An alert fires when its condition holds, reaches a webhook, and resolves."""
    prove(exercise("OBS-08", observability_lab))
