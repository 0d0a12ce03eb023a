"""Negative controls of the demo's checks: each one is seen to fail, for the right reason, and never without one."""

import pytest

from fixtures.demo import DemoLab
from smos.checks.demo import CHECKS
from smos.faults.registry import Case, cases
from smos.verdict import Verdict

pytestmark = [pytest.mark.demo, pytest.mark.negative]
CASES = cases("demo")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(case: Case, demo_lab: DemoLab) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = demo_lab.expose(case)
    assert not reason, reason


@pytest.mark.parametrize("check_id", [check.id for check in CHECKS])
def test_pristine_copy_passes(check_id: str, demo_lab: DemoLab) -> None:
    """The same check, run in the same way against a copy that nothing was done to, passes."""
    judgement = demo_lab.judge_pristine(check_id)
    assert judgement.verdict is Verdict.PASS, judgement.findings
