"""OBS-07: Every panel's query returns the known rows, in the right unit, from a data source that exists."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-07")
def test_every_panel_shows_what_is_known_to_be_there(
    observability_lab: "ObservabilityLab", prove: Prove
) -> None:
    """Every panel's query returns the known rows, in the right unit, from a data source that exists."""
    prove(exercise("OBS-07", observability_lab))
