"""OBS-04: Above its memory limit the collector refuses, lives, and recovers."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-04")
def test_the_collector_refuses_above_its_memory_limit_and_lives(
    observability_lab: "ObservabilityLab", prove: Prove
) -> None:
    """Above its memory limit the collector refuses, lives, and recovers."""
    prove(exercise("OBS-04", observability_lab))
