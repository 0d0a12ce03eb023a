"""DEMO-06: The demo's credentials open nothing but the demo: no other database, server, file or program."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.isolation import judge_boundary
from smos.demo.stack import DemoEndpoint
from smos.demo.verify.isolation import try_boundary


@pytest.mark.demo
@pytest.mark.check("DEMO-06")
def test_the_credentials_open_the_demo_and_nothing_else(demo_endpoint: DemoEndpoint, prove: Prove) -> None:
    """The credentials open the demo and nothing else."""
    prove(judge_boundary(try_boundary(demo_endpoint)))
