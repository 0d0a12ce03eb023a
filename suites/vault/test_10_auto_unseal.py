"""VAULT-10: Vault unseals itself by another Vault, stays sealed without it, and comes back with it."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-10")
def test_vault_unseals_itself_by_another_vault_and_only_by_it(vault_lab: VaultLab, prove: Prove) -> None:
    """Vault unseals itself by another Vault, stays sealed without it, and comes back with it."""
    prove(exercise("VAULT-10", vault_lab))
