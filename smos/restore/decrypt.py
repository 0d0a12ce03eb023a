"""Opens an encrypted backup set with the escrow alone.

It is the drill's own way (smos/drill/recover.py): a Vault of the harness' own is brought back from the snapshot in the
set, and unwraps the data key; nothing is asked of the Vault in use.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

from smos.backup.facts import SetFacts
from smos.backup.model import Catalog
from smos.drill.keyring import KeyRing
from smos.drill.phases import PhaseClock
from smos.drill.plan import RestorePlan
from smos.drill.recover import open_encrypted
from smos.drill.stack import Sandbox
from smos.errors import BackupError
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.owner import Owner
from smos.target import Target
from smos.vault.recovery import Prepared, prepare

if TYPE_CHECKING:
    from smos.provision.embedded.postgres import EmbeddedPostgres


def decrypt(
    target: Target, catalog: Catalog, plan: RestorePlan, owner: Owner, say: Callable[[str], None]
) -> tuple[RestorePlan, SetFacts]:
    """Return the plan over plain files, and what was seen of the set. Raises BackupError where it can't be opened."""
    ring = KeyRing(target.vault)
    if target.vault is None or target.vault.escrow is None:
        raise BackupError(
            f"{plan.chosen.id if plan.chosen else 'The set'} is encrypted, and no escrow is named",
            remedy="give --escrow FILE, or a target with vault.escrow (docs/encryption.md)",
        )
    vault = EmbeddedOpenBao(owner, name="opening-vault", no_network=True)
    with ThreadPoolExecutor(1) as pool:
        ready = pool.submit(_start, vault)
        try:
            sandbox = Sandbox(
                postgres=cast("EmbeddedPostgres", None),  # opening a set asks nothing of it
                vault=vault,
                vault_ready=ready,
                isolation="",
            )
            opened, facts, _, encryption = open_encrypted(
                target, catalog, plan, sandbox, owner, PhaseClock(), ring, say
            )
        finally:
            ready.exception()
            vault.stop()
    reason = encryption.reason if encryption else ""
    if facts is None or reason:
        raise BackupError(f"The set could not be decrypted: {reason or 'nothing of it opened'}")
    return opened, facts


def _start(vault: EmbeddedOpenBao) -> Prepared:
    vault.start()
    return prepare(vault)
