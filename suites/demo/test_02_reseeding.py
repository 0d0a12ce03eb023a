"""DEMO-02: Seeding again changes nothing, brings back what was broken, and leaves visitors' data alone."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.seed import judge_reseed
from smos.demo.stack import DemoDatabase, DemoStack
from smos.demo.verify.seed import seed_again


@pytest.mark.demo
@pytest.mark.check("DEMO-02")
def test_seeding_again_changes_nothing_and_repairs(
    demo_stack: DemoStack, demo_database: DemoDatabase, prove: Prove
) -> None:
    """Seeding again changes nothing and repairs."""
    prove(judge_reseed(seed_again(demo_stack, demo_database)))
