"""VAULT-06: Every role may do exactly what the access matrix grants."""

import pytest

from fixtures.evidence import Prove
from fixtures.vault import attach_table
from smos.checks.vault.access import page
from smos.checks.vault.exercise import exercise
from smos.vault.verify.lab import VaultLab


@pytest.mark.vault
@pytest.mark.check("VAULT-06")
def test_every_role_may_do_what_the_matrix_grants_and_nothing_else(vault_lab: VaultLab, prove: Prove) -> None:
    """Every role may do exactly what the access matrix grants, by real requests and by Vault's own account."""
    judgement = exercise("VAULT-06", vault_lab)
    if "matrix" in judgement.facts:
        attach_table("Access matrix", page(dict(judgement.facts)))
    prove(judgement)
