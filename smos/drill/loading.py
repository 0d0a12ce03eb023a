"""One database in the sandbox while it is loaded: made, prepared for unprivileged loading, and settled at the end."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from smos.drill.administrator import CREATOR
from smos.drill.context import Context
from smos.drill.databases import DatabasePlan
from smos.drill.feed import Psql
from smos.drill.sandbox import SYSTEM_DATABASES, admin_connection
from smos.drill.sqlobjects import object_of
from smos.drill.sqlrules import SUPERUSER
from smos.drill.sqlstream import Statement
from smos.verdict import Problem
from smos.wait import wait_for

FIFTEEN = 150000
CONNECTING_EXTENSIONS = frozenset({"dblink", "postgres_fdw"})
"""Extensions with which SQL can open a connection: only where the network is cut by the system."""
SYNC_S = 600
OWNER_LOST = "owner-lost"
"""The dump names owners, but not of everything."""
NAMED = 5
"""Things without an owner that are named one by one."""
ENDED_S = 30
"""Seconds that a terminated session may take to go."""
_BUSY = "SELECT 1 FROM pg_stat_activity WHERE usename = %s"
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
_THERE = "SELECT 1 FROM pg_stat_activity WHERE usename = %s AND application_name = %s"


class TemplateError(Exception):
    """The dump holds objects of a template database, which the sandbox keeps as its own."""


class Loading:
    """The database `name`, made by `create`. role: the unprivileged one that loads it ("" before)."""

    def __init__(self, context: Context, name: str, extensions: Mapping[str, str]) -> None:
        self.name = name
        self.role = ""
        self.foreign: set[str] = set()
        """Kind and name of everything that an extension brought: the dump may grant on it, but does not own it."""
        self._context = context
        self._versions = dict(extensions)
        self._comments: dict[str, str | None] = {}

    def create(self, plan: DatabasePlan, encoding: str | None) -> list[Problem]:
        """Make the database; return the gaps.

        Raises TemplateError, psycopg.errors.DuplicateDatabase (another dump made it), or psycopg.Error.
        """
        administrator, gaps = self._context.administrator, []
        if self.name in SYSTEM_DATABASES and self.name != "postgres":
            raise TemplateError(self.name)
        self.role = administrator.restore_role()
        if self.name == "postgres":
            administrator.run("ALTER DATABASE {} OWNER TO {}", self.name, self.role)
        else:
            gaps = plan.create(self.name, self.role, administrator, encoding)
        administrator.run("GRANT CREATE ON DATABASE {} TO {}", self.name, CREATOR)
        me, creator = sql.Identifier(self.role), sql.Identifier(CREATOR)
        with self._connection() as connection:
            if self._context.version < FIFTEEN:  # later `public` belongs to the database's owner by itself
                connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(me))
            connection.execute(sql.SQL("GRANT CREATE, USAGE ON SCHEMA public TO {}").format(creator))
            lend = "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT CREATE, USAGE ON SCHEMAS TO {}"
            connection.execute(sql.SQL(lend).format(me, creator))
        return gaps

    def psql(self) -> Psql:
        """Start a restricted psql in the database, as the role that loads it."""
        server = self._context.server
        return Psql(
            server.installation.tool("psql"), server.installation.version_num, server.endpoint,
            server.endpoint.conninfo(self.name, self.role),
        )  # fmt: skip

    def synchronise(self, psql: Psql, remaining_s: float) -> None:
        """Wait until psql has executed everything that it was given, or has ended. Raises DeadlineError."""
        marker = f"smos {time.monotonic_ns()}"

        def wait(ended: Callable[[], bool]) -> None:
            wait_for(
                lambda: ended() or self._context.administrator.rows(_THERE, self.role, marker),
                what="psql has executed what came before an extension",
                deadline_s=max(1.0, remaining_s) + SYNC_S,
            )

        psql.synchronise(marker, wait)

    def extension(self, name: str, schema: str | None, version: str | None) -> Problem | None:
        """Create an extension as the administrator; the gap where the sandbox lacks it or it is withheld."""
        if name == "plpgsql":
            return None
        if name not in self._context.server.installation.extensions:
            return Problem("extension-unavailable", f"{name} is not installed in the sandbox's PostgreSQL")
        if name in CONNECTING_EXTENSIONS and self._context.sandbox.isolation == "configuration":
            detail = f"{name} could open connections, and the sandbox's network is not cut"
            return Problem("extension-withheld", detail)
        wanted, gap = version or self._versions.get(name), None
        try:
            with self._connection() as connection:
                query = "SELECT version FROM pg_available_extension_versions WHERE name = %s"
                versions = {str(row[0]) for row in connection.execute(query, [name])}
                text = sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name))
                if schema is not None:
                    text += sql.SQL(" SCHEMA {}").format(sql.Identifier(schema))
                if wanted in versions:
                    text += sql.SQL(" VERSION {}").format(sql.Literal(wanted))
                elif wanted is not None:
                    gap = Problem(
                        "extension-version", f"{name} {wanted} is not available: the default took its place"
                    )
                connection.execute(text)
                self._share(connection)
        except psycopg.Error as error:
            return Problem(
                "extension-unavailable", f"{name} can't be created here: SQLSTATE {error.sqlstate}"
            )
        return gap

    def comment(self, name: str, text: str | None) -> None:
        """Remember what the dump says of an extension, for `settle`; nothing of those that are not installed here."""
        if name in self._context.server.installation.extensions:
            self._comments[name] = text

    def _share(self, connection: "psycopg.Connection[Any]") -> None:
        """Let the loading fill the extensions' configuration tables and use their wrappers; learn what is theirs."""
        me, creator = sql.Identifier(self.role), sql.Identifier(CREATOR)
        for schema, table in connection.execute(_CONFIGURATION.encode()).fetchall():
            what = sql.Identifier(str(schema), str(table))
            connection.execute(
                sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {} TO {}").format(what, me)
            )
        for (wrapper,) in connection.execute("SELECT fdwname FROM pg_foreign_data_wrapper").fetchall():
            lend = "GRANT USAGE ON FOREIGN DATA WRAPPER {} TO {}, {}"
            connection.execute(sql.SQL(lend).format(sql.Identifier(str(wrapper)), me, creator))
        self.foreign |= {str(row[0]) for row in connection.execute(_MEMBERS.encode()).fetchall()}

    def end_sessions(self) -> None:
        """End what a killed psql left running in the server. Raises DeadlineError."""
        rows = self._context.administrator.rows

        def gone() -> bool:
            rows(_END, self.role)
            return not rows(_BUSY, self.role)

        wait_for(gone, what=f"the sessions of {self.role} have ended", deadline_s=ENDED_S)

    def settle(self, plan: DatabasePlan, owner: str | None, grants: Sequence[Statement]) -> list[Problem]:
        """Give the database to `owner`, set rights and settings, take loading rights back.

        What the dump gives to nobody stays with the powerless role that made it, never with `owner`: by hand it
        would go to whoever restores. grants: on what is not the dump's own (see sqlobjects.plain_grant). Returns gaps
        and notes. Raises psycopg.Error.
        """
        administrator, problems = self._context.administrator, []
        role, creator = sql.Identifier(self.role), sql.Identifier(CREATOR)
        with self._connection() as connection:
            for statement in grants:
                try:
                    connection.execute(statement.text, prepare=False)
                except psycopg.Error as error:
                    what = (
                        f"GRANT ON {object_of(statement.skeleton).split(' ')[0]}: SQLSTATE {error.sqlstate}"
                    )
                    problems.append(Problem(SUPERUSER, f"line {statement.line}: {what}"))
            for name, text in self._comments.items():
                if connection.execute("SELECT FROM pg_extension WHERE extname = %s", [name]).rowcount:
                    comment = sql.SQL("COMMENT ON EXTENSION {} IS {}")
                    connection.execute(comment.format(sql.Identifier(name), sql.Literal(text)))
            unlend = "ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE CREATE, USAGE ON SCHEMAS FROM {}"
            connection.execute(sql.SQL(unlend).format(role, creator))
            # Not DROP OWNED: that would reach the rights on the databases that are still being restored.
            for kind, lent in connection.execute(_LENT.encode(), [f'"{CREATOR}"']).fetchall():
                whom = sql.Identifier(str(lent))
                connection.execute(sql.SQL(f"REVOKE ALL ON {kind} {{}} FROM {{}}").format(whom, creator))
            self._public(connection)
            unowned, owned, named = self._ownership(connection)
            if owner is not None and not unowned:  # else it would drop them: only rights are meant
                connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
        administrator.run("REVOKE ALL ON DATABASE {} FROM {}", self.name, CREATOR)
        plan.settle(self.name, owner, administrator)
        if self.name == "postgres" and owner is None:
            administrator.run("ALTER DATABASE {} OWNER TO {}", self.name, self._context.sandbox.administrator)
        released = administrator.release(self.role)
        if unowned and owned:
            more = f" and {unowned - len(named)} more" if unowned > len(named) else ""
            detail = f"the dump names owners, but none of {', '.join(named)}{more}"
            problems.append(Problem(OWNER_LOST, detail))
        elif not released:
            detail = "the dump names no owner: a powerless role of the sandbox owns what it made"
            problems.append(Problem("owner-unknown", detail))
        return problems

    def _ownership(self, connection: "psycopg.Connection[Any]") -> tuple[int, int, list[str]]:
        """Return how many things the dump gave to nobody, how many to somebody, and names of the former."""
        role = f'"{self.role}"'
        row = connection.execute(_OWNERS.encode(), [role]).fetchone()
        names = connection.execute(_UNOWNED.encode(), [role, NAMED]).fetchall()
        return (*(row or (0, 0)), [f"{kind} {identity}" for kind, identity in names])

    def _public(self, connection: "psycopg.Connection[Any]") -> None:
        """Before version 15 a superuser owned the schema public: the backup's `postgres` role, where it has one."""
        if self._context.version >= FIFTEEN:
            return
        query = "SELECT 1 FROM pg_namespace WHERE nspname = 'public' AND nspowner = %s::regrole"
        if connection.execute(query, [f'"{self.role}"']).fetchone() is not None:
            known = "postgres" in self._context.administrator.created
            owner = "postgres" if known else self._context.sandbox.administrator
            connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(owner)))

    def _connection(self) -> "psycopg.Connection[Any]":
        return admin_connection(self._context.server, self.name)


