"""VAULT-01: what Vault encrypts opens for whom it should, byte for byte, and for nobody else."""

from smos.checks.vault.rules import accepted, judge_probes, refused
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement

SERVER = "do not keep data in it: compare the server's version and build with its publisher's, and its log"
MAKE_AGAIN = "make the key anew with the right settings and encrypt its data again"

RULES = (
    accepted(
        "platform-round-trip",
        "transit-round-trip",
        "What the platform's key encrypted does not come back byte for byte",
        "look at the key's settings (min_decryption_version, type) and at the policy of the role mcp-server",
    ),
    accepted(
        "platform-prefix",
        "transit-prefix",
        "A ciphertext does not have the form vault:v<version>:<base64>",
        SERVER,
    ),
    accepted(
        "platform-hidden",
        "transit-plaintext-inside",
        "The plaintext can be read in the ciphertext",
        SERVER,
    ),
    accepted(
        "platform-fresh-nonce",
        "transit-nonce-repeated",
        "The same text encrypted twice gives the same ciphertext, so equal secrets can be told by looking",
        "make the platform's key anew without convergent encryption, and encrypt its data again",
    ),
    accepted(
        "associated-data",
        "transit-associated-data",
        "What was encrypted with associated data does not come back with it",
        "use a key of an AEAD type (aes256-gcm96, chacha20-poly1305)",
    ),
    refused(
        "associated-data-missing",
        "transit-associated-data-ignored",
        "Ciphertext opens without the associated data that it is bound to",
        SERVER,
    ),
    refused(
        "associated-data-wrong",
        "transit-associated-data-ignored",
        "Ciphertext opens with other associated data than it is bound to",
        SERVER,
    ),
    refused("tampered", "transit-tampered-opens", "An altered ciphertext was not refused", SERVER),
    refused("forged", "transit-forged-opens", "A forged ciphertext was not refused", SERVER),
    accepted(
        "derived", "transit-derived", "What a derived key encrypted does not come back in its context", SERVER
    ),
    refused(
        "derived-no-context",
        "transit-context-ignored",
        "A derived key opens its ciphertext without the context",
        MAKE_AGAIN,
    ),
    refused(
        "derived-wrong-context",
        "transit-context-ignored",
        "A derived key opens ciphertext of one context in another: tenants can read each other",
        MAKE_AGAIN,
    ),
    refused(
        "derived-encrypt-no-context",
        "transit-context-ignored",
        "A derived key encrypts without a context",
        MAKE_AGAIN,
    ),
    refused("other-key", "transit-other-key-opens", "One key opens the ciphertext of another", SERVER),
    accepted(
        "convergent-equal",
        "transit-convergent-differs",
        "A convergent key gives different ciphertexts for equal text: nothing can be looked up by it",
        MAKE_AGAIN,
    ),
    accepted(
        "convergent-context",
        "transit-convergent-context",
        "A convergent key gives equal ciphertext in different contexts: tenants can compare their secrets",
        MAKE_AGAIN,
    ),
    refused(
        "convergent-needs-derived",
        "transit-convergent-underived",
        "A convergent key was made without derivation",
        "refuse such keys: their ciphertexts show which secrets are equal across all tenants",
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was observed."""
    return judge_probes(RULES, facts)
