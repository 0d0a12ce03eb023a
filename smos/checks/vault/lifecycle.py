"""VAULT-02: keys rotate as declared, can't leave Vault, and a version that was shut off opens nothing."""

from smos.checks.vault.rules import accepted, judge_probes, refused
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement

SERVER = "compare the server's version and build with its publisher's, and look at its log"
NEW_KEY = (
    "whoever had it may hold the key: make a new key, encrypt its data again, and take this one out of use"
)

RULES = (
    accepted(
        "period",
        "key-period",
        "The platform's key does not rotate by itself as declared",
        "set auto_rotate_period on the key to the declared `vault.rotation_hours`",
    ),
    accepted(
        "rotation-due",
        "key-rotation-late",
        "The platform's key was not rotated within its declared period",
        "rotate it by hand now; is the active node up, and auto_rotate_period set?",
    ),
    accepted("platform-exportable", "key-exportable", "The platform's key can be exported", NEW_KEY),
    accepted(
        "platform-deletable",
        "key-deletable",
        "The platform's key can be deleted, and everything that it encrypted with it",
        "set deletion_allowed to false on the key",
    ),
    accepted("platform-backup", "key-exportable", "The platform's key can be backed up in clear", NEW_KEY),
    accepted(
        "platform-type",
        "key-weak",
        "The platform's key has fewer than 256 bits, or is of a type that does not authenticate what it encrypts",
        "make a key of the type aes256-gcm96, and encrypt its data again",
    ),
    accepted("rotate", "key-rotate", "A rotation does not lead to version 2 of the key", SERVER),
    accepted(
        "old-still-opens",
        "key-old-lost",
        "After a rotation the ciphertext of before does not open any more",
        SERVER,
    ),
    accepted(
        "rewrap", "key-rewrap", "Rewrapping does not move a ciphertext to the newest key version", SERVER
    ),
    accepted(
        "rewrap-plaintext", "key-rewrap-plaintext", "The answer to a rewrap carries the plaintext", SERVER
    ),
    refused(
        "forged-version",
        "key-version-forged",
        "A ciphertext opens under a version that it was not made with",
        SERVER,
    ),
    refused(
        "shut-off",
        "key-version-opens",
        "min_decryption_version is 2, and ciphertext of version 1 opens",
        "raise min_decryption_version again and read it back; else a leaked old key stays useful",
    ),
    refused(
        "shut-off-zero",
        "key-version-opens",
        "min_decryption_version is 2, and ciphertext of version 1 opens when it is called version 0",
        SERVER,
    ),
    accepted(
        "current-opens",
        "key-old-lost",
        "Shutting version 1 off also shut version 2 off",
        SERVER,
    ),
    refused(
        "delete-refused",
        "key-delete-unasked",
        "A key was deleted although nobody had allowed its deletion",
        SERVER,
    ),
    accepted(
        "delete-allowed",
        "key-delete-kept",
        "A key whose deletion was allowed and asked for is still there",
        SERVER,
    ),
    refused("export-refused", "key-export-granted", "A key that is not exportable was exported", SERVER),
    accepted("export-allowed", "key-export", "An exportable key is not exported as 32 bytes", SERVER),
    refused(
        "backup-refused",
        "key-export-granted",
        "A key that may not be backed up in clear was",
        SERVER,
        400,
        500,  # both products answer with an internal error here
    ),
    refused(
        "short-period",
        "key-period-short",
        "A rotation period under an hour was accepted",
        SERVER,
    ),
    accepted("period-taken", "key-period-lost", "A rotation period of an hour was not kept", SERVER),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was observed."""
    return judge_probes(RULES, facts)
