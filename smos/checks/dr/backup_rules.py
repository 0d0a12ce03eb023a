"""What each problem of a backup set means for the verdict, and what a person can do."""

from collections.abc import Iterable
from dataclasses import dataclass

from smos.verdict import Finding, Problem, Verdict

FAIL, NOT_PROVEN, NOTE = Verdict.FAIL, Verdict.NOT_PROVEN, Verdict.PASS
EXAMPLES = 5
"""Names that one finding gives; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Verdict of a problem, the sentence that introduces it, and the remedy."""

    verdict: Verdict
    says: str
    remedy: str


_TAKE_AGAIN = "take the backup again, and find out what damaged it: disk, transfer, or an interrupted run"
_TAMPERED = "take the set from another copy, and find out who or what changed this one"

EXISTENCE: dict[str, Rule] = {
    "unreadable": Rule(NOT_PROVEN, "can't be read", "run the drill as a user who may read the backups"),
    "unknown-file": Rule(
        NOT_PROVEN,
        "is of unknown type",
        "move it out of the backup directory, or name its format in an issue",
    ),
    "unknown-directory": Rule(
        NOT_PROVEN,
        "is an unknown directory",
        "move it out of the backup directory, or give it with --backups",
    ),
    "unfinished-backup": Rule(
        NOT_PROVEN, "was never finished", "look why that run was interrupted, and remove what it left"
    ),
    "symlink-outside": Rule(
        NOT_PROVEN, "was not followed", "keep the backups themselves in the directory, not links to elsewhere"
    ),
    "symlink-broken": Rule(NOT_PROVEN, "leads nowhere", "remove the link, or bring back what it pointed at"),
    "no-stamp": Rule(
        NOT_PROVEN, "has no time stamp", "put the time of the backup into its name: <name>-<YYYYMMDD_HHMMSS>"
    ),
    "stamp-mismatch": Rule(
        Verdict.FAIL,
        "claims another time than its content",
        "an older backup was given a new name: take a new one",
    ),
    "stamp-older-than-header": Rule(NOTE, "is younger than its name", ""),
    "empty-file": Rule(
        FAIL, "is empty", "a dump that failed leaves this: see the backup job's log, take it again"
    ),
    "empty-content": Rule(
        FAIL,
        "holds nothing",
        "a dump that failed into a pipe leaves this: use `set -o pipefail`, take it again",
    ),
    "hash-list-invalid": Rule(NOT_PROVEN, "is a damaged hash list", "write the list again with sha256sum"),
    "hash-without-file": Rule(NOTE, "is listed and gone", ""),
    "name-differs": Rule(NOTE, "is named wrongly", ""),
    "ignored-file": Rule(NOTE, "was passed over", ""),
}

