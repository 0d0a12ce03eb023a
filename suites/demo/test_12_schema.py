"""DEMO-12: The schema holds what isolation rests on: forced row security, plain roles, safe policies."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.schema import judge_schema
from smos.demo.stack import DemoDatabase
from smos.demo.verify.catalogue import read_schema


@pytest.mark.demo
@pytest.mark.check("DEMO-12")
def test_the_catalogue_holds_what_isolation_rests_on(demo_database: DemoDatabase, prove: Prove) -> None:
    """The catalogue holds what isolation rests on."""
    prove(judge_schema(read_schema(demo_database)))
