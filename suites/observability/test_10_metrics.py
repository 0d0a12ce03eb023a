"""OBS-10: The collector counts what it does, and Vault's metrics are newer than two intervals."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-10")
def test_metrics_are_scraped_count_and_are_fresh(observability_lab: "ObservabilityLab", prove: Prove) -> None:
    """The collector counts what it does, and Vault's metrics are newer than two intervals."""
    prove(exercise("OBS-10", observability_lab))
