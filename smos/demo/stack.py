"""The demo's servers as the harness provisions them: one PostgreSQL with the demo, and one that plays production.

Passwords are asked for, as in production: both servers let their superuser in over the private socket and want SCRAM of
everybody else. Each check works on a database of its own, cloned from a template in some 50 ms.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import psycopg
from psycopg import sql

from smos.demo.schema import LOGINS, load_schema, load_seed, text_of
from smos.provision.base import PostgresEndpoint
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation
from smos.provision.owner import Owner

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "scram_iterations": "64",
    "max_connections": "40",
}
"""For a server that lives as long as a test run. Iterations cost time, not proof: nobody guesses these passwords."""
HBA = "local all postgres trust\nlocal all all scram-sha-256\n"
TEMPLATE = "demo_template"
PRODUCTION_DATABASE = "smarteros"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoDatabase:
    """One database of the demo, wherever it is: embedded, in a container, or live.

    name: of the database. passwords: by role, never shown.
    """

    endpoint: PostgresEndpoint
    name: str
    passwords: Mapping[str, str] = field(repr=False)

    def connect(
        self, role: str | None = None, *, database: str | None = None
    ) -> "psycopg.Connection[tuple[Any, ...]]":
        """Log in as a role (None: the superuser), autocommit. Raises psycopg.OperationalError when refused."""
        return login(self.endpoint, database or self.name, role, self.passwords)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoEndpoint:
    """What the demo's checks are given. production: what stands for production; None where nothing does.

    n8n_url: where the demo's n8n is reached; None where it is not part of this stack.
    """

    database: DemoDatabase
    production: PostgresEndpoint | None
    n8n_url: str | None = None


def login(
    endpoint: PostgresEndpoint, database: str, role: str | None, passwords: Mapping[str, str]
) -> "psycopg.Connection[tuple[Any, ...]]":
    """Log in with these credentials, autocommit, within ten seconds. Raises psycopg.OperationalError."""
    options: dict[str, Any] = {"connect_timeout": 10, "application_name": "smos-demo"}
    if role is not None:
        options["password"] = passwords.get(role, "")
    return psycopg.connect(endpoint.conninfo(database, user=role, **options), autocommit=True)


class DemoStack:
    """Starts its servers with the first database that is asked for; the owner ends them."""

    def __init__(
        self,
        owner: Owner,
        installation: PostgresInstallation | None = None,
        servers: Callable[..., EmbeddedPostgres] = EmbeddedPostgres,
    ) -> None:
        self._owner = owner
        self._make = servers
        self._installation = installation
        self._server: EmbeddedPostgres | None = None
        self._production: EmbeddedPostgres | None = None
        self._numbers = count(1)
        self.passwords = {role: secrets.token_urlsafe(18) for role in LOGINS}

    @property
    def server(self) -> EmbeddedPostgres:
        """The demo's server, with its template."""
        if self._server is None:
            server = self._start("demo")
            with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
            with psycopg.connect(server.endpoint.conninfo(TEMPLATE), autocommit=True) as connection:
                load_schema(connection)
                set_passwords(connection, self.passwords)
                load_seed(connection)
            with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
                # It is copied and never entered: the demo is one database of its server.
                connection.execute(
                    sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(TEMPLATE))
                )
            self._server = server
        return self._server

    @property
    def production(self) -> EmbeddedPostgres:
        """The server that plays production: other identity, other roles, other passwords."""
        if self._production is None:
            server = self._start("production")
            with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
                name = sql.Identifier(PRODUCTION_DATABASE)
                connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
                connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))
                connection.execute("CREATE ROLE smarteros_app LOGIN")
                set_passwords(connection, {"smarteros_app": secrets.token_urlsafe(18)})
                connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO smarteros_app").format(name))
            self._production = server
        return self._production

    @contextmanager
    def clone(self, template: str = TEMPLATE) -> Iterator[DemoDatabase]:
        """Give a database of its own, dropped afterwards."""
        server = self.server
        name = f"demo_{next(self._numbers)}"
        with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute(
                # Files in memory are copied in half the time that the log needs for their pages.
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        try:
            with psycopg.connect(server.endpoint.conninfo(name), autocommit=True) as connection:
                connection.execute(text_of("database").encode())
            yield DemoDatabase(endpoint=server.endpoint, name=name, passwords=self.passwords)
        finally:
            with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def empty(self) -> Iterator[DemoDatabase]:
        """Give a database with nothing in it, dropped afterwards."""
        with self.clone("template0") as database:
            yield database

    def _start(self, name: str) -> EmbeddedPostgres:
        settings = dict(SETTINGS)
        server = self._make(
            self._owner, name=name, installation=self._installation, settings=settings, memory=True
        )
        server.hba = HBA
        if server.installation.major < 16:
            del server.settings["scram_iterations"]
        server.start()
        return server


def set_passwords(connection: "psycopg.Connection[Any]", passwords: Mapping[str, str]) -> None:
    """Give roles their passwords as SCRAM verifiers: the server and its logs never see the words themselves."""
    for role, password in passwords.items():
        verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
        )
