"""Globals of a backup: parsed from what `pg_dumpall --globals-only` writes, applied from an allow list.

Nothing of the text is ever executed: statements are parsed into values, and the sandbox's administrator builds new
ones from them. Superuser rights, and memberships that reach files or programs of the server, are withheld: they
are recorded, so that a comparison can tell "declared and withheld" from "lost". Passwords (verifiers) are passed on
as they are and never leave this module.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from smos.drill.sqlobjects import kind_of
from smos.drill.sqlrules import HOSTILE, UNEXPECTED
from smos.drill.sqlstream import Command, CopyData, Event, Flaw, Inserts, SqlLexer, Statement
from smos.drill.sqltokens import Reader, TokenKind, tokenize
from smos.verdict import Problem

SUPERUSER = "postgres"
"""The role that initdb makes, where nothing tells the source's: packages and images call it so."""
ATTRIBUTES = ("SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS")
WITHHELD_ROLES = frozenset({
    "pg_execute_server_program", "pg_read_server_files", "pg_write_server_files", "pg_create_subscription",
    "pg_signal_backend",
})  # fmt: skip
"""Predefined roles that reach programs, files, other servers, or other restores of the same sandbox."""
REFUSED_SETTINGS = re.compile(
    r"(?:(?:session|shared|local)_preload_libraries|dynamic_library_path|extension_control_path|jit_provider|jit_debugging.*"
    r"|archive_.*|restore_command|recovery_.*|.*_command|primary_conninfo|primary_slot_name|log_directory|log_filename"
    r"|log_destination|ssl.*|krb_.*|config_file|hba_file|ident_file|data_directory|external_pid_file|unix_socket_.*"
    r"|pl\w+\.(?:on_|start).*|listen_addresses|port|allow_system_table_mods|session_authorization|event_source|bonjour.*|oauth_.*"
    r"|zero_damaged_pages|ignore_system_indexes|ignore_checksum_failure|backtrace_functions|stats_temp_directory)",
    re.IGNORECASE,
)
"""Parameters that name programs, libraries, files or addresses, or switch off protections."""
TABLESPACE_SETTINGS = frozenset({"default_tablespace", "temp_tablespaces"})
LIST_SETTINGS = frozenset({
    "search_path", "temp_tablespaces", "session_preload_libraries", "shared_preload_libraries",
    "local_preload_libraries", "datestyle", "log_destination", "unix_socket_directories", "synchronous_standby_names",
})  # fmt: skip
MOST_PROBLEMS = 50
LONGEST_GLOBALS = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Setting:
    """`ALTER ROLE/DATABASE … SET`. role, database: "" where it is for all."""

    role: str
    database: str
    name: str
    values: tuple[str, ...]


@dataclass(slots=True)
class Role:
    """A role. `attributes` holds the words of ATTRIBUTES that are on."""

    name: str
    attributes: set[str] = field(default_factory=lambda: {"INHERIT"})
    connection_limit: int = -1
    valid_until: str | None = None
    password: str | None = field(default=None, repr=False)
    comment: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Membership:
    """`GRANT role TO member`. inherit, set_role: None where the statement does not say (before PostgreSQL 16)."""

    role: str
    member: str
    admin: bool = False
    inherit: bool | None = None
    set_role: bool | None = None
    grantor: str | None = None


@dataclass(frozen=True, slots=True)
class ParameterGrant:
    """`GRANT … ON PARAMETER`."""

    privileges: tuple[str, ...]
    parameter: str
    role: str
    grantable: bool


