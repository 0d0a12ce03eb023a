"""OBS-02: One trace through two processes and a database; logs carry its ids; no child starts before its parent."""

from typing import TYPE_CHECKING

import pytest

from fixtures.evidence import Prove
from smos.checks.observability.exercise import exercise

if TYPE_CHECKING:
    from smos.observability.verify.lab import ObservabilityLab


@pytest.mark.observability
@pytest.mark.check("OBS-02")
def test_a_request_through_two_services_and_a_database_is_one_trace(
    observability_lab: "ObservabilityLab", prove: Prove
) -> None:
    """One trace through two processes and a database; logs carry its ids; no child starts before its parent."""
    prove(exercise("OBS-02", observability_lab))
