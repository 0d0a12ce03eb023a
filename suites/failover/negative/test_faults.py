"""Negative controls of the failover checks: each is seen to fail, for the right reason, and never without one."""

import pytest

from fixtures.failover import FailoverFaults
from smos.checks.failover import CHECKS
from smos.faults.registry import Case, cases
from smos.verdict import Verdict

pytestmark = [pytest.mark.failover, pytest.mark.negative]

CASES = cases("failover")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(case: Case, failover_faults: FailoverFaults) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = failover_faults.expose(case)
    assert not reason, reason


@pytest.mark.parametrize("check_id", [check.id for check in CHECKS])
def test_whole_drill_passes(check_id: str, failover_faults: FailoverFaults) -> None:
    """The same check, run in the same way on drills that nothing was done to, passes."""
    judgement = failover_faults.judge_pristine(check_id)
    assert judgement.verdict is Verdict.PASS, judgement.findings
