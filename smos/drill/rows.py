"""Rows of an archive in the directory format, loaded by sessions of ours: the largest table first, without WAL.

pg_restore writes no WAL for rows only where the same run has made the table, and here definitions have gone through
our rules before. So each table is emptied and filled in one transaction, which (with `wal_level = minimal`) needs no
WAL either, and its rows come in frozen: nobody has to write their pages again. The statement is pg_dump's own, judged
before; the data are files that staging has read to their end. What is not of this kind stays with pg_restore.
"""

import os
import re
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from smos.drill.context import Context
from smos.drill.feed import Failure
from smos.drill.job import Job
from smos.drill.sqltokens import Reader, tokenize
from smos.drill.staging import COPY_TAIL, Staged
from smos.drill.toc import Entry

BLOCK = 1 << 18
EMPTIED_FROM = 1 << 16
"""Bytes of rows from which emptying the table first saves more (WAL) than it costs (new files)."""
_FROM = re.compile(rb" FROM stdin;\s*\Z")
_ENCODING = re.compile(r"SET client_encoding = 'UTF-?8';\s*", re.IGNORECASE)
_SESSION = (
    "SET statement_timeout = 0; SET lock_timeout = 0; SET row_security = off; SET xmloption = content;"
    " SELECT pg_catalog.set_config('search_path', '', false)"
)
"""What pg_restore sets in a session that loads rows."""


@dataclass(frozen=True, slots=True)
class _Load:
    table: tuple[str, str]
    statement: bytes
    path: Path
    bytes: int


def load_rows(context: Context, job: Job, staged: Staged, entries: Sequence[Entry]) -> list[Entry]:
    """Load what can be loaded this way and return the other entries; failures are noted in `job`."""
    loads: list[_Load] = []
    left: list[Entry] = []
    text = next((entry.definition for entry in staged.entries if entry.kind == "ENCODING"), "")
    for entry in entries:
        load = _readable(staged, entry) if _ENCODING.fullmatch(text) else None
        if load is None:
            left.append(entry)
        else:
            loads.append(load)
    if loads and not job.stopped and job.open():
        _Loading(context, job, loads).run()
    return left


def _readable(staged: Staged, entry: Entry) -> _Load | None:
    """Return what is to be loaded; None for what is not the plain case."""
    copy = entry.copy.encode(errors="surrogateescape")
    if entry.kind != "TABLE DATA" or not entry.file or entry.file in staged.cut or not _FROM.search(copy):
        return None
    # pg_dump writes neither, and pg_restore gives up at the one and runs the other.
    if entry.drop or entry.definition:
        return None
    try:
        # Rows that go through a partitioned table's root name the root, not the table of the entry.
        reader = Reader(tokenize(copy))
        reader.expect("COPY")
        schema = reader.name()
        if not reader.accept_sign(".") or (schema, reader.name()) != (entry.namespace, entry.tag):
            return None
        status = (staged.path / entry.file).lstat()
    except (ValueError, OSError):
        return None
    return _Load((entry.namespace, entry.tag), copy, staged.path / entry.file, status.st_size)


class _Loading:
    """The sessions that load, and how they are ended."""

    def __init__(self, context: Context, job: Job, loads: list[_Load]) -> None:
        self._context, self._job = context, job
        self._queue = deque(sorted(loads, key=lambda load: -load.bytes))
        self._lock = threading.Lock()
        self._failures: list[Failure] = []
        self._reason = ""

    def run(self) -> None:
        """Load all; after the first failure nothing more is begun."""
        jobs = max(1, min(self._context.jobs, len(self._queue)))
        unwatch = self._job.watch(self._expire)
        try:
            with ThreadPoolExecutor(jobs) as pool:
                for one in [pool.submit(self._work) for _ in range(jobs)]:
                    one.result()
        finally:
            self._queue.clear()
            unwatch()
        if self._reason:
            self._job.fail(Failure(self._reason, "COPY", "", None))
        elif self._failures:
            self._job.fail(self._failures[0])

    def _expire(self, reason: str) -> None:
        """Begin nothing more; the watchdog ends the sessions in the server, by their role."""
        self._reason = self._reason or reason
        self._queue.clear()

    def _work(self) -> None:
        endpoint = self._context.server.endpoint
        load: _Load | None = None
        try:
            conninfo = endpoint.conninfo(self._job.name, self._job.loading.role)
            with psycopg.connect(conninfo, autocommit=True, client_encoding="UTF8") as connection:
                connection.execute(_SESSION)
                while not self._job.stopped:
                    try:
                        load = self._queue.popleft()
                    except IndexError:
                        return
                    _copy(connection, load)
        except (psycopg.Error, OSError) as error:
            code = error.sqlstate if isinstance(error, psycopg.Error) else "archive-truncated"
            subject = f"TABLE {load.table[1]}" if load else ""
            with self._lock:
                self._failures.append(Failure(code or "connection-lost", "COPY", subject, None))
            self._queue.clear()


def _copy(connection: "psycopg.Connection[Any]", load: _Load) -> None:
    """Load one table, whole or not at all. Raises psycopg.Error, or OSError for the file."""
    handle = os.open(load.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", buffering=0) as file, connection.transaction():
        statement = load.statement
        if load.bytes >= EMPTIED_FROM:
            connection.execute(sql.SQL("TRUNCATE ONLY {}").format(sql.Identifier(*load.table)))
            statement = _FROM.sub(b" FROM stdin WITH (FREEZE);", statement)
        left = load.bytes - len(COPY_TAIL)
        with connection.cursor() as cursor, cursor.copy(statement) as sink:
            while left > 0:
                data = file.read(min(BLOCK, left))
                if not data:
                    raise OSError("the file ended early")
                sink.write(data)
                left -= len(data)
