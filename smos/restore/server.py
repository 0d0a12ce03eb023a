"""The live server that a restore goes into, in the words of the drill's own restore, and the roles that it needs there.

Three roles exist while a restore runs, all with a random password that nobody is told: `smos_sandbox_restore_N` loads
a database and is a member of nothing that others own; `smos_sandbox_reader` reads what came back; two more hold no
right at all. They are removed at the end; what a killed run left of them is removed by the next one.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from smos.drill.administrator import ALL, CREATOR, FOURTEEN, READ_ALL, Administrator
from smos.drill.globals import Globals, Role
from smos.drill.sandbox import OWN_PREFIX, SandboxFacts
from smos.errors import AuthenticationError, BackupError, UnreachableError
from smos.provision.base import PostgresEndpoint
from smos.provision.installations import PostgresInstallation

LOCK_KEY = 0x736D6F735F7265
"""Advisory lock ("smos_re"): one restore at a time in one server."""
OLDEST = 130000
"""DROP DATABASE … WITH (FORCE) exists since PostgreSQL 13."""
CONNECT_S = 10
UNFINISHED = "made by a restore of smos that has not ended"
"""The comment on a role that the server lacked, until the restore has ended."""
_ATTACHED = (
    "SELECT database, 'replication slot ' || slot_name FROM pg_replication_slots WHERE database IS NOT NULL"
    " UNION ALL SELECT datname, 'subscription ' || subname FROM pg_subscription s"
    " JOIN pg_database d ON d.oid = s.subdbid ORDER BY 1, 2"
)
_FINISHED = "SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') IS DISTINCT FROM %s"
_OWN = (
    "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s) OR shobj_description(oid, 'pg_authid') = %s"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEndpoint(PostgresEndpoint):
    """A live server. password: of the roles that exist while a restore runs; it reaches tools by their environment."""

    password: str = field(default="", repr=False)

    def env(self) -> dict[str, str]:
        """Return the environment of the tools that load, which log in as a restore role."""
        base = {"PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.superuser}
        return base | ({"PGPASSWORD": self.password} if self.password else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveServer:
    """What the drill's restore asks of a server. data_dir: a directory on the disk whose free space is watched."""

    endpoint: LiveEndpoint
    installation: PostgresInstallation
    data_dir: Path
    isolation: str = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What is there before. databases: every name. locale: provider of nothing; only what a plan shows."""

    system_identifier: str
    version_num: int
    databases: tuple[str, ...]
    roles: frozenset[str]
    extensions: tuple[str, ...]
    attached: tuple[tuple[str, str], ...] = ()
    """What hangs on a database and in no backup of it: (database, "replication slot NAME" or "subscription NAME")."""


def connect(
    endpoint: PostgresEndpoint, database: str = "postgres", **options: Any
) -> "psycopg.Connection[Any]":
    """Connect as the administrator, in autocommit. Raises UnreachableError or AuthenticationError."""
    try:
        return psycopg.connect(
            endpoint.conninfo(
                database, connect_timeout=CONNECT_S, application_name="smos restore", **options
            ),
            autocommit=True,
            client_encoding="UTF8",
        )
    except psycopg.OperationalError as error:
        where = f"PostgreSQL at {endpoint.host}:{endpoint.port}"
        text = str(error).strip()
        if "password" in text or "authentication" in text or "pg_hba" in text or "role" in text:
            raise AuthenticationError(
                f"{where} refused {endpoint.superuser}: {text}", remedy="put the password into ~/.pgpass"
            ) from error
        raise UnreachableError(
            f"{where} does not answer: {text}", remedy="check --host and --port, and that it runs"
        ) from error


def read_server(endpoint: PostgresEndpoint) -> ServerFacts:
    """Look at the server. Raises BackupError where nothing can be restored into it."""
    with connect(endpoint) as connection:
        row = connection.execute(
            "SELECT system_identifier::text, current_setting('server_version_num')::int, pg_is_in_recovery(),"
            " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) FROM pg_control_system()"
        ).fetchone()
        if row is None or row[2]:
            raise BackupError(
                "This server is a standby: nothing can be restored into it", remedy="name the primary"
            )
        if not row[3]:
            raise BackupError(
                f"{endpoint.superuser} is no superuser, and only one can set the owners of what is restored",
                remedy="name a superuser with --user",
            )
        if row[1] < OLDEST:
            raise BackupError("PostgreSQL before 13 is not supported", remedy="restore into a newer server")
        return ServerFacts(
            system_identifier=row[0],
            version_num=row[1],
            databases=_names(connection, "SELECT datname FROM pg_database ORDER BY 1"),
            roles=frozenset(_names(connection, _FINISHED, UNFINISHED)),
            extensions=_names(connection, "SELECT name FROM pg_available_extensions ORDER BY 1"),
            attached=tuple((str(db), str(what)) for db, what in connection.execute(_ATTACHED).fetchall()),
        )


@contextmanager
def only_one(endpoint: PostgresEndpoint) -> Iterator[None]:
    """Hold the server's lock for restores; it ends with our session, however we end. Raises BackupError."""
    with connect(endpoint) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone()
        if row is None or not row[0]:
            raise BackupError(
                "Another restore runs in this server", remedy="wait until it has ended, then try again"
            )
        yield


