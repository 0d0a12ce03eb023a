"""One database on its way back: events of its dump's text in, facts out.

A job creates its database when the first statement that needs one comes, feeds a restricted psql, and at the end
has the administrator set owner and rights. It stops feeding at the first refusal or error, but goes on reading, so
that completeness and further refusals are known.
"""

import re
import time
from collections.abc import Callable, Iterable

import psycopg

from smos.backup.model import ArtifactKind
from smos.drill.cleaning import Cleaning
from smos.drill.context import Context
from smos.drill.databases import DatabasePlan
from smos.drill.explain import explain, newer, place
from smos.drill.feed import Failure, Psql
from smos.drill.loading import OWNER_LOST, Loading, TemplateError
from smos.drill.restore_facts import DatabaseRestore, RestoreError
from smos.drill.sandbox import SYSTEM_DATABASES
from smos.drill.sqlobjects import bare, object_of, plain_grant
from smos.drill.sqlrules import HOSTILE, SUPERUSER, UNEXPECTED, Action, Ruling, judge
from smos.drill.sqlstream import FLAWS, Comment, CopyData, Event, Flaw, Inserts, Statement
from smos.drill.sqltokens import Reader, TokenKind, tokenize
from smos.errors import DeadlineError
from smos.verdict import Problem

MOST = 50
MOST_LEFT_OUT = 10_000
DELIBERATE = frozenset({
    "refused", "truncated", "template", "version-gap", "client-encoding", "duplicate", "interrupted",
})  # fmt: skip
"""Why we ended a psql ourselves: recorded already, no failure of a statement."""
SAFE_ENCODINGS = re.compile(
    r"UTF-?8|UNICODE|SQL_ASCII|LATIN\d+|WIN\d+|ISO_8859_\d+|KOI8[RU]|EUC_\w+", re.IGNORECASE
)
COMPLETE = b"-- PostgreSQL database dump complete"


