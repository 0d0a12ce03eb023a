"""A database as a whole: how it is created, and what is set on it when its content is there.

From a dump's CREATE DATABASE, ALTER DATABASE, GRANT ON DATABASE, COMMENT ON DATABASE and ALTER ROLE IN DATABASE,
parsed into values; the sandbox's administrator builds its own statements from them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from smos.drill.globals import Globals, Setting, read_setting
from smos.drill.sqlstream import Statement
from smos.drill.sqltokens import Reader, TokenKind, tokenize
from smos.verdict import Problem

if TYPE_CHECKING:
    from smos.drill.administrator import Administrator

PRIVILEGES = frozenset({"ALL", "CONNECT", "CREATE", "TEMPORARY", "TEMP"})
SEVENTEEN, FIFTEEN, SIXTEEN = 170000, 150000, 160000


@dataclass(frozen=True, slots=True)
class Grant:
    """One GRANT or REVOKE on the database. roles: "" is PUBLIC."""

    revoke: bool
    privileges: tuple[str, ...]
    roles: tuple[str, ...]
    option: bool


@dataclass(slots=True)
class DatabasePlan:
    """What a dump says of one database; all empty when it says nothing."""

    known: bool = False
    encoding: str | None = None
    provider: str | None = None
    locale: str | None = None
    collate: str | None = None
    ctype: str | None = None
    provider_locale: str | None = None
    icu_rules: str | None = None
    owner: str | None = None
    connection_limit: int | None = None
    template: bool | None = None
    comment: str | None = field(default=None, repr=False)
    grants: list[Grant] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def take(self, statement: Statement, kind: str) -> None:
        """Read one statement about the database; what can't be read is noted and never executed."""
        try:
            self._take(Reader(tokenize(statement.text)), statement.line)
        except (ValueError, OverflowError) as error:
            self.problems.append(Problem("unexpected-statement", f"line {statement.line}: {kind}: {error}"))

    def _take(self, reader: Reader, line: int) -> None:
        first = reader.next().word
        if first == "CREATE":
            reader.expect("DATABASE")
            reader.name()
            self.known = True
            reader.accept("WITH")
            while not reader.done:
                self._option(reader)
        elif first == "ALTER":
            self._alter(reader, line)
        elif first == "COMMENT":
            reader.expect("ON", "DATABASE")
            reader.name()
            reader.expect("IS")
            token = reader.next()
            self.comment = token.text if token.kind is TokenKind.TEXT else None
        else:
            self._grant(reader, revoke=first == "REVOKE")

    def _option(self, reader: Reader) -> None:  # noqa: C901, PLR0912  (one branch per option)
        word = reader.next().word
        if word == "CONNECTION":
            reader.expect("LIMIT")
        reader.accept_sign("=")
        if word == "CONNECTION":
            self.connection_limit = reader.integer()
            return
        token = reader.next()
        value = token.text
        if word == "ENCODING":
            self.encoding = value
        elif word == "LOCALE":
            self.locale = value
        elif word == "LC_COLLATE":
            self.collate = value
        elif word == "LC_CTYPE":
            self.ctype = value
        elif word == "LOCALE_PROVIDER":
            self.provider = value.lower()
        elif word in {"ICU_LOCALE", "BUILTIN_LOCALE"}:
            self.provider_locale = value
        elif word == "ICU_RULES":
            self.icu_rules = value
        elif word == "OWNER":
            self.owner = token.name
        elif word == "IS_TEMPLATE":
            self.template = value.lower() in {"true", "on"}
        elif word == "TABLESPACE":
            self.problems.append(Problem("tablespace-mapped", f"{value}: the sandbox has one tablespace"))
        elif word not in {"TEMPLATE", "COLLATION_VERSION", "STRATEGY", "OID", "ALLOW_CONNECTIONS"}:
            raise ValueError("no such option")

    def _alter(self, reader: Reader, line: int) -> None:
        found = Globals()
        if reader.accept("ROLE"):
            role = "" if reader.accept("ALL") else reader.name()
            reader.expect("IN", "DATABASE")
            reader.name()
            setting = read_setting(reader, role, "")
            found.add_setting(setting, line)
        else:
            reader.expect("DATABASE")
            name = reader.name()
            if reader.accept("OWNER", "TO"):
                self.owner = reader.name()
                reader.end()
                return
            if reader.peek().word != "SET":
                reader.accept("WITH")
                while not reader.done:
                    self._option(reader)
                return
            found.add_setting(read_setting(reader, "", name), line)
        self.settings += found.settings
        self.problems += found.problems

    def _grant(self, reader: Reader, *, revoke: bool) -> None:
        option = revoke and reader.accept("GRANT", "OPTION", "FOR")
        privileges: list[str] = []
        while True:
            word = reader.next().word
            if word not in PRIVILEGES:
                raise ValueError("no such privilege")
            reader.accept("PRIVILEGES")
            privileges.append(word)
            if not reader.accept_sign(","):
                break
        reader.expect("ON", "DATABASE")
        reader.name()
        reader.expect("FROM" if revoke else "TO")
        roles: list[str] = []
        while True:
            token = reader.next()
            roles.append("" if token.word == "PUBLIC" else token.name or "")
            if not reader.accept_sign(","):
                break
        option = option or reader.accept("WITH", "GRANT", "OPTION")
        if reader.accept("GRANTED", "BY"):
            reader.name()
        reader.end()
        self.grants.append(Grant(revoke, tuple(privileges), tuple(roles), option))

    # --- doing it ---------------------------------------------------------------------------------------------

    def create(
        self, name: str, owner: str, administrator: "Administrator", encoding: str | None
    ) -> list[Problem]:
        """Create the database for its restore role, as declared or as near to it as the sandbox can.

        encoding: of a dump that says nothing else. Returns the gaps. Raises psycopg.Error when nothing works.
        """
        last: psycopg.Error | None = None
        for number, options in enumerate(self._attempts(administrator.version, encoding)):
            text = sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
            for keyword, value in options:
                text += sql.SQL(f" {keyword} = {{}}").format(sql.Literal(value))
            if administrator.copies_files and administrator.version >= FIFTEEN:
                text += sql.SQL(" STRATEGY = file_copy")
            try:
                administrator.compose(text)
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.DiskFull, psycopg.OperationalError):
                raise
            except psycopg.Error as error:
                last = error
                continue
            if number == 0 or not self.known:
                return []
            wanted = self.provider_locale or self.locale or self.collate or "its locale"
            used = dict(options).get("LOCALE") or dict(options).get("LC_COLLATE") or "the default"
            return [
                Problem("collation-unavailable", f"{wanted} ({self.provider or 'libc'}): created with {used}")
            ]
        if last is not None:
            raise last
        return []

    def _attempts(self, version: int, encoding: str | None) -> Iterator[list[tuple[str, str]]]:
        base = [("ENCODING", self.encoding or encoding)] if self.encoding or encoding else []
        exact: list[tuple[str, str | None]] = [*base]
        if version >= FIXED_LOCALE and self.locale is not None:
            exact.append(("LOCALE", self.locale))
        exact += [("LC_COLLATE", self.collate or (self.locale if version < FIXED_LOCALE else None))]
        exact += [("LC_CTYPE", self.ctype or (self.locale if version < FIXED_LOCALE else None))]
        if version >= FIFTEEN and self.provider is not None:
            exact.append(("LOCALE_PROVIDER", self.provider))
            if self.provider == "icu":
                exact.append(("ICU_LOCALE", self.provider_locale))
                exact.append(("ICU_RULES", self.icu_rules if version >= SIXTEEN else None))
            if self.provider == "builtin" and version >= SEVENTEEN:
                exact.append(("BUILTIN_LOCALE", self.provider_locale))
        if version >= FIFTEEN or self.provider in {None, "libc"}:
            yield [(keyword, value) for keyword, value in exact if value is not None]
        kept = [(keyword, value) for keyword, value in base if value is not None]
        provider = [("LOCALE_PROVIDER", "libc")] if version >= FIFTEEN else []
        for locale in ("C.UTF-8", "C"):
            yield [*kept, *provider, ("LC_COLLATE", locale), ("LC_CTYPE", locale)]

    def settle(self, name: str, final_owner: str | None, administrator: "Administrator") -> None:
        """Set owner, rights, comment and settings. Raises psycopg.Error."""
        me = sql.Identifier(name)
        if final_owner is not None:
            administrator.compose(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(me, sql.Identifier(final_owner))
            )
        for grant in self.grants:
            for role in grant.roles:
                if role:
                    administrator.ensure_role(role)
            administrator.compose(_grant_text(grant, me))
        if self.comment is not None:
            administrator.compose(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(me, sql.Literal(self.comment))
            )
        for setting in self.settings:
            administrator.apply_setting(setting, database=name)
        for keyword, value in (("CONNECTION LIMIT", self.connection_limit), ("IS_TEMPLATE", self.template)):
            if value is not None:
                administrator.compose(
                    sql.SQL(f"ALTER DATABASE {{}} WITH {keyword} {{}}").format(me, sql.Literal(value))
                )


