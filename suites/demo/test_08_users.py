"""DEMO-08: No user reads or writes what belongs to another user of the same tenant."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.rows import judge_trial
from smos.demo.stack import DemoDatabase
from smos.demo.verify.rls import try_users


@pytest.mark.demo
@pytest.mark.check("DEMO-08")
def test_no_user_reaches_another_users_rows(demo_database: DemoDatabase, prove: Prove) -> None:
    """No user reaches another users rows."""
    prove(judge_trial(try_users(demo_database)))
