"""Negative controls of the container checks: each one is seen to fail, for the right reason, and never without one.

They are part of a run with `--provision docker` (`make test-docker`): nothing else asks for containers.
"""

import pytest

from fixtures.container_lab import ContainerFaults
from smos.checks.containers import CHECKS
from smos.faults.registry import Case, cases
from smos.verdict import Verdict

pytestmark = [pytest.mark.containers, pytest.mark.negative]

CASES = cases("containers")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(case: Case, container_faults: ContainerFaults) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = container_faults.expose(case)
    assert not reason, reason


@pytest.mark.parametrize("check_id", [check.id for check in CHECKS])
def test_pristine_containers_pass(check_id: str, container_faults: ContainerFaults) -> None:
    """The same check, run in the same way on containers that nothing was done to, passes."""
    judgement = container_faults.judge_pristine(check_id)
    assert judgement.verdict is Verdict.PASS, judgement.findings
