"""DEMO-04: The clean-up works in bounded batches, children first, can be stopped, and can do no more."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.cleanup import judge_batches
from smos.demo.stack import DemoDatabase
from smos.demo.verify.cleanup import clean_in_batches


@pytest.mark.demo
@pytest.mark.check("DEMO-04")
def test_the_cleanup_works_in_bounded_batches_and_can_do_no_more(
    demo_database: DemoDatabase, prove: Prove
) -> None:
    """The cleanup works in bounded batches and can do no more."""
    prove(judge_batches(clean_in_batches(demo_database)))
