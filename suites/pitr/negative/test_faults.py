"""Negative controls of physical backups: each check is seen to fail, for the right reason, never without one."""

import pytest

from fixtures.pitr import PitrLab
from smos.checks.pitr import CHECKS
from smos.faults.pitr.kinds import Kind
from smos.faults.registry import Case, cases
from smos.verdict import Verdict

pytestmark = [pytest.mark.pitr, pytest.mark.negative]
CASES = cases("pitr")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(case: Case, pitr_lab: PitrLab) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = pitr_lab.expose(case)
    assert not reason, reason


@pytest.mark.parametrize("kind", list(Kind), ids=[kind.value for kind in Kind])
def test_pristine_backups_pass_every_check(kind: Kind, pitr_lab: PitrLab) -> None:
    """Every kind of backup that nothing was done to passes every check, in one drill."""
    for check, judgement in zip(CHECKS, pitr_lab.judge_pristine(kind), strict=True):
        assert judgement.verdict is Verdict.PASS, (check.id, judgement.findings)
