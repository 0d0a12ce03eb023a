"""Whether a restored database is sound in itself: indexes, heap pages, references, disabled checks.

Runs on a sandbox only: it reads everything, and installs the extension amcheck for as long as it runs where
it is absent.
"""

# Whole clauses of SQL stay on one line.

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from smos.postgres.names import qualified
from smos.postgres.session import fixed_settings
from smos.verdict import Problem

AMCHECK_TIMEOUT_S = 4 * 3600
LISTED = 50
_COMPLAINT = re.compile(r'^(?:heap table|btree index) "(?P<name>.*?)"(?P<where>.*?):\s*$')
_COMPLAINTS_FOUND = 2
"""Exit code of pg_amcheck when it ran and found corruption. Source: its manual page, "Exit status"."""

_INVALID = b"""
SELECT n.nspname, c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT (i.indisvalid AND i.indisready) AND n.nspname !~ '^pg_temp' ORDER BY 1, 2
"""
_DISABLED = b"""
SELECT n.nspname, c.relname, k.conname FROM pg_trigger AS g JOIN pg_constraint AS k ON k.oid = g.tgconstraint
JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE g.tgisinternal AND g.tgenabled = 'D' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# Foreign keys of leaves and plain tables, with the operators that the server itself compares with.
_FOREIGN_KEYS = """
SELECT n.nspname, c.relname, k.conname, pn.nspname, p.relname, k.confmatchtype::text, p.relkind = 'p',
    array_agg(a.attname ORDER BY u.n), array_agg(b.attname ORDER BY u.n),
    array_agg(opn.nspname ORDER BY u.n), array_agg(op.oprname ORDER BY u.n)
FROM pg_constraint AS k
JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS p ON p.oid = k.confrelid JOIN pg_namespace AS pn ON pn.oid = p.relnamespace,
LATERAL unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS u(here, there, operator, n)
JOIN pg_attribute AS a ON true JOIN pg_attribute AS b ON true
JOIN pg_operator AS op ON true JOIN pg_namespace AS opn ON opn.oid = op.oprnamespace
WHERE k.contype = 'f' AND k.convalidated AND k.conparentid = 0 {plain}
  AND a.attrelid = k.conrelid AND a.attnum = u.here AND b.attrelid = k.confrelid AND b.attnum = u.there
  AND op.oid = u.operator AND c.relpersistence <> 't'
GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3
"""


def check_integrity(
    bin_dir: Path,
    conninfo: str,
    *,
    jobs: int = 2,
    env: Mapping[str, str] | None = None,
    foreign_keys: bool = True,
    heap_all_indexed: bool = True,
) -> tuple[Problem, ...]:
    """Check one restored database; nothing returned means sound.

    bin_dir: directory of PostgreSQL's tools. conninfo: superuser of the sandbox; a password in it is handed
    to the tool by its environment. env: added to the tool's environment. foreign_keys: look for rows that
    refer to nothing, which a restore with --disable-triggers lets in. heap_all_indexed: also look for rows
    that an index lacks; reads each table once per index.

    Codes: index-invalid, constraint-not-enforced, foreign-key-violated, amcheck-failed; integrity-not-checked
    says that a part could not run, which proves nothing either way (a gap of the sandbox).
    Raises psycopg.Error when the database can't be reached.
    """
    problems: list[Problem] = []
    # Else names of a database in SQL_ASCII come as bytes.
    with psycopg.connect(conninfo, client_encoding="UTF8") as connection:
        with fixed_settings(connection) as cursor:
            cursor.execute(_INVALID)
            problems += [Problem("index-invalid", f"index {qualified(*row)} is not valid") for row in cursor]
            cursor.execute(_DISABLED)
            problems += [
                Problem("constraint-not-enforced", f"the triggers of {qualified(*row)} are disabled")
                for row in cursor
            ]
        if foreign_keys:
            problems += _references(connection)
        connection.rollback()
        with _amcheck(connection) as trouble:
            if trouble:
                problems.append(Problem("integrity-not-checked", trouble))
            else:
                problems += _pages(bin_dir, conninfo, jobs, env or {}, heap_all_indexed=heap_all_indexed)
                problems += _gin_indexes(connection)
    return tuple(problems)


@contextmanager
def _amcheck(connection: "psycopg.Connection[Any]") -> Iterator[str]:
    """Have the extension amcheck installed; give the reason where that is not possible. Removed afterwards."""
    connection.autocommit = True
    if connection.execute("SELECT FROM pg_extension WHERE extname = 'amcheck'").fetchone() is not None:
        yield ""
        return
    try:
        connection.execute("CREATE EXTENSION amcheck SCHEMA pg_catalog")
    except psycopg.Error as error:
        yield f"the extension amcheck can't be installed: {type(error).__name__}"
        return
    try:
        yield ""
    finally:
        connection.execute("DROP EXTENSION amcheck")


def _pages(
    bin_dir: Path, conninfo: str, jobs: int, env: Mapping[str, str], *, heap_all_indexed: bool
) -> Iterator[Problem]:
    """Run pg_amcheck over all tables and B-tree indexes."""
    tool = bin_dir / "pg_amcheck"
    if not tool.exists():
        yield Problem(
            "integrity-not-checked", "this installation has no pg_amcheck (PostgreSQL 14 and newer)"
        )
        return
    parts = conninfo_to_dict(conninfo)
    password = parts.pop("password", None)
    environment = {**os.environ, **env, "LC_MESSAGES": "C"}
    if password:
        environment["PGPASSWORD"] = str(password)
    arguments = [str(tool), "--no-password", f"--jobs={jobs}"]
    if heap_all_indexed:
        arguments.append("--heapallindexed")
    database = make_conninfo("", **{key: value for key, value in parts.items() if value is not None})
    try:
        done = subprocess.run(  # noqa: PLW1510  (its exit code is a result)
            [*arguments, database],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=AMCHECK_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        yield Problem("integrity-not-checked", f"pg_amcheck was stopped after {AMCHECK_TIMEOUT_S} s")
        return
    yield from _read_output(done.returncode, done.stdout.decode(errors="replace"), done.stderr)


def _read_output(code: int, output: str, errors: bytes) -> Iterator[Problem]:
    """Read pg_amcheck's report: a line that names the place, then indented lines that say what is wrong."""
    matches = (_COMPLAINT.match(line) for line in output.splitlines())
    named = list(dict.fromkeys(match["name"] + match["where"] for match in matches if match))
    for name in named[:LISTED]:
        yield Problem("amcheck-failed", f"damaged: {name}")
    if len(named) > LISTED:
        yield Problem("amcheck-failed", f"damaged in {len(named) - LISTED} more places")
    if code == _COMPLAINTS_FOUND and not named:
        yield Problem("amcheck-failed", "pg_amcheck found damage")
    elif code not in {0, _COMPLAINTS_FOUND}:
        lines = errors.decode(errors="replace").strip().splitlines()
        reason = next((line for line in lines if "error" in line), "no message")
        yield Problem("integrity-not-checked", f"pg_amcheck ended with {code}: {reason[:200]}")


