"""Negative controls of the Vault checks: each one is seen to fail, for the right reason, and never without one."""

import pytest

from fixtures.vault import VaultFaults
from smos.checks.vault import CHECKS
from smos.faults.registry import Case, cases
from smos.verdict import Verdict

pytestmark = [pytest.mark.vault, pytest.mark.negative]

VAULT = [check.id for check in CHECKS]
CASES = cases("vault")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_fault_is_detected_for_the_right_reason(case: Case, vault_faults: VaultFaults) -> None:
    """The check says what the catalogue of faults expects, in a finding that names what was broken."""
    reason = vault_faults.expose(case)
    assert not reason, reason


@pytest.mark.parametrize("check_id", VAULT)
def test_pristine_vault_passes(check_id: str, vault_faults: VaultFaults) -> None:
    """The same check, run in the same way against a Vault that nothing was done to, passes."""
    judgement = vault_faults.judge_pristine(check_id)
    assert judgement.verdict is Verdict.PASS, judgement.findings
