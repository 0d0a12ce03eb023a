"""Negative controls of the recovery checks: each one is seen to fail, for the right reason, and never without one."""

import pytest

from fixtures.faults import FaultLab
from smos.checks.registry import CHECKS
from smos.faults.exercise import Scope
from smos.faults.registry import Case, cases
from smos.verdict import Verdict

pytestmark = pytest.mark.negative

RECOVERY = [check.id for check in CHECKS if check.id.startswith("DR-")]
CASES = [case for case in cases() if case.expectation.check in RECOVERY]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(case: Case, fault_lab: FaultLab) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = fault_lab.expose(case)
    assert not reason, reason


@pytest.mark.parametrize("check_id", RECOVERY)
def test_pristine_copy_passes(check_id: str, fault_lab: FaultLab) -> None:
    """The same check, run in the same way against a copy that nothing was done to, passes."""
    judgement = fault_lab.judge_pristine(check_id, fault_lab.pristine(), Scope())
    assert judgement.verdict is Verdict.PASS, judgement.findings
