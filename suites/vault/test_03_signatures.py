"""VAULT-03: Signatures and HMACs verify, also offline, and nothing altered does."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-03")
def test_signatures_verify_also_offline_and_nothing_altered_does(vault_lab: VaultLab, prove: Prove) -> None:
    """Signatures and HMACs verify, also offline, and nothing altered does."""
    prove(exercise("VAULT-03", vault_lab))
