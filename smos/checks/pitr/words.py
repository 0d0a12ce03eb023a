"""From problems that drivers met to findings: verdict and remedy of each code, for all judges of the suite."""

from collections.abc import Iterable

from smos.verdict import Finding, Problem, fail, not_proven

LISTED = 12
_NEW = "take a new base backup, and find out what damaged this one"
_COPY = "restore the file from a second copy, or take a new base backup; find out who changed it"
_WAL = "fetch the segment from the source's pg_wal or a second archive while it is there; then take a new base backup"
_TIMELINE = "archive the .history files with the segments, and keep the archives of different clusters apart"
_HOSTILE = "do not restore this backup outside of a sandbox; find out who made it"
_SANDBOX = "give the machine that drills what the message names, and drill again"

FAILS: dict[str, str] = {
    "label-missing": "copy backup_label with the files: without it a server starts at the wrong place, silently",
    "label-damaged": _COPY,
    "manifest-damaged": _COPY,
    "manifest-altered": _COPY,
    "file-missing": _NEW,
    "file-extra": "find out who wrote into the backup; a server may obey a file that was put there",
    "file-altered": _COPY,
    "settings-altered": "take backups without --write-recovery-conf; else find out who changed the settings",
    "signal-added": "take backups without --write-recovery-conf; else find out who put the file there",
    "own-log-damaged": "take backups with --wal-method=stream and keep their pg_wal, or rely on the archive alone",
    "tablespace-missing": "back up every tablespace with the cluster, as pg_basebackup does",
    "tar-damaged": _NEW,
    "link-refused": _HOSTILE,
    "path-refused": _HOSTILE,
    "entry-refused": _HOSTILE,
    "chain-link-missing": "keep the full backup and every incremental one between; prune chains as a whole",
    "chain-broken": "combine the links of one chain only; take a full backup and begin a new chain",
    "control-damaged": _NEW,
    "parts-mixed": "restore label, control file and manifest from the same backup, or take a new one",
    "xact-missing": "restore the file from a second copy, or take a new base backup: a server takes it for zeros, and"
    " what these transactions had committed is gone",
    "version-unknown": _NEW,
    "verify-failed": "run pg_verifybackup on the backup and read its words",
    "no-base-backup": "take a base backup: pg_basebackup --checkpoint=fast",
    "cluster-mixed": "keep the backups of each cluster in a directory of its own",
    "tool-backup-failed": "delete the failed backup after looking at its log, and take a new one",
    "tool-verify-failed": "run the tool's own verification, restore an older backup, and take a new one",
    "tool-restore-failed": "read the tool's words; restore an older backup, and take a new one",
    "passphrase-wrong": "find the passphrase that the repository was made with (repo1-cipher-pass) and keep it with the"
    " target's secrets; without it these backups are lost",
    "passphrase-exposed": "chmod 600; others may know it: pgBackRest can't change it, so make a new repository",
    "repository-plain": "make the repository anew with repo1-cipher-type, or leave out physical.passphrase_file",
    "wal-gap": _WAL,
    "wal-empty": "set archive_mode and archive_command (smos/physical/archive_wal.py), or run pg_receivewal",
    "wal-foreign": "keep the archives of different clusters apart; a server that reads this one stops here",
    "wal-misnamed": _WAL,
    "wal-headless": _WAL,
    "wal-torn": _WAL + "; archive with a program that flushes before it says that it succeeded",
    "wal-damaged": _WAL,
    "timeline-history-missing": _TIMELINE,
    "timeline-history-damaged": _TIMELINE,
    "timeline-not-ours": _TIMELINE,
    "index-invalid": "REINDEX on the source, then take a new base backup",
    "constraint-not-enforced": "find out who disabled the triggers on the source",
    "foreign-key-violated": "compare with the source: rows refer to nothing there, or the recovery lost some",
    "amcheck-failed": "compare with the source (pg_amcheck); take a new base backup when the source is sound",
    "page-damaged": "compare with the source (pg_checksums, pg_amcheck); recover from an older base backup",
    "relation-missing": "compare with the source; recover from an older base backup, and find out who removed the file",
    "relation-short": "compare with the source; recover from an older base backup: what followed is lost here",
    "page-blank": "compare with the source (pg_visibility); recover from an older base backup: rows may be lost here",
    "table-unreadable": "compare with the source; recover from an older base backup",
}  # fmt: skip
UNPROVEN: dict[str, str] = {
    "backups-missing": "name the directory of the backups in physical.path, and mount it",
    "backup-unread": "let the user of the harness read the backups",
    "no-installation": "install PostgreSQL of the backup's own major version on the machine that drills",
    "tablespace-outside": "name a directory that holds the backups together with their tablespaces as physical.path",
    "limit-exceeded": "raise `limits` in the target, if the backup is meant to be that large",
    "wal-archive-missing": "name the directory of the archive in physical.wal, and mount it",
    "wal-unread": "let the user of the harness read the archive, and install what decompresses it",
    "integrity-not-checked": _SANDBOX,
    "pages-not-checked": _SANDBOX,
    "manifest-unhashed": "take base backups with --manifest-checksums=SHA256: sizes alone tell of no changed page",
    "xact-blank": "compare with the source's pg_xact: it was emptied, or one transaction with many savepoints ran",
    "passphrase-missing": "put the repository's passphrase into a file (0600), and name it in physical.passphrase_file",
    "tool-missing": "install the tool where the drill runs",
    "tool-unclear": "run the tool by hand and read its words; report this with its version",
    "store-unread": "let the user of the harness read the repository",
}


def findings_of(problems: Iterable[Problem]) -> list[Finding]:
    """Return one finding a problem, at most LISTED of a code; an unknown code is not proven, never ignored."""
    found: list[Finding] = []
    seen: dict[str, int] = {}
    for problem in dict.fromkeys(problems):
        seen[problem.code] = seen.get(problem.code, 0) + 1
        if seen[problem.code] > LISTED:
            continue
        if problem.code in FAILS:
            found.append(fail(problem.code, problem.detail, FAILS[problem.code]))
        else:
            found.append(not_proven(problem.code, problem.detail, UNPROVEN.get(problem.code, _SANDBOX)))
    return found
