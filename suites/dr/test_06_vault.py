"""DR-06: Vault comes back from its snapshot; logins and old ciphertext work."""

import pytest

from fixtures.evidence import Prove
from smos.checks.dr.nothing import nothing_restored
from smos.checks.dr.production import joined, judge_vault_in_place, of_newest
from smos.checks.dr.vault import judge_vault
from smos.drill.record import DrillRecord


@pytest.mark.dr
@pytest.mark.check("DR-06")
def test_vault_comes_back_and_old_ciphertext_decrypts(drill: DrillRecord, prove: Prove) -> None:
    """Vault comes back from its snapshot; logins and old ciphertext work."""
    target = drill.target.vault
    assert target is not None  # else this check is not required, and not selected
    if drill.chosen_set is None and drill.fetch_problem is None:
        prove(nothing_restored("Vault"))
    prove(
        joined(
            of_newest(drill.live, lambda: judge_vault(target, drill.vault)),
            judge_vault_in_place(drill.live),
        )
    )
