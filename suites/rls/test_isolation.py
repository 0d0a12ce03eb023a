"""RLS-01: No role of the application reaches another tenant's rows."""

import pytest

from fixtures.evidence import Prove
from smos.errors import AuthenticationError, ProvisionError, UnreachableError
from smos.rls.judge import judge_isolation
from smos.rls.probe import probe
from smos.target import Settings
from smos.verdict import Judgement, not_proven


@pytest.mark.rls
@pytest.mark.check("RLS-01")
def test_no_role_of_the_application_reaches_another_tenants_rows(settings: Settings, prove: Prove) -> None:
    """No role of the application reads, changes or learns of another tenant's rows."""
    try:
        judgement = judge_isolation(probe(settings.dsn or ""))
    except (UnreachableError, AuthenticationError, ProvisionError) as error:
        judgement = Judgement((not_proven("database-not-probed", error.message, error.remedy),))
    prove(judgement)
