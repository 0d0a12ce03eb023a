"""DEMO-14: The demo's n8n says that it is healthy and ready."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.n8n import judge_n8n
from smos.demo.stack import DemoEndpoint
from smos.demo.verify.n8n import ask_n8n


@pytest.mark.demo
@pytest.mark.check("DEMO-14")
def test_n8n_is_healthy_and_ready(demo_endpoint: DemoEndpoint, prove: Prove) -> None:
    """N8n is healthy and ready."""
    prove(judge_n8n(ask_n8n(demo_endpoint.n8n_url)))
