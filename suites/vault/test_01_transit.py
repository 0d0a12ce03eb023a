"""VAULT-01: What is encrypted comes back byte for byte, and only in the right context."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-01")
def test_what_is_encrypted_opens_for_whom_it_should_and_nobody_else(
    vault_lab: VaultLab, prove: Prove
) -> None:
    """What is encrypted comes back byte for byte, and only in the right context."""
    prove(exercise("VAULT-01", vault_lab))
