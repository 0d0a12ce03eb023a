"""Negative controls of the observability checks: each is seen to fail, for the right reason, and never without one."""

import pytest

from fixtures.observability import ObservabilityFaults
from smos.checks.observability import CHECKS
from smos.faults.observability.containers import BREAKS
from smos.faults.observability.narrowed import NARROWINGS, Narrowing
from smos.faults.registry import Case, cases
from smos.verdict import Verdict

pytestmark = [pytest.mark.observability, pytest.mark.negative]

CHECK_IDS = [check.id for check in CHECKS]
CASES = [case for case in cases("observability") if case.fault.breaks != BREAKS]
LEFT_OUT = {"observability-not-asked", "retention-not-tried"}


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(
    case: Case, observability_faults: ObservabilityFaults
) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = observability_faults.expose(case)
    assert not reason, reason


@pytest.mark.parametrize("check_id", CHECK_IDS)
def test_pristine_stack_passes(check_id: str, observability_faults: ObservabilityFaults) -> None:
    """The same check, run in the same way against a stack that nothing was done to, passes."""
    judgement = observability_faults.judge_pristine(check_id)
    assert judgement.verdict is Verdict.PASS, judgement.findings


@pytest.mark.parametrize("narrowing", NARROWINGS, ids=lambda narrowing: narrowing.id)
def test_pristine_stack_is_quiet_and_not_proven_where_only_a_part_is_looked_at(
    narrowing: Narrowing, observability_faults: ObservabilityFaults
) -> None:
    """No fault, no failure, however a fault narrows its check; and what was narrowed never passes."""
    judgement = observability_faults.judge_narrowed(narrowing)
    assert judgement.verdict is Verdict.NOT_PROVEN, judgement.findings
    codes = {item.code for item in judgement.findings if item.verdict is not Verdict.PASS}
    assert "observability-narrowed" in codes
    assert codes - LEFT_OUT == {"observability-narrowed"}, judgement.findings
    assert judgement.facts.get("observations") or judgement.facts.get("tables"), "it looked at nothing"
