"""VAULT-09: Vault says truly whether it is sealed, and opens to a threshold of shares."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-09")
def test_seal_opens_to_a_threshold_and_says_its_state_truly(vault_lab: VaultLab, prove: Prove) -> None:
    """Vault says truly whether it is sealed, and opens to a threshold of shares."""
    prove(exercise("VAULT-09", vault_lab))
