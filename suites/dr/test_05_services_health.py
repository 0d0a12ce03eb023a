"""DR-05: Every declared service gives positive evidence of health after recovery."""

import pytest

from fixtures.evidence import Prove
from smos.checks.dr.production import of_services
from smos.drill.record import DrillRecord


@pytest.mark.dr
@pytest.mark.check("DR-05")
def test_every_declared_service_gives_positive_evidence_of_health(drill: DrillRecord, prove: Prove) -> None:
    """Every declared service gives positive evidence of health after recovery."""
    prove(of_services(drill.target, drill.live, drill.services, drill.smoke))
