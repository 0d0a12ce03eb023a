"""VAULT-03: signatures and HMACs, verified by Vault and, with the public key alone, without it."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from functools import partial
from operator import not_
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from smos.vault.verify.api import Api, Transit, encoded
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.notes import Notes
from smos.vault.verify.probe import ProbeFacts

CLAIMS = (
    "signed",
    "signature-tampered-input",
    "signature-tampered",
    "signature-other-key",
    "offline",
    "offline-tampered",
    "signature-after-rotation",
    "private-export-refused",
    "hmac",
    "hmac-tampered-input",
    "hmac-tampered",
    "hmac-other-key",
    "hmac-offline",
)
MESSAGE, OTHER = b"Orden 4711: $ 129.990", b"Orden 4711: $ 929.990"
KINDS = ("ed25519", "ecdsa-p256")


def observe(lab: VaultLab) -> ProbeFacts:
    """Sign with keys of our own, verify with Vault and offline."""
    notes = Notes()
    with notes.part(CLAIMS), lab.scratch(transit=True) as mounts, lab.operator() as client:
        transit = Transit(Api(client), mounts.transit)
        for kind in KINDS:
            _signatures(notes, transit, kind)
        _hmacs(notes, transit)
    return notes.facts()


def _signatures(notes: Notes, transit: Transit, kind: str) -> None:
    other = f"{kind}-other"
    for name in (kind, other):
        transit.create(name, type=kind)
    made: list[str] = []
    published: list[Public] = []

    def sign() -> bool:
        published.append(_public_key(transit, kind))
        made.append(transit.act("sign", kind, input=encoded(MESSAGE))["signature"])
        return _valid(transit, kind, MESSAGE, signature=made[0])

    if not notes.ask("signed", sign, bool, what=kind):
        return
    signature = made[0]
    for claim, key, message, text in (
        ("signature-tampered-input", kind, OTHER, signature),
        ("signature-tampered", kind, MESSAGE, _flipped(signature)),
        ("signature-other-key", other, MESSAGE, signature),
    ):
        notes.ask(claim, partial(_valid, transit, key, message, signature=text), not_, what=kind)
    public = published[0]
    raw = base64.b64decode(signature.rpartition(":")[2])
    notes.compare("offline", _verifies(public, raw, MESSAGE), kind)
    notes.compare("offline-tampered", not _verifies(public, raw, OTHER), kind)

    def rotated() -> bool:
        transit.rotate(kind)
        new = transit.act("sign", kind, input=encoded(MESSAGE))["signature"]
        both = all(_valid(transit, kind, MESSAGE, signature=item) for item in (new, signature))
        by_the_new = _verifies(_public_key(transit, kind), base64.b64decode(new.rpartition(":")[2]), MESSAGE)
        return both and by_the_new and new.startswith("vault:v2:")

    notes.ask("signature-after-rotation", rotated, bool, what=kind)
    notes.ask(
        "private-export-refused",
        partial(transit.api.get, f"{transit.mount}/export/signing-key/{kind}"),
        what=kind,
    )


def _hmacs(notes: Notes, transit: Transit) -> None:
    transit.create("hmac", exportable=True)
    transit.create("hmac-other")
    made: list[str] = []

    def sign() -> bool:
        made.append(transit.act("hmac", "hmac", input=encoded(MESSAGE))["hmac"])
        return _valid(transit, "hmac", MESSAGE, hmac=made[0])

    if not notes.ask("hmac", sign, bool):
        return
    for claim, key, message, text in (
        ("hmac-tampered-input", "hmac", OTHER, made[0]),
        ("hmac-tampered", "hmac", MESSAGE, _flipped(made[0])),
        ("hmac-other-key", "hmac-other", MESSAGE, made[0]),
    ):
        notes.ask(claim, partial(_valid, transit, key, message, hmac=text), not_)

    def offline() -> bool:
        keys = transit.api.get(f"{transit.mount}/export/hmac-key/hmac")["data"]["keys"]
        mine = hmac.new(base64.b64decode(keys["1"]), MESSAGE, hashlib.sha256).digest()
        return hmac.compare_digest(mine, base64.b64decode(made[0].rpartition(":")[2]))

    notes.ask("hmac-offline", offline, bool)


def _valid(transit: Transit, key: str, message: bytes, **what: str) -> bool:
    found = transit.act("verify", key, input=encoded(message), **what)["valid"]
    if not isinstance(found, bool):
        raise TypeError("`valid` is no boolean")
    return found


def _flipped(text: str) -> str:
    label, _, body = text.rpartition(":")
    data = bytearray(base64.b64decode(body))
    data[-1] ^= 1
    return f"{label}:{encoded(bytes(data))}"


Public = Callable[[bytes, bytes], None]
"""Verifies (signature, message); raises InvalidSignature."""


def _public_key(transit: Transit, key: str) -> Public:
    """Return how the newest version of a key verifies offline, from its published public key."""
    data: dict[str, Any] = transit.read(key)
    text = data["keys"][str(data["latest_version"])]["public_key"]
    if not text.startswith("-----BEGIN"):  # ed25519: 32 bytes in base64
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text)).verify
    found = load_pem_public_key(text.encode())
    if not isinstance(found, EllipticCurvePublicKey):
        raise TypeError("no elliptic-curve key")
    return lambda signature, message: found.verify(signature, message, ECDSA(SHA256()))


def _verifies(public: Public, signature: bytes, message: bytes) -> bool:
    try:
        public(signature, message)
    except InvalidSignature:
        return False
    return True
