"""DEMO-01: The demo's seed is exactly what is specified."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.seed import judge_seed
from smos.demo.stack import DemoDatabase
from smos.demo.verify.seed import read_seed


@pytest.mark.demo
@pytest.mark.check("DEMO-01")
def test_the_seed_is_exactly_what_is_specified(demo_database: DemoDatabase, prove: Prove) -> None:
    """The seed is exactly what is specified."""
    prove(judge_seed(read_seed(demo_database)))
