"""Dumps that are SQL text: one database, or a whole cluster, split per database while they are read.

While one database's indexes are still being built by its psql, the next one is read (see feed.PIPE), so a cluster
dump is restored on several processors although it is one stream.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from smos.backup.streams import StreamFault, decompress
from smos.drill.context import Context
from smos.drill.databases import DatabasePlan, database_name
from smos.drill.globals import GlobalsReader
from smos.drill.job import MOST, Job
from smos.drill.restore_facts import DatabaseRestore, DumpSource
from smos.drill.sandbox import SYSTEM_DATABASES
from smos.drill.sqlobjects import kind_of
from smos.drill.sqlrules import HOSTILE, UNEXPECTED, Action, judge
from smos.drill.sqlstream import Command, Comment, Event, Flaw, SqlLexer, Statement
from smos.drill.sqltokens import Reader, tokenize
from smos.target import Limits
from smos.verdict import Problem

BLOCK = 2**18
GRACE = 16 * 2**20
CLUSTER = b"-- PostgreSQL database cluster dump"
DATABASE = b"-- PostgreSQL database dump"
COMPLETE = b" complete"
CLUSTER_WIDE = frozenset(
    {"DROP DATABASE", "DROP ROLE", "DROP USER", "DROP GROUP", "DROP OWNED", "DROP TABLESPACE"}
)


@dataclass(slots=True)
class Meter:
    """Bytes of one source: as stored, and after decompression."""

    stored: int = 0
    opened: int = 0


class LimitError(Exception):
    """A source holds more than it may; the text is for people."""


def read_text(path: Path, compression: str, limits: Limits, meter: Meter) -> Iterator[bytes]:
    """Yield a file's decompressed bytes. Raises StreamFault, LimitError or OSError."""

    def blocks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                meter.stored += len(block)
                yield block

    for piece in decompress(blocks(), compression):
        meter.opened += len(piece)
        check_limits(meter, limits)
        yield piece


def check_limits(meter: Meter, limits: Limits) -> None:
    """Raise LimitError when more came out than a backup may hold."""
    if meter.opened > limits.bytes:
        raise LimitError(f"more than {limits.bytes} bytes come out of it")
    if meter.opened > GRACE and meter.opened > limits.ratio * max(meter.stored, 1):
        raise LimitError(f"it expands more than {limits.ratio:g} times")


class Watch(Protocol):
    """Ends jobs that take too long or too much (see restore.Watchdog)."""

    def add(self, job: Job) -> None:
        """Watch a job from now on."""

    def remove(self, job: Job) -> None:
        """Watch it no more."""


