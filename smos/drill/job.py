"""One database on its way back: events of its dump's text in, facts out.

A job creates its database when the first statement that needs one comes, feeds a restricted psql, and at the end
has the administrator set owner and rights. It stops feeding at the first refusal or error, but goes on reading, so
that completeness and further refusals are known.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from smos.backup.model import ArtifactKind
from smos.drill.administrator import CREATOR, Administrator
from smos.drill.databases import DatabasePlan
from smos.drill.feed import Failure, Psql
from smos.drill.restore_facts import DatabaseRestore, RestoreError
from smos.drill.sandbox import SYSTEM_DATABASES, SandboxFacts, admin_connection
from smos.drill.sqlrules import HOSTILE, SUPERUSER, UNEXPECTED, Action, Ruling, judge, object_of, plain_grant
from smos.drill.sqlstream import FLAWS, Comment, CopyData, Event, Flaw, Inserts, Statement
from smos.drill.sqltokens import Reader, tokenize
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.target import Limits
from smos.verdict import Problem
from smos.wait import wait_for

MOST = 50
CONNECTING_EXTENSIONS = frozenset({"dblink", "postgres_fdw"})
"""Extensions with which SQL can open a connection: only where the network is cut by the system."""
UNDEFINED = frozenset({"42704", "42883", "42P01", "3F000", "42703", "42P13", "0A000", "undefined"})
"""SQLSTATEs of a statement that misses something which an earlier gap left out."""
DENIED = "42501"
DISK_FULL = frozenset({"53100", "53400", "58030"})
UNREACHED = frozenset({"08001", "HV00N", "HV00M"})
LOST = frozenset(
    {"connection-lost", "connection-failed", "57P01", "57P02", "57P03", "08006", "08P01", "53200", "53300"}
)
NEW_SYNTAX = UNDEFINED | {"42601", "22023"}
EXPLAINING = (
    "extension-unavailable",
    "extension-withheld",
    "collation-unavailable",
    SUPERUSER,
    "version-gap",
    UNEXPECTED,
)
SYNC_S = 600
SAFE_ENCODINGS = re.compile(
    r"UTF-?8|UNICODE|SQL_ASCII|LATIN\d+|WIN\d+|ISO_8859_\d+|KOI8[RU]|EUC_\w+", re.IGNORECASE
)


@dataclass(slots=True)
class Context:
    """What all jobs of a restore share. programs: psql and pg_restore. version: of the programs and the server."""

    server: EmbeddedPostgres
    administrator: Administrator
    sandbox: SandboxFacts
    limits: Limits
    jobs: int
    scratch: Path
    progress: Callable[[str], None]
    say_lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def version(self) -> int:
        """The server's version, e.g. 180006."""
        return self.sandbox.version_num


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
        self.restore_role = ""
        self._artifact, self._kind = artifact, kind
        self._versions = dict(extensions)
        self._prelude: list[tuple[bytes, str, int]] = []
        self._encoding: str | None = None
        self._errors: list[RestoreError] = []
        self._refused: list[Problem] = []
        self._gaps: list[Problem] = []
        self._notes: list[Problem] = []
        self._skipped: set[str] = set()
        self._foreign: set[str] = set()
        self._grants: list[Statement] = []
        self._early = True
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
        _add(self._refused, Problem(code, f"{_where(line)}{kind}: {detail}"))
        self.stop("refused")

    def gap(self, code: str, detail: str) -> None:
        """Note what the sandbox can't do."""
        _add(self._gaps, Problem(code, detail))

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
        reason = ""
        gaps = [problem.code for problem in self._gaps]
        if failure.code == DENIED:
            reason = SUPERUSER
            self.gap(SUPERUSER, f"{_where(failure.line)}{failure.kind}: refused without superuser rights")
        elif failure.code in DISK_FULL or failure.code == "sandbox-disk-full":
            reason = "sandbox-disk-full"
            self.gap(reason, "the sandbox's disk is full, or the restore grew beyond its limit")
        elif failure.code == "restore-timeout":
            reason = failure.code
            self.gap(reason, f"not done within {self.context.limits.restore_seconds:g} s")
        elif failure.code in UNREACHED:
            reason = "network-cut"
            self.gap(reason, f"{_where(failure.line)}{failure.kind}: it connects to another server")
        elif failure.code in LOST:
            reason = "sandbox-lost"
            self.gap(reason, "the sandbox's server closed the connection")
        elif failure.code in UNDEFINED:
            reason = next((code for code in EXPLAINING if code in gaps), "")
        if not reason and failure.code in NEW_SYNTAX and self._newer(self.dump_tool):
            reason = "version-gap"
            self.gap(reason, f"written by pg_dump {self.dump_tool}, newer than the sandbox's server")
        return RestoreError(
            code=failure.code,
            kind=failure.kind,
            subject=failure.subject[:120],
            line=failure.line,
            attributed=reason,
        )

    def _newer(self, version: str) -> bool:
        major = _major(version)
        return major is not None and major > self.context.version // 10000

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
            if self._newer(dumped_from):
                mine = self.context.version // 10000
                self.gap(
                    "version-gap", f"{_where(line)}from PostgreSQL {dumped_from}; the sandbox has {mine}"
                )
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
            self._feed(event.text, "INSERT", "", event.line)
        elif isinstance(event, Statement):
            self.bytes_read += len(event.text)
            self._statement(event)
        elif isinstance(event, Flaw):
            self.flaw(event)
        elif isinstance(event, Comment):
            self.header(event.text, event.line)
            if event.text.rstrip() == b"-- PostgreSQL database dump complete":
                self.complete = True

    def flaw(self, flaw: Flaw) -> None:
        """Note what can't be read: a cut, or something ambiguous."""
        self.complete, self.whole = False, False
        if flaw.code.endswith("-unterminated"):
            self.note("dump-truncated", f"line {flaw.line}: {FLAWS[flaw.code]}")
            self.stop("truncated")
        else:
            self.refuse("unreadable-text", "text", flaw.line, FLAWS[flaw.code])

    def _statement(self, statement: Statement) -> None:
        ruling = judge(
            statement,
            server_version_num=self.context.version,
            features=self.context.server.installation.features,
        )
        if ruling.kind not in {"SET", "SELECT set_config"} and ruling.action is not Action.DATABASE:
            self.complete = False
        self._copying = False
        where = f"{_where(statement.line)}{ruling.kind}: {ruling.detail}"
        if ruling.action is Action.REFUSE:
            if ruling.code == "client-encoding":
                self.gap(ruling.code, where)
                self.stop(ruling.code)
            else:
                self.refuse(ruling.code, ruling.kind, statement.line, ruling.detail)
        elif ruling.action is Action.GLOBAL:
            if not ruling.kind.startswith("DROP"):
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
        elif ruling.action is Action.GRANT:
            self._later(statement, ruling)
        elif ruling.action is Action.FEED:
            self._pass(statement, ruling, where)

    def _pass(self, statement: Statement, ruling: Ruling, where: str) -> None:
        if ruling.subject and ruling.subject in self._skipped:
            return
        if ruling.subject and _bare(ruling.subject) in self._foreign:
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
                f"{_where(statement.line)}{ruling.kind}: on something that the sandbox's administrator owns",
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
        if self.psql is None:
            self._connect()
        if self.psql is not None:
            self.psql.feed(text, kind, subject, line, open_end=open_end)
            if self.psql.broken:
                self.stopped = self.stopped or "failed"

    # --- the database ---------------------------------------------------------------------------------------------

    def open(self) -> bool:
        """Create the database when it is not there yet; False when that fails."""
        if self._opened:
            return True
        if self.stopped:
            return False
        administrator = self.context.administrator
        try:
            self.restore_role = administrator.restore_role()
            if self.name == "postgres":
                administrator.run("ALTER DATABASE {} OWNER TO {}", self.name, self.restore_role)
            elif self.name in SYSTEM_DATABASES:
                self.gap("template-not-restored", f"{self.name} holds objects; the sandbox keeps its own")
                self.stop("template")
                return False
            else:
                encoding = (
                    self._encoding if self._encoding and SAFE_ENCODINGS.fullmatch(self._encoding) else None
                )
                self._gaps += self.plan.create(self.name, self.restore_role, administrator, encoding)
            administrator.run("GRANT CREATE ON DATABASE {} TO {}", self.name, CREATOR)
            with admin_connection(self.context.server, self.name) as connection:
                self._prepare(connection)
        except psycopg.errors.DuplicateDatabase:
            self.gap("database-duplicate", f"{self.name} was restored from another dump before")
            self.stop("duplicate")
            return False
        except psycopg.Error as error:
            self.fail(
                Failure(
                    error.sqlstate or "connection-failed", "CREATE DATABASE", f"DATABASE {self.name}", None
                )
            )
            return False
        self._opened = True
        return True

    def _prepare(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        """Let the roles of the backup own things in any schema for as long as the restore takes."""
        me, all_roles = sql.Identifier(self.restore_role), sql.Identifier(CREATOR)
        if self.context.version < 150000:  # noqa: PLR2004  (there `public` belongs to the database's owner by itself)
            connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(me))
        connection.execute(sql.SQL("GRANT CREATE, USAGE ON SCHEMA public TO {}").format(all_roles))
        connection.execute(
            sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT CREATE, USAGE ON SCHEMAS TO {}").format(
                me, all_roles
            )
        )

    def _connect(self) -> None:
        server = self.context.server
        self.psql = Psql(
            server.installation.tool("psql"), server.installation.version_num, server.endpoint,
            server.endpoint.conninfo(self.name, self.restore_role),
        )  # fmt: skip
        for text, kind, line in self._prelude:
            self.psql.feed(text, kind, "", line)

    def _extension(self, statement: Statement, ruling: Ruling) -> None:
        try:
            reader = Reader(tokenize(statement.text))
            reader.expect("CREATE", "EXTENSION")
            reader.accept("IF", "NOT", "EXISTS")
            name, schema = reader.name(), None
            reader.accept("WITH")
            while not reader.done:
                if reader.accept("SCHEMA"):
                    schema = reader.name()
                else:
                    reader.expect("VERSION")
                    self._versions.setdefault(name, reader.next().text)
        except ValueError:
            self.gap(UNEXPECTED, f"{_where(statement.line)}{ruling.kind}: pg_dump writes no such statement")
            return
        if not self._early:
            # Its script would run as the administrator among objects that the dump has made.
            self.gap(
                "extension-withheld",
                f"{_where(statement.line)}{name}: extensions come before everything else",
            )
            return
        if not self.stopped and self.open():
            self.synchronise()
        if not self.stopped:
            self.extension(name, schema)

    def synchronise(self) -> None:
        """Wait until psql has executed everything that it was given."""
        if self.psql is None:
            self._connect()
        psql = self.psql
        if psql is None or self.stopped:
            return
        marker = f"smos {time.monotonic_ns()}"
        query = "SELECT 1 FROM pg_stat_activity WHERE usename = %s AND application_name = %s"

        def wait(ended: Callable[[], bool]) -> None:
            wait_for(
                lambda: ended() or self.context.administrator.rows(query, self.restore_role, marker),
                what="psql has executed what came before an extension",
                deadline_s=max(1.0, self.deadline - time.monotonic() + SYNC_S),
            )

        psql.synchronise(marker, wait)

    def extension(self, name: str, schema: str | None) -> None:
        """Create an extension as the administrator; a gap where the sandbox lacks it."""
        if name == "plpgsql":
            return
        if name not in self.context.server.installation.extensions:
            self.gap("extension-unavailable", f"{name} is not installed in the sandbox's PostgreSQL")
            return
        if name in CONNECTING_EXTENSIONS and self.context.sandbox.isolation == "configuration":
            self.gap(
                "extension-withheld", f"{name} could open connections, and the sandbox's network is not cut"
            )
            return
        wanted = self._versions.get(name)
        try:
            with admin_connection(self.context.server, self.name) as connection:
                versions = {
                    str(row[0])
                    for row in connection.execute(
                        "SELECT version FROM pg_available_extension_versions WHERE name = %s", [name]
                    )
                }
                text = sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name))
                if schema is not None:
                    text += sql.SQL(" SCHEMA {}").format(sql.Identifier(schema))
                if wanted in versions:
                    text += sql.SQL(" VERSION {}").format(sql.Literal(wanted))
                elif wanted is not None:
                    self.gap(
                        "extension-version",
                        f"{name} {wanted} is not available, the default version took its place",
                    )
                connection.execute(text + sql.SQL(" CASCADE"))
                self._share(connection)
        except psycopg.Error as error:
            self.gap("extension-unavailable", f"{name} can't be created here: SQLSTATE {error.sqlstate}")

    def _share(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        """Let the restore fill the extensions' configuration tables and use their wrappers; know what is theirs."""
        me, creator = sql.Identifier(self.restore_role), sql.Identifier(CREATOR)
        for schema, table in connection.execute(_CONFIGURATION).fetchall():
            connection.execute(
                sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {} TO {}").format(
                    sql.Identifier(str(schema), str(table)), me
                )
            )
        for (wrapper,) in connection.execute("SELECT fdwname FROM pg_foreign_data_wrapper").fetchall():
            connection.execute(
                sql.SQL("GRANT USAGE ON FOREIGN DATA WRAPPER {} TO {}, {}").format(
                    sql.Identifier(str(wrapper)), me, creator
                )
            )
        self._foreign |= {str(row[0]) for row in connection.execute(_MEMBERS).fetchall()}

    # --- the end --------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Wait until psql is done, and note what failed."""
        if self.psql is not None:
            for failure in self.psql.finish():
                if failure.code not in {
                    "refused",
                    "truncated",
                    "template",
                    "version-gap",
                    "client-encoding",
                    "duplicate",
                }:
                    self.fail(failure)
            self.psql = None

    def finish(self) -> DatabaseRestore:
        """Wait for psql, set owner and rights, and return the facts."""
        self.drain()
        if not self.stopped and (self.plan.known or self.complete):
            self.open()  # an empty database is a database
        if self._opened:
            try:
                self._settle()
            except psycopg.Error as error:
                self.fail(
                    Failure(
                        error.sqlstate or "connection-failed", "ALTER DATABASE", f"DATABASE {self.name}", None
                    )
                )
        for problem in self.plan.problems:
            _add(self._notes if problem.code == "tablespace-mapped" else self._gaps, problem)
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
        )  # fmt: skip

    def _settle(self) -> None:
        administrator = self.context.administrator
        owner = self.plan.owner
        if owner is not None and not self.ensure((owner,)):
            owner = None
        with admin_connection(self.context.server, self.name) as connection:
            for statement in self._grants:
                try:
                    connection.execute(statement.text, prepare=False)
                except psycopg.Error as error:
                    kind = object_of(statement.skeleton).split(" ")[0]
                    self.gap(SUPERUSER, f"line {statement.line}: GRANT ON {kind}: SQLSTATE {error.sqlstate}")
            role, creator = sql.Identifier(self.restore_role), sql.Identifier(CREATOR)
            connection.execute(
                sql.SQL(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE CREATE, USAGE ON SCHEMAS FROM {}"
                ).format(role, creator)
            )
            # Not DROP OWNED: that would reach the rights on the databases that are still being restored.
            for kind, name in connection.execute(_LENT, [f'"{CREATOR}"']).fetchall():
                connection.execute(
                    sql.SQL(f"REVOKE ALL ON {kind} {{}} FROM {{}}").format(sql.Identifier(str(name)), creator)
                )
            self._public(connection)
            if owner is not None:
                connection.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(role, sql.Identifier(owner)))
                connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
        administrator.run("REVOKE ALL ON DATABASE {} FROM {}", self.name, CREATOR)
        self.plan.settle(self.name, owner, administrator)
        if self.name == "postgres" and owner is None:
            administrator.run("ALTER DATABASE {} OWNER TO {}", self.name, self.context.sandbox.administrator)
        if not administrator.release(self.restore_role):
            self.note(
                "owner-unknown", "the dump names no owner: a powerless role of the sandbox owns what it made"
            )

    def _public(self, connection: "psycopg.Connection[tuple[object, ...]]") -> None:
        """Before version 15 a superuser owned the schema public: the backup's `postgres` role, where it has one."""
        if self.context.version >= 150000:  # noqa: PLR2004  (see _prepare)
            return
        query = "SELECT 1 FROM pg_namespace WHERE nspname = 'public' AND nspowner = %s::regrole"
        if connection.execute(query, [f'"{self.restore_role}"']).fetchone() is not None:
            owner = (
                "postgres"
                if "postgres" in self.context.administrator.created
                else self.context.sandbox.administrator
            )
            connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(owner)))


