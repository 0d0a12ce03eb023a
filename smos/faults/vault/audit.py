"""F150 to F159: audit logs that show too much, lose something, or are not missed."""

from collections.abc import Callable
from typing import Any

import hvac

from smos.faults.registry import caught, fault
from smos.faults.vault.servers import configured, fronted
from smos.faults.vault.wire import Meddler, Message, Reply
from smos.faults.vault.work import VaultWork
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.vault.verify.audit import FAILURES

CHECK, SERVER = "VAULT-08", "audit"


def _options(configuration: dict[str, Any], **options: str) -> None:
    for device in configuration["audit"]:
        device["options"] |= options


@fault("F150", "The audit log is raw", "audit", caught(CHECK, "audit-secret-in-clear", "72 times"))
def raw_log(work: VaultWork) -> None:
    """Switch the hashing off."""
    work.look_at("trail")
    configured(work, lambda found: _options(found, log_raw="true"), only=SERVER)


@fault("F151", "Everybody may read the audit log", "audit", caught(CHECK, "audit-mode", "0644"))
def open_log(work: VaultWork) -> None:
    """Open the file to others."""
    work.look_at("trail")
    configured(work, lambda found: _options(found, mode="0644"), only=SERVER)


@fault("F152a", "There is no audit log", "audit", caught(CHECK, "audit-request-missing", "28 of 28"))
def no_log(work: VaultWork) -> None:
    """Take the devices away."""
    work.look_at("trail")
    configured(work, lambda found: found.pop("audit"), only=SERVER)


@fault("F152b", "The verified Vault has no audit device", "audit", caught(CHECK, "audit-off"))
def no_device(work: VaultWork) -> None:
    """Let the platform's Vault say that it has none."""

    def none(message: Message, reply: Reply) -> None:
        if message.path == "sys/audit":
            reply.body["data"] = {}

    _told(work, none)


@fault(
    "F152c", "The verified Vault's audit device is raw", "audit", caught(CHECK, "audit-off", "in the clear")
)
def raw_device(work: VaultWork) -> None:
    """Let the platform's Vault say so."""

    def raw(message: Message, reply: Reply) -> None:
        if message.path == "sys/audit":
            for device in reply.body["data"].values():
                device["options"]["log_raw"] = "true"

    _told(work, raw)


