"""Turn differences between a source and a restored database into findings, each with what to do about it."""

# One remedy a line.
# ruff: noqa: E501

from collections import defaultdict
from collections.abc import Iterable

from smos.postgres.difference import Difference
from smos.verdict import Finding, Problem, fail, not_proven, note

LISTED_PER_CODE = 20
"""Findings of one code that are listed; a last one counts the rest."""

_DUMP = "the dump does not hold what its manifest says: take a new backup, and look for what changed it"
_DAMAGE = "compare with the source, restore another set, and find out where the dump was changed or cut"
_DDL = "the dump is not of this source, or was restored in part: read the restore's errors, take a new backup"
_GLOBALS = "include `pg_dumpall --globals-only` in the backup and apply it before the databases"
_GRANTS = "restore with owners and privileges (no --no-owner, no --no-acl), after the globals"
_SANDBOX = "give the sandbox what the source's server has, then verify again"

REMEDIES: dict[str, str] = {
    "database-encoding-differs": "create the database with the source's encoding (pg_restore --create does)",
    "collation-differs": "create the database with the source's locale (pg_restore --create does)",
    "collation-version-differs": "verify on a server with the same version of the locale library, or REINDEX",
    "sort-order-differs": "verify on a server with the same locale library: indexes depend on its order",
    "schema-missing": _DDL,
    "schema-extra": _DDL,
    "table-missing": _DDL,
    "table-extra": _DDL,
    "table-differs": _DDL,
    "column-missing": _DDL,
    "column-extra": _DDL,
    "column-differs": _DDL,
    "column-order-differs": _DDL,
    "column-collation-differs": _DDL,
    "rows-missing": _DAMAGE,
    "rows-collapsed": "find out whether these rows were deleted on purpose since the last verified drill",
    "rows-extra": _DAMAGE,
    "values-changed": _DAMAGE,
    "unlogged-rows-missing": "nothing: unlogged tables come back empty from a physical backup; log the table if it matters",
    "materialized-view-empty": "REFRESH MATERIALIZED VIEW after the restore; pg_restore does it in its last phase",
    "large-objects-differ": "dump with --large-objects (the default for whole databases), restore as one set",
    "sequence-behind": "set the sequence past its column (setval) and find out why the dump lacks its position",
    "sequence-missing": _DDL,
    "row-security-lost": "ALTER TABLE … ENABLE (and FORCE) ROW LEVEL SECURITY; do not put this copy into service",
    "row-security-gained": _DDL,
    "row-security-behaviour-differs": "compare policies, grants and role attributes: tenants may see each other's rows",
    "row-security-not-probed": "let the sandbox accept logins of ordinary roles over its private socket",
    "policy-lost": "restore without --no-policies; do not put this copy into service",
    "policy-extra": _DDL,
    "policy-changed": "compare the policy with the source's; do not put this copy into service before",
    "role-missing": _GLOBALS,
    "role-changed": _GLOBALS,
    "role-extra": "find out where this role comes from: a dump or its globals may have been tampered with",
    "role-setting-differs": _GLOBALS,
    "setting-of-all-roles-lost": "pg_dumpall does not write what ALTER ROLE ALL sets: set it in postgresql.conf, or again after a restore",
    "password-missing": "dump the globals without --no-role-passwords, or set the passwords from Vault",
    "membership-missing": _GLOBALS,
    "membership-changed": _GLOBALS,
    "membership-extra": "find out who granted it: a dump or its globals may have been tampered with",
    "grant-missing": _GRANTS,
    "grant-extra": "revoke it, and find out where it comes from: the dump may have been tampered with",
    "grant-differs": _GRANTS,
    "owner-differs": _GRANTS,
    "default-privileges-differ": _GRANTS,
    "extension-missing": "create the extension before the restore; install its package where the server lacks it",
    "extension-extra": _DDL,
    "extension-version-differs": "install the package of the source's version, or ALTER EXTENSION … UPDATE and verify again",
    "index-missing": "restore all sections of the dump (post-data), then ANALYZE",
    "index-invalid": "REINDEX INDEX CONCURRENTLY, and read why building it failed",
    "constraint-missing": "restore all sections of the dump (post-data); read which rows break the constraint",
    "constraint-not-valid": "ALTER TABLE … VALIDATE CONSTRAINT, and look at the rows that break it",
    "constraint-not-enforced": "ALTER TABLE … ENABLE TRIGGER ALL, then check the references: a restore with"
    " --disable-triggers was interrupted",
    "trigger-missing": "restore all sections of the dump (post-data)",
    "trigger-disabled": "ALTER TABLE … ENABLE TRIGGER; a restore with --disable-triggers may have been interrupted",
    "function-body-differs": "compare the function with the source's: it may have been tampered with",
    "setting-missing": "restore with --create: settings of a database are dumped only with it",
    "setting-differs": "restore with --create: settings of a database are dumped only with it",
    "tablespace-missing": "",
    "tablespace-differs": "",
    "grantor-differs": "",
    "row-security-behaviour-unknown": "",
    "manifest-content-unreadable": "take the set from another copy; find out who or what changed its manifest",
    "roles-not-compared": "take the backup again: its manifest must say which roles there were",
    "content-unread": "see the reason; let nobody lock the table, give the role the right to read, repair damage",
    "foreign-key-violated": "rows refer to rows that are not there: restore all tables of one and the same snapshot",
    "amcheck-failed": "the restored files are damaged: restore another set, check the disk and pg_checksums",
    "integrity-not-checked": "install the amcheck extension (contrib) beside the sandbox's server",
}
"""What to do, by code. Codes of the pattern `<kind>-missing|extra|differs` that are not here get the general text."""