class TextRestore:
    """Restores one SQL file. Use `run` once."""

    def __init__(self, context: Context, source: DumpSource, watch: Watch) -> None:
        self.problems: list[Problem] = []
        self._context = context
        self._source = source
        self._watch = watch
        self._plans: dict[str, DatabasePlan] = {}
        self._dropped: dict[str, int] = {}
        self._job: Job | None = None
        self._finished: dict[str, Future[DatabaseRestore]] = {}
        self._globals: GlobalsReader | None = None
        self._cluster = False
        self._cluster_complete = False
        self._preamble: list[Comment] = []
        self._fault: Problem | None = None
        self._pool = ThreadPoolExecutor(max(1, context.jobs))

    def run(self) -> tuple[DatabaseRestore, ...]:
        """Restore everything in the file; facts of each database, in the order of the file."""
        lexer = SqlLexer()
        with self._pool:
            try:
                for piece in self._pieces():
                    self._take(lexer.feed(piece))
                if self._fault is None:
                    self._take(lexer.close())
                else:
                    self._broken(self._fault)
            except BaseException:
                if self._job is not None:
                    self._job.expire("interrupted")
                    self._job.drain()
                raise
            if self._cluster and not self._cluster_complete:
                self._problem("dump-incomplete", "the trailer of the cluster dump is missing")
            if self._job is None and not self._finished and self._source.database is not None:
                self._open(self._source.database)  # nothing in it named it: it is recorded all the same
            if self._job is not None and self._job.complete is None:
                self._job.complete = False
            self._close_job()
            self._apply_globals()
            for name, line in self._dropped.items():
                self._problem(UNEXPECTED, f"line {line}: DROP DATABASE: {name} is not made again")
            restored = [future.result() for future in self._finished.values()]
        if not restored and not self.problems:
            self._problem("dump-empty", "it holds no database")
        return tuple(restored)

    def _pieces(self) -> Iterator[bytes]:
        """Yield the file's text; where it breaks off, `_fault` says why."""
        source = self._source
        try:
            yield from read_text(source.path, source.compression, self._context.limits, Meter())
        except StreamFault as error:
            self._fault = Problem(error.code, error.detail)
        except LimitError as error:
            self._fault = Problem("limit-exceeded", str(error))
        except OSError as error:
            self._fault = Problem("file-unreadable", error.strerror or "it can't be read")

    def _problem(self, code: str, detail: str) -> None:
        if len(self.problems) < MOST or code == HOSTILE:
            self.problems.append(Problem(code, f"{self._source.path.name}: {detail}"))

    def _broken(self, fault: Problem) -> None:
        self._problem(fault.code, fault.detail)
        if self._job is None and self._source.database is not None and not self._cluster:
            self._open(self._source.database)
        if self._job is not None:
            self._job.whole = False
            self._job.stop("truncated")

    # --- events -------------------------------------------------------------------------------------------------

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Command):
                self._command(event)
            elif isinstance(event, Comment):
                self._comment(event)
            elif self._globals is not None:
                self._global(event)
            elif isinstance(event, Statement) and self._of_database(event):
                continue
            else:
                self._current().take(event)

    def _comment(self, comment: Comment) -> None:
        text = comment.text.rstrip()
        if text == CLUSTER:
            self._cluster = True
            self._globals = self._globals or GlobalsReader(self._context.superuser)
            return
        if text == CLUSTER + COMPLETE:
            self._cluster_complete = True
        elif text == DATABASE and self._globals is not None:
            self._apply_globals()
        if text.startswith(b"-- Dumped "):
            self._preamble = [*self._preamble[-1:], comment]
        if self._job is not None:
            self._job.take(comment)
        elif text == DATABASE + COMPLETE and not self._cluster:
            self._current().take(comment)

    def _command(self, command: Command) -> None:
        words = command.text.split(None, 1)
        name = words[0] if words else b"\\"
        if name in {b"\\restrict", b"\\unrestrict"} and not command.inside:
            return
        if command.text == b"\\encoding SQL_ASCII" and not command.inside:
            return  # pg_dump writes it before a \connect to a name with special characters; SETs follow
        target = None
        if name == b"\\connect" and len(words) == 2 and not command.inside:
            target = database_name(words[1].decode(errors="replace").strip())
        if target is None:
            self._refuse(f"psql command {_shown(name)}", command.line)
            return
        self._apply_globals()
        if self._job is not None and self._job.name == target:
            return
        if self._job is not None and not self._cluster and self._job.opened:
            self._refuse("psql command \\connect", command.line)
            return
        if self._job is not None and not self._job.touched and not self._job.complete:
            self._watch.remove(self._job)  # nothing but the settings before a CREATE DATABASE
            self._job = None
        self._close_job()
        job = self._open(target)
        if not job.plan.known and target not in SYSTEM_DATABASES:
            detail = f"line {command.line}: \\connect: to a database that the dump does not create"
            job.gap(UNEXPECTED, detail)

    def _refuse(self, kind: str, line: int) -> None:
        if self._globals is not None:
            self._globals.found.report(HOSTILE, kind, line, "never executed")
        elif self._job is None and self._source.database is None:
            self._problem(HOSTILE, f"line {line}: {kind}: never executed")
        else:
            self._current().refuse(HOSTILE, kind, line, "never executed")

    def _global(self, event: Event) -> None:
        """Take an event of a cluster dump before its first database."""
        assert self._globals is not None  # noqa: S101  (the only caller made sure)
        if isinstance(event, Statement) and self._of_database(event):
            return
        self._globals.take(event)

    def _of_database(self, statement: Statement) -> bool:
        """Take CREATE DATABASE and what else concerns a database as a whole, by the name in it."""
        head = statement.skeleton.lstrip()[:8].upper()
        if head.startswith(b"DROP"):
            return self._drop(statement)
        if not head.startswith((b"CREATE", b"ALTER", b"GRANT", b"REVOKE", b"COMMENT")):
            return False
        ruling = judge(statement, server_version_num=self._context.version, features=())
        if ruling.action is not Action.DATABASE:
            return False
        name = named_database(statement)
        if name is None:
            self._refuse(ruling.kind, statement.line)
        else:
            self._plan(name).take(statement, ruling.kind)
            if self._plan(name).known:
                self._dropped.pop(name, None)
        return True

    def _drop(self, statement: Statement) -> bool:
        """Take a DROP of a database, a role or a tablespace: of what was made before, psql would have nothing left.

        pg_dumpall drops roles and tablespaces at its head only; of a database it writes `DROP` and `CREATE` together.
        """
        kind = kind_of(statement.skeleton)
        if kind not in CLUSTER_WIDE:
            return False
        if kind != "DROP DATABASE":
            if self._globals is None:
                self._problem(UNEXPECTED, f"line {statement.line}: {kind}: it belongs to the head of globals")
            return self._globals is None
        name = named_database(statement)
        job = self._job
        held = job is not None and job.name == name and job.touched
        if name is None or held or name in self._finished or self._plan(name).known:
            what = name or "a database that can't be told"
            self._problem(UNEXPECTED, f"line {statement.line}: {kind}: {what} was made before")
        elif self._globals is None:
            self._dropped[name] = statement.line
        return self._globals is None

    # --- jobs ---------------------------------------------------------------------------------------------------

    def _plan(self, name: str) -> DatabasePlan:
        return self._plans.setdefault(name, DatabasePlan())

    def _current(self) -> Job:
        """Return the job of the present section; a dump without a name in it gets the caller's."""
        if self._job is not None:
            return self._job
        created = [name for name, plan in self._plans.items() if plan.known]
        name = created[0] if len(created) == 1 else self._source.database
        return self._open(name or self._source.path.name.split(".")[0])

    def _open(self, name: str) -> Job:
        source = self._source
        job = Job(self._context, name, source.path.name, source.kind, self._plan(name), source.extensions)
        if name in self._finished:
            job.gap("database-duplicate", f"{name} comes twice in the dump")
            job.stop("duplicate")
        for comment in self._preamble:
            job.header(comment.text, comment.line)
        self._job = job
        self._watch.add(job)
        return job

    def _close_job(self) -> None:
        """Hand the present job to a thread that waits for its psql; nothing happens for an empty system database."""
        job, self._job = self._job, None
        if job is None:
            return
        if job.name in {"postgres", "template1", "template0"} and not job.touched:
            self._watch.remove(job)
            return
        if job.psql is not None:
            job.psql.close_input()
        key = job.name if job.name not in self._finished else f"{job.name} (again)"
        self._finished[key] = self._pool.submit(self._finish, job)

    def _finish(self, job: Job) -> DatabaseRestore:
        try:
            facts = job.finish()
        finally:
            self._watch.remove(job)
        self._context.progress(f"{job.name}: {'restored' if facts.restored else 'not restored'}")
        return facts

    def _apply_globals(self) -> None:
        if self._globals is None:
            return
        found, self._globals = self._globals.found, None
        self._context.administrator.apply(found)


def named_database(statement: Statement) -> str | None:
    """Return the database that a statement is about."""
    try:
        tokens = tokenize(statement.text)
        reader = Reader(tokens)
        while not reader.accept("DATABASE"):
            reader.next()
        reader.accept("IF", "EXISTS")
        return reader.name()
    except ValueError:
        return None


def _shown(command: bytes) -> str:
    """Return a psql command's name for a report: letters and the first sign only."""
    text = command.decode(errors="replace")
    return text[:20] if text[1:].isalpha() else text[:2]


def feed_text(job: Job, pieces: Iterable[bytes]) -> None:
    """Pass SQL text that belongs to one database (what pg_restore prints) through the rules into a job."""
    lexer = SqlLexer()

    def take(events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Command):
                name = event.text.split(None, 1)[0] if event.text.split() else b"\\"
                if name not in {b"\\restrict", b"\\unrestrict"} or event.inside:
                    job.refuse(HOSTILE, f"psql command {_shown(name)}", event.line, "never executed")
            elif isinstance(event, Comment | Flaw) or not job.stopped or isinstance(event, Statement):
                job.take(event)

    for piece in pieces:
        take(lexer.feed(piece))
    take(lexer.close())