@dataclass(slots=True)
class Globals:
    """All that was read. superuser: the role that initdb made, which is there before any statement.

    tablespaces: names. complete: the trailer was seen.
    """

    superuser: str = SUPERUSER
    roles: dict[str, Role] = field(default_factory=dict)
    memberships: list[Membership] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    tablespaces: list[str] = field(default_factory=list)
    parameters: list[ParameterGrant] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    complete: bool = False
    awaited: dict[str, int] = field(default_factory=dict)
    """Roles that were granted before they were created, and in which line: psql would have failed there."""

    def report(self, code: str, kind: str, line: int, detail: str) -> None:
        """Note a statement that was not taken over."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(code, f"globals, line {line}: {kind}: {detail}"))

    def take(self, statement: Statement) -> None:
        """Read one statement; what is not on the allow list is noted and never executed."""
        kind = kind_of(statement.skeleton)
        try:
            self._take(statement, kind)
        except (ValueError, OverflowError) as error:
            hostile = kind.startswith(
                ("COPY", "DO", "ALTER SYSTEM", "LOAD", "CALL", "SELECT", "CREATE FUNCTION")
            )
            self.report(
                HOSTILE if hostile else UNEXPECTED,
                kind,
                statement.line,
                f"not what pg_dumpall writes ({error})",
            )

    def _take(self, statement: Statement, kind: str) -> None:  # noqa: C901, PLR0912  (one branch per statement)
        reader = Reader(tokenize(statement.text))
        first = reader.next().word
        if first == "SET":
            self._set(reader)
        elif first == "SELECT":
            if not re.fullmatch(
                rb"SELECT pg_catalog\.set_config\('search_path', '', false\);", statement.text
            ):
                raise ValueError("no such call")
        elif first == "DROP":
            self._drop(reader)
        elif first == "CREATE" and reader.accept("ROLE"):
            self._create_role(reader)
        elif first == "CREATE" and reader.accept("TABLESPACE"):
            self.tablespaces.append(reader.name())
        elif first == "ALTER" and reader.accept("ROLE"):
            self._alter_role(reader, statement)
        elif first == "ALTER" and reader.accept("TABLESPACE"):
            reader.name()
        elif first == "ALTER" and reader.accept("DATABASE"):
            database = reader.name()
            self.add_setting(read_setting(reader, "", database), statement.line)
        elif first == "COMMENT":
            self._comment(reader)
        elif first in {"GRANT", "REVOKE"}:
            self._grant(reader, statement, revoke=first == "REVOKE")
        elif first == "SECURITY":
            self.report("security-label", kind, statement.line, "a security label needs a provider")
        else:
            raise ValueError("no such statement")

    def _set(self, reader: Reader) -> None:
        name = reader.name()
        if name not in {
            "default_transaction_read_only",
            "client_encoding",
            "standard_conforming_strings",
            "escape_string_warning",
        }:
            raise ValueError("no such parameter")

    def _create_role(self, reader: Reader) -> None:
        name = reader.name()
        reader.end()
        if name.startswith("pg_"):
            raise ValueError("a predefined role")
        self._make(name)
        if (line := self.awaited.pop(name, None)) is not None:
            self.report(UNEXPECTED, "GRANT", line, f"of or to {name}, which is created only later")

    def _make(self, name: str) -> Role:
        """Return a role, made if need be; initdb's can't be other than a superuser unless the globals say so."""
        born_with = {"INHERIT", "SUPERUSER"} if name == self.superuser else {"INHERIT"}
        return self.roles.setdefault(name, Role(name, born_with))

    def _existing(self, name: str) -> Role:
        if name == self.superuser:
            return self._make(name)
        if name not in self.roles:
            raise ValueError("the role was not created")
        return self.roles[name]

    def _alter_role(self, reader: Reader, statement: Statement) -> None:
        every = reader.accept("ALL")
        name = "" if every else reader.name()
        role = None if every else self._existing(name)
        if reader.accept("IN", "DATABASE"):
            database = reader.name()
            self.add_setting(read_setting(reader, name, database), statement.line)
            return
        if reader.peek().word == "SET":
            self.add_setting(read_setting(reader, name, ""), statement.line)
            return
        reader.accept("WITH")
        if role is None:
            raise ValueError("attributes of all roles")
        while not reader.done:
            self._attribute(role, reader)

    @staticmethod
    def _attribute(role: Role, reader: Reader) -> None:
        word = reader.next().word
        if word in ATTRIBUTES:
            role.attributes.add(word)
        elif word.startswith("NO") and word[2:] in ATTRIBUTES:
            role.attributes.discard(word[2:])
        elif word == "CONNECTION":
            reader.expect("LIMIT")
            role.connection_limit = reader.integer()
        elif word in {"PASSWORD", "ENCRYPTED", "UNENCRYPTED"}:
            reader.accept("PASSWORD")
            role.password = reader.text()
        elif word == "VALID":
            reader.expect("UNTIL")
            role.valid_until = reader.text()
        else:
            raise ValueError("no such attribute")

    def _drop(self, reader: Reader) -> None:
        """`pg_dumpall --clean` drops first and creates then; what is dropped after it was made would be gone."""
        kind = reader.next().word
        if kind not in {"DATABASE", "TABLESPACE", "ROLE", "USER", "GROUP"}:
            raise ValueError("no such object")
        reader.accept("IF", "EXISTS")
        names = reader.names()
        if kind == "DATABASE":
            if self.roles or self.tablespaces:
                raise ValueError("it comes after something was made")
            return
        reader.end()
        made = self.tablespaces if kind == "TABLESPACE" else self.roles
        if any(name in made for name in names):
            raise ValueError("it was created before")

    def _comment(self, reader: Reader) -> None:
        reader.expect("ON")
        if reader.accept("TABLESPACE"):
            return
        reader.expect("ROLE")
        name = reader.name()
        reader.expect("IS")
        role = self._existing(name)
        text = reader.next()
        role.comment = text.text if text.kind is TokenKind.TEXT else None

    def _grant(self, reader: Reader, statement: Statement, *, revoke: bool) -> None:
        words = [reader.peek(ahead).word for ahead in range(64)]
        if "ON" in words:
            at = words.index("ON")
            if words[at + 1] == "TABLESPACE":
                return
            if words[at + 1] != "PARAMETER" or revoke:
                raise ValueError("no such object")
            self._parameter(reader, statement)
            return
        if revoke:
            raise ValueError("pg_dumpall revokes no membership")
        role = reader.name()
        reader.expect("TO")
        member = reader.name()
        options: dict[str, bool] = {}
        if reader.accept("WITH"):
            while True:
                option = reader.next().word
                if option not in {"ADMIN", "INHERIT", "SET"}:
                    raise ValueError("no such option")
                options[option] = reader.next().word in {"OPTION", "TRUE"}
                if not reader.accept_sign(","):
                    break
        grantor = reader.name() if reader.accept("GRANTED", "BY") else None
        reader.end()
        self.awaited = {
            name: statement.line for name in (role, member) if name not in {*self.roles, self.superuser}
        } | self.awaited
        self.memberships.append(
            Membership(
                role, member, options.get("ADMIN", False), options.get("INHERIT"), options.get("SET"), grantor
            )
        )

    def _parameter(self, reader: Reader, statement: Statement) -> None:
        privileges: list[str] = []
        while True:
            if reader.accept("ALTER", "SYSTEM"):
                privileges.append("ALTER SYSTEM")
            elif reader.accept("SET"):
                privileges.append("SET")
            elif reader.accept("ALL"):
                reader.accept("PRIVILEGES")
                privileges += ["SET", "ALTER SYSTEM"]
            else:
                raise ValueError("no such privilege")
            if not reader.accept_sign(","):
                break
        reader.expect("ON", "PARAMETER")
        name = _parameter_name(reader)
        reader.expect("TO")
        role = reader.name()
        grantable = reader.accept("WITH", "GRANT", "OPTION")
        if REFUSED_SETTINGS.fullmatch(name):
            self.report(
                "setting-refused",
                "GRANT ON PARAMETER",
                statement.line,
                f"{name} reaches outside the database",
            )
            return
        self.parameters.append(
            ParameterGrant(tuple(p for p in privileges if p == "SET"), name, role, grantable)
        )
        if "ALTER SYSTEM" in privileges:
            self.report("privilege-withheld", "GRANT ON PARAMETER", statement.line, f"ALTER SYSTEM on {name}")

    def add_setting(self, setting: Setting | None, line: int) -> None:
        """Keep a setting unless it could reach outside the database."""
        if setting is None:
            return
        if REFUSED_SETTINGS.fullmatch(setting.name):
            self.report("setting-refused", "SET", line, f"{setting.name} reaches outside the database")
        elif setting.name.lower() in TABLESPACE_SETTINGS:
            self.report("tablespace-mapped", "SET", line, f"{setting.name}: the sandbox has one tablespace")
        else:
            self.settings.append(setting)


def _parameter_name(reader: Reader) -> str:
    token = reader.next()
    if token.name is None:
        raise ValueError("a parameter was expected")
    name = token.text
    while reader.accept_sign("."):
        name += "." + (reader.next().name or "")
    if not re.fullmatch(r"[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*)*", name):
        raise ValueError("no such parameter")
    return name


def read_setting(reader: Reader, role: str, database: str) -> Setting | None:
    """Read `SET name TO value[, …]` to the end; None for other properties of a database. Raises ValueError."""
    reader.expect("SET")
    if reader.accept("TABLESPACE"):
        return None
    name = _parameter_name(reader)
    if not (reader.accept("TO") or reader.accept_sign("=")):
        raise ValueError("TO was expected")
    values: list[str] = []
    while True:
        minus = "-" if reader.accept_sign("-") else ""
        token = reader.next()
        if token.kind is TokenKind.SIGN:
            raise ValueError("a value was expected")
        values.append(minus + token.text)
        if not reader.accept_sign(","):
            break
    reader.end()
    return Setting(role, database, name, tuple(values))


class GlobalsReader:
    """Collects globals from the events of a lexer: of a file of its own, or of the head of a pg_dumpall dump."""

    def __init__(self, superuser: str) -> None:
        self.found = Globals(superuser)

    def take(self, event: Event) -> None:
        """Read one event."""
        found = self.found
        if isinstance(event, Statement):
            found.take(event)
        elif isinstance(event, Inserts | CopyData):
            found.report(UNEXPECTED, "data", event.line, "globals hold none")
        elif isinstance(event, Command):
            word = event.text.split(None, 1)[0] if event.text.split() else b"\\"
            if word not in {b"\\restrict", b"\\unrestrict"} or event.inside:
                found.report(HOSTILE, "psql command", event.line, "never executed")
        elif isinstance(event, Flaw):
            found.report(event.code, "text", event.line, "can't be read as globals")
        elif event.text.rstrip() == b"-- PostgreSQL database cluster dump complete":
            found.complete = True


def read_globals(chunks: Iterable[bytes], superuser: str = SUPERUSER) -> Globals:
    """Read a whole globals file, already decompressed. It never raises for what the bytes hold.

    superuser: the role that initdb made in the source. Globals may alter it without creating it: that line is
    often taken out, because it fails on a new server, which has the role already.
    """
    reader, lexer, size = GlobalsReader(superuser), SqlLexer(), 0
    for chunk in chunks:
        size += len(chunk)
        for event in lexer.feed(chunk):
            reader.take(event)
        if size > LONGEST_GLOBALS:
            reader.found.report("globals-too-long", "file", lexer.line, "longer than any globals")
            break
    for event in lexer.close():
        reader.take(event)
    return reader.found


def ordered(memberships: Iterable[Membership], grantors: Callable[[str], bool]) -> Iterator[Membership]:
    """Yield memberships so that each grantor holds its ADMIN option before it grants (as pg_dumpall 16 orders them).

    grantors: whether a role may grant without one (the administrator). What can't be ordered comes last.
    """
    waiting = list(memberships)
    admins: set[tuple[str, str]] = set()
    while waiting:
        ready = [m for m in waiting if not m.grantor or grantors(m.grantor) or (m.role, m.grantor) in admins]
        if not ready:
            yield from waiting
            return
        for membership in ready:
            if membership.admin:
                admins.add((membership.role, membership.member))
            yield membership
        waiting = [m for m in waiting if m not in ready]
