"""Negative controls of RLS-01: it is seen to fail, for the right reason, and never on a sound schema."""

import pytest

from fixtures.rls import RlsLab
from smos.faults.registry import Case, cases
from smos.faults.rls.workspace import STYLES
from smos.verdict import Verdict

pytestmark = [pytest.mark.rls, pytest.mark.negative]
CASES = cases("rls")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(case: Case, rls_lab: RlsLab) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = rls_lab.expose(case)
    assert not reason, reason


@pytest.mark.parametrize("style", STYLES)
def test_pristine_schema_passes(style: str, rls_lab: RlsLab) -> None:
    """The same check, run in the same way on a schema that nothing was done to, passes."""
    judgement = rls_lab.judge_pristine(style)
    assert judgement.verdict is Verdict.PASS, judgement.findings