INTEGRITY: dict[str, Rule] = {
    "unreadable": EXISTENCE["unreadable"],
    "compression-truncated": Rule(FAIL, "is cut off", _TAKE_AGAIN),
    "compression-corrupt": Rule(FAIL, "is damaged", _TAKE_AGAIN),
    "trailing-bytes": Rule(FAIL, "has bytes after its end", _TAMPERED),
    "memory-limit": Rule(
        NOT_PROVEN,
        "needs too much memory to read",
        "compress it with a window of at most 128 MiB (zstd --long=27)",
    ),
    "decompressor-missing": Rule(
        NOT_PROVEN, "could not be decompressed here", "pip install lz4, and run again"
    ),
    "dump-truncated": Rule(FAIL, "is not complete", _TAKE_AGAIN),
    "dump-incomplete": Rule(FAIL, "lacks data that it lists", _TAKE_AGAIN),
    "dump-unreadable": Rule(FAIL, "can't be read to its end", _TAKE_AGAIN),
    "tar-damaged": Rule(FAIL, "is a damaged archive", _TAKE_AGAIN),
    "vault-snapshot-damaged": Rule(FAIL, "does not fit its own hashes", "take a new snapshot of Vault"),
    "version-gap": Rule(
        NOT_PROVEN,
        "could not be read by this machine's pg_restore",
        "install a PostgreSQL at least as new as the one that made the dump",
    ),
    "tool-lacks-compression": Rule(
        NOT_PROVEN,
        "is compressed in a way that this machine's pg_restore can't read",
        "install a PostgreSQL that is built with this compression",
    ),
    "limit-reached": Rule(
        NOT_PROVEN,
        "is larger than the target's limits",
        "raise `limits` in the target if this size is expected",
    ),
    "archive-bomb": Rule(
        FAIL, "expands beyond the target's limit", "raise `limits.ratio` only if that is expected"
    ),
    "hash-mismatch": Rule(FAIL, "is not what was written", _TAMPERED),
    "size-mismatch": Rule(FAIL, "is not what was written", _TAMPERED),
    "weak-hash": Rule(NOTE, "is declared by a weak hash", ""),
    "unexpected-encryption": Rule(
        FAIL,
        "is encrypted and should not be",
        "if the target encrypts, set `backups.encrypted`; else suspect ransomware",
    ),
    "not-encrypted": Rule(
        FAIL, "is not encrypted", "encrypt the backups, or don't declare `backups.encrypted`"
    ),
    "encrypted-not-read": Rule(
        NOT_PROVEN,
        "is encrypted, so its content was not read",
        "give the escrow as `vault.escrow`, and see DR-06 for whether Vault came back; what another tool encrypted,"
        " give as decrypted copies",
    ),
    "encryption-differs": Rule(FAIL, "is encrypted in another way than it was written", _TAMPERED),
    "decryption-failed": Rule(
        FAIL, "does not open: cut, changed, or encrypted to another key than its set's", _TAMPERED
    ),
    "plaintext-differs": Rule(FAIL, "opens to something that was not written under this name", _TAMPERED),
    "data-key-undecryptable": Rule(
        FAIL,
        "can't be opened by the Vault that came back",
        "keep every version of the transit key that a kept backup needs (min_decryption_version, trimming); if the"
        " key is whole, the wrapped key in the manifest was changed",
    ),
    "data-key-not-asked": Rule(
        NOT_PROVEN, "has a key that nobody could be asked to unwrap", "see DR-06 for why Vault did not answer"
    ),
    "sandbox-full": Rule(
        NOT_PROVEN, "could not be decrypted into the sandbox", "give the sandbox more disk, and run again"
    ),
    "high-entropy": Rule(
        FAIL,
        "looks encrypted where text is expected",
        "suspect ransomware: isolate the host, use an older copy",
    ),
    "unknown-content": Rule(FAIL, "is of no known format", _TAKE_AGAIN),
    "empty-file": EXISTENCE["empty-file"],
    "empty-content": EXISTENCE["empty-content"],
    "unknown-file": EXISTENCE["unknown-file"],
    "manifest-missing": Rule(FAIL, "has no manifest", _TAMPERED),
    "manifest-unreadable": Rule(FAIL, "has a manifest that can't be understood", _TAMPERED),
    "manifest-contradictory": Rule(FAIL, "contradicts itself", _TAMPERED),
    "key-beside-backups": Rule(
        NOT_PROVEN,
        "has its public key beside it",
        "keep the public key where the drill runs, not with the backups",
    ),
    "signature-unverifiable": Rule(
        NOT_PROVEN, "has a signature that can't be checked", "give the Ed25519 public key (PEM) in the target"
    ),
    "no-stamp": EXISTENCE["no-stamp"],
    "stamp-mismatch": EXISTENCE["stamp-mismatch"],
    "database-differs": Rule(FAIL, "holds another database than its place says", _TAMPERED),
    "stamp-older-than-header": EXISTENCE["stamp-older-than-header"],
    "name-differs": EXISTENCE["name-differs"],
}
_UNKNOWN = Rule(NOT_PROVEN, "has a problem that no rule knows", "report this as a bug of the harness")


def findings_of(where: str, problems: Iterable[Problem], rules: dict[str, Rule]) -> list[Finding]:
    """Return one finding per code, with the first few details. where: "set smos-…" or empty.

    A code that no rule knows is never dropped: it leaves the check unproven.
    """
    by_code: dict[str, list[str]] = {}
    for problem in problems:
        details = by_code.setdefault(problem.code, [])
        if problem.detail not in details:
            details.append(problem.detail)
    findings = []
    for code, details in by_code.items():
        rule = rules.get(code, _UNKNOWN)
        subject = f"{where}: " if where else ""
        text = f"{subject}{listed(details)} ({_count(len(details))} {rule.says})"
        findings.append(Finding(code, text, rule.remedy, rule.verdict))
    return findings


def listed(names: Iterable[str]) -> str:
    """Join names for a sentence; beyond EXAMPLES they are counted."""
    found = list(names)
    more = len(found) - EXAMPLES
    return "; ".join(found[:EXAMPLES]) + (f"; and {more} more" if more > 0 else "")


def _count(number: int) -> str:
    return "it" if number == 1 else f"each of {number}"
