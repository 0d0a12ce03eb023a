"""F110 to F126: keys that never rotate, leave Vault or never end; signatures, data keys and batches that are not."""

import base64
import hashlib
from typing import Any

import hvac

from smos.faults.registry import caught, fault
from smos.faults.vault.transit import action, key_of, plain
from smos.faults.vault.wire import Message, Reply
from smos.faults.vault.work import VaultWork

KEY = "smarteros-secrets"
DECLARED = "720h"
YEAR_S = 365 * 86400


def configured(work: VaultWork, settings: dict[str, Any], afterwards: dict[str, Any]) -> None:
    """Change the platform's key on the server, and put it back when the case has ended."""
    work.afterwards(lambda root: root.secrets.transit.update_key_configuration(KEY, **afterwards))
    work.with_root(lambda root: root.secrets.transit.update_key_configuration(KEY, **settings))


@fault("F110a", "The platform's key never rotates", "key", caught("VAULT-02", "key-period", "declared"))
def never_rotates(work: VaultWork) -> None:
    """Switch automatic rotation off."""
    configured(work, {"auto_rotate_period": "0"}, {"auto_rotate_period": DECLARED})


@fault("F110b", "The platform's key rotates once a year", "key", caught("VAULT-02", "key-period", "declared"))
def rotates_late(work: VaultWork) -> None:
    """Set another period than the declared one."""
    configured(work, {"auto_rotate_period": "8760h"}, {"auto_rotate_period": DECLARED})


@fault(
    "F110c",
    "A declared rotation did not happen",
    "key",
    caught("VAULT-02", "key-rotation-late", "365.0 days"),
)
def rotation_missed(work: VaultWork) -> None:
    """Let the key's newest version be a year old."""

    def change(message: Message, reply: Reply) -> None:
        if message.method == "GET" and message.path.endswith(f"/keys/{KEY}") and "data" in reply.body:
            keys = reply.body["data"]["keys"]
            reply.body["data"]["keys"] = {version: made - YEAR_S for version, made in keys.items()}

    work.replies(change)


@fault(
    "F111a", "The platform's key can be exported", "key", caught("VAULT-02", "key-exportable", "exportable")
)
def exportable(work: VaultWork) -> None:
    """Let the platform use a key that was made exportable (which can't be taken back)."""

    def make(root: hvac.Client) -> None:
        root.secrets.transit.create_key("smarteros-open", exportable=True, auto_rotate_period=DECLARED)

    work.with_root(make)
    work.subject(transit_key="smarteros-open")


@fault(
    "F111b",
    "The platform's key can be deleted",
    "key",
    caught("VAULT-02", "key-deletable", "deletion_allowed"),
)
def deletable(work: VaultWork) -> None:
    """Allow its deletion."""
    configured(work, {"deletion_allowed": True}, {"deletion_allowed": False})


@fault("F111c", "Keys that must stay inside are exported", "key", caught("VAULT-02", "key-export-granted"))
def exported(work: VaultWork) -> None:
    """Make every key exportable."""

    def change(message: Message) -> None:
        if action(message) == "keys" and key_of(message) == "closed":
            message.body["exportable"] = True

    work.requests(change)


@fault(
    "F112a",
    "min_decryption_version was left at 1",
    "key",
    caught("VAULT-02", "key-version-opens", "version 1 opens"),
)
def version_left(work: VaultWork) -> None:
    """Lose the change of the setting."""

    def change(message: Message) -> None:
        if "min_decryption_version" in message.body:
            message.body["min_decryption_version"] = 1

    work.requests(change)


@fault(
    "F112b",
    "An old name of a version is a way around min_decryption_version",
    "key",
    caught("VAULT-02", "key-version-opens", "version 0"),
)
def version_zero(work: VaultWork) -> None:
    """Open what calls itself version 0."""

    def answer(message: Message) -> Reply | None:
        if action(message) == "decrypt" and str(message.body["ciphertext"]).startswith("vault:v0:"):
            return Reply(200, {"data": {"plaintext": plain(b"old")}})
        return None

    work.instead(answer)


@fault("F113a", "Rotation does nothing", "key", caught("VAULT-02", "key-rotate", "version 2"))
def no_rotation(work: VaultWork) -> None:
    """Say yes and do nothing."""
    work.instead(lambda message: Reply(200, {"data": {}}) if message.path.endswith("/rotate") else None)


@fault(
    "F113b", "A rewrap shows the plaintext", "key", caught("VAULT-02", "key-rewrap-plaintext", "plaintext")
)
def rewrap_shows(work: VaultWork) -> None:
    """Add the plaintext to the answer."""

    def change(message: Message, reply: Reply) -> None:
        if action(message) == "rewrap" and "data" in reply.body:
            reply.body["data"]["plaintext"] = plain(b"a text that must not be seen while it is rewrapped")

    work.replies(change)


