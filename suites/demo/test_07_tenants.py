"""DEMO-07: No role reads or writes across tenants, by any statement."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.rows import judge_trial
from smos.demo.stack import DemoDatabase
from smos.demo.verify.rls import try_tenants


@pytest.mark.demo
@pytest.mark.check("DEMO-07")
def test_no_role_crosses_tenants(demo_database: DemoDatabase, prove: Prove) -> None:
    """No role crosses tenants."""
    prove(judge_trial(try_tenants(demo_database)))
