"""VAULT-04: data keys for data too large for Vault, and batches."""

import base64
import json
import secrets
from functools import partial
from typing import Any

from smos.vault.model import CLIENT_ERRORS, VaultError, explain
from smos.vault.verify.api import Api, Transit, encoded
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.notes import Notes
from smos.vault.verify.probe import Probe, ProbeFacts
from smos.vault.verify.transit import PREFIX, ROLE

CLAIMS = (
    "wrapped-hidden",
    "wrapped-opens",
    "plaintext-opens",
    "datakeys-differ",
    "datakey-size",
    "datakey-odd-size",
    "batch-order",
    "batch-bad-item",
)
BYTES = {128: 16, 256: 32, 512: 64}
"""Size of a data key: what is asked for in bits, what must come in bytes."""
BATCH = 100
BAD = 42
PARTIAL = frozenset({200, 207, 400})
"""Statuses of a batch of which one item failed: the products let the caller choose; 400 is the default."""


def observe(lab: VaultLab) -> ProbeFacts:
    """Ask the platform's key, as the role that uses it: nothing of this is stored."""
    notes = Notes()
    with notes.part(CLAIMS), lab.as_role(ROLE) as client:
        transit = Transit(Api(client), lab.subject.transit_mount)
        _data_keys(notes, transit, lab.subject.transit_key)
        _batches(notes, transit, lab.subject.transit_key)
    return notes.facts()


def _data_keys(notes: Notes, transit: Transit, key: str) -> None:
    wrapped: list[dict[str, Any]] = []

    def wrap() -> dict[str, Any]:
        wrapped.append(transit.act("datakey/wrapped", key))
        return wrapped[0]

    def hidden(answer: dict[str, Any]) -> bool:
        return not answer.get("plaintext") and PREFIX.fullmatch(answer["ciphertext"]) is not None

    notes.ask("wrapped-hidden", wrap, hidden)
    if wrapped:
        notes.ask(
            "wrapped-opens",
            partial(transit.decrypt, key, wrapped[0]["ciphertext"]),
            lambda data: len(data) == BYTES[256] and encoded(data) not in json.dumps(wrapped[0]),
        )
    for bits, size in BYTES.items():
        both: list[dict[str, Any]] = []

        def make(bits: int = bits, both: list[dict[str, Any]] = both) -> bytes:
            both.append(transit.act("datakey/plaintext", key, bits=bits))
            return transit.decrypt(key, both[0]["ciphertext"])

        def same(data: bytes, both: list[dict[str, Any]] = both) -> bool:
            return data == base64.b64decode(both[0]["plaintext"], validate=True)

        if notes.ask("plaintext-opens", make, same, what=f"{bits} bits"):
            got = len(base64.b64decode(both[0]["plaintext"]))
            notes.compare("datakey-size", got == size, f"{bits} bits asked, {got} bytes given")
    notes.ask("datakey-odd-size", partial(transit.act, "datakey/plaintext", key, bits=8), what="8 bits")
    notes.ask(
        "datakeys-differ",
        lambda: [transit.act("datakey/plaintext", key)["plaintext"] for _ in range(2)],
        lambda two: two[0] != two[1],
    )


def _batches(notes: Notes, transit: Transit, key: str) -> None:
    texts = [f"{number}: {secrets.token_hex(8)}".encode() for number in range(BATCH)]
    made: list[str] = []

    def there_and_back() -> list[bytes]:
        answer = transit.act("encrypt", key, batch_input=[{"plaintext": encoded(text)} for text in texts])
        made.extend(item["ciphertext"] for item in answer["batch_results"])
        back = transit.act("decrypt", key, batch_input=[{"ciphertext": item} for item in made])
        return [base64.b64decode(item["plaintext"]) for item in back["batch_results"]]

    if not notes.ask("batch-order", there_and_back, lambda back: back == texts, what=f"{BATCH} items"):
        return
    spoiled = [{"ciphertext": item} for item in made]
    spoiled[BAD] = {"ciphertext": made[BAD][:-8] + "AAAAAAA="}
    try:
        status, answer = transit.api.raw_post(f"{transit.mount}/decrypt/{key}", batch_input=spoiled)
    except CLIENT_ERRORS as error:
        raise VaultError(explain(error)) from None
    if status not in PARTIAL:
        notes.probes.append(Probe(claim="batch-bad-item", status=status))
        return
    results = (answer.get("data") or {}).get("batch_results") or []
    right = [
        bool(item.get("error")) and not item.get("plaintext")
        if number == BAD
        else not item.get("error") and item.get("plaintext") == encoded(texts[number])
        for number, item in enumerate(results)
    ]
    notes.compare(
        "batch-bad-item",
        len(right) == BATCH and all(right),
        f"status {status}, {sum(right)} of {BATCH} items as they should be, number {BAD} spoiled",
    )
