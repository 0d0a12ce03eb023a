"""DEMO-10: A pooled connection carries nothing of one transaction into the next."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.rows import judge_trial
from smos.demo.stack import DemoDatabase
from smos.demo.verify.pool import try_pool


@pytest.mark.demo
@pytest.mark.check("DEMO-10")
def test_a_pooled_connection_carries_nothing_over(demo_database: DemoDatabase, prove: Prove) -> None:
    """A pooled connection carries nothing over."""
    prove(judge_trial(try_pool(demo_database)))
