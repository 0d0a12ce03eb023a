"""DR-03: Every declared PostgreSQL database restores completely and equals its source."""

import pytest

from fixtures.evidence import Prove
from smos.checks.dr.postgres import judge_postgres
from smos.checks.dr.production import of_newest
from smos.drill.record import DrillRecord


@pytest.mark.dr
@pytest.mark.check("DR-03")
def test_every_declared_database_restores_and_equals_its_source(drill: DrillRecord, prove: Prove) -> None:
    """Every declared PostgreSQL database restores completely and equals its source."""
    prove(of_newest(drill.live, lambda: judge_postgres(drill)))