def _where(line: int | None) -> str:
    return "" if line is None else f"line {line}: "


def _add(problems: list[Problem], problem: Problem) -> None:
    if len(problems) < MOST and problem not in problems:
        problems.append(problem)


def _major(version: str) -> int | None:
    found = re.match(r"(\d+)", version)
    return int(found[1]) if found else None


def _bare(subject: str) -> str:
    """Return kind and qualified name, without a routine's arguments, as _MEMBERS writes them."""
    kind, _, name = subject.partition(" ")
    return (
        f"{'FUNCTION' if kind in {'PROCEDURE', 'AGGREGATE'} else kind} {name.split('(')[0].replace(' ', '')}"
    )


_CONFIGURATION = """
SELECT n.nspname, c.relname FROM pg_extension e, unnest(e.extconfig) AS t(id)
JOIN pg_class c ON c.oid = t.id JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_LENT = """
SELECT 'SCHEMA', nspname FROM pg_namespace WHERE EXISTS (SELECT FROM aclexplode(nspacl) WHERE grantee = x.id)
UNION SELECT 'FOREIGN DATA WRAPPER', fdwname FROM pg_foreign_data_wrapper
WHERE EXISTS (SELECT FROM aclexplode(fdwacl) WHERE grantee = x.id)
"""
_LENT = "WITH x AS (SELECT %s::regrole::oid AS id) SELECT l.* FROM x, LATERAL (" + _LENT + ") AS l"
_MEMBERS = """
SELECT 'FUNCTION ' || quote_ident(n.nspname) || '.' || quote_ident(p.proname)
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
JOIN pg_namespace n ON n.oid = p.pronamespace WHERE d.deptype = 'e'
UNION SELECT k.kind || ' ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN (VALUES ('TABLE'), ('SEQUENCE')) AS k(kind) WHERE d.deptype = 'e'
UNION SELECT 'TYPE ' || quote_ident(n.nspname) || '.' || quote_ident(t.typname)
FROM pg_depend d JOIN pg_type t ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
JOIN pg_namespace n ON n.oid = t.typnamespace WHERE d.deptype = 'e'
UNION SELECT 'SCHEMA ' || quote_ident(n.nspname)
FROM pg_depend d JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND d.objid = n.oid WHERE d.deptype = 'e'
"""
