"""The parallel part of the checks of one restored database: heap pages, indexes, references, a query each.

Like pg_amcheck, which knows no other work to fill its sessions with; and a large heap is cut into ranges. What the
server complains of is never repeated, because it may quote a value: the place is named, and the kind.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from smos.postgres.names import qualified
from smos.postgres.session import LOCK_TIMEOUT_S
from smos.postgres.slots import Slots
from smos.verdict import Problem

CHECK_TIMEOUT_S = 4 * 3600
LISTED = 50
"""Places of one table that are named; more are counted."""
HEAP_RANGE_BYTES = 256 << 20
HEAP_SINCE, UNIQUE_SINCE, GIN_SINCE = 140000, 170000, 180000
"""Versions whose amcheck looks at heap pages, at uniqueness, at GIN indexes."""
DAMAGE = ("XX", "58P01")
"""SQLSTATEs of a corrupted page, index or file, and of an internal contradiction. Source: errcodes appendix."""

_FUNCTIONS = """
SELECT p.proname, n.nspname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_depend AS d
ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension AS x ON x.oid = d.refobjid
WHERE x.extname = 'amcheck'
"""
# Of temporary and, on a standby, unlogged relations there is nothing to check.
_RELATIONS = """
SELECT c.oid::bigint, n.nspname, c.relname, a.amname, pg_relation_size(c.oid)::float8, greatest(t.reltuples, 0)::float8,
    coalesce(pg_relation_size(t.oid), 0)::float8, coalesce(i.indisunique, false), current_setting('block_size')::int
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_am AS a ON a.oid = c.relam
LEFT JOIN pg_index AS i ON i.indexrelid = c.oid LEFT JOIN pg_class AS t ON t.oid = i.indrelid
WHERE c.relpersistence <> 't' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
  AND ((c.relkind IN ('r', 'm', 't', 'S') AND a.amname = 'heap')
    OR (c.relkind = 'i' AND a.amname IN ('btree', 'gin') AND i.indisvalid AND i.indisready AND i.indislive))
ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True)
class Task:
    """One query. name: of what it looks at. weight: bytes that a content hash would take as long for.

    read: turns its rows into problems.
    """

    name: str
    weight: float
    query: sql.Composed
    read: Callable[[Sequence[tuple[Any, ...]]], list[Problem]]


def page_tasks(connection: "psycopg.Connection[Any]", *, heap_all_indexed: bool) -> list[Task]:
    """Return the checks of every heap and index of the database; amcheck must be installed. Raises psycopg.Error."""
    functions = dict(connection.execute(_FUNCTIONS.encode()).fetchall())
    version = connection.info.server_version
    tasks: list[Task] = []
    for oid, schema, name, method, size, rows, heap, unique, block in connection.execute(_RELATIONS.encode()):
        label = qualified(schema, name)
        if method == "heap":
            if "verify_heapam" in functions:
                tasks += _heap(functions["verify_heapam"], oid, label, size, block)
            continue
        options: sql.SQL | sql.Composed = sql.SQL("")
        weight = size / 5
        if method == "gin":
            function = "gin_index_check"
        else:
            function = "bt_index_check"
            options = sql.SQL(", heapallindexed => {}").format(sql.Literal(heap_all_indexed))
            if version >= UNIQUE_SINCE and unique:
                options += sql.SQL(", checkunique => true")
            if heap_all_indexed:  # some ten random reads of a large filter, twice a row
                weight += heap / 10 + rows * 250
        if function not in functions:
            continue
        call = sql.SQL("SELECT FROM {}({}::oid::regclass{})").format(
            sql.Identifier(functions[function], function), sql.Literal(oid), options
        )
        tasks.append(Task(f"index {label}", weight, call, lambda _rows: []))
    return tasks


