"""VAULT-08: Every request leaves a trail without secrets; without a working audit device nothing is served."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-08")
def test_audit_log_is_whole_and_without_secrets(vault_lab: VaultLab, prove: Prove) -> None:
    """Every request leaves a trail without secrets; without a working audit device nothing is served."""
    prove(exercise("VAULT-08", vault_lab))
