"""Loads one archive of a backup into a database of another name in a live server, by the drill's own restore.

The difference to a drill's sandbox: nothing is lent to the loading role (see `deferred`), so the server's other roles
and databases are out of reach of whatever code the dump holds.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import psycopg

from smos.drill.archive import ArchiveRestore, Passes
from smos.drill.context import Context
from smos.drill.databases import DatabasePlan
from smos.drill.globals import Globals
from smos.drill.job import Job
from smos.drill.loading import Loading
from smos.drill.restore import Watchdog
from smos.drill.restore_facts import DatabaseRestore, DumpSource
from smos.drill.ruling import Ruling
from smos.drill.sandbox import admin_connection
from smos.drill.sqlevents import Statement
from smos.drill.sqlobjects import bare, kind_of
from smos.drill.sqlstream import SqlLexer
from smos.drill.staging import Staged
from smos.drill.toc import Entry
from smos.errors import BackupError
from smos.restore.deferred import is_administrative, may_run, own_large_objects
from smos.restore.server import LiveAdministrator, LiveServer, ServerFacts, sandbox_facts
from smos.target import Limits
from smos.verdict import Problem

if TYPE_CHECKING:
    from smos.provision.embedded.postgres import EmbeddedPostgres

BY_TEXT = frozenset({"STATISTICS", "PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"})
"""What comes after the data and has an owner, and what builds on it: as text, so that the owner can wait."""
BLOBS = frozenset({"BLOB METADATA", "BLOB"})
JOBS = 2


class LiveLoading(Loading):
    """A database that is loaded by a role which is a member of nothing."""

    def __init__(self, context: Context, name: str, extensions: dict[str, str]) -> None:
        super().__init__(context, name, extensions)
        self.deferred: list[bytes] = []
        """Owners and rights, in the dump's order."""

    def settle(self, plan: DatabasePlan, owner: str | None, grants: Sequence[Statement]) -> list[Problem]:
        """Set owners and rights, then what is set on every restored database. Raises psycopg.Error."""
        problems: list[Problem] = []
        with admin_connection(self._context.server, self.name) as connection:
            for text in self.deferred:
                try:
                    connection.execute(text, prepare=False)
                except psycopg.Error as error:
                    words = text.decode(errors="replace").split()
                    what = f"{' '.join(words[:3])}: SQLSTATE {error.sqlstate}"
                    problems.append(Problem("administrative-failed", what))
            connection.execute("RESET ROLE")
        return problems + super().settle(plan, owner, grants)


class LiveJob(Job):
    """One database on its way back into a live server."""

    loading: LiveLoading

    def __init__(
        self, context: Context, source: DumpSource, name: str, extensions: Iterable[tuple[str, str]]
    ) -> None:
        super().__init__(context, name, source.path.name, source.kind, DatabasePlan(), extensions)
        self.loading = LiveLoading(context, name, dict(extensions))

    def _pass(self, statement: Statement, ruling: Ruling, where: str) -> None:
        foreign = bool(ruling.subject) and bare(ruling.subject) in self.loading.foreign
        skipped = bool(ruling.subject) and ruling.subject in self._skipped
        if foreign or skipped or not is_administrative(statement, ruling):
            super()._pass(statement, ruling, where)
        elif self.ensure(ruling.roles):
            self.put_off(
                statement.text if ruling.text is None else ruling.text, statement, rule=ruling.text is None
            )

    def put_off(self, text: bytes, statement: Statement, *, rule: bool = True) -> None:
        """Keep a statement for the end, unless it is none that the administrator may run."""
        if rule and not may_run(text):
            self.gap("unexpected-statement", f"{kind_of(statement.skeleton)}: not a form that pg_dump writes")
        else:
            self.loading.deferred.append(text)


class LiveArchiveRestore(ArchiveRestore):
    """Restores one archive into `name`, whatever its database was called."""

    def __init__(self, context: Context, source: DumpSource, watch: Watchdog, name: str) -> None:
        super().__init__(context, source, watch)
        self._name = name

    def _job(self, name: str) -> Job:
        del name  # the archive's own
        return LiveJob(self._context, self._source, self._name, self._source.extensions)

    def _sort(self, job: Job, entries: tuple[Entry, ...]) -> Passes:
        passes = super()._sort(job, entries)
        late = [entry for entry in passes.main if entry.kind in BY_TEXT]
        passes.main = [entry for entry in passes.main if entry not in late]
        passes.last = [*late, *passes.last]
        return passes

    def _direct(self, job: Job, entry: Entry) -> bool:
        allowed = super()._direct(job, entry)
        if allowed and entry.kind in BLOBS and entry.owner and isinstance(job, LiveJob):
            job.loading.deferred += own_large_objects(entry.tag, _numbers(entry), entry.owner)
        return allowed

    def _command(self, staged: Staged, entries: Sequence[Entry], *words: str) -> list[str | Path]:
        direct = any(word.startswith("--dbname") for word in words)
        more = ("--no-owner", "--no-privileges") if direct else ()
        return super()._command(staged, entries, *words, *more)


