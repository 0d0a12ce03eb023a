"""DR-04 in words: what each problem of a driver and each kind of difference means, and what to do about it."""

from dataclasses import dataclass

from smos.backup.entries import DifferenceKind
from smos.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Word:
    """A finding's code, what it says, what to do, and its verdict."""

    code: str
    what: str
    remedy: str
    verdict: Verdict = Verdict.FAIL


_CORRUPT = Word(
    "volume-archive-corrupt",
    "the archive is damaged or cut off",
    "take the set from another copy; if all copies are so, the backup job writes broken archives: look at its log",
)
_ESCAPE = Word(
    "volume-escape-refused",
    "a member would write outside of the volume, and was refused",
    "treat the backup as tampered with: find out who can write to it, and restore from another copy",
)
_BOMB = Word(
    "archive-bomb",
    "the archive exceeds a limit, and its extraction was ended",
    "if the volume really is this large, raise `limits` in the target; otherwise treat the backup as tampered with",
)
_SANDBOX = "this is a gap of the sandbox, not of the backup"

PROBLEMS: dict[str, Word] = {
    **dict.fromkeys(
        (
            "compression-truncated",
            "compression-corrupt",
            "trailing-bytes",
            "tar-truncated",
            "tar-corrupt",
            "tar-no-end",
            "header-too-large",
        ),
        _CORRUPT,
    ),
    "archive-empty": Word(
        "volume-archive-empty",
        "the archive holds nothing",
        "see that the backup job archives the volume's directory, and that the volume was mounted",
    ),
    **dict.fromkeys(
        ("path-absolute", "path-climbs", "path-through-link", "name-invalid", "hard-link-outside"), _ESCAPE
    ),
    **dict.fromkeys(("bomb-bytes", "bomb-files", "bomb-ratio"), _BOMB),
    "hard-link-target-missing": Word(
        "hard-link-broken",
        "hard links lead to entries that the archive does not restore",
        "archive the volume whole: a partial archive loses the content of hard links",
    ),
    "duplicate-member": Word(
        "duplicate-member",
        "an entry is in the archive twice, and tools differ in which one they restore",
        "make the archive anew in one run, without appending to it",
    ),
    "archive-unreadable": Word(
        "archive-unreadable",
        "the archive can't be read",
        "see that the file is there and readable for the user who runs the drill",
        Verdict.NOT_PROVEN,
    ),
    "tar-unsupported": Word(
        "archive-not-supported",
        "the archive has members of a type that is not understood here",
        "make it with GNU tar in the pax format, or with `smos backup create`",
        Verdict.NOT_PROVEN,
    ),
    "decompressor-missing": Word(
        "archive-not-supported",
        "this machine can't decompress it",
        f"install the package that is named; {_SANDBOX}",
        Verdict.NOT_PROVEN,
    ),
    "memory-limit": Word(
        "archive-not-supported",
        "decompressing it needs more memory than is allowed",
        "compress it with a smaller window (zstd without --long, xz with at most -9)",
        Verdict.NOT_PROVEN,
    ),
    "restore-timeout": Word(
        "volume-restore-timeout",
        "the restore took too long and was ended",
        "raise `limits.restore_seconds` in the target, or use a faster disk",
        Verdict.NOT_PROVEN,
    ),
    "sandbox-disk-full": Word(
        "sandbox-disk-full",
        "the sandbox has too little room",
        f"give the sandbox a larger disk; {_SANDBOX}",
        Verdict.NOT_PROVEN,
    ),
    "sandbox-refused": Word(
        "sandbox-refused",
        "the sandbox's file system refuses entries",
        f"restore to a file system like the source's (Linux, ext4 or xfs); {_SANDBOX}",
        Verdict.NOT_PROVEN,
    ),
    "sandbox-unreadable": Word(
        "sandbox-refused",
        "what was restored can't be read back",
        f"see that the disk is healthy; {_SANDBOX}",
        Verdict.NOT_PROVEN,
    ),
    "name-collision": Word(
        "sandbox-refused",
        "the sandbox's file system can't tell names apart that differ in case or in composed letters",
        f"restore to a file system like the source's (Linux, ext4 or xfs); {_SANDBOX}",
        Verdict.NOT_PROVEN,
    ),
    "manifest-contradicts": Word(
        "manifest-contradicts",
        "the manifest promises another number of files",
        "do not trust this set: a volume may have taken another one's place; take the set from another copy",
    ),
    "entries-damaged": Word(
        "entries-damaged",
        "the list of entries can't be used",
        "take the list from another copy of the set; see DR-02 for the artifact itself",
        Verdict.NOT_PROVEN,
    ),
}
UNKNOWN_PROBLEM = Word(
    "volume-problem",
    "something that no rule explains",
    "report it: every problem should have words of its own",
    Verdict.NOT_PROVEN,
)

_OTHER_TOOL = "restore with numeric owners, `-p`, and all attributes, and see that the backup keeps them"

DIFFERENCES: dict[DifferenceKind, Word] = {
    DifferenceKind.MISSING: Word(
        "entry-missing", "entries did not come back", "take another set; this archive is not whole"
    ),
    DifferenceKind.EXTRA: Word(
        "entry-extra",
        "entries came back that the list does not have",
        "find out who added to the archive after the backup: list and archive were written in one pass",
    ),
    DifferenceKind.TYPE: Word("entry-type-differs", "entries are of another type", "take another set"),
    DifferenceKind.CONTENT: Word(
        "content-differs",
        "files have other content than was backed up",
        "take another set; this one was altered",
    ),
    DifferenceKind.OWNER: Word("owner-differs", "the owner differs", _OTHER_TOOL),
    DifferenceKind.GROUP: Word("group-differs", "the group differs", _OTHER_TOOL),
    DifferenceKind.MODE: Word("mode-differs", "the mode differs", _OTHER_TOOL),
    DifferenceKind.XATTR: Word("xattr-lost", "extended attributes or ACLs differ", _OTHER_TOOL),
    DifferenceKind.LINK: Word("link-target-differs", "symbolic links point elsewhere", "take another set"),
    DifferenceKind.HARD_LINK: Word(
        "hard-link-broken", "hard links are not those of the source", "take another set"
    ),
    DifferenceKind.DEVICE: Word(
        "device-not-restored",
        "device nodes are in the archive and are never made in a sandbox",
        "keep device nodes out of volumes, or waive this finding with a reason",
        Verdict.NOT_PROVEN,
    ),
    DifferenceKind.TORN: Word(
        "torn-while-reading",
        "entries changed while they were backed up, so that their content may be of two moments",
        "stop the service during the backup, or archive a snapshot of the file system",
        Verdict.NOT_PROVEN,
    ),
    DifferenceKind.MTIME: Word(
        "mtime-differs", "modification times differ (information only)", "", Verdict.PASS
    ),
}