def _gin_indexes(connection: "psycopg.Connection[Any]") -> Iterator[Problem]:
    """Check GIN indexes where the extension can (PostgreSQL 18); pg_amcheck looks at B-trees only."""
    function = connection.execute(
        "SELECT n.nspname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_depend AS d"
        " ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension AS x"
        " ON x.oid = d.refobjid WHERE x.extname = 'amcheck' AND p.proname = 'gin_index_check'"
    ).fetchone()
    if function is None:
        return
    check = sql.SQL("SELECT {}(%s::oid::regclass)").format(sql.Identifier(function[0], "gin_index_check"))
    rows = connection.execute(
        "SELECT n.nspname, c.relname, c.oid::bigint FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " JOIN pg_am AS a ON a.oid = c.relam JOIN pg_index AS i ON i.indexrelid = c.oid"
        " WHERE a.amname = 'gin' AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid"
    ).fetchall()
    for schema, name, oid in rows:
        try:
            connection.execute(check, (oid,))
        except psycopg.Error as error:
            if connection.broken:
                raise
            yield _trouble(f"index {qualified(schema, name)}", error)


def _references(connection: "psycopg.Connection[Any]") -> Iterator[Problem]:
    """Look for rows whose foreign key refers to nothing, as the server does when it validates one."""
    # Temporal keys (PERIOD, PostgreSQL 18) compare ranges with containment: not looked at.
    plain = "AND NOT k.conperiod" if connection.info.server_version >= 180000 else ""
    with fixed_settings(connection) as cursor:
        keys = cursor.execute(_FOREIGN_KEYS.format(plain=plain).encode()).fetchall()
        for (
            schema,
            table,
            name,
            other_schema,
            other,
            match,
            partitioned,
            here,
            there,
            spaces,
            symbols,
        ) in keys:
            joined = sql.SQL(" AND ").join(
                sql.SQL("p.{} OPERATOR({}.{}) f.{}").format(
                    sql.Identifier(b), sql.Identifier(space), sql.SQL(symbol), sql.Identifier(a)
                )
                for a, b, space, symbol in zip(here, there, spaces, symbols, strict=True)
            )
            # MATCH SIMPLE: one NULL excuses the row; MATCH FULL: only when all are NULL.
            word = sql.SQL(" OR " if match == "f" else " AND ")
            refers = word.join(sql.SQL("f.{} IS NOT NULL").format(sql.Identifier(a)) for a in here)
            query = sql.SQL(
                "SELECT EXISTS (SELECT FROM {} AS f WHERE ({}) AND NOT EXISTS (SELECT FROM {}{} AS p WHERE {}))"
            ).format(
                sql.Identifier(schema, table),
                refers,
                sql.SQL("" if partitioned else "ONLY "),
                sql.Identifier(other_schema, other),
                joined,
            )
            constraint = qualified(schema, table, name)
            try:
                with connection.transaction(force_rollback=True):
                    violated = cursor.execute(query).fetchone() == (True,)
            except psycopg.Error as error:
                if connection.broken:
                    raise
                yield _trouble(constraint, error)
                continue
            if violated:
                detail = f"{constraint}: rows refer to rows that are not there"
                yield Problem("foreign-key-violated", detail)


def _trouble(name: str, error: psycopg.Error) -> Problem:
    """Tell damage from what only kept us from looking. The server's own text may quote a value."""
    if isinstance(error, psycopg.errors.DataCorrupted | psycopg.errors.IndexCorrupted):
        return Problem("amcheck-failed", f"damaged: read for {name} ({type(error).__name__})")
    return Problem("integrity-not-checked", f"{name}: {type(error).__name__} ({error.sqlstate})")