def _numbers(entry: Entry) -> str:
    """Return the large objects that an entry stands for, as text that holds their numbers and no others."""
    if ".." not in entry.tag:
        return entry.tag
    return "\n".join(line for line in entry.definition.splitlines() if line.strip().isdigit())


class Load:
    """A restore of databases into a live server under temporary names. Use as a context manager.

    created: roles that were made because the server lacked them.
    """

    def __init__(
        self,
        server: LiveServer,
        facts: ServerFacts,
        found: Globals,
        *,
        limits: Limits,
        scratch: Path,
        with_logins: bool,
        progress: Callable[[str], None],
    ) -> None:
        sandbox = sandbox_facts(server, facts)
        self.reader = sandbox.reader
        # The drill's restore asks of a server for the four things that LiveServer has, and for nothing else.
        as_sandbox = cast("EmbeddedPostgres", server)
        self._administrator = LiveAdministrator(as_sandbox, sandbox, limits)
        self._administrator.backed_up = found
        self._administrator.with_logins = with_logins
        self._administrator.password = server.endpoint.password
        self._context = Context(
            as_sandbox, self._administrator, sandbox, limits, JOBS, scratch, progress, found.superuser
        )
        self._lock = threading.Lock()

    @property
    def created(self) -> tuple[str, ...]:
        """Roles that were made."""
        return tuple(self._administrator.created)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What went wrong with roles and settings."""
        return tuple(self._administrator.problems)

    def prepare(self) -> None:
        """Make the restore's own roles. Raises psycopg.Error."""
        self._administrator.prepare()

    def ensure_roles(self, names: Iterable[str]) -> None:
        """Make the roles that the server lacks. Raises psycopg.Error."""
        for name in names:
            self._administrator.ensure_role(name)

    def run(self, sources: Sequence[tuple[DumpSource, str]]) -> tuple[DatabaseRestore, ...]:
        """Load each dump into the database of the name beside it; facts in the same order."""
        watchdog = Watchdog(self._context)
        try:
            with ThreadPoolExecutor(JOBS) as pool:
                try:
                    found = list(pool.map(lambda item: self._one(item[0], item[1], watchdog), sources))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    watchdog.abort()  # or leaving the block would wait for all of them
                    raise
        finally:
            watchdog.end()
        return tuple(found)

    def _one(self, source: DumpSource, name: str, watchdog: Watchdog) -> DatabaseRestore:
        work = LiveArchiveRestore(self._context, replace(source, database=name), watchdog, name)
        done = work.run()
        if not done:
            reasons = "; ".join(problem.detail for problem in work.problems) or "it can't be opened"
            raise BackupError(f"{source.path.name} was not loaded: {reasons}")
        return done[0]

    def let_reader_in(self, name: str) -> None:
        """Let the reader connect to a database, where not everybody may."""
        rows = self._administrator.rows("SELECT has_database_privilege(%s, %s, 'CONNECT')", self.reader, name)
        if not rows or not rows[0][0]:
            self._administrator.run("GRANT CONNECT ON DATABASE {} TO {}", name, self.reader)

    def keep_reader_out(self, name: str) -> None:
        """Take that back."""
        self._administrator.run("REVOKE CONNECT ON DATABASE {} FROM {}", name, self.reader)

    def close(self, *, failed: bool) -> None:
        """Remove the restore's own roles, and after a failure the roles that it made; databases are gone by then."""
        try:
            self._administrator.finish()
            # Not there yet where the restore was interrupted while it made its roles.
            if self._administrator.rows("SELECT FROM pg_roles WHERE rolname = %s", self.reader):
                self._administrator.run("DROP OWNED BY {}", self.reader)
                self._administrator.run("DROP ROLE {}", self.reader)
            self._administrator.settle_created(failed=failed)
        finally:
            self._administrator.close()


def needed_roles(path: Path) -> set[str]:
    """Return the roles that an archive's owners and rights name. Raises TocError or OSError."""
    from smos.drill.sqlrules import judge
    from smos.drill.toc import contents_of

    names: set[str] = set()
    for entry in contents_of(path / "toc.dat" if path.is_dir() else path)[1]:
        names |= {entry.owner} if entry.owner else set()
        if entry.kind not in {"ACL", "DEFAULT ACL", "POLICY"}:
            continue
        lexer = SqlLexer()
        events = (
            *lexer.feed(entry.definition.encode(errors="surrogateescape")),
            *lexer.feed(b"\n"),
            *lexer.close(),
        )
        for event in events:
            if isinstance(event, Statement):
                names |= set(judge(event, server_version_num=180000, features=()).roles)
    return names
