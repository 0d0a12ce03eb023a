"""F100 to F107: a transit engine that hides nothing, opens for anybody, or does not give back what it was given."""

import base64
from typing import Any

from smos.faults.registry import caught, fault
from smos.faults.vault.wire import Message, Reply
from smos.faults.vault.work import VaultWork
from smos.verdict import Verdict

CHECK = "VAULT-01"
ROLE_POLICY = "mcp-transit-encryption"


def action(message: Message) -> str:
    """Return what a request asks of a transit mount: encrypt, decrypt, keys …; empty: it is another request."""
    parts = message.path.split("/")
    return parts[1] if len(parts) > 2 and parts[0].endswith("transit") else ""


def key_of(message: Message) -> str:
    """Return the last part of the path."""
    return message.path.rpartition("/")[2]


def plain(data: bytes) -> str:
    """Return bytes as the API gives them."""
    return base64.b64encode(data).decode()


@fault("F100a", "Decryption gives other bytes", "transit", caught(CHECK, "transit-round-trip", "every byte"))
def other_bytes(work: VaultWork) -> None:
    """Lose the last byte of what was decrypted."""
    work.look_at("platform")

    def change(message: Message, reply: Reply) -> None:
        if action(message) == "decrypt" and "data" in reply.body:
            data = base64.b64decode(reply.body["data"]["plaintext"])
            reply.body["data"]["plaintext"] = plain(data[:-1])

    work.replies(change)


@fault(
    "F100b",
    "What is called encryption is only base64",
    "transit",
    caught(CHECK, "transit-plaintext-inside", "plaintext"),
)
def only_base64(work: VaultWork) -> None:
    """Answer as a server would that encrypts nothing."""
    work.look_at("platform")

    def answer(message: Message) -> Reply | None:
        if action(message) == "encrypt":
            return Reply(200, {"data": {"ciphertext": f"vault:v1:{message.body['plaintext']}"}})
        if action(message) == "decrypt":
            text = str(message.body["ciphertext"]).rpartition(":")[2]
            return Reply(200, {"data": {"plaintext": text}})
        return None

    work.instead(answer)


@fault("F100c", "Ciphertext carries no version", "transit", caught(CHECK, "transit-prefix", "vault:v"))
def no_version(work: VaultWork) -> None:
    """Cut the version out of every ciphertext, and put it back before decryption."""
    work.look_at("platform")
    work.requests(_versioned)

    def change(message: Message, reply: Reply) -> None:
        if action(message) == "encrypt" and "data" in reply.body:
            body = reply.body["data"]["ciphertext"].rpartition(":")[2]
            reply.body["data"]["ciphertext"] = f"vault:{body}"

    work.replies(change)


def _versioned(message: Message) -> None:
    text = str(message.body.get("ciphertext", ""))
    if action(message) == "decrypt" and text.count(":") == 1:
        message.body["ciphertext"] = text.replace("vault:", "vault:v1:")


@fault(
    "F101", "Equal texts give equal ciphertext", "transit", caught(CHECK, "transit-nonce-repeated", "twice")
)
def nonce_repeated(work: VaultWork) -> None:
    """Give the first ciphertext of a text every time."""
    work.look_at("platform")
    first: dict[str, dict[str, Any]] = {}

    def change(message: Message, reply: Reply) -> None:
        if action(message) == "encrypt" and key_of(message) == "smarteros-secrets" and "data" in reply.body:
            reply.body = first.setdefault(str(message.body), reply.body)

    work.replies(change)


@fault(
    "F102",
    "Associated data are ignored",
    "transit",
    caught(CHECK, "transit-associated-data-ignored", "without the associated data"),
)
def associated_data_ignored(work: VaultWork) -> None:
    """Drop them on the way."""
    work.look_at("platform")
    work.requests(lambda message: message.body.pop("associated_data", None))


def _opens(work: VaultWork, *reasons: str) -> None:
    """Let decryption succeed where the server refuses it for one of these reasons."""

    def change(message: Message, reply: Reply) -> Reply | None:
        text = " ".join(str(item) for item in reply.body.get("errors") or [])
        if action(message) == "decrypt" and reply.status == 400 and any(word in text for word in reasons):
            return Reply(200, {"data": {"plaintext": plain(b"whatever")}})
        return None

    work.replies(change)


@fault("F103a", "Altered ciphertext opens", "transit", caught(CHECK, "transit-tampered-opens", "first byte"))
def tampered_opens(work: VaultWork) -> None:
    """Open what does not authenticate."""
    work.look_at("platform")
    _opens(work, "authentication failed", "unable to decrypt")


@fault("F103b", "Forged ciphertext opens", "transit", caught(CHECK, "transit-forged-opens", "no version"))
def forged_opens(work: VaultWork) -> None:
    """Open what has no version."""
    work.look_at("platform")
    _opens(work, "no prefix")