@fault("F153a", "Rotation truncates the log", "audit", caught(CHECK, "audit-rotation-lost", "exactly once"))
def truncated(work: VaultWork) -> None:
    """Cut the older half of what was renamed away, as copying and truncating does."""
    work.look_at("rotation")

    def reload(server: EmbeddedOpenBao) -> None:
        server.reload()
        assert server.audit_path is not None  # noqa: S101  (this server has one)
        for path in server.audit_path.parent.glob("audit.log.[0-9]*"):
            path.write_bytes(path.read_bytes()[path.stat().st_size // 2 :])

    fronted(work, only=SERVER, deeds={"reload": reload})


@fault(
    "F154",
    "Rotation forgets the SIGHUP",
    "audit",
    caught(CHECK, "audit-rotation-lost", "goes on with the file"),
)
def no_signal(work: VaultWork) -> None:
    """Rename and say nothing."""
    work.look_at("rotation")
    fronted(work, only=SERVER, deeds={"reload": lambda _server: None})


@fault(
    "F155a",
    "Vault serves without an audit device",
    "audit",
    caught(CHECK, "audit-fails-open", "no audit device"),
)
def fails_open(work: VaultWork) -> None:
    """Turn the refusals for want of a device into successes."""
    work.look_at("only-device")

    def change(_message: Message, reply: Reply) -> Reply | None:
        return Reply(200, {"data": {}}) if reply.status == 500 else None

    fronted(work, Meddler(reply=change), only=SERVER)


@fault(
    "F156",
    "A failing audit device is not counted",
    "audit",
    caught(CHECK, "audit-failure-not-counted", FAILURES),
)
def not_counted(work: VaultWork) -> None:
    """Take the counter out of the metrics."""
    work.look_at("only-device")

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/metrics" and reply.text is not None:
            lines = reply.text.splitlines(keepends=True)
            reply.text = "".join(line for line in lines if FAILURES not in line)

    fronted(work, Meddler(reply=change), only=SERVER)


@fault(
    "F157a",
    "Both audit devices write to one file",
    "audit",
    caught(CHECK, "audit-second-useless", "one of two"),
)
def one_file(work: VaultWork) -> None:
    """Give the second device the path of the first."""
    work.look_at("two-devices")
    configured(work, lambda found: _options(found, file_path="audit.log"), only=SERVER)


@fault("F158", "A refused write took place", "audit", caught(CHECK, "audit-write-kept"))
def write_kept(work: VaultWork) -> None:
    """Find the value that was refused."""
    work.look_at("only-device")

    def change(message: Message, reply: Reply) -> Reply | None:
        kept = message.path.endswith("/while") and message.method == "GET" and reply.status == 404
        return Reply(200, {"data": {"value": "x"}}) if kept else None

    fronted(work, Meddler(reply=change), only=SERVER)


@fault("F159", "The audit hash is another one", "audit", caught(CHECK, "audit-hash-missing", "0 times"))
def other_hash(work: VaultWork) -> None:
    """Answer with the hash of another text."""
    work.look_at("trail")
    fronted(work, Meddler(request=lambda message: message.body.pop("input", None)), only=SERVER)


@fault(
    "F153b",
    "Requests fail while the log rotates",
    "audit",
    caught(CHECK, "audit-rotation-refused", "refused"),
)
def rotation_refuses(work: VaultWork) -> None:
    """Refuse one request of each writer."""
    work.look_at("rotation")

    def change(message: Message, _reply: Reply) -> Reply | None:
        one = message.path.startswith("cubbyhole/") and message.path.count("/") == 3
        return Reply(500, {"errors": ["x"]}) if one and message.path.endswith("/7") else None

    fronted(work, Meddler(reply=change), only=SERVER)


@fault("F155b", "Vault stays broken when its log is back", "audit", caught(CHECK, "audit-no-recovery"))
def stays_broken(work: VaultWork) -> None:
    """Refuse the read after the repair."""
    work.look_at("only-device")

    def change(message: Message, _reply: Reply) -> Reply | None:
        again = message.path.endswith("/before") and message.method == "GET"
        return Reply(500, {"errors": ["x"]}) if again else None

    fronted(work, Meddler(reply=change), only=SERVER)


@fault("F157b", "The second audit device writes nothing", "audit", caught(CHECK, "audit-second-silent"))
def second_silent(work: VaultWork) -> None:
    """Answer in Vault's place, so that nothing is logged."""
    work.look_at("two-devices")

    def answer(message: Message) -> Reply | None:
        alone = message.method == "POST" and message.path.startswith("cubbyhole/")
        return Reply(204, {}) if alone and message.path.count("/") == 1 else None

    fronted(work, Meddler(instead=answer), only=SERVER)


def _device(work: VaultWork, **options: str) -> None:
    """Let the platform's Vault say that its audit device has other options."""

    def change(message: Message, reply: Reply) -> None:
        if message.path == "sys/audit" and "data" in reply.body:
            for device in reply.body["data"].values():
                device["options"] |= options

    _told(work, change)


@fault("F152d", "The audit device writes to nowhere", "audit", caught(CHECK, "audit-nowhere", "nowhere"))
def to_nowhere(work: VaultWork) -> None:
    """Let the verified Vault's only device be /dev/null."""
    _device(work, file_path="/dev/null")


@fault("F152e", "The audit device shows accessors", "audit", caught(CHECK, "audit-off", "accessors"))
def shows_accessors(work: VaultWork) -> None:
    """Switch their hashing off."""
    _device(work, hmac_accessor="false")


@fault(
    "F150b",
    "The platform's mount keeps its values out of the hashing",
    "audit",
    caught(CHECK, "audit-unhashed", "smarteros/: api_key"),
)
def mount_in_clear(work: VaultWork) -> None:
    """Tune the mount so that values stand in the log as they are."""
    _tune(work, ["api_key"])


@fault(
    "F150c",
    "The platform's log shows a value by another field",
    "audit",
    caught(CHECK, "audit-secret-in-clear", "platform's log"),
)
def field_in_clear(work: VaultWork) -> None:
    """Keep the field in which the value lies out of the hashing, and hide the setting."""
    _tune(work, ["note"])

    def hide(message: Message, reply: Reply) -> None:
        if message.path == "sys/mounts" and "data" in reply.body:
            for mount in reply.body["data"].values():
                mount["config"] = {}

    _told(work, hide)


def _told(work: VaultWork, change: Callable[[Message, Reply], Reply | None]) -> None:
    """Let the platform's Vault answer something else. No other server is broken in such a case."""
    work.lab = work.lab.but(subject_alone=True)
    work.replies(change)


def _tune(work: VaultWork, fields: list[str]) -> None:
    def put(root: hvac.Client, what: list[str]) -> None:
        root.adapter.post(
            "/v1/sys/mounts/smarteros/tune",
            json={"audit_non_hmac_request_keys": what, "audit_non_hmac_response_keys": what},
        )

    work.lab = work.lab.but(subject_alone=True)
    work.afterwards(lambda root: put(root, []))
    work.with_root(lambda root: put(root, fields))
