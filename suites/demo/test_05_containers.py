"""DEMO-05: The demo's containers share no network, port, volume or default password with anything."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.isolation import judge_compose
from smos.demo.verify.compose import compose_text, read_compose


@pytest.mark.demo
@pytest.mark.check("DEMO-05")
def test_the_containers_share_nothing_with_production(prove: Prove) -> None:
    """The containers share nothing with production."""
    prove(judge_compose(read_compose(compose_text())))
