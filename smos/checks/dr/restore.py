"""DR-03, first half: every declared PostgreSQL database restores completely into an isolated, empty sandbox.

What came back is compared with what should have elsewhere (`smos.checks.dr.content`). A gap of the sandbox is never
blamed on the backup: it leaves the check unproven, with the remedy.
"""

from collections.abc import Iterator

from smos.drill.restore_facts import DatabaseRestore, RestoreError, RestoreFacts
from smos.verdict import Finding, Problem, fail, not_proven, note

BROKEN = "take the set from another copy or an older one; then find out why this backup was cut or damaged"
REMEDIES: dict[str, str] = {
    "extension-unavailable": "install the extension for the PostgreSQL that the sandbox uses",
    "extension-version": "install the version of the extension that the source has",
    "extension-withheld": "run the drill where network namespaces are allowed (as root, or with user namespaces)",
    "version-gap": "install a PostgreSQL of the source's major version, or a newer one, for the sandbox",
    "needs-superuser": "restore this object by hand in a rehearsal; the drill gives no superuser rights to a backup",
    "collation-unavailable": "give the sandbox a PostgreSQL with this locale or with ICU",
    "owner-lost": "compare with the source who owns this; pg_dump names the owner of everything or, with --no-owner, of"
    " nothing: find out what changed the dump",
    "role-unknown": "keep `pg_dumpall --globals-only` with the backups",
    "unexpected-statement": "make dumps with pg_dump; restore what was added by hand separately",
    "sandbox-disk-full": "give the sandbox more disk, or raise limits.bytes in the target",
    "restore-timeout": "raise limits.restore_seconds in the target, or use a faster sandbox",
    "network-cut": "by design nothing connects out of a sandbox: restore this object by hand in a rehearsal",
    "sandbox-lost": "look at the sandbox's log for the reason (memory, disk) and run the drill again",
    "client-encoding": "make the dump without --encoding, or with a server encoding such as UTF8",
    "compression-unavailable": "use a PostgreSQL built with this compression, or dump with gzip",
    "decompressor-missing": "install the decompressor, or compress with gzip or zstd",
    "memory-limit": "compress with a smaller window",
    "limit-exceeded": "raise limits.bytes or limits.ratio in the target if the backup is really this large",
    "file-unreadable": "let the harness read the backups",
    "psql-unrestricted": "update PostgreSQL's client programs to their newest minor version",
    "sandbox-archives": "start the sandbox with archive_mode off",
    "sandbox-listens": "start the sandbox without network addresses",
    "sandbox-admin-name": "start the sandbox with a superuser of its own (smos_sandbox_admin)",
    "contents-out-of-order": "by hand pg_restore would follow this order and fail: take the set from another copy,"
    " and find out what changed the archive",
    "database-names-differ": "list the archive's contents (pg_restore --list): nobody can restore it by hand as it is;"
    " take the set from another copy",
    "database-duplicate": "keep one dump of each database in a set",
    "security-label": "restore security labels by hand in a rehearsal: they need a provider",
    "template-not-restored": "keep objects out of template1, or restore it by hand in a rehearsal",
    "globals-failed": "compare the sandbox's version with the source's; apply this statement by hand in a rehearsal",
    "setting-unavailable": "use a PostgreSQL of the source's version with its libraries for the sandbox",
    "setting-refused": "set it in postgresql.conf instead of on a role or database",
    "privilege-withheld": "grant it by hand in a rehearsal",
    "role-name-taken": "rename the role; names with smos_sandbox_ and pg_ are taken",
    "globals-unreadable": "take the globals from another copy",
}  # fmt: skip
"""Gaps of the sandbox, or of what it may do: not proven."""
FAILURES: dict[str, str] = {
    "sandbox-is-source": "never point a drill at the server that was backed up",
    "sandbox-not-empty": "restore into a new server: what was there before could hide what is missing",
    "hostile-statement": "do not use this backup before somebody has read it; find out who could write to it",
    "unreadable-text": "look at this line of the dump; pg_dump writes no such thing",
    "dump-incomplete": BROKEN,
    "globals-incomplete": BROKEN,
    "dump-empty": "look at how the backup is made: a failed pg_dump leaves a file behind",
    "archive-unreadable": BROKEN,
    "compression-truncated": BROKEN,
    "compression-corrupt": BROKEN,
    "trailing-bytes": BROKEN,
    "nul-byte": BROKEN,
}
NOTES = frozenset({
    "tablespace-mapped", "subscription-disabled", "dump-truncated", "owner-unknown", "database-properties-unknown",
})  # fmt: skip
CUT = frozenset({"archive-truncated", "truncated"})