def _heap(schema: str, oid: int, label: str, size: float, block: int) -> list[Task]:
    """Cut one heap into ranges of pages; the last one is open."""
    step = HEAP_RANGE_BYTES // block
    pages = int(size) // block
    found = []
    for start in range(0, max(1, pages), step):
        bounds: sql.SQL | sql.Composed = sql.SQL("")
        if pages > step:
            bounds = sql.SQL(", startblock => {}").format(sql.Literal(start))
            if start + step < pages:
                bounds += sql.SQL(", endblock => {}").format(sql.Literal(start + step - 1))
        query = sql.SQL(
            "SELECT blkno, offnum, attnum FROM {}({}::oid::regclass, on_error_stop => false{})"
        ).format(sql.Identifier(schema, "verify_heapam"), sql.Literal(oid), bounds)

        def read(rows: Sequence[tuple[Any, ...]]) -> list[Problem]:
            places = list(dict.fromkeys(_place(label, *row) for row in rows))
            named = [Problem("amcheck-failed", f"damaged: {place}") for place in places[:LISTED]]
            if len(places) > LISTED:
                more = f"damaged in {len(places) - LISTED} more places of table {label}"
                named.append(Problem("amcheck-failed", more))
            return named

        found.append(Task(f"table {label}", min(size, HEAP_RANGE_BYTES) / 8, query, read))
    return found


def _place(label: str, page: int | None, row: int | None, column: int | None) -> str:
    words = [f"table {label}"]
    words += [f"{word} {number}" for word, number in (("block", page), ("offset", row), ("attribute", column)) if
              number is not None]  # fmt: skip
    return ", ".join(words)


def run_tasks(
    tasks: Sequence[Task], conninfo: str, *, jobs: int, slots: Slots | None = None
) -> list[Problem]:
    """Run them in `jobs` sessions, the heaviest first; return what was found, in the order of the tasks.

    slots: shared with other work on the same server. Raises psycopg.Error when the server can't be reached.
    """
    queue = deque(sorted(enumerate(tasks), key=lambda pair: -pair[1].weight))
    found: dict[int, list[Problem]] = {}
    lock = threading.Lock()
    shared = slots or Slots(jobs)

    def work() -> None:
        with psycopg.connect(conninfo, autocommit=True, client_encoding="UTF8") as connection:
            _fix(connection)
            while queue:
                try:
                    number, task = queue.popleft()
                except IndexError:
                    return
                with shared.take(task.weight):
                    problems = _run(connection, task)
                with lock:
                    found[number] = problems
                if connection.broken:
                    return

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        try:
            for one in [pool.submit(work) for _ in range(max(1, min(jobs, len(tasks))))]:
                one.result()
        except BaseException:
            queue.clear()  # the others stop after what they are doing
            raise
    left = [Problem("integrity-not-checked", f"{task.name}: no session was left") for _, task in queue]
    return [problem for number in sorted(found) for problem in found[number]] + left


def trouble(name: str, error: psycopg.Error) -> Problem:
    """Tell damage from what only kept us from looking. The server's own text may quote a value."""
    if (error.sqlstate or "").startswith(DAMAGE):
        return Problem("amcheck-failed", f"damaged: {name} ({type(error).__name__})")
    return Problem("integrity-not-checked", f"{name}: {type(error).__name__} ({error.sqlstate})")


def _run(connection: "psycopg.Connection[Any]", task: Task) -> list[Problem]:
    try:
        return task.read(connection.execute(task.query).fetchall())
    except psycopg.Error as error:
        return [trouble(task.name, error)]


def _fix(connection: "psycopg.Connection[Any]") -> None:
    """Fix what a database's or a role's own settings could change for the session."""
    for name, value in (
        ("search_path", "pg_catalog, pg_temp"),
        ("statement_timeout", f"{CHECK_TIMEOUT_S}s"),
        ("lock_timeout", f"{LOCK_TIMEOUT_S}s"),
        ("row_security", "off"),
        ("jit", "off"),
        ("max_parallel_workers_per_gather", "0"),
    ):
        connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
