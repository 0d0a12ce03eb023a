"""Whether a restored database is sound in itself: indexes, heap pages, references, disabled checks.

Runs on a sandbox only: it reads everything, and installs the extension amcheck for as long as it runs where
it is absent.
"""

# Whole clauses of SQL stay on one line.

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from smos.postgres.names import qualified
from smos.postgres.session import fixed_settings
from smos.postgres.slots import Slots
from smos.postgres.soundness import HEAP_SINCE, Task, page_tasks, run_tasks
from smos.verdict import Problem

AMCHECK = "amcheck"

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
    array_agg(opn.nspname ORDER BY u.n), array_agg(op.oprname ORDER BY u.n),
    max(c.relpages)::bigint * current_setting('block_size')::int
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
    conninfo: str,
    *,
    jobs: int = 2,
    slots: Slots | None = None,
    foreign_keys: bool = True,
    heap_all_indexed: bool = True,
) -> tuple[Problem, ...]:
    """Check one restored database; nothing returned means sound.

    conninfo: superuser of the sandbox. jobs: sessions. slots: shared with other work on the same server.
    foreign_keys: look for rows that refer to nothing, which a restore with --disable-triggers lets in.
    heap_all_indexed: also look for rows that an index lacks; reads each table once per index.

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
            tasks = list(_references(cursor, connection.info.server_version)) if foreign_keys else []
        connection.rollback()
        with _amcheck(connection) as gap:
            if gap:
                problems.append(Problem("integrity-not-checked", gap))
            else:
                if connection.info.server_version < HEAP_SINCE:
                    detail = "amcheck looks at heap pages since PostgreSQL 14"
                    problems.append(Problem("integrity-not-checked", detail))
                try:
                    with fixed_settings(connection):
                        tasks += page_tasks(connection, heap_all_indexed=heap_all_indexed)
                except psycopg.errors.LockNotAvailable:
                    problems.append(Problem("integrity-not-checked", "somebody holds a table exclusively"))
                connection.rollback()
            problems += run_tasks(tasks, conninfo, jobs=jobs, slots=slots)
    return tuple(problems)


@contextmanager
def _amcheck(connection: "psycopg.Connection[Any]") -> Iterator[str]:
    """Have the extension amcheck installed; give the reason where that is not possible. Removed afterwards."""
    connection.autocommit = True
    if connection.execute("SELECT FROM pg_extension WHERE extname = %s", (AMCHECK,)).fetchone() is not None:
        yield ""
        return
    try:
        connection.execute(sql.SQL("CREATE EXTENSION {} SCHEMA pg_catalog").format(sql.Identifier(AMCHECK)))
    except psycopg.Error as error:
        yield f"the extension amcheck can't be installed: {type(error).__name__}"
        return
    try:
        yield ""
    finally:
        connection.execute("DROP EXTENSION amcheck")


def _references(cursor: "psycopg.Cursor[tuple[Any, ...]]", version: int) -> Iterator[Task]:
    """Look for rows whose foreign key refers to nothing, as the server does when it validates one."""
    # Temporal keys (PERIOD, PostgreSQL 18) compare ranges with containment: not looked at.
    plain = "AND NOT k.conperiod" if version >= 180000 else ""
    for row in cursor.execute(_FOREIGN_KEYS.format(plain=plain).encode()).fetchall():
        schema, table, name, other_schema, other, match, partitioned, here, there, spaces, symbols, size = row
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
        yield _reference(qualified(schema, table, name), float(size), query)


def _reference(constraint: str, size: float, query: sql.Composed) -> Task:
    problem = Problem("foreign-key-violated", f"{constraint}: rows refer to rows that are not there")
    return Task(constraint, size / 6, query, lambda rows: [problem] if rows == [(True,)] else [])