def live_server(
    endpoint: PostgresEndpoint, installation: PostgresInstallation, facts: ServerFacts, scratch: Path
) -> LiveServer:
    """Return the server as the drill's restore wants it, with a fresh password for its roles."""
    with connect(endpoint) as connection:
        row = connection.execute("SELECT current_setting('data_directory')").fetchone()
    data = Path(str(row[0])) if row else scratch
    return LiveServer(
        endpoint=LiveEndpoint(
            host=endpoint.host,
            port=endpoint.port,
            superuser=endpoint.superuser,
            version_num=facts.version_num,
            password=secrets.token_urlsafe(24),
        ),
        # What can be created is what the server has, wherever the client's programs come from.
        installation=replace(installation, extensions=facts.extensions),
        data_dir=data if data.is_dir() else scratch,  # another machine's disk can't be watched from here
    )


def sandbox_facts(server: LiveServer, facts: ServerFacts) -> SandboxFacts:
    """Describe the live server as the drill's restore describes its sandbox."""
    return SandboxFacts(
        system_identifier=facts.system_identifier,
        version_num=facts.version_num,
        isolation=server.isolation,
        administrator=server.endpoint.superuser,
        reader=f"{OWN_PREFIX}reader",
        archive_mode="",
        listen_addresses="",
        subscriptions=0,
        databases=facts.databases,
        roles=(),
        objects=0,
    )


class LiveAdministrator(Administrator):
    """The administrator of a live server: roles that exist are never touched.

    backed_up: the roles of the backup's globals; those that are missing are made as they say with `with_logins`, else
    without login, password and memberships.
    """

    backed_up: Globals
    with_logins: bool
    password: str
    copies_files = False  # a checkpoint is felt by everybody who works on the server

    def prepare(self) -> None:
        """Create the restore's own roles, after removing what a killed run left of them."""
        remove_own_roles(self._connection)
        self._known = {str(row[0]) for row in self.rows("SELECT rolname FROM pg_roles")}
        for name in (ALL, CREATOR):
            self.run("CREATE ROLE {} NOLOGIN", name)
        self.run("CREATE ROLE {} LOGIN NOSUPERUSER BYPASSRLS", self._facts.reader)
        self._set_password(self._facts.reader)
        if self.version >= FOURTEEN:
            self.run("GRANT {} TO {}", READ_ALL, self._facts.reader)
        self.run("GRANT pg_read_all_stats TO {}", self._facts.reader)
        self._known |= {ALL, CREATOR, self._facts.reader}

    def restore_role(self) -> str:
        """Create the role that loads one database, with a password."""
        name = super().restore_role()
        self._set_password(name)
        return name

    def ensure_role(self, name: str) -> bool:
        """Create a role that the server lacks; True when the globals don't know it either."""
        with self._lock:
            if name in self._known:
                return False
            role = self.backed_up.roles.get(name)
            if role is None or not self.with_logins:
                if super().ensure_role(name) and name in self._known:
                    self._comment(name, UNFINISHED)
                return role is None
            self._create(role)
            self._comment(name, UNFINISHED)
            for membership in self.backed_up.memberships:
                if membership.member == name and membership.role in self._known:
                    self._attempt(f"membership of {name}", lambda item=membership: self._member(item))
            return False

    def _create(self, role: Role) -> None:
        if role.name not in self._known:
            super()._create(role)

    def _join(self, name: str) -> None:
        """Lend nothing: on a live server the loading role acts for nobody."""
        self._known.add(name)

    def _lend(self, name: str, *, bypasses: bool) -> None:
        """Lend nothing."""

    def _set_password(self, name: str) -> None:
        """Set the password as a SCRAM verifier, so that no statement, and no log of statements, holds it."""
        verifier = self._connection.pgconn.encrypt_password(
            self.password.encode(), name.encode(), b"scram-sha-256"
        ).decode()
        self.compose(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier)))

    def settle_created(self, *, failed: bool) -> None:
        """Keep the roles that this restore made, or remove them: it failed."""
        for name in self.created:
            if failed:
                self._attempt(f"role {name}", lambda name=name: self.run("DROP ROLE IF EXISTS {}", name))
            else:
                role = self.backed_up.roles.get(name)
                self._comment(name, role.comment if role and self.with_logins else None)

    def _comment(self, name: str, text: str | None) -> None:
        self.compose(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(name), sql.Literal(text)))


def remove_own_roles(connection: "psycopg.Connection[Any]") -> None:
    """Remove the restore's own roles; one that still owns something stays, without a login."""
    names = _names(connection, _OWN, OWN_PREFIX, UNFINISHED)
    for name in names:
        try:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
        except psycopg.errors.DependentObjectsStillExist:
            connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(name)))


def _names(connection: "psycopg.Connection[Any]", query: str, *values: object) -> tuple[str, ...]:
    return tuple(str(row[0]) for row in connection.execute(query.encode(), values).fetchall())
