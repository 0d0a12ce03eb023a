"""Read what the restored databases hold and compare it with the manifest, or with the last verified drill."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from smos.drill.leftout import excuse
from smos.drill.plan import RestorePlan
from smos.drill.record import DatabaseContentFacts
from smos.drill.restore import RestoreFacts
from smos.postgres.compare import compare_content
from smos.postgres.compare_roles import compare_roles
from smos.postgres.content import DatabaseContent
from smos.postgres.difference import Difference
from smos.postgres.hashing import HashMode
from smos.postgres.roles import read_roles
from smos.postgres.verify import read_and_check
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.verdict import Problem

ATTRIBUTES = {
    "SUPERUSER": "superuser",
    "REPLICATION": "replication",
    "BYPASSRLS": "bypass_row_security",
    "CREATEROLE": "create_role",
    "CREATEDB": "create_db",
}
"""PostgreSQL's words for what the sandbox may withhold from a role, and the manifest's."""
UNREADABLE = Problem("manifest-content-unreadable", "what the manifest says of its content can't be read")
UNEXPECTED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What a comparison runs into where a manifest holds other values than `to_json` writes, anywhere in its depth."""
Reading = tuple[DatabaseContent, tuple[Problem, ...], int]
ReadDatabase = Callable[[EmbeddedPostgres, RestoreFacts, str, int], Reading]
COLLAPSE = 0.5
"""A table that lost more than half of its rows since the last verified drill is worth a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentReading:
    """What was read of the sandbox. contents is kept for the baseline of a verified drill, not for the record."""

    facts: tuple[DatabaseContentFacts, ...] = ()
    role_differences: tuple[Difference, ...] = ()
    contents: dict[str, DatabaseContent] = field(default_factory=dict)
    data_bytes: int = 0

    @property
    def heartbeats(self) -> dict[str, datetime | None]:
        """Newest heartbeat of each database whose content could be read."""
        return {name: content.heartbeat_at for name, content in self.contents.items()}

    @property
    def restored(self) -> frozenset[str]:
        """Names of the databases whose content could be read."""
        return frozenset(self.contents)


def read_and_compare(
    sandbox: EmbeddedPostgres,
    plan: RestorePlan,
    restore: RestoreFacts | None,
    last_verified: Mapping[str, DatabaseContent],
    jobs: int,
    *,
    read: ReadDatabase | None = None,
) -> ContentReading:
    """Read every restored database, compare it, and check its integrity; databases in parallel.

    last_verified: what the last verified drill saw, the yardstick for what no manifest speaks of. read: reads one
    (default: `read_database`).

    A database that can't be read is left out: DR-03 then says that its content was not read.
    """
    if restore is None:
        return ContentReading()
    expected: dict[str, DatabaseContent] = {}
    contradictions: dict[str, tuple[Problem, ...]] = {}
    for entry in plan.manifest.databases if plan.manifest else ():
        try:
            expected[entry.name] = DatabaseContent.from_json(entry.content)
        except ValueError:
            contradictions[entry.name] = (UNREADABLE,)

    left_out = {item.name: item.left_out for item in restore.databases}
    ordinary = _ordinary_roles(plan)

    def compare(name: str) -> tuple[DatabaseContentFacts, DatabaseContent, int]:
        started = time.monotonic()
        mode = expected[name].mode if name in expected else HashMode.FAST
        if mode is HashMode.FAST:
            content, problems, size = (read or read_database)(sandbox, restore, name, jobs)
        else:  # as the manifest hashed it: one of an earlier version is compared as well
            content, problems, size = read_database(sandbox, restore, name, jobs, mode=mode)
        differences: tuple[Difference, ...] = ()
        compared_with = "nothing"
        if name in expected:
            try:
                found = compare_content(expected[name], content, ordinary_roles=ordinary)
                differences, compared_with = excuse(found, left_out.get(name, ())), "manifest"
            except UNEXPECTED:
                contradictions[name] = (UNREADABLE,)
        elif name in last_verified:
            differences, compared_with = _lost_since(last_verified[name], content), "last verified drill"
        facts = DatabaseContentFacts(
            database=name,
            compared_with=compared_with,
            tables=len(content.tables),
            rows=sum(table.rows or 0 for table in content.tables.values()),
            extensions=extension_names(content),
            seconds=time.monotonic() - started,
            differences=differences,
            problems=(*problems, *content.problems, *contradictions.get(name, ())),
        )
        return facts, content, size

    let_reader_in(sandbox, restore)
    names = sorted(item.name for item in restore.databases if item.restored)
    with ThreadPoolExecutor(jobs) as pool:
        readings = list(pool.map(compare, names))
    return ContentReading(
        facts=tuple(facts for facts, _, _ in readings),
        role_differences=_roles(sandbox, plan, restore),
        contents={facts.database: content for facts, content, _ in readings},
        data_bytes=sum(size for _, _, size in readings),
    )


def read_database(
    sandbox: EmbeddedPostgres,
    restore: RestoreFacts,
    name: str,
    jobs: int,
    *,
    mode: HashMode = HashMode.FAST,
) -> Reading:
    """Return what a restored database holds, what is unsound in it, and its size in bytes."""
    conninfo = sandbox.endpoint.conninfo(name)
    # Not as the administrator: reading a row may call a cast that came with the dump.
    as_reader = sandbox.endpoint.conninfo(name, restore.sandbox.reader)
    content, problems = read_and_check(lambda: psycopg.connect(as_reader), conninfo, jobs=jobs, mode=mode)
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return content, problems, int(row[0]) if row else 0


def let_reader_in(sandbox: EmbeddedPostgres, restore: RestoreFacts) -> None:
    """Make the sandbox's reader a member of every restored role: a database may let in nobody else."""
    with psycopg.connect(sandbox.endpoint.conninfo("postgres"), autocommit=True) as connection:
        for role in restore.roles_created:
            connection.execute(
                sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(restore.sandbox.reader))
            )