INFORMATION = frozenset(
    {"tablespace-missing", "tablespace-differs", "grantor-differs", "row-security-behaviour-unknown"}
)
"""Codes that say something about place or provenance, not about content or access."""
UNPROVEN = frozenset(
    {
        "content-unread",
        "integrity-not-checked",
        "manifest-content-unreadable",
        "roles-not-compared",
        "row-security-not-probed",
        "setting-of-all-roles-lost",
        "unlogged-rows-missing",
    }
)


def content_findings(database: str, differences: Iterable[Difference]) -> tuple[Finding, ...]:
    """Return a finding for each difference, at most LISTED_PER_CODE of one code and one that counts the rest.

    Certain differences fail; uncertain ones and what could not be read are not proven; what concerns neither
    content nor access is information. database: its name, or "roles".
    """
    groups: dict[tuple[str, bool], list[Difference]] = defaultdict(list)
    for difference in differences:
        groups[difference.code, difference.uncertain or difference.code in UNPROVEN].append(difference)
    findings: list[Finding] = []
    for (code, unproven), members in groups.items():
        findings.extend(
            _finding(code, f"{database}: {_object(item)}{item.detail}", unproven=unproven)
            for item in members[:LISTED_PER_CODE]
        )
        if len(members) > LISTED_PER_CODE:
            rest = f"{database}: {len(members) - LISTED_PER_CODE} more of this kind, {len(members)} in all"
            findings.append(_finding(code, rest, unproven=unproven))
    return tuple(findings)


def integrity_findings(database: str, problems: Iterable[Problem]) -> tuple[Finding, ...]:
    """Return a finding for each problem of `smos.postgres.integrity`; a check that could not run proves nothing."""
    return content_findings(database, (Difference(problem.code, "", problem.detail) for problem in problems))


def _object(difference: Difference) -> str:
    return f"{difference.object.rstrip(':')}: " if difference.object else ""


def _finding(code: str, message: str, *, unproven: bool) -> Finding:
    if code in INFORMATION:
        return note(code, message)
    remedy = REMEDIES.get(code, _DUMP)
    if unproven:
        return not_proven(
            code, message, remedy if code in UNPROVEN else f"{_SANDBOX}; if it persists: {remedy}"
        )
    return fail(code, message, remedy)
