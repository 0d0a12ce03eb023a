"""F130 to F134: secrets that lose their history, are overwritten unseen, or outlive their destruction."""

import hvac

from smos.faults.registry import caught, fault
from smos.faults.vault.wire import Message, Reply
from smos.faults.vault.work import VaultWork

CHECK = "VAULT-05"
OLD = "smarteros-one"


@fault("F130", "The platform's mount is KV version 1", "secrets", caught(CHECK, "kv-not-versioned", OLD))
def version_one(work: VaultWork) -> None:
    """Keep the secrets on a mount of version 1."""

    def mount(root: hvac.Client) -> None:
        root.sys.enable_secrets_engine("kv", path=OLD, options={"version": "1"})

    work.afterwards(lambda root: root.sys.disable_secrets_engine(OLD))
    work.with_root(mount)
    work.subject(kv_mount=OLD)


@fault("F131a", "Check-and-set is ignored", "secrets", caught(CHECK, "kv-cas-ignored", "lost"))
def cas_ignored(work: VaultWork) -> None:
    """Drop the version that a write names."""

    def change(message: Message) -> None:
        if "/data/" in message.path:
            message.body.pop("options", None)

    work.requests(change)


@fault(
    "F131b", "Check-and-set is not required", "secrets", caught(CHECK, "kv-cas-not-required", "without it")
)
def cas_not_required(work: VaultWork) -> None:
    """Drop the setting that requires it."""
    work.requests(lambda message: message.body.pop("cas_required", None))


@fault("F132a", "A deletion takes the history with it", "secrets", caught(CHECK, "kv-deleted-lost", "delet"))
def delete_destroys(work: VaultWork) -> None:
    """Destroy the version where it should only be marked."""

    def change(message: Message, reply: Reply) -> None:
        if message.method == "GET" and message.path.endswith("/metadata/app") and "data" in reply.body:
            for version in reply.body["data"]["versions"].values():
                version["destroyed"] = bool(version["deletion_time"])

    work.replies(change)


@fault("F132b", "A deletion does nothing", "secrets", caught(CHECK, "kv-deleted-readable", "still be read"))
def delete_ignored(work: VaultWork) -> None:
    """Say yes and do nothing."""
    work.instead(
        lambda message: Reply(200, {}) if message.method == "DELETE" and "/data/" in message.path else None
    )


@fault(
    "F132c",
    "What is destroyed comes back",
    "secrets",
    caught(CHECK, "kv-destroyed-readable", "comes back"),
)
def destroy_deletes(work: VaultWork) -> None:
    """Only mark as deleted what should be destroyed."""

    def change(message: Message) -> None:
        message.path = message.path.replace("/destroy/", "/delete/")

    work.requests(change)


@fault(
    "F133a",
    "More versions are kept than allowed",
    "secrets",
    caught(CHECK, "kv-max-versions", "version 2 of 5"),
)
def versions_unlimited(work: VaultWork) -> None:
    """Drop the limit."""
    work.requests(lambda message: message.body.pop("max_versions", None))


@fault(
    "F133b", "The history holds the newest version only", "secrets", caught(CHECK, "kv-history", "history")
)
def history_lost(work: VaultWork) -> None:
    """Show the newest version only."""

    def change(message: Message, reply: Reply) -> None:
        if message.path.endswith("/metadata/app") and "data" in reply.body:
            versions = reply.body["data"]["versions"]
            reply.body["data"]["versions"] = dict(list(versions.items())[-1:])

    work.replies(change)


@fault("F134", "A removed secret still answers", "secrets", caught(CHECK, "kv-removed-readable", "answers"))
def removed_stays(work: VaultWork) -> None:
    """Say yes and remove nothing."""
    work.instead(
        lambda message: (
            Reply(200, {}) if message.method == "DELETE" and "/metadata/" in message.path else None
        )
    )


@fault("F135", "Nothing can be written", "secrets", caught(CHECK, "kv-not-written", "could not be written"))
def not_written(work: VaultWork) -> None:
    """Refuse every write."""
    work.instead(
        lambda message: (
            Reply(400, {"errors": ["no"]}) if message.method == "POST" and "/data/" in message.path else None
        )
    )


def _mount(work: VaultWork, **settings: object) -> None:
    def put(root: hvac.Client, what: dict[str, object]) -> None:
        root.adapter.post(f"/v1/{work.lab.subject.kv_mount}/config", json=what)

    work.afterwards(lambda root: put(root, {"max_versions": 0, "delete_version_after": "0s"}))
    work.with_root(lambda root: put(root, settings))


@fault(
    "F135a", "The platform's mount keeps one version", "secrets", caught(CHECK, "kv-forgets", "versions: 1")
)
def one_version(work: VaultWork) -> None:
    """Keep no history."""
    _mount(work, max_versions=1)


@fault("F135b", "The platform's secrets delete themselves", "secrets", caught(CHECK, "kv-forgets", "10m"))
def short_memory(work: VaultWork) -> None:
    """Let versions end after some minutes."""
    _mount(work, delete_version_after="10m")
