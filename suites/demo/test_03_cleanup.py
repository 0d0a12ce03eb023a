"""DEMO-03: The clean-up removes what is older than its limit, and nothing else, at any moment."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.cleanup import judge_cleanup
from smos.demo.stack import DemoDatabase
from smos.demo.verify.cleanup import clean_at_a_shifted_moment


@pytest.mark.demo
@pytest.mark.check("DEMO-03")
def test_the_cleanup_removes_what_has_expired_and_nothing_else(
    demo_database: DemoDatabase, prove: Prove
) -> None:
    """The cleanup removes what has expired and nothing else."""
    prove(judge_cleanup(clean_at_a_shifted_moment(demo_database)))
