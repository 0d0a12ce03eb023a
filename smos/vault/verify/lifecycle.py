"""VAULT-02: how keys age: rotation, rewrapping, shutting versions off, deletion, export."""

import base64
import json
import re
from datetime import datetime
from functools import partial
from operator import eq
from typing import Any

import hvac

from smos.clock import SystemClock
from smos.vault.verify.api import Api, Transit, encoded
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.notes import Notes
from smos.vault.verify.probe import ProbeFacts

PLATFORM = (
    "period",
    "rotation-due",
    "platform-exportable",
    "platform-deletable",
    "platform-backup",
    "platform-type",
)
STRONG = frozenset({"aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"})
"""Types with a key of 256 bits that authenticate what they encrypt."""
SCRATCH = (
    "rotate",
    "old-still-opens",
    "rewrap",
    "rewrap-plaintext",
    "forged-version",
    "shut-off",
    "shut-off-zero",
    "current-opens",
    "delete-refused",
    "delete-allowed",
    "export-refused",
    "export-allowed",
    "backup-refused",
    "short-period",
    "period-taken",
)
ROLE = "recovery"
"""A role that may read the platform key's settings; used where the verification has no token of its own."""
SECRET = b"a text that must not be seen while it is rewrapped"
SLACK = 1.1
"""A rotation counts as late after this many periods: the server looks for due keys from time to time."""
DAY_S = 86400
KEY_BYTES = 32
"""AES-256, the default type of a key."""
HOUR = "1h"
TOO_SHORT = "59m"


def observe(lab: VaultLab) -> ProbeFacts:
    """Read the platform key's settings; do everything else to keys of our own."""
    notes = Notes()
    with notes.part(PLATFORM):
        source = lab.operator() if lab.subject.operator_token else lab.as_role(ROLE)
        with source as client:
            _platform(notes, Transit(Api(client), lab.subject.transit_mount), lab)
    with notes.part(SCRATCH), lab.scratch(transit=True) as mounts, lab.operator() as client:
        transit = Transit(Api(client), mounts.transit)
        _versions(notes, transit)
        _deletion(notes, transit)
        _export(notes, transit)
        _periods(notes, transit)
    return notes.facts()


def _platform(notes: Notes, transit: Transit, lab: VaultLab) -> None:
    subject = lab.subject
    declared = int(subject.rotation_s)
    found: dict[str, Any] = {}

    def right(key: dict[str, Any]) -> bool:
        found.update(key)
        return _seconds(key["auto_rotate_period"]) == declared

    notes.ask("period", partial(transit.read, subject.transit_key), right, what=f"declared: {declared} s")
    if not found:
        return
    newest = max(_created(item) for item in found["keys"].values())
    age_s = SystemClock().now().timestamp() - newest
    notes.details |= {
        "key": subject.transit_key,
        "type": found.get("type"),
        "versions": found.get("latest_version"),
        "auto_rotate_period_s": _seconds(found.get("auto_rotate_period", 0)),
        "newest_version_age_s": round(age_s),
    }
    days = f"its newest version is {age_s / DAY_S:.1f} days old"
    notes.compare("rotation-due", age_s <= declared * SLACK, days)
    for claim, setting in (
        ("platform-exportable", "exportable"),
        ("platform-deletable", "deletion_allowed"),
        ("platform-backup", "allow_plaintext_backup"),
    ):
        notes.compare(claim, found.get(setting) is False, f"{setting}: {found.get(setting)}")
    notes.compare("platform-type", found.get("type") in STRONG, f"type: {found.get('type')}")


def _seconds(period: object) -> int:
    """Return a period in seconds: OpenBao and Vault answer with a number, very old ones with "720h0m0s"."""
    if isinstance(period, (int, float)):
        return int(period)
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", str(period)))


def _created(version: object) -> float:
    """Return when a version was made, in epoch seconds: symmetric keys give a number, others a description."""
    if isinstance(version, dict):
        return datetime.fromisoformat(str(version["creation_time"])).timestamp()
    return float(str(version))


def _versions(notes: Notes, transit: Transit) -> None:
    transit.create("ages")
    first = transit.encrypt("ages", SECRET)

    def rotate() -> str:
        transit.rotate("ages")
        return transit.encrypt("ages", SECRET)

    notes.ask(
        "rotate",
        rotate,
        lambda made: made.startswith("vault:v2:") and transit.read("ages")["latest_version"] == 2,
    )
    notes.ask("old-still-opens", partial(transit.decrypt, "ages", first), partial(eq, SECRET))
    answers: list[dict[str, Any]] = []

    def rewrap() -> bytes:
        answers.append(transit.act("rewrap", "ages", ciphertext=first))
        return transit.decrypt("ages", answers[0]["ciphertext"])

    notes.ask(
        "rewrap",
        rewrap,
        lambda back: back == SECRET and answers[0]["ciphertext"].startswith("vault:v2:"),
    )
    if not answers:
        return
    text = json.dumps(answers[0])
    shows = "plaintext" in answers[0] or encoded(SECRET) in text or SECRET.decode() in text
    notes.compare("rewrap-plaintext", not shows)
    second = str(answers[0]["ciphertext"])
    body = second.rpartition(":")[2]
    for label in ("vault:v1:", "vault:v3:"):
        notes.ask(
            "forged-version",
            partial(transit.decrypt, "ages", label + body),
            what=f"version 2 said to be {label[6:-1]}",
        )
    transit.configure("ages", min_decryption_version=2)
    notes.ask("shut-off", partial(transit.decrypt, "ages", first))
    # Version 0 is an old name of version 1 (Vault 0.x): it must not be a way around.
    notes.ask("shut-off-zero", partial(transit.decrypt, "ages", first.replace("vault:v1:", "vault:v0:")))
    notes.ask("current-opens", partial(transit.decrypt, "ages", second), partial(eq, SECRET))


def _deletion(notes: Notes, transit: Transit) -> None:
    transit.create("kept")
    path = f"{transit.mount}/keys/kept"
    notes.ask("delete-refused", partial(transit.api.delete, path))

    def delete() -> bool:
        transit.configure("kept", deletion_allowed=True)
        transit.api.delete(path)
        try:
            transit.api.get(path)
        except hvac.exceptions.InvalidPath:
            return True
        return False

    notes.ask("delete-allowed", delete, bool)


def _export(notes: Notes, transit: Transit) -> None:
    transit.create("closed")
    transit.create("open", exportable=True)
    for kind in ("encryption-key", "hmac-key"):
        notes.ask(
            "export-refused", partial(transit.api.get, f"{transit.mount}/export/{kind}/closed"), what=kind
        )
    notes.ask(
        "export-allowed",
        partial(transit.api.get, f"{transit.mount}/export/encryption-key/open"),
        lambda answer: len(base64.b64decode(answer["data"]["keys"]["1"], validate=True)) == KEY_BYTES,
    )
    notes.ask("backup-refused", partial(transit.api.get, f"{transit.mount}/backup/closed"))


def _periods(notes: Notes, transit: Transit) -> None:
    notes.ask("short-period", partial(transit.create, "hasty", auto_rotate_period=TOO_SHORT), what=TOO_SHORT)
    transit.create("patient")
    notes.ask(
        "short-period",
        partial(transit.configure, "patient", auto_rotate_period=TOO_SHORT),
        what=f"{TOO_SHORT}, later",
    )

    def hourly() -> dict[str, Any]:
        transit.configure("patient", auto_rotate_period=HOUR)
        return transit.read("patient")

    notes.ask("period-taken", hourly, lambda key: _seconds(key["auto_rotate_period"]) == 3600)
