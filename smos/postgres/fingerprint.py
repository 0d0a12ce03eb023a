"""Read what a database holds: catalogue, rows and hashes of every table, sequences, large objects.

Everything is read in one snapshot (that of the dump, where its name is given), in read-only transactions,
with bounded locks, by set queries: many small tables a query, large ones in ranges of pages over several
sessions. No row leaves the server.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from smos.postgres.catalogue import read_catalogue
from smos.postgres.content import (
    DatabaseContent,
    LargeObjects,
    RowSecurityFacts,
    SequenceContent,
    TableContent,
)
from smos.postgres.fingerprint_sql import FEEDS, SEQUENCES, TABLES, TABLES_WITHOUT_LOCKS
from smos.postgres.hashing import HashMode, Scan, large_object_query, scan_query
from smos.postgres.names import qualified
from smos.postgres.row_hash import Column
from smos.postgres.row_security import ConnectAs, probe_row_security
from smos.postgres.session import Connect, snapshot_session
from smos.postgres.slots import Slots
from smos.verdict import Problem

__all__ = ["DatabaseContent", "HashMode", "RowSecurityFacts", "read_content"]

BATCH_TABLES = 50
"""Tables of one query. Their locks are given back after it, so a schema of any size needs few."""
BATCH_BYTES = 8 << 20
RANGE_BYTES = 64 << 20
"""Tables are cut into ranges no smaller than this."""
SEQUENCES_A_QUERY = 200
CANARY = ("ñ", "n", "o", "á", "a", "z", "Ü", "u", "Z", "ä", "_", "-", " ")


@dataclass(slots=True)
class _Tally:
    """What has been added up for one table so far."""

    rows: int = 0
    sums: list[int] = field(default_factory=list)
    extremes: list[int | None] = field(default_factory=list)
    problem: str = ""

    def add(self, rows: int, sums: list[str], extremes: list[str | None]) -> None:
        self.rows += rows
        numbers = [int(text) for text in sums]
        self.sums = [a + b for a, b in zip(self.sums, numbers, strict=True)] if self.sums else numbers
        values = [None if text is None else int(text) for text in extremes]
        if self.extremes:
            pick = (min, max)
            values = [
                b if a is None else a if b is None else pick[n % 2](a, b)
                for n, (a, b) in enumerate(zip(self.extremes, values, strict=True))
            ]
        self.extremes = values


@dataclass(frozen=True, slots=True)
class _Table:
    oid: int
    schema: str
    table: str
    bytes: int
    populated: bool
    unreadable: bool
    condition: str
    toasted: bool
    columns: tuple[Column, ...]


def read_content(
    connect: Connect,
    *,
    snapshot: str | None = None,
    jobs: int = 2,
    mode: HashMode | str = HashMode.FAST,
    connect_as: ConnectAs | None = None,
    probe: bool = True,
    slots: Slots | None = None,
) -> DatabaseContent:
    """Read what the database holds that `connect` connects to. Nothing is written.

    snapshot: name of an exported snapshot (`pg_export_snapshot`) whose owner stays open; None takes one of
    its own. jobs: sessions that read tables at the same time. mode: see `smos.postgres.hashing`; what is compared with
    a manifest is read in the manifest's mode. slots: shared with other work on the same server. connect_as, probe: for
    row security, see `smos.postgres.row_security`.

    A table that can't be read (locked, no right, damaged) is recorded with its problem and does not stop the
    rest. Raises psycopg.Error when the server can't be reached or the snapshot is not valid, BackupError when
    it is older than PostgreSQL 13.
    """
    mode = HashMode(mode)
    with snapshot_session(connect, snapshot) as main:
        catalogue = read_catalogue(main)
        row = main.execute(
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn()"
            " END::text, current_setting('block_size')::int"
        ).fetchone()
        lsn, block = (str(row[0] or ""), int(row[1])) if row else ("", 8192)
        tables = _list_tables(main)
        feeds = _feeds(main)
        columns: dict[int, list[str]] = defaultdict(list)
        for relation, column in (feed for of_one in feeds.values() for feed in of_one):
            if column not in columns[relation]:
                columns[relation].append(column)
        # Scans of a range of pages need PostgreSQL 14: before, each range would read the whole table.
        ranges = catalogue.server_version_num >= 140000
        queue = deque(_plan(tables, columns, jobs=jobs, block=block, ranges=ranges))
        work = _Work(
            queue, {key: _tally(table) for key, table in enumerate(tables)}, mode, slots or Slots(jobs)
        )
        _scan_all(main, connect, snapshot, work, jobs=jobs)
        content = _tables(tables, work.tallies)
        sequences, more = _sequences(main, feeds, tables, columns, work.tallies)
        large_objects, trouble = _large_objects(main, mode)
        heartbeat = _heartbeat(main)
        canary = _sort_canary(main)
        facts: tuple[RowSecurityFacts, ...] | None = None
        if probe:
            totals = {name: t.rows for name, t in content.items() if t.rows is not None}
            facts = probe_row_security(main, catalogue, connect_as=connect_as, totals=totals)
        problems = [*work.problems, *more, *trouble]
        if facts is None:
            problems.append(
                Problem("row-security-not-probed", "no ordinary role could log in without a password")
            )
    return DatabaseContent(
        server_version_num=catalogue.server_version_num,
        mode=mode,
        lsn=lsn,
        heartbeat_at=heartbeat,
        catalogue=catalogue,
        tables=content,
        sequences=sequences,
        large_objects=large_objects,
        sort_canary=canary,
        row_security=facts or (),
        row_security_probed=facts is not None,
        problems=tuple(problems),
    )


def _tally(table: _Table) -> _Tally:
    return _Tally(problem="an unlogged table can't be read on a standby" if table.unreadable else "")


def _list_tables(connection: "psycopg.Connection[Any]") -> list[_Table]:
    try:
        with connection.transaction(force_rollback=True):
            rows = connection.execute(TABLES).fetchall()
    except psycopg.errors.LockNotAvailable:  # somebody holds a table exclusively: reading it will say so
        rows = connection.execute(TABLES_WITHOUT_LOCKS).fetchall()
    return [
        _Table(
            oid=oid,
            schema=schema,
            table=table,
            bytes=size,
            populated=populated,
            unreadable=unreadable,
            condition=condition,
            toasted=toasted,
            columns=tuple(map(Column, names, types)),
        )
        for oid, schema, table, size, populated, unreadable, condition, toasted, names, types in rows
    ]


def _feeds(connection: "psycopg.Connection[Any]") -> dict[int, list[tuple[int, str]]]:
    feeds: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for sequence, relation, column in connection.execute(FEEDS):
        feeds[sequence].append((relation, column))
    return feeds


def _plan(
    tables: list[_Table], columns: dict[int, list[str]], *, jobs: int, block: int, ranges: bool
) -> Iterator[list[Scan]]:
    """Cut the work into queries: the largest first, so that no session is left with one at the end."""
    batch: list[Scan] = []
    size = 0
    for key, table in sorted(enumerate(tables), key=lambda pair: -pair[1].bytes):
        if not table.populated or table.unreadable:
            continue

        def scan(
            key: int = key, table: _Table = table, pages: tuple[int, int | None] | None = None, size: int = 0
        ) -> Scan:
            return Scan(
                bytes=size or table.bytes,
                key=key,
                schema=table.schema,
                table=table.table,
                columns=tuple(columns.get(table.oid, ())),
                condition=table.condition,
                pages=pages,
                row=table.columns,
                toasted=table.toasted,
            )

        if table.bytes > BATCH_BYTES:
            cut = max(RANGE_BYTES, table.bytes // (4 * jobs) + 1) // block
            total = -(-table.bytes // block)
            if jobs == 1 or not ranges or table.condition or total <= cut:
                yield [scan()]
                continue
            starts = list(range(0, total, cut))
            for start, after in zip(starts, [*starts[1:], None], strict=True):
                yield [
                    scan(pages=(start, after), size=cut * block)
                ]  # the last one is open: the table may have grown
            continue
        if batch and (len(batch) >= BATCH_TABLES or size + table.bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(scan())
        size += table.bytes
    if batch:
        yield batch


@dataclass(slots=True)
class _Work:
    """The queries that are left, and what was added up so far; shared by the sessions that work on it."""

    queue: deque[list[Scan]]
    tallies: dict[int, _Tally]
    mode: HashMode
    slots: Slots
    problems: list[Problem] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def drain(self, connection: "psycopg.Connection[Any]") -> None:
        """Run queries until none is left."""
        while True:
            try:
                scans = self.queue.popleft()
            except IndexError:
                return
            with self.slots.take(sum(scan.bytes for scan in scans)):
                results = _run(connection, scans, self.mode)
            with self.lock:
                for key, outcome in results:
                    if isinstance(outcome, str):
                        self.tallies[key].problem = outcome
                    else:
                        self.tallies[key].add(*outcome)

    def help_out(self, connect: Connect, snapshot: str | None) -> None:
        """Work with a session of its own in the same snapshot."""
        try:
            opened = connect()
        except psycopg.OperationalError:  # no room for another session: the others do the work
            with self.lock:
                self.problems.append(Problem("fewer-sessions", "the server refused a further session"))
            return
        with snapshot_session(lambda: opened, snapshot) as connection:
            self.drain(connection)


def _scan_all(
    main: "psycopg.Connection[Any]", connect: Connect, snapshot: str | None, work: _Work, *, jobs: int
) -> None:
    """Read all tables; the main session is one of the workers."""
    helpers = min(jobs, len(work.queue)) - 1
    if helpers < 1:
        work.drain(main)
        return
    if snapshot is None:
        row = main.execute("SELECT pg_export_snapshot()").fetchone()
        snapshot = str(row[0]) if row else None
    with ThreadPoolExecutor(helpers) as pool:
        others = [pool.submit(work.help_out, connect, snapshot) for _ in range(helpers)]
        try:
            work.drain(main)
        except BaseException:
            work.queue.clear()  # the others stop after what they are doing
            raise
        for other in others:
            other.result()


_Outcome = tuple[int, list[str], list[str | None]]


def _run(
    connection: "psycopg.Connection[Any]", scans: list[Scan], mode: HashMode
) -> list[tuple[int, _Outcome | str]]:
    """Run one query for several scans; when it fails, each alone, so that one bad table spoils no other."""
    query = sql.SQL(" UNION ALL ").join(
        scan_query(scan, mode, server_version_num=connection.info.server_version) for scan in scans
    )
    try:
        with connection.transaction(force_rollback=True):  # gives the locks back
            rows = connection.execute(query).fetchall()
        return [(int(key), (int(count), sums, extremes)) for key, count, sums, extremes in rows]
    except psycopg.Error as error:
        if connection.broken:
            raise
        if len(scans) == 1:
            # Never the server's own text: it may quote a value.
            return [(scans[0].key, f"{type(error).__name__} ({error.sqlstate})")]
    return [result for scan in scans for result in _run(connection, [scan], mode)]


def _tables(tables: list[_Table], tallies: dict[int, _Tally]) -> dict[str, TableContent]:
    content = {}
    for key, table in enumerate(tables):
        tally = tallies[key]
        readable = table.populated and not tally.problem
        content[qualified(table.schema, table.table)] = TableContent(
            rows=tally.rows if readable else None,
            hash=":".join(str(number) for number in tally.sums) if readable else None,
            bytes=table.bytes,
            problem=tally.problem,
        )
    return content


def _sequences(
    connection: "psycopg.Connection[Any]",
    feeds: dict[int, list[tuple[int, str]]],
    tables: list[_Table],
    columns: dict[int, list[str]],
    tallies: dict[int, _Tally],
) -> tuple[dict[str, SequenceContent], list[Problem]]:
    rows = connection.execute(SEQUENCES).fetchall()
    keys = {table.oid: key for key, table in enumerate(tables)}
    found: dict[str, SequenceContent] = {}
    problems: list[Problem] = []
    for start in range(0, len(rows), SEQUENCES_A_QUERY):
        chunk = rows[start : start + SEQUENCES_A_QUERY]
        for oid, schema, name, increment, last_value, is_called in _positions(connection, chunk, problems):
            lowest: list[int] = []
            highest: list[int] = []
            names = []
            for relation, column in feeds.get(oid, ()):
                if relation not in keys:
                    continue
                table = tables[keys[relation]]
                names.append(qualified(table.schema, table.table, column))
                extremes = tallies[keys[relation]].extremes
                at = 2 * columns[relation].index(column)
                if at < len(extremes):
                    low, high = extremes[at], extremes[at + 1]
                    lowest += [] if low is None else [low]
                    highest += [] if high is None else [high]
            found[qualified(schema, name)] = SequenceContent(
                last_value=last_value,
                is_called=is_called,
                increment=increment,
                feeds=tuple(sorted(names)),
                lowest=min(lowest, default=None),
                highest=max(highest, default=None),
            )
    return dict(sorted(found.items())), problems


def _positions(
    connection: "psycopg.Connection[Any]", chunk: list[tuple[Any, ...]], problems: list[Problem]
) -> list[tuple[int, str, str, int, int, bool]]:
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::integer, last_value, is_called FROM {}").format(
            sql.Literal(n), sql.Identifier(schema, name)
        )
        for n, (_, schema, name, _increment) in enumerate(chunk)
    )
    try:
        with connection.transaction(force_rollback=True):
            positions = connection.execute(query).fetchall()
    except psycopg.Error as error:
        if connection.broken:
            raise
        if len(chunk) == 1:
            name = qualified(chunk[0][1], chunk[0][2])
            problems.append(Problem("sequence-unread", f"{name}: {type(error).__name__} ({error.sqlstate})"))
            return []
        return [one for row in chunk for one in _positions(connection, [row], problems)]
    return [(*chunk[n], last_value, is_called) for n, last_value, is_called in positions]


def _large_objects(
    connection: "psycopg.Connection[Any]", mode: HashMode
) -> tuple[LargeObjects | None, list[Problem]]:
    row = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone()
    count = int(row[0]) if row else 0
    if not count:
        return LargeObjects(count=0, bytes=0, hash=""), []
    try:
        with connection.transaction(force_rollback=True):
            found = connection.execute(large_object_query(mode)).fetchone()
    except psycopg.Error as error:
        if connection.broken:
            raise
        problem = Problem("large-objects-unread", f"{type(error).__name__} ({error.sqlstate})")
        return LargeObjects(count=count, bytes=0, hash=None), [problem]
    if found is None:
        return None, [Problem("large-objects-unread", "the server gave no answer")]
    number, size, pages, sizes = found
    return LargeObjects(count=int(number), bytes=int(size), hash=":".join([*pages, *sizes])), []


def _heartbeat(connection: "psycopg.Connection[Any]") -> datetime | None:
    row = connection.execute(
        "SELECT FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r'"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'smos' AND c.relname = 'heartbeat'"
        " AND a.attname = 'at' AND a.atttypid = 'timestamptz'::regtype AND NOT a.attisdropped"
    ).fetchone()
    if row is None:
        return None
    newest = connection.execute(
        # Not what a datetime can't hold: infinity, years after 9999.
        "SELECT max(h.at) FROM smos.heartbeat AS h WHERE h.at BETWEEN '0001-01-02Z' AND '9999-12-30Z'"
    ).fetchone()
    at: datetime | None = newest[0] if newest else None
    return at.astimezone(UTC) if at else None


def _sort_canary(connection: "psycopg.Connection[Any]") -> tuple[str, ...] | None:
    """Sort letters with the database's own collation. None where its encoding does not have them."""
    try:
        with connection.transaction(force_rollback=True):
            row = connection.execute(
                'SELECT array_agg(x ORDER BY x COLLATE "default", x COLLATE "C") FROM unnest(%s::text[]) AS x',
                (list(CANARY),),
            ).fetchone()
    except psycopg.errors.UntranslatableCharacter:
        return None
    return tuple(row[0]) if row else None