@fault("F113c", "A rewrap keeps the old version", "key", caught("VAULT-02", "key-rewrap", "newest"))
def rewrap_keeps(work: VaultWork) -> None:
    """Give back what came."""
    work.instead(
        lambda message: (
            Reply(200, {"data": {"ciphertext": message.body["ciphertext"]}})
            if action(message) == "rewrap"
            else None
        )
    )


@fault("F113d", "A forged version opens", "key", caught("VAULT-02", "key-version-forged", "v3"))
def forged_version(work: VaultWork) -> None:
    """Take a version that does not exist for the newest."""

    def change(message: Message) -> None:
        if action(message) == "decrypt":
            text = str(message.body["ciphertext"])
            message.body["ciphertext"] = text.replace("vault:v3:", "vault:v2:")

    work.requests(change)


@fault("F114", "A rotation loses the old version", "key", caught("VAULT-02", "key-old-lost", "does not open"))
def old_lost(work: VaultWork) -> None:
    """Refuse every ciphertext of version 1 after the rotation."""
    rotated: list[str] = []

    def answer(message: Message) -> Reply | None:
        if message.path.endswith("/ages/rotate"):
            rotated.append(message.path)
        if rotated and action(message) == "decrypt" and "vault:v1:" in str(message.body):
            return Reply(400, {"errors": ["no such key version"]})
        return None

    work.instead(answer)


@fault(
    "F115", "A key is deleted without permission", "key", caught("VAULT-02", "key-delete-unasked", "deleted")
)
def deleted(work: VaultWork) -> None:
    """Let the first deletion succeed."""
    work.instead(
        lambda message: Reply(200, {}) if message.method == "DELETE" and key_of(message) == "kept" else None
    )


@fault(
    "F116", "A rotation period under an hour is taken", "key", caught("VAULT-02", "key-period-short", "59m")
)
def period_short(work: VaultWork) -> None:
    """Let 59 minutes pass for an hour."""

    def change(message: Message) -> None:
        if message.body.get("auto_rotate_period") == "59m":
            message.body["auto_rotate_period"] = "1h"

    work.requests(change)


@fault("F117", "A rotation period is not kept", "key", caught("VAULT-02", "key-period-lost", "not kept"))
def period_lost(work: VaultWork) -> None:
    """Drop it on the way."""

    def change(message: Message) -> None:
        if message.body.get("auto_rotate_period") == "1h":
            message.body["auto_rotate_period"] = "0"

    work.requests(change)


def _verdicts(work: VaultWork, valid: bool, *keys: str) -> None:  # noqa: FBT001  (what is answered)
    def change(message: Message, reply: Reply) -> None:
        if action(message) == "verify" and "data" in reply.body and key_of(message).startswith(keys):
            reply.body["data"]["valid"] = valid

    work.replies(change)


@fault("F120a", "Every signature is valid", "signature", caught("VAULT-03", "signature-forged", "ed25519"))
def always_valid(work: VaultWork) -> None:
    """Call every signature valid."""
    _verdicts(work, True, "ed25519", "ecdsa")


@fault("F120b", "No signature is valid", "signature", caught("VAULT-03", "signature-refused", "ed25519"))
def never_valid(work: VaultWork) -> None:
    """Call no signature valid."""
    _verdicts(work, False, "ed25519")


@fault(
    "F120c",
    "Another public key is published",
    "signature",
    caught("VAULT-03", "signature-offline", "ed25519"),
)
def other_public_key(work: VaultWork) -> None:
    """Publish the public key of another key pair."""

    def change(message: Message) -> None:
        if message.method == "GET" and message.path.endswith("/keys/ed25519"):
            message.path += "-other"

    work.requests(change)


@fault(
    "F120d",
    "The private key of a signing key is exported",
    "signature",
    caught("VAULT-03", "signature-key-exported", "ed25519"),
)
def private_exported(work: VaultWork) -> None:
    """Make it exportable."""

    def change(message: Message) -> None:
        if action(message) == "keys" and message.body.get("type") == "ed25519":
            message.body["exportable"] = True

    work.requests(change)


@fault(
    "F120e",
    "A rotation invalidates older signatures",
    "signature",
    caught("VAULT-03", "signature-rotation", "ed25519"),
)
def rotation_invalidates(work: VaultWork) -> None:
    """Call signatures of version 1 invalid after the rotation."""
    rotated: list[str] = []

    def change(message: Message, reply: Reply) -> None:
        if message.path.endswith("/rotate"):
            rotated.append(message.path)
        if rotated and action(message) == "verify" and "vault:v1:" in str(message.body.get("signature")):
            reply.body["data"]["valid"] = False

    work.replies(change)


@fault("F121a", "Every HMAC is valid", "hmac", caught("VAULT-03", "hmac-forged", "HMAC"))
def hmac_always_valid(work: VaultWork) -> None:
    """Call every HMAC valid."""
    _verdicts(work, True, "hmac")


@fault("F121b", "No HMAC is valid", "hmac", caught("VAULT-03", "hmac-refused", "HMAC"))
def hmac_never_valid(work: VaultWork) -> None:
    """Call no HMAC valid."""
    _verdicts(work, False, "hmac")