class Job:
    """See the module. name: the database's. extensions: versions that the source had, where known."""

    def __init__(
        self, context: Context, name: str, artifact: str, kind: ArtifactKind, plan: DatabasePlan,
        extensions: Iterable[tuple[str, str]] = (),
    ) -> None:  # fmt: skip
        self.context = context
        self.name = name
        self.plan = plan
        self.complete: bool | None = None
        self.bytes_read = 0
        self.dumped_from = ""
        self.dump_tool = ""
        self.whole = True
        """False when the source broke off, whatever was seen before."""
        self.started = time.monotonic()
        self.deadline = self.started + context.limits.restore_seconds
        self.stopped = ""
        """Why nothing is fed any more; empty while all is well."""
        self.psql: Psql | None = None
        self.loading = Loading(context, name, dict(extensions))
        self._artifact, self._kind = artifact, kind
        self._prelude: list[tuple[bytes, str, int]] = []
        self._encoding: str | None = None
        self._errors: list[RestoreError] = []
        self._refused: list[Problem] = []
        self._gaps: list[Problem] = []
        self._notes: list[Problem] = []
        self._skipped: set[str] = set()
        self._left_out: dict[str, None] = {}
        self._grants: list[Statement] = []
        self._early = True
        self._cleaning = Cleaning()
        self._copying = False
        self._placeholders: set[str] = set()
        self._opened = False
        self._killers: list[Callable[[str], None]] = []

    # --- notes --------------------------------------------------------------------------------------------------

    @property
    def opened(self) -> bool:
        """Whether its database was created."""
        return self._opened

    @property
    def touched(self) -> bool:
        """Whether anything but session settings concerned it."""
        return self._opened or bool(self._errors or self._refused or self._gaps)

    def refuse(self, code: str, kind: str, line: int | None, detail: str) -> None:
        """Note a refusal and feed nothing more."""
        _add(self._refused, Problem(code, f"{place(line)}{kind}: {detail}"))
        self.stop("refused")

    def gap(self, code: str, detail: str) -> None:
        """Note what the sandbox can't do."""
        _add(self._gaps, Problem(code, detail))

    def record(self, problem: Problem) -> None:
        """Note a gap or, by its code, information."""
        _add(self._notes if problem.code in {"tablespace-mapped", "owner-unknown"} else self._gaps, problem)

    def note(self, code: str, detail: str) -> None:
        """Note information."""
        _add(self._notes, Problem(code, detail))

    def fail(self, failure: Failure) -> None:
        """Note a failed statement, and what of the sandbox explains it."""
        if len(self._errors) < MOST:
            self._errors.append(self._attributed(failure))
        self.stop("failed")

    def stop(self, reason: str) -> None:
        """Feed nothing more; what runs is ended."""
        self.stopped = self.stopped or reason
        if self.psql is not None and reason != "failed":
            self.psql.kill(reason)

    def expire(self, reason: str) -> None:
        """End everything that runs for this job at once (from the watchdog)."""
        self.stopped = self.stopped or reason
        if self.psql is not None:
            self.psql.kill(reason)
        for kill in list(self._killers):
            kill(reason)

    def watch(self, kill: Callable[[str], None]) -> Callable[[], None]:
        """Let `expire` call `kill` as well; return the function that ends this."""
        self._killers.append(kill)
        return lambda: self._killers.remove(kill)

    def _attributed(self, failure: Failure) -> RestoreError:
        tool = self.dump_tool if newer(self.dump_tool, self.context.version) else ""
        codes = [problem.code for problem in self._gaps]
        reason, gap = explain(failure, codes, newer_tool=tool, limit_s=self.context.limits.restore_seconds)
        if gap is not None:
            self.record(gap)
        # Only what the dump itself creates: a statement on something that it lacks fails as well.
        if reason and failure.subject and failure.kind.startswith("CREATE "):
            self._left_out[failure.subject] = None
        return RestoreError(
            code=failure.code,
            kind=failure.kind,
            subject=failure.subject[:120],
            line=failure.line,
            attributed=reason,
        )

    # --- events -------------------------------------------------------------------------------------------------

    def header(self, comment: bytes, line: int) -> None:
        """Read the versions that a dump names at its head."""
        for lead, attribute in (
            (b"-- Dumped from database version ", "dumped_from"),
            (b"-- Dumped by pg_dump version ", "dump_tool"),
        ):
            if comment.startswith(lead):
                self.versions(
                    **{attribute: comment[len(lead) :].decode(errors="replace").strip()[:80]}, line=line
                )

    def versions(self, *, dumped_from: str = "", dump_tool: str = "", line: int | None = None) -> None:
        """Take the versions of server and tool; a dump from a newer major version is not tried."""
        self.dump_tool = dump_tool or self.dump_tool
        if dumped_from and not self.dumped_from:
            self.dumped_from = dumped_from
            if newer(dumped_from, self.context.version):
                mine = self.context.version // 10000
                self.gap("version-gap", f"{place(line)}from PostgreSQL {dumped_from}; the sandbox has {mine}")
                self.stop("version-gap")

    def take(self, event: Event) -> None:
        """Take the next event of this database's text (psql commands never come here)."""
        if isinstance(event, CopyData):
            self.bytes_read += len(event.data)
            if self._copying and self.psql is not None and not self.stopped:
                self.psql.data(event.data)
            if event.last:
                self._copying = False
        elif isinstance(event, Inserts):
            self.complete = False
            self.bytes_read += len(event.text)
            self._early = False
            self._cleaning.begin()
            self._feed(event.text, "INSERT", "", event.line)
        elif isinstance(event, Statement):
            self.bytes_read += len(event.text)
            self._statement(event)
        elif isinstance(event, Flaw):
            self.flaw(event)
        elif isinstance(event, Comment):
            self.header(event.text, event.line)
            if event.text.rstrip() == COMPLETE:
                self.complete = True

    def flaw(self, flaw: Flaw) -> None:
        """Note what can't be read: a cut, or something ambiguous."""
        self.complete, self.whole = False, False
        if flaw.code.endswith("-unterminated"):
            self.note("dump-truncated", f"line {flaw.line}: {FLAWS[flaw.code]}")
            self.stop("truncated")
        else:
            self.refuse("unreadable-text", "text", flaw.line, FLAWS[flaw.code])

    def _statement(self, statement: Statement) -> None:  # noqa: C901, PLR0912  (one branch per action)
        ruling = judge(
            statement,
            server_version_num=self.context.version,
            features=self.context.features,
        )
        if ruling.action is not Action.GLOBAL and self._cleaning.heads(statement, ruling):
            return
        if ruling.kind not in {"SET", "SELECT set_config"} and ruling.action not in {
            Action.DATABASE,
            Action.SKIP,
        }:
            self.complete = False  # whatever trailer was seen before: this belongs to the database as well
        self._copying = False
        where = f"{place(statement.line)}{ruling.kind}: {ruling.detail}"
        for detail in (self._cleaning.drops(statement, ruling), self._cleaning.note(statement, ruling)):
            if detail:
                self.gap(UNEXPECTED, f"{place(statement.line)}{ruling.kind}: {detail}")
        if ruling.action is Action.REFUSE:
            if ruling.code == "client-encoding":
                self.gap(ruling.code, where)
                self.stop(ruling.code)
            else:
                self.refuse(ruling.code, ruling.kind, statement.line, ruling.detail)
        elif ruling.action is Action.GLOBAL:
            if not ruling.kind.startswith("DROP"):  # a DROP is told above
                self.refuse(HOSTILE, ruling.kind, statement.line, "roles belong to the globals")
        elif self.stopped:
            return  # only refusals still count
        elif ruling.action is Action.DATABASE:
            self.plan.take(statement, ruling.kind)
        elif ruling.action is Action.EXTENSION:
            self._extension(statement, ruling)
        elif ruling.action in {Action.GAP, Action.NOTE}:
            (self.gap if ruling.action is Action.GAP else self.note)(ruling.code, where)
            if ruling.subject:
                self._skipped.add(ruling.subject)
                self._left_out[ruling.subject] = None
        elif ruling.action is Action.GRANT:
            self._later(statement, ruling)
        elif ruling.action is Action.FEED:
            self._pass(statement, ruling, where)

    def _pass(self, statement: Statement, ruling: Ruling, where: str) -> None:
        if ruling.subject and ruling.subject in self._skipped:
            return
        if ruling.subject and bare(ruling.subject) in self.loading.foreign:
            self._later(statement, ruling)
            return
        if ruling.code:
            self.gap(ruling.code, where)
        if not self.ensure(ruling.roles):
            return
        if not self._opened and ruling.early and ruling.kind in {"SET", "SELECT set_config"}:
            self._prelude.append((statement.text, ruling.kind, statement.line))
            found = re.match(rb"SET client_encoding = '([\w-]+)'", statement.text)
            if found is not None:
                self._encoding = found[1].decode()
            return
        self._early = self._early and ruling.early
        text = statement.text if ruling.text is None else ruling.text
        self._copying = statement.copies and not self.stopped
        open_end = statement.copies or not statement.final
        self._feed(
            text,
            ruling.kind,
            object_of(statement.skeleton) or ruling.subject,
            statement.line,
            open_end=open_end,
        )

    def _later(self, statement: Statement, ruling: Ruling) -> None:
        """Keep a GRANT on something that is not the dump's own for the administrator."""
        if statement.skeleton.lstrip()[:6].upper() not in {b"GRANT ", b"REVOKE"} or not plain_grant(
            statement
        ):
            self.gap(
                SUPERUSER,
                f"{place(statement.line)}{ruling.kind}: on something that the sandbox's administrator owns",
            )
        elif self.ensure(ruling.roles):
            self._grants.append(statement)

    def ensure(self, roles: Iterable[str]) -> bool:
        """Make sure that these roles exist, as placeholders where the globals lack them; False on an error."""
        for name in roles:
            try:
                if self.context.administrator.ensure_role(name) and name not in self._placeholders:
                    self._placeholders.add(name)
                    self.gap("role-unknown", f"{name} is named in the dump and absent from the globals")
            except psycopg.Error as error:
                self.fail(Failure(error.sqlstate or "administrator", "CREATE ROLE", "", None))
                return False
        return True

    def _feed(self, text: bytes, kind: str, subject: str, line: int, *, open_end: bool = False) -> None:
        if self.stopped or not self.open():
            return
        psql = self._connected()
        psql.feed(text, kind, subject, line, open_end=open_end)
        if psql.broken:
            self.stopped = self.stopped or "failed"

    # --- the database ---------------------------------------------------------------------------------------------

    def open(self) -> bool:
        """Create the database when it is not there yet; False when that fails."""
        if self._opened:
            return True
        if self.stopped:
            return False
        encoding = self._encoding if self._encoding and SAFE_ENCODINGS.fullmatch(self._encoding) else None
        try:
            for gap in self.loading.create(self.plan, encoding):
                self.record(gap)
        except TemplateError:
            self.gap("template-not-restored", f"{self.name} holds objects; the sandbox keeps its own")
            self.stop("template")
        except psycopg.errors.DuplicateDatabase:
            self.gap("database-duplicate", f"{self.name} was restored from another dump before")
            self.stop("duplicate")
        except psycopg.Error as error:
            self.fail(self._by_administrator(error, "CREATE DATABASE"))
        self._opened = not self.stopped
        return self._opened

    def _by_administrator(self, error: psycopg.Error, kind: str) -> Failure:
        return Failure(error.sqlstate or "connection-failed", kind, f"DATABASE {self.name}", None)

    def _connected(self) -> Psql:
        if self.psql is None:
            self.psql = self.loading.psql()
            for text, kind, line in self._prelude:
                self.psql.feed(text, kind, "", line)
        return self.psql

    def _extension(self, statement: Statement, ruling: Ruling) -> None:
        try:
            if ruling.kind.startswith("COMMENT"):
                self.loading.comment(*_read_comment(statement))
                return
            name, schema, version = _read_extension(statement)
        except ValueError:
            self.gap(UNEXPECTED, f"{place(statement.line)}{ruling.kind}: pg_dump writes no such statement")
            return
        if not self._early:
            # Its script would run as the administrator among objects that the dump has made.
            detail = f"{place(statement.line)}{name}: extensions come before everything else"
            self.gap("extension-withheld", detail)
            return
        if not self.open():
            return
        try:
            self.loading.synchronise(self._connected(), self.deadline - time.monotonic())
        except DeadlineError:
            self.expire("restore-timeout")
        if not self.stopped and (gap := self.loading.extension(name, schema, version)) is not None:
            self.record(gap)

    # --- the end --------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Wait until psql is done, and note what failed."""
        if self.psql is not None:
            for failure in self.psql.finish():
                if failure.code not in DELIBERATE:
                    self.fail(failure)
            self.psql = None

    def finish(self) -> DatabaseRestore:
        """Wait for psql, set owner and rights, and return the facts."""
        self.drain()
        if not self.stopped and (self.plan.known or self.complete):
            self.open()  # an empty database is a database
        if self._opened:
            try:
                if self.stopped:
                    self.loading.end_sessions()
                owner = self.plan.owner if self.plan.owner and self.ensure((self.plan.owner,)) else None
                for problem in self.loading.settle(self.plan, owner, self._grants):
                    # Of a restore that was stopped: the owner may stand where nobody came.
                    if problem.code != OWNER_LOST or not self.stopped:
                        self.record(problem)
            except psycopg.Error as error:
                self.fail(self._by_administrator(error, "ALTER DATABASE"))
            except DeadlineError as error:
                self.gap("sandbox-lost", error.message)
                self.stop("failed")
        for problem in self.plan.problems:
            self.record(problem)
        if self._opened and not self.plan.known and self.name not in SYSTEM_DATABASES:
            self.note(
                "database-properties-unknown", "the dump says nothing of the owner, the locale and the rights"
            )
        complete = False if not self.whole else self.complete
        return DatabaseRestore(
            name=self.name, artifact=self._artifact, kind=self._kind,
            restored=self._opened and not self._errors and not self._refused and not self.stopped,
            complete=complete, seconds=time.monotonic() - self.started, bytes_read=self.bytes_read,
            errors=tuple(self._errors), refused=tuple(self._refused), gaps=tuple(dict.fromkeys(self._gaps)),
            notes=tuple(dict.fromkeys(self._notes)), dumped_from=self.dumped_from, dump_tool=self.dump_tool,
            server_version=f"{self.context.version // 10000}.{self.context.version % 10000}",
            left_out=tuple(self._left_out)[:MOST_LEFT_OUT],
        )  # fmt: skip


def _read_extension(statement: Statement) -> tuple[str, str | None, str | None]:
    """Return name, schema and version of a CREATE EXTENSION. Raises ValueError."""
    reader = Reader(tokenize(statement.text))
    reader.expect("CREATE", "EXTENSION")
    reader.accept("IF", "NOT", "EXISTS")
    name, schema, version = reader.name(), None, None
    reader.accept("WITH")
    while not reader.done:
        if reader.accept("SCHEMA"):
            schema = reader.name()
        else:
            reader.expect("VERSION")
            version = reader.next().text
    return name, schema, version


def _read_comment(statement: Statement) -> tuple[str, str | None]:
    """Return name and text of a COMMENT ON EXTENSION. Raises ValueError."""
    reader = Reader(tokenize(statement.text))
    reader.expect("COMMENT", "ON", "EXTENSION")
    name = reader.name()
    reader.expect("IS")
    token = reader.next()
    if not reader.done or (token.kind is not TokenKind.TEXT and token.word != "NULL"):
        raise ValueError("not a text")
    return name, token.text if token.kind is TokenKind.TEXT else None


def _add(problems: list[Problem], problem: Problem) -> None:
    if len(problems) < MOST and problem not in problems:
        problems.append(problem)
