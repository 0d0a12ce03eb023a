"""VAULT-02: Keys rotate as declared, stay inside, and a version that was shut off opens nothing."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-02")
def test_keys_rotate_stay_inside_and_old_versions_can_be_shut_off(vault_lab: VaultLab, prove: Prove) -> None:
    """Keys rotate as declared, stay inside, and a version that was shut off opens nothing."""
    prove(exercise("VAULT-02", vault_lab))