@fault("F121c", "What is called an HMAC is a hash without a key", "hmac", caught("VAULT-03", "hmac-offline"))
def hmac_without_key(work: VaultWork) -> None:
    """Hash without the key: whoever knows the text can make it."""

    def answer(message: Message) -> Reply | None:
        if action(message) not in {"hmac", "verify"} or not key_of(message).startswith("hmac"):
            return None
        digest = plain(hashlib.sha256(base64.b64decode(message.body["input"])).digest())
        made = f"vault:v1:{digest}"
        if action(message) == "hmac":
            return Reply(200, {"data": {"hmac": made}})
        return Reply(200, {"data": {"valid": message.body["hmac"] == made}})

    work.instead(answer)


@fault(
    "F125a",
    "A wrapped data key shows its plaintext",
    "data key",
    caught("VAULT-04", "datakey-plaintext-shown"),
)
def wrapped_shows(work: VaultWork) -> None:
    """Answer a wish for a wrapped key with the plaintext kind."""

    def change(message: Message) -> None:
        message.path = message.path.replace("datakey/wrapped", "datakey/plaintext")

    work.requests(change)


@fault(
    "F125b", "A data key's ciphertext opens to another key", "data key", caught("VAULT-04", "datakey-lost")
)
def datakey_lost(work: VaultWork) -> None:
    """Hand out another plaintext than the one that was wrapped."""

    def change(message: Message, reply: Reply) -> None:
        if "datakey/plaintext" in message.path and "data" in reply.body:
            data = base64.b64decode(reply.body["data"]["plaintext"])
            reply.body["data"]["plaintext"] = plain(bytes(len(data)))

    work.replies(change)


@fault("F125c", "Every data key is the same", "data key", caught("VAULT-04", "datakey-repeated", "same"))
def datakey_repeated(work: VaultWork) -> None:
    """Hand out the first data key again and again."""
    first: dict[str, dict[str, Any]] = {}

    def change(message: Message, reply: Reply) -> None:
        if "datakey/plaintext" in message.path and "data" in reply.body:
            reply.body = first.setdefault(str(message.body), reply.body)

    work.replies(change)


@fault(
    "F125d",
    "Data keys are shorter than asked for",
    "data key",
    caught("VAULT-04", "datakey-size", "512 bits"),
)
def datakey_short(work: VaultWork) -> None:
    """Make 128 bits of 512."""

    def change(message: Message) -> None:
        if message.body.get("bits") == 512:
            message.body["bits"] = 128

    work.requests(change)


def _batch(work: VaultWork, what: str, change: Any) -> None:
    """Change the results of a batch. change: from the list of results to another one."""

    def reply(message: Message, reply: Reply) -> None:
        if action(message) == what and "batch_results" in (reply.body.get("data") or {}):
            reply.body["data"]["batch_results"] = change(reply.body["data"]["batch_results"])

    work.replies(reply)


@fault("F126a", "A batch comes back in another order", "batch", caught("VAULT-04", "batch-order", "order"))
def batch_reversed(work: VaultWork) -> None:
    """Turn the results of a decryption around."""
    _batch(work, "decrypt", lambda results: results[::-1])


@fault(
    "F126b",
    "One bad item hides the whole batch",
    "batch",
    caught("VAULT-04", "batch-item-hidden", "0 of 100"),
)
def batch_hidden(work: VaultWork) -> None:
    """Give only an error where one item is bad."""

    def change(message: Message, reply: Reply) -> Reply | None:
        if action(message) == "decrypt" and reply.status == 400 and "batch_input" in message.body:
            return Reply(400, {"errors": ["one item is bad"]})
        return None

    work.replies(change)


@fault(
    "F126c",
    "A bad item of a batch is not reported",
    "batch",
    caught("VAULT-04", "batch-item-hidden", "99 of 100"),
)
def batch_silent(work: VaultWork) -> None:
    """Give an empty text for the bad item, and no error."""
    _batch(
        work,
        "decrypt",
        lambda results: [{"plaintext": ""} if item.get("error") else item for item in results],
    )


@fault(
    "F111d", "An exportable key is not what is exported", "key", caught("VAULT-02", "key-export", "32 bytes")
)
def export_short(work: VaultWork) -> None:
    """Export half of the key."""

    def change(message: Message, reply: Reply) -> None:
        if message.path.endswith("/export/encryption-key/open") and "data" in reply.body:
            reply.body["data"]["keys"]["1"] = plain(bytes(16))

    work.replies(change)


@fault(
    "F115b",
    "A key whose deletion was allowed stays",
    "key",
    caught("VAULT-02", "key-delete-kept", "still there"),
)
def delete_kept(work: VaultWork) -> None:
    """Say yes and do nothing, once the deletion is allowed."""
    allowed: list[str] = []

    def answer(message: Message) -> Reply | None:
        if message.body.get("deletion_allowed"):
            allowed.append(message.path)
        if allowed and message.method == "DELETE" and key_of(message) == "kept":
            return Reply(200, {})
        return None

    work.instead(answer)
