"""RLS-01: No role of the application reaches another tenant's rows."""

import pytest

from fixtures.evidence import Prove
from smos.rls.check import prove_isolation
from smos.target import Settings


@pytest.mark.rls
@pytest.mark.check("RLS-01")
def test_no_role_of_the_application_reaches_another_tenants_rows(settings: Settings, prove: Prove) -> None:
    """No role of the application reads, changes or learns of another tenant's rows."""
    prove(prove_isolation(settings.dsn or ""))