def extension_names(content: DatabaseContent) -> tuple[str, ...]:
    """Return the names of the extensions that a database has."""
    return tuple(sorted(content.catalogue.of_kind("extension")))


def _lost_since(before: DatabaseContent, now: DatabaseContent) -> tuple[Difference, ...]:
    """Return what was there in the last verified drill and is gone: it may have been dropped on purpose.

    Everything here is uncertain, so it can only say NOT_PROVEN: databases live, and rows come and go.
    """
    lost = [
        replace(item, uncertain=True)
        for item in compare_content(before, now)
        if item.code.endswith("-missing")
    ]
    for name, table in before.tables.items():
        rows = now.tables[name].rows if name in now.tables else None
        if table.rows and rows is not None and rows < table.rows * COLLAPSE:
            detail = f"{table.rows} rows in the last verified drill, {rows} now"
            lost.append(Difference("rows-collapsed", f"table:{name}", detail, uncertain=True))
    return tuple(item for item in lost if item.code != "rows-missing")


def _ordinary_roles(plan: RestorePlan) -> frozenset[str] | None:
    """Return the roles of the source that may log in and that row security binds; None where no manifest says."""
    roles = plan.manifest.roles.get("roles") if plan.manifest else None
    if not isinstance(roles, dict):
        return None
    return frozenset(
        name
        for name, role in roles.items()
        if isinstance(role, dict)
        and role.get("login")
        and not role.get("superuser")
        and not role.get("bypass_row_security")
    )


def _roles(sandbox: EmbeddedPostgres, plan: RestorePlan, restore: RestoreFacts) -> tuple[Difference, ...]:
    if plan.manifest is None:
        return ()
    if not plan.manifest.roles.get("roles"):
        return (Difference("roles-not-compared", "", "the manifest names no role at all", uncertain=True),)
    try:
        return _compare_roles(plan.manifest.roles, _read_roles(sandbox), restore)
    except UNEXPECTED:
        detail = "what the manifest says of roles can't be read"
        return (Difference("roles-not-compared", "", detail, uncertain=True),)


def _compare_roles(
    expected: Mapping[str, Any], actual: Mapping[str, Any], restore: RestoreFacts
) -> tuple[Difference, ...]:
    """Compare roles as the globals describe them: what the sandbox withheld was backed up, and is no loss."""
    return compare_roles(expected, _as_described(expected, actual, restore), ignore=restore.harness_roles)


def _as_described(
    expected: Mapping[str, Any], actual: Mapping[str, Any], restore: RestoreFacts
) -> dict[str, Any]:
    """Return the sandbox's roles with the rights that the globals give and that no backup gets here.

    The options of a membership that was not granted are unknown, so they count as in the manifest; rights that the
    manifest does not know differ from it like any other.
    """
    roles = {name: dict(role) for name, role in actual.get("roles", {}).items()}
    memberships = list(actual.get("memberships", ()))
    known = expected.get("memberships", ())
    for item in restore.roles_withheld:
        found = roles.setdefault(item.name, {})
        found |= {ATTRIBUTES[attribute]: True for attribute in item.attributes if attribute in ATTRIBUTES}
        for role in item.roles:
            same = [one for one in known if (one["role"], one["member"]) == (role, item.name)]
            memberships += same or [{"role": role, "member": item.name, "admin": False}]
    return {**actual, "roles": roles, "memberships": memberships}


def _read_roles(sandbox: EmbeddedPostgres) -> dict[str, Any]:
    with psycopg.connect(sandbox.endpoint.conninfo("postgres")) as connection:
        return read_roles(connection)
