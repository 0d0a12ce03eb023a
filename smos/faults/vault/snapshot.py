"""F195 to F199: recoveries that bring back something else, or not all."""

from dataclasses import replace

from pydantic import SecretStr

from smos.faults.registry import caught, fault
from smos.faults.vault.servers import fronted
from smos.faults.vault.wire import Meddler, Message, Reply
from smos.faults.vault.work import VaultWork
from smos.vault.escrow import Escrow, write_escrow
from smos.verdict import Verdict

CHECK, SERVER = "VAULT-13", "recovered"


def _escrow(work: VaultWork, keys: Escrow) -> None:
    path = work.lab.owner().directory("other-escrow", read_only=True) / "escrow.json"
    write_escrow(path, keys)
    work.lab = work.lab.but(stand=replace(work.stand, escrow=path))


@fault(
    "F195", "The shares are another Vault's", "recovery", caught(CHECK, "vault-wrong-cluster", "do not open")
)
def other_shares(work: VaultWork) -> None:
    """Take the shares of another Vault: as long, and wrong."""
    keys = work.stand.keys()
    wrong = tuple(SecretStr(f"AAAA{share[4:]}") for share in keys.shares())
    _escrow(work, keys.model_copy(update={"key_shares": wrong}))


@fault(
    "F196", "A role's credential is lost", "recovery", caught(CHECK, "vault-login-failed", "writer-copilot")
)
def lost_login(work: VaultWork) -> None:
    """Keep all credentials but one."""
    keys = work.stand.keys()
    others = dict(keys.approles)
    others["writer-copilot"] = others["ci"].model_copy(update={"secret_id": others["ci"].role_id})
    _escrow(work, keys.model_copy(update={"approles": others}))


@fault(
    "F197",
    "A secret did not come back",
    "recovery",
    caught(CHECK, "vault-secret-missing", "before the snapshot"),
)
def lost_secret(work: VaultWork) -> None:
    """Find nothing where it was."""

    def change(message: Message, _reply: Reply) -> Reply | None:
        return Reply(404, {"errors": []}) if "/data/ci/before-" in message.path else None

    fronted(work, Meddler(reply=change), only=SERVER)


@fault(
    "F198",
    "The source answers in the recovered one's place",
    "recovery",
    caught(CHECK, "vault-not-the-snapshot"),
)
def the_source(work: VaultWork) -> None:
    """Find what was written after the snapshot."""

    def change(message: Message, _reply: Reply) -> Reply | None:
        found = "/data/ci/after-" in message.path
        return Reply(200, {"data": {"data": {"note": "late"}}}) if found else None

    fronted(work, Meddler(reply=change), only=SERVER)


@fault(
    "F199a", "Old ciphertext opens to another text", "recovery", caught(CHECK, "vault-canary-undecryptable")
)
def other_text(work: VaultWork) -> None:
    """Change what decryption gives."""

    def change(message: Message, reply: Reply) -> None:
        if message.path.startswith("transit/decrypt/") and "data" in reply.body:
            reply.body["data"]["plaintext"] = "b3RoZXI="

    fronted(work, Meddler(reply=change), only=SERVER)


@fault(
    "F199b",
    "The source gives no snapshot",
    "recovery",
    caught(CHECK, "vault-no-snapshot", verdict=Verdict.NOT_PROVEN),
)
def no_snapshot(work: VaultWork) -> None:
    """Refuse it."""
    path = "sys/storage/raft/snapshot"
    work.instead(lambda message: Reply(403, {"errors": ["no"]}) if message.path == path else None)
