"""DEMO-09: Errors, uniqueness, foreign keys and statistics tell nothing of other tenants."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.rows import judge_trial
from smos.demo.stack import DemoDatabase
from smos.demo.verify.rls import try_oracles


@pytest.mark.demo
@pytest.mark.check("DEMO-09")
def test_nothing_tells_of_other_tenants(demo_database: DemoDatabase, prove: Prove) -> None:
    """Nothing tells of other tenants."""
    prove(judge_trial(try_oracles(demo_database)))
