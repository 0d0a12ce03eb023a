"""VAULT-03: signatures and HMACs verify, also without Vault, and nothing altered does."""

from dataclasses import replace

from smos.checks.vault.rules import Rule, accepted, judge_probes, refused
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement

SERVER = "trust no signature of this server: compare its version and build with its publisher's"


def _never(claim: str, code: str, sentence: str) -> Rule:
    """Return a rule for what must never be valid: called invalid (200), or malformed (400)."""
    return replace(
        accepted(claim, code, sentence, SERVER), right=frozenset({200, 400}), wrong=frozenset({404, 405})
    )


RULES = (
    accepted("signed", "signature-refused", "A signature of Vault's own is not valid to it", SERVER),
    _never("signature-tampered-input", "signature-forged", "A signature is valid for an altered text"),
    _never("signature-tampered", "signature-forged", "An altered signature is valid"),
    _never("signature-other-key", "signature-forged", "A signature is valid for another key than its own"),
    accepted(
        "offline",
        "signature-offline",
        "A signature does not verify with the published public key: nobody outside of Vault can check it",
        SERVER,
    ),
    accepted(
        "offline-tampered",
        "signature-offline",
        "A signature verifies offline for an altered text",
        SERVER,
    ),
    accepted(
        "signature-after-rotation",
        "signature-rotation",
        "After a rotation, signatures of the old or of the new key version do not verify",
        SERVER,
    ),
    refused(
        "private-export-refused",
        "signature-key-exported",
        "The private key of a signing key that is not exportable was exported",
        SERVER,
    ),
    accepted("hmac", "hmac-refused", "An HMAC of Vault's own is not valid to it", SERVER),
    _never("hmac-tampered-input", "hmac-forged", "An HMAC is valid for an altered text"),
    _never("hmac-tampered", "hmac-forged", "An altered HMAC is valid"),
    _never("hmac-other-key", "hmac-forged", "An HMAC is valid for another key than its own"),
    accepted(
        "hmac-offline",
        "hmac-offline",
        "An HMAC is not the HMAC-SHA-256 of the text under the key's own bytes",
        SERVER,
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was observed."""
    return judge_probes(RULES, facts)
