"""F170 to F174: seals that need no unsealer, and unsealers that don't come back."""

import secrets
from typing import Any

from smos.faults.registry import caught, fault
from smos.faults.vault.servers import configured, fronted
from smos.faults.vault.wire import Meddler, Message, Reply
from smos.faults.vault.work import VaultWork
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.vault.model import opened
from smos.vault.verify.autounseal import KEY

CHECK = "VAULT-10"
SNAPSHOT = "sys/storage/raft/snapshot"


@fault("F170a", "Vault is sealed by shares after all", "unsealer", caught(CHECK, "autounseal-shamir"))
def shamir(work: VaultWork) -> None:
    """Take the seal stanza away."""
    work.look_at()
    configured(work, lambda found: found.pop("seal"), only="main")


@fault(
    "F171a",
    "The seal's key lies beside the storage",
    "unsealer",
    caught(CHECK, "autounseal-opens-alone", "unsealer is gone"),
)
def local_key(work: VaultWork) -> None:
    """Seal by a key file instead of the unsealer."""
    work.look_at("unsealer-gone")
    owner = work.lab.owner()
    path = owner.directory("local-key", read_only=True) / "key"
    owner.write(path, secrets.token_hex(32))

    def change(configuration: dict[str, Any]) -> None:
        configuration["seal"] = [{"static": {"current_key_id": "1", "current_key": f"file://{path}"}}]

    configured(work, change, only="main")


@fault("F172", "The unsealer's snapshot is empty", "unsealer", caught(CHECK, "autounseal-unsealer-lost"))
def empty_snapshot(work: VaultWork) -> None:
    """Back nothing up."""
    work.look_at("drill")
    fronted(
        work,
        Meddler(instead=lambda message: Reply(200, {}) if message.path == SNAPSHOT else None),
        only="unsealer",
    )


@fault(
    "F173",
    "The unsealer's snapshot lacks the key",
    "unsealer",
    caught(CHECK, "autounseal-main-lost", "start"),
)
def key_gone(work: VaultWork) -> None:
    """Delete the transit key just before the snapshot is taken."""
    work.look_at("drill")
    servers: list[EmbeddedOpenBao] = []

    def change(message: Message) -> None:
        if message.path != SNAPSHOT:
            return
        token = message.headers["X-Vault-Token"]
        with opened(servers[0].endpoint, token) as client:
            client.secrets.transit.update_key_configuration(KEY, deletion_allowed=True)
            client.secrets.transit.delete_key(KEY)

    def start(server: EmbeddedOpenBao) -> None:
        servers.append(server)
        server.start()

    fronted(work, Meddler(request=change), only="unsealer", deeds={"start": start})


@fault("F174", "One share opens the unsealer", "unsealer", caught(CHECK, "autounseal-unsealer-open"))
def one_share(work: VaultWork) -> None:
    """Initialise the unsealer with a single share."""
    work.look_at("drill")

    def change(message: Message) -> None:
        if "secret_shares" in message.body:
            message.body |= {"secret_shares": 1, "secret_threshold": 1}

    fronted(work, Meddler(request=change), only="unsealer")


@fault(
    "F170b",
    "The unsealer's token may not decrypt",
    "unsealer",
    caught(CHECK, "autounseal-not-open", "new Vault"),
)
def may_not_decrypt(work: VaultWork) -> None:
    """Make its policy without that right."""
    work.look_at()

    def change(message: Message) -> None:
        if message.path.endswith(f"acl/{KEY}"):
            message.body["policy"] = message.body["policy"].replace("transit/decrypt", "transit/nothing")

    fronted(work, Meddler(request=change), only="unsealer")


@fault("F171b", "A restart loses a secret", "unsealer", caught(CHECK, "autounseal-lost-data"))
def lost(work: VaultWork) -> None:
    """Find nothing where it was."""
    work.look_at()

    def change(message: Message, _reply: Reply) -> Reply | None:
        found = message.path.startswith("cubbyhole/") and message.method == "GET"
        return Reply(404, {"errors": []}) if found else None

    fronted(work, Meddler(reply=change), only="main")


@fault("F171c", "Recovery keys unseal", "unsealer", caught(CHECK, "autounseal-recovery-keys-open", "without"))
def recovery_keys_open(work: VaultWork) -> None:
    """Say that they did."""
    work.look_at("unsealer-gone")

    def change(message: Message, _reply: Reply) -> Reply | None:
        return Reply(200, {"sealed": False, "progress": 0}) if message.path == "sys/unseal" else None

    fronted(work, Meddler(reply=change), only="main")
