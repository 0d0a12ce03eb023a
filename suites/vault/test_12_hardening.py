"""VAULT-12: Nothing is left open that the platform does not need."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-12")
def test_vault_is_hardened(vault_lab: VaultLab, prove: Prove) -> None:
    """Nothing is left open that the platform does not need."""
    prove(exercise("VAULT-12", vault_lab))