def restore_findings(required: tuple[str, ...], facts: RestoreFacts) -> tuple[Finding, ...]:
    """Judge a restore. required: names of the databases that must come back. No finding: all of them did.

    A database that nobody declared is not required; only something hostile in it counts.
    """
    return tuple(dict.fromkeys(_findings(required, facts)))


def _findings(required: tuple[str, ...], facts: RestoreFacts) -> Iterator[Finding]:
    for problem in (*facts.sandbox.problems, *facts.problems):
        yield _problem(problem, "")
    elevated = [name for name in facts.sandbox.superusers if name != facts.sandbox.administrator]
    if elevated:
        yield fail(
            "role-elevated",
            f"After the restore these roles are superusers of the sandbox: {', '.join(elevated)}",
            "stop using this backup and report it: something in it gained superuser rights",
        )
    for role in facts.roles_withheld:
        rights = ", ".join((*role.attributes, *role.roles))
        yield note(
            "role-withheld", f"The role {role.name} came back without {rights}: no backup gets them here"
        )
    if facts.sandbox.isolation == "configuration":
        yield note("isolation-configuration", "The sandbox's network is cut by configuration only")
    found = {database.name: database for database in facts.databases}
    for name in required:
        if name not in found:
            yield fail(
                "database-missing",
                f"{name}: no dump of it was restored",
                "back this database up, or correct the target",
            )
    for database in facts.databases:
        yield from _database(database, declared=database.name in required)


def _database(facts: DatabaseRestore, *, declared: bool) -> Iterator[Finding]:
    findings = list(_of_database(facts))
    if declared and not facts.restored and all(finding.verdict == "PASS" for finding in findings):
        findings.append(
            not_proven(
                "not-restored", f"{facts.name}: not restored from {facts.artifact}", "see the drill's log"
            )
        )
    for finding in findings:
        if declared or finding.code in {"hostile-statement", "role-elevated"}:
            yield finding
        elif finding.verdict != "PASS":
            yield note(finding.code, f"{finding.message} (this database is not declared)")


def _of_database(facts: DatabaseRestore) -> Iterator[Finding]:
    name = facts.name
    for problem in (*facts.refused, *facts.gaps, *facts.notes):
        yield _problem(problem, f"{name}: ")
    cut = facts.complete is False
    for error in facts.errors:
        cut = cut or error.code in CUT
        if error.code == "psql-restricted":
            yield fail(
                "hostile-statement",
                f"{name}: {_place(error)}: psql itself refused a command",
                FAILURES["hostile-statement"],
            )
        elif error.code not in CUT:
            yield _error(name, error)
    if cut:
        yield fail(
            "dump-incomplete", f"{name}: {facts.artifact} is not whole: its end was never seen", BROKEN
        )


def _error(name: str, error: RestoreError) -> Finding:
    message = f"{name}: {_place(error)} failed ({_state(error.code)})"
    if error.attributed:
        return not_proven(
            "statement-not-possible", f"{message}, which a gap of the sandbox explains: {error.attributed}",
            REMEDIES.get(error.attributed, "close the gap and run the drill again"),
        )  # fmt: skip
    return fail(
        "statement-failed",
        message,
        "restore it by hand to see the server's message; take another set if data are wrong",
    )


def _problem(problem: Problem, lead: str) -> Finding:
    text = f"{lead}{problem.detail}"
    if problem.code in NOTES:
        return note(problem.code, text)
    if problem.code in FAILURES:
        return fail(problem.code, text, FAILURES[problem.code])
    return not_proven(
        problem.code, text, REMEDIES.get(problem.code, "see docs/findings.md, then run the drill again")
    )


def _place(error: RestoreError) -> str:
    where = f"line {error.line}, " if error.line else ""
    return f"{where}{error.kind}{f' ({error.subject})' if error.subject else ''}"


def _state(code: str) -> str:
    """Return an SQLSTATE with its name."""
    from psycopg.errors import lookup

    try:
        return f"{code} {lookup(code).__name__}"
    except KeyError:
        return code
