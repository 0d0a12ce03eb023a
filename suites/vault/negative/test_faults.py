"""Negative controls of the Vault checks: each one is seen to fail, for the right reason, and never without one."""

import pytest

from fixtures.vault import VaultFaults
from smos.checks.vault import CHECKS
from smos.faults.registry import Case, cases
from smos.faults.vault.narrowed import NARROWINGS, Narrowing
from smos.verdict import Verdict

pytestmark = [pytest.mark.vault, pytest.mark.negative]

VAULT = [check.id for check in CHECKS]
CASES = cases("vault")
ALL_BUT_PROCESS = Narrowing(
    check="VAULT-12", parts=frozenset({"tokens", "api", "tls", "files", "deployment"})
)
"""What is left out shares its claims with what is not: nothing seems to be missing."""
LEFT_OUT = {"vault-not-asked", "access-too-little"}


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


@pytest.mark.parametrize("narrowing", [*NARROWINGS, ALL_BUT_PROCESS], ids=lambda narrowing: narrowing.id)
def test_pristine_vault_is_quiet_and_not_proven_where_only_a_part_is_looked_at(
    narrowing: Narrowing, vault_faults: VaultFaults
) -> None:
    """No fault, no failure, however a fault narrows its check; and what was narrowed never passes."""
    judgement = vault_faults.judge_narrowed(narrowing)
    assert judgement.verdict is Verdict.NOT_PROVEN, judgement.findings
    codes = {item.code for item in judgement.findings if item.verdict is not Verdict.PASS}
    assert "vault-narrowed" in codes
    assert codes - LEFT_OUT == {"vault-narrowed"}, judgement.findings
    assert judgement.facts.get("observations") or judgement.facts.get("matrix"), "it looked at nothing"