FIXED_LOCALE = 130000
"""CREATE DATABASE … LOCALE exists since version 13."""


def _grant_text(grant: Grant, database: sql.Identifier) -> sql.Composed:
    words = ", ".join(grant.privileges)
    who = sql.SQL(", ").join(sql.Identifier(role) if role else sql.SQL("PUBLIC") for role in grant.roles)
    if grant.revoke:
        lead = "REVOKE GRANT OPTION FOR " if grant.option else "REVOKE "
        return sql.SQL(lead + words + " ON DATABASE {} FROM {}").format(database, who)
    tail = " WITH GRANT OPTION" if grant.option else ""
    return sql.SQL("GRANT " + words + " ON DATABASE {} TO {}" + tail).format(database, who)


def database_name(argument: str) -> str | None:
    r"""Return the database that a `\connect` of pg_dump names; None for anything that could lead elsewhere.

    Forms: `name`, `"na""me"`, `-reuse-previous=on "dbname='na\'me'"`.
    """
    plain = re.fullmatch(r"[A-Za-z_\u0080-\U0010ffff][\w$]*", argument)
    if plain is not None:
        return argument
    quoted = re.fullmatch(r'(-reuse-previous=on\s+)?"((?:[^"]|"")+)"', argument)
    if quoted is None:
        return None
    value = quoted[2].replace('""', '"')
    if quoted[1] is None:  # psql takes one with `=` or `://` in it for a connection string
        return None if "=" in value or value.startswith(("postgres:", "postgresql:")) else value
    named = re.fullmatch(r"dbname='((?:[^'\\]|\\.)+)'", value, re.DOTALL) or re.fullmatch(
        r"dbname=([\w.-]+)", value
    )
    return None if named is None else re.sub(r"\\(.)", r"\1", named[1])
