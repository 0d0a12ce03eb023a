"""VAULT-13: A snapshot and the shares bring secrets, logins and keys back on a new server."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-13")
def test_snapshot_brings_everything_back_on_a_new_server(vault_lab: VaultLab, prove: Prove) -> None:
    """A snapshot and the shares bring secrets, logins and keys back on a new server."""
    prove(exercise("VAULT-13", vault_lab))
