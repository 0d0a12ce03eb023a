"""VAULT-11: Metrics are refused without a token, can be read, and count what happens."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-11")
def test_metrics_are_protected_readable_and_count(vault_lab: VaultLab, prove: Prove) -> None:
    """Metrics are refused without a token, can be read, and count what happens."""
    prove(exercise("VAULT-11", vault_lab))
