"""VAULT-04: Data keys open what they were made for; in a batch one bad item hides no other."""

import pytest

from fixtures.evidence import Prove
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-04")
def test_data_keys_open_and_one_bad_item_hides_no_other(vault_lab: VaultLab, prove: Prove) -> None:
    """Data keys open what they were made for; in a batch one bad item hides no other."""
    prove(exercise("VAULT-04", vault_lab))
