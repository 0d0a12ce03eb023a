"""DEMO-11: The Supabase-style variant isolates by a token's claims; the anonymous see a shop window only."""

import pytest

from fixtures.evidence import Prove
from smos.checks.demo.rows import judge_trial
from smos.demo.stack import DemoDatabase
from smos.demo.verify.rls import try_jwt


@pytest.mark.demo
@pytest.mark.check("DEMO-11")
def test_the_supabase_variant_isolates_by_claims(demo_database: DemoDatabase, prove: Prove) -> None:
    """The supabase variant isolates by claims."""
    prove(judge_trial(try_jwt(demo_database)))
