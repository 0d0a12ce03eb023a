"""What a recovered sandbox holds, read from its content; and how far it got, read from its own timeline history."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from smos.physical.facts import DatabaseFacts
from smos.physical.relations import check_relations
from smos.physical.sandbox import LISTENED, GuardedEndpoint, SandboxPostgres
from smos.postgres.compare import compare_content
from smos.postgres.content import DatabaseContent
from smos.postgres.fingerprint import read_content
from smos.postgres.integrity import check_integrity
from smos.postgres.soundness import trouble
from smos.verdict import Problem

HEARTBEATS = 5000
"""Newest heartbeats that are kept."""
_ALL = b"SELECT datname FROM pg_database WHERE datconnlimit <> -2 ORDER BY datname"  # -2: a DROP DATABASE broke off
_CLOSED = b"SELECT datname FROM pg_database WHERE NOT datallowconn AND datconnlimit <> -2"
_NAMES = b"SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"
_LAST_LINE = re.compile(r"^\d+\t([0-9A-F]+/[0-9A-F]+)\t(.*)$", re.MULTILINE)


def read_databases(
    server: SandboxPostgres,
    expected: Mapping[str, DatabaseContent],
    *,
    integrity: bool,
    compare: bool,
) -> tuple[DatabaseFacts, ...]:
    """Read every database of a recovered sandbox.

    integrity: check files, indexes, pages and references too (reads all), of templates and closed databases as well.
    """
    with psycopg.connect(server.endpoint.conninfo("template1"), autocommit=True) as connection:
        if integrity:
            for (name,) in connection.execute(_CLOSED).fetchall():
                connection.execute(
                    sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(str(name)))
                )
        names = [str(row[0]) for row in connection.execute(_ALL if integrity else _NAMES)]
    return tuple(
        _database(server, name, expected.get(name), integrity=integrity, compare=compare) for name in names
    )


def read_settings(endpoint: GuardedEndpoint) -> dict[str, str]:
    """Return what the sandbox runs with, of what must be off."""
    with psycopg.connect(endpoint.conninfo("template1")) as connection:
        rows = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(LISTENED),)
        ).fetchall()
    return {str(name): str(setting) for name, setting in rows}


def read_progress(server: SandboxPostgres) -> tuple[str, int, datetime | None]:
    """Return (position reached, timeline it went on with, last transaction's commit)."""
    with psycopg.connect(server.endpoint.conninfo("template1")) as connection:
        row = connection.execute(
            "SELECT pg_last_xact_replay_timestamp(), pg_walfile_name(pg_current_wal_insert_lsn())"
        ).fetchone()
    moment, name = row or (None, "00000000")
    timeline = int(str(name)[:8], 16)
    path = server.data_dir / "pg_wal" / f"{timeline:08X}.history"
    reached = _last_switch(path)
    return reached, timeline, moment.astimezone(UTC) if moment else None


def _last_switch(path: Path) -> str:
    if not path.is_file():
        return ""
    found = _LAST_LINE.findall(path.read_text(encoding="utf-8", errors="replace"))
    return str(found[-1][0]) if found else ""


def _database(
    server: SandboxPostgres, name: str, expected: DatabaseContent | None, *, integrity: bool, compare: bool
) -> DatabaseFacts:
    endpoint = server.endpoint
    problems: list[Problem] = []
    differences = None
    tables = rows = 0
    _silence(endpoint, name)
    with psycopg.connect(endpoint.conninfo(name)) as connection:
        heartbeats = _moments(connection, problems)
        markers = _markers(connection)
    if compare and expected is not None:
        content = read_content(
            lambda: psycopg.connect(endpoint.conninfo(name)), mode=expected.mode, probe=False
        )
        tables, rows = len(content.tables), content.rows
        problems += [
            Problem("table-unreadable", f"{name}: {table}: {facts.problem}")
            for table, facts in content.tables.items()
            if facts.problem
        ]
        differences = compare_content(_unprobed(expected), _unprobed(content), unlogged_survives=False)
    if integrity:
        try:
            found = [*_files(endpoint, name), *check_integrity(endpoint.conninfo(name))]
            problems += [Problem(problem.code, f"{name}: {problem.detail}") for problem in found]
        except psycopg.Error as error:
            problems.append(
                Problem("integrity-not-checked", f"{name}: {type(error).__name__} ({error.sqlstate})")
            )
    return DatabaseFacts(
        name=name,
        heartbeats=heartbeats,
        markers=markers,
        tables=tables,
        rows=rows,
        problems=tuple(problems),
        differences=differences,
    )


def _files(endpoint: GuardedEndpoint, name: str) -> tuple[Problem, ...]:
    """Compare the files of a database with its catalogue; what can't be asked is damage, or a gap of the sandbox."""
    with psycopg.connect(
        endpoint.conninfo(name),
        autocommit=True,
        client_encoding="UTF8",  # names in SQL_ASCII come as bytes otherwise
    ) as connection:
        try:
            return check_relations(connection)
        except psycopg.Error as error:
            if connection.broken:
                raise
            return (trouble("the files of the catalogue's relations", error),)


def _silence(endpoint: GuardedEndpoint, name: str) -> None:
    """Turn off the event triggers of a database: before PostgreSQL 17 no setting does, and installing amcheck is DDL.

    Statements about event triggers fire none themselves.
    """
    with psycopg.connect(endpoint.conninfo(name), autocommit=True) as connection:
        rows = connection.execute(b"SELECT evtname FROM pg_event_trigger WHERE evtenabled <> 'D'").fetchall()
        for (trigger,) in rows:
            connection.execute(sql.SQL("ALTER EVENT TRIGGER {} DISABLE").format(sql.Identifier(str(trigger))))


def _unprobed(content: DatabaseContent) -> DatabaseContent:
    """Leave out how row security behaves: a physical backup carries policies and catalogue byte by byte."""
    return replace(content, row_security=(), row_security_probed=True)


def _moments(connection: "psycopg.Connection[Any]", problems: list[Problem]) -> tuple[datetime, ...]:
    if not _has(connection, "smos.heartbeat", "at", "timestamptz"):
        return ()
    try:
        rows = connection.execute(
            "SELECT at FROM (SELECT h.at FROM smos.heartbeat AS h WHERE h.at BETWEEN '0001-01-02Z' AND"
            " '9999-12-30Z' ORDER BY h.at DESC LIMIT %s) AS newest ORDER BY at",
            (HEARTBEATS,),
        ).fetchall()
    except psycopg.Error as error:
        if connection.broken:
            raise
        connection.rollback()
        problems.append(
            Problem("table-unreadable", f"smos.heartbeat: {type(error).__name__} ({error.sqlstate})")
        )
        return ()
    return tuple(row[0].astimezone(UTC) for row in rows)


def _markers(connection: "psycopg.Connection[Any]") -> tuple[str, ...]:
    if not _has(connection, "smos.marker", "name", "text"):
        return ()
    try:
        return tuple(str(row[0]) for row in connection.execute("SELECT name FROM smos.marker ORDER BY name"))
    except psycopg.Error:
        if connection.broken:
            raise
        connection.rollback()
        return ()


def _has(connection: "psycopg.Connection[Any]", name: str, column: str, kind: str) -> bool:
    """Tell whether an ordinary table with this column is there: a view, or a type of its own, could run anything."""
    row = connection.execute(
        "SELECT c.relkind = 'r' AND NOT c.relrowsecurity AND EXISTS (SELECT FROM pg_attribute AS a"
        " WHERE a.attrelid = c.oid AND a.attname = %s AND a.atttypid = %s::regtype)"
        " FROM pg_class AS c WHERE c.oid = to_regclass(%s)",
        (column, kind, name),
    ).fetchone()
    return row == (True,)
