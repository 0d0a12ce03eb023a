"""OBS-05: Every table has the declared time to live; aged rows go, fresh rows stay."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-05")
def test_telemetry_is_kept_for_the_declared_time_and_not_longer(
    observability_lab: "ObservabilityLab", prove: Prove
) -> None:
    """Every table has the declared time to live; aged rows go, fresh rows stay."""
    prove(exercise("OBS-05", observability_lab))
