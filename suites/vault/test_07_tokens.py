"""VAULT-07: Tokens end by their time, with their parent, after their one use."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-07")
def test_tokens_end_when_they_must(vault_lab: VaultLab, prove: Prove) -> None:
    """Tokens end by their time, with their parent, after their one use."""
    prove(exercise("VAULT-07", vault_lab))
