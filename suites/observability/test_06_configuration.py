"""OBS-06: The shipped configuration is valid, uses what is built, and listens on loopback alone."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-06")
def test_the_shipped_configuration_is_valid_and_closed(
    observability_lab: "ObservabilityLab", prove: Prove
) -> None:
    """The shipped configuration is valid, uses what is built, and listens on loopback alone."""
    prove(exercise("OBS-06", observability_lab))