@fault(
    "F104a",
    "A key was made without derivation",
    "transit",
    caught(CHECK, "transit-context-ignored", "without the context"),
)
def underived(work: VaultWork) -> None:
    """Make the key without the word `derived`: the real server then takes no notice of a context."""
    work.look_at("scratch")
    work.requests(lambda message: message.body.pop("derived", None) if key_of(message) == "derived" else None)


@fault(
    "F104b",
    "All tenants share one context",
    "transit",
    caught(CHECK, "transit-context-ignored", "tenants can read each other"),
)
def one_context(work: VaultWork) -> None:
    """Send the same context whatever was asked for."""
    work.look_at("scratch")
    work.requests(lambda message: _same_context(message, "derived"))


def _same_context(message: Message, key: str) -> None:
    if "context" in message.body and key_of(message) == key:
        message.body["context"] = plain(b"everybody")


@fault(
    "F105a",
    "A key was made without convergence",
    "transit",
    caught(CHECK, "transit-convergent-differs", "equal text"),
)
def not_convergent(work: VaultWork) -> None:
    """Make the key without the word `convergent_encryption`."""
    work.look_at("scratch")
    work.requests(
        lambda message: (
            message.body.pop("convergent_encryption", None) if key_of(message) == "convergent" else None
        )
    )


@fault(
    "F105b",
    "A convergent key shows equal secrets across tenants",
    "transit",
    caught(CHECK, "transit-convergent-context", "contexts"),
)
def convergent_across(work: VaultWork) -> None:
    """Send the same context whatever was asked for."""
    work.look_at("scratch")
    work.requests(lambda message: _same_context(message, "convergent"))


@fault(
    "F105c",
    "Convergent keys are made without derivation",
    "transit",
    caught(CHECK, "transit-convergent-underived", "without derivation"),
)
def convergent_underived(work: VaultWork) -> None:
    """Let the making of such a key succeed."""
    work.look_at("scratch")

    def change(message: Message) -> None:
        if key_of(message) == "underived":
            message.body["derived"] = True

    work.requests(change)


@fault(
    "F106", "One key opens what another made", "transit", caught(CHECK, "transit-other-key-opens", "another")
)
def one_key(work: VaultWork) -> None:
    """Lead the requests for one key to another."""
    work.look_at("scratch")

    def change(message: Message) -> None:
        if action(message) == "decrypt" and key_of(message) == "another":
            message.path = message.path.removesuffix("another") + "other"

    work.requests(change)


@fault(
    "F107",
    "The role may not decrypt, so nothing was seen",
    "transit",
    caught(CHECK, "vault-no-right", "platform-round-trip", verdict=Verdict.NOT_PROVEN),
)
def no_right(work: VaultWork) -> None:
    """Take decryption out of the policy."""
    work.look_at("platform")
    change_policy(work, ROLE_POLICY, lambda text: text.replace("transit/decrypt/", "transit/decrypt-not/"))


def change_policy(work: VaultWork, name: str, change: Any) -> None:
    """Rewrite a policy on the server, and put it back afterwards. change: from text to text."""
    with work.root() as client:
        text = str(client.sys.read_acl_policy(name)["data"]["policy"])
        work.afterwards(
            lambda root: root.sys.create_or_update_acl_policy(name, text, pretty_print=False),
        )
        client.sys.create_or_update_acl_policy(name, change(text), pretty_print=False)


@fault(
    "F102b",
    "Associated data make decryption fail",
    "transit",
    caught(CHECK, "transit-associated-data", "does not come back"),
)
def associated_data_fail(work: VaultWork) -> None:
    """Refuse what is decrypted with them."""
    work.look_at("platform")
    work.instead(
        lambda message: (
            Reply(400, {"errors": ["associated data are not taken"]})
            if action(message) == "decrypt" and "associated_data" in message.body
            else None
        )
    )


@fault(
    "F104c", "A derived key loses what it encrypted", "transit", caught(CHECK, "transit-derived", "context")
)
def derived_lost(work: VaultWork) -> None:
    """Give another text in the right context."""
    work.look_at("scratch")

    def change(message: Message, reply: Reply) -> None:
        if action(message) == "decrypt" and key_of(message) == "derived" and "data" in reply.body:
            reply.body["data"]["plaintext"] = plain(b"something else")

    work.replies(change)


@fault("F111e", "The platform's key has 128 bits", "key", caught("VAULT-02", "key-weak", "aes128-gcm96"))
def short_key(work: VaultWork) -> None:
    """Let the platform use a key of a weaker type."""
    name = "smarteros-short"
    settings = {"type": "aes128-gcm96", "auto_rotate_period": "720h"}
    work.with_root(lambda root: root.adapter.post(f"/v1/transit/keys/{name}", json=settings))
    work.subject(transit_key=name)
