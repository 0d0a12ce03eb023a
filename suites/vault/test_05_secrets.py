"""VAULT-05: Secrets keep their versions; deletion can be undone, destruction can't."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-05")
def test_secrets_keep_their_versions(vault_lab: VaultLab, prove: Prove) -> None:
    """Secrets keep their versions; deletion can be undone, destruction can't."""
    prove(exercise("VAULT-05", vault_lab))