_OWNERS = """
SELECT count(*) FILTER (WHERE d.refobjid = x.id), count(*) FILTER (WHERE d.refobjid <> x.id)
FROM pg_shdepend AS d JOIN pg_database AS b ON b.oid = d.dbid, (SELECT %s::regrole::oid AS id) AS x
WHERE b.datname = current_database() AND d.deptype = 'o'
AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
"""
_UNOWNED = """
SELECT i.type, i.identity FROM (SELECT d.* FROM pg_shdepend AS d JOIN pg_database AS b ON b.oid = d.dbid
    WHERE b.datname = current_database() AND d.deptype = 'o' AND d.refobjid = %s::regrole
    ORDER BY d.classid, d.objid LIMIT %s) AS u,
LATERAL pg_identify_object(u.classid, u.objid, u.objsubid) AS i
"""
_CONFIGURATION = """
SELECT n.nspname, c.relname FROM pg_extension e, unnest(e.extconfig) AS t(id)
JOIN pg_class c ON c.oid = t.id JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_LENT = """
SELECT l.* FROM (SELECT %s::regrole::oid AS id) AS x, LATERAL (
    SELECT 'SCHEMA', nspname FROM pg_namespace WHERE EXISTS (SELECT FROM aclexplode(nspacl) WHERE grantee = x.id)
    UNION SELECT 'FOREIGN DATA WRAPPER', fdwname FROM pg_foreign_data_wrapper
    WHERE EXISTS (SELECT FROM aclexplode(fdwacl) WHERE grantee = x.id)) AS l
"""
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
UNION SELECT 'SCHEMA ' || quote_ident(n.nspname) FROM pg_depend d
JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND d.objid = n.oid WHERE d.deptype = 'e'
"""
