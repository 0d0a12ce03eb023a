"""DEMO-13: The row-security prober finds no way across tenants in either variant."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.prober import judge_probes
from smos.demo.stack import DemoDatabase
from smos.demo.verify.prober import probe_variants


@pytest.mark.demo
@pytest.mark.check("DEMO-13")
def test_the_prober_finds_no_way_across(demo_database: DemoDatabase, prove: Prove) -> None:
    """The prober finds no way across."""
    prove(judge_probes(probe_variants(demo_database)))
