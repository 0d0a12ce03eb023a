"""VAULT-01: what the transit engine encrypts, and for whom it opens it again."""

import base64
import re
import secrets
from functools import partial
from operator import eq

from smos.vault.verify.api import Api, Transit, encoded
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.notes import Notes
from smos.vault.verify.probe import ProbeFacts

PLATFORM = (
    "platform-round-trip",
    "platform-prefix",
    "platform-fresh-nonce",
    "platform-hidden",
    "associated-data",
    "associated-data-missing",
    "associated-data-wrong",
    "tampered",
    "forged",
)
SCRATCH = (
    "derived",
    "derived-no-context",
    "derived-encrypt-no-context",
    "derived-wrong-context",
    "other-key",
    "convergent-equal",
    "convergent-context",
    "convergent-needs-derived",
)
PREFIX = re.compile(r"vault:v[1-9]\d*:[A-Za-z0-9+/]+={0,2}")
LARGE_BYTES = 2**20
ROLE = "mcp-server"
"""The role that works with the platform's key."""


def samples() -> dict[str, bytes]:
    """Return what is sent: nothing, every byte, text, and a mebibyte of random."""
    return {
        "empty": b"",
        "every byte": bytes(range(256)),
        "text": "Panadería Ñuñoa, 1.000 CLP".encode(),
        "1 MiB": secrets.token_bytes(LARGE_BYTES),
    }


def observe(lab: VaultLab) -> ProbeFacts:
    """Ask the platform's key as the role that uses it, and keys of our own with other settings."""
    notes = Notes()
    if lab.goes("platform"):
        with notes.part(PLATFORM), lab.as_role(ROLE) as client:
            _platform(notes, Transit(Api(client), lab.subject.transit_mount), lab.subject.transit_key)
    if lab.goes("scratch"):
        with notes.part(SCRATCH), lab.scratch(transit=True) as mounts, lab.operator() as client:
            transit = Transit(Api(client), mounts.transit)
            _derived(notes, transit)
            _convergent(notes, transit)
    return notes.facts()


def _platform(notes: Notes, transit: Transit, key: str) -> None:
    made: dict[str, str] = {}
    for name, data in samples().items():

        def round_trip(name: str = name, data: bytes = data) -> bytes:
            made[name] = transit.encrypt(key, data)
            return transit.decrypt(key, made[name])

        held = notes.ask("platform-round-trip", round_trip, partial(eq, data), what=name)
        if held and data:
            inside = base64.b64decode(made[name].rpartition(":")[2])
            notes.compare("platform-hidden", data not in inside and encoded(data) not in made[name], name)
        if name in made:
            notes.compare("platform-prefix", PREFIX.fullmatch(made[name]) is not None, name)
    notes.ask(
        "platform-fresh-nonce",
        lambda: [transit.encrypt(key, b"the same text twice") for _ in range(2)],
        lambda two: two[0] != two[1],
    )
    if "text" in made:
        _refusals(notes, transit, key, made["text"])
    _associated(notes, transit, key)


def _refusals(notes: Notes, transit: Transit, key: str, ciphertext: str) -> None:
    label, _, body = ciphertext.rpartition(":")
    data = base64.b64decode(body)
    for name, place in (("first byte", 0), ("middle", len(data) // 2), ("last byte", len(data) - 1)):
        spoiled = bytearray(data)
        spoiled[place] ^= 1
        altered = f"{label}:{encoded(bytes(spoiled))}"
        notes.ask("tampered", partial(transit.decrypt, key, altered), what=name)
    for name, changed in (("cut by a byte", data[:-1]), ("a byte more", data + b"!")):
        altered = f"{label}:{encoded(changed)}"
        notes.ask("tampered", partial(transit.decrypt, key, altered), what=name)
    for name, forged in (
        ("random bytes", f"{label}:{encoded(secrets.token_bytes(len(data)))}"),
        ("a version that does not exist", f"vault:v999:{body}"),
        ("no version", body),
        ("plain text", "vault:v1:" + encoded(b"plain text")),
        ("nothing", label + ":"),
    ):
        notes.ask("forged", partial(transit.decrypt, key, forged), what=name)


def _associated(notes: Notes, transit: Transit, key: str) -> None:
    mine, other = encoded(b"tenant cl-0001"), encoded(b"tenant cl-0002")
    made: list[str] = []

    def round_trip() -> bytes:
        made.append(transit.encrypt(key, b"for one tenant", associated_data=mine))
        return transit.decrypt(key, made[0], associated_data=mine)

    if notes.ask("associated-data", round_trip, lambda back: back == b"for one tenant"):
        notes.ask("associated-data-missing", lambda: transit.decrypt(key, made[0]))
        notes.ask("associated-data-wrong", lambda: transit.decrypt(key, made[0], associated_data=other))


def _derived(notes: Notes, transit: Transit) -> None:
    mine, other = encoded(b"tenant cl-0001"), encoded(b"tenant cl-0002")
    transit.create("derived", derived=True)
    transit.create("other")
    made: list[str] = []

    def round_trip() -> bytes:
        made.append(transit.encrypt("derived", b"derived", context=mine))
        return transit.decrypt("derived", made[0], context=mine)

    if notes.ask("derived", round_trip, lambda back: back == b"derived"):
        notes.ask("derived-no-context", lambda: transit.decrypt("derived", made[0]))
        notes.ask("derived-wrong-context", lambda: transit.decrypt("derived", made[0], context=other))
    notes.ask("derived-encrypt-no-context", lambda: transit.encrypt("derived", b"derived"))
    foreign = transit.encrypt("other", b"not for you")
    transit.create("another")
    notes.ask("other-key", lambda: transit.decrypt("another", foreign))


def _convergent(notes: Notes, transit: Transit) -> None:
    mine, other = encoded(b"tenant cl-0001"), encoded(b"tenant cl-0002")
    transit.create("convergent", derived=True, convergent_encryption=True)
    notes.ask(
        "convergent-equal",
        lambda: [transit.encrypt("convergent", b"look me up", context=mine) for _ in range(2)],
        lambda two: two[0] == two[1],
    )
    notes.ask(
        "convergent-context",
        lambda: [transit.encrypt("convergent", b"look me up", context=which) for which in (mine, other)],
        lambda two: two[0] != two[1],
    )
    notes.ask("convergent-needs-derived", lambda: transit.create("underived", convergent_encryption=True))
