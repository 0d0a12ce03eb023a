"""A sound schema in a database of its own that one pitfall may break, and the run of RLS-01 on it.

One server for all: every style is loaded once, as a template, and each case works on a clone of it. Roles belong to the
whole server: what a patch does to them is undone when the database is gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from smos.errors import SmosError, TargetError
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation
from smos.provision.owner import Owner
from smos.rls.check import prove_isolation
from smos.rls.clone import Copies
from smos.verdict import Judgement

SCHEMAS = Path(__file__).parent / "schemas"
STYLES = tuple(sorted(path.stem for path in SCHEMAS.glob("*.sql")))
"""Every one of them is sound: RLS-01 passes on it."""
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
"""For a server that lives as long as a test run."""


def schema_text(style: str) -> str:
    """Return the SQL of a sound schema. Raises TargetError for an unknown one."""
    if style not in STYLES:
        raise TargetError(f"there is no schema {style!r}", remedy=f"known: {', '.join(STYLES)}")
    return (SCHEMAS / f"{style}.sql").read_text(encoding="utf-8")


class RlsStack:
    """Starts its server with the first database that is asked for; the owner ends it."""

    def __init__(self, owner: Owner, installation: PostgresInstallation | None = None) -> None:
        self._owner = owner
        self._installation = installation
        self._server: EmbeddedPostgres | None = None
        self._templates: set[str] = set()
        self._numbers = count(1)
        self.copies = Copies(owner)
        """Where the prober's own copies go, one after the other."""

    @property
    def server(self) -> EmbeddedPostgres:
        """The server; it lies in memory where there is room."""
        if self._server is None:
            server = EmbeddedPostgres(
                self._owner, name="subject", installation=self._installation, settings=SETTINGS, memory=True
            )
            server.start()
            self._server = server
        return self._server

    def clone(self, style: str) -> str:
        """Make a database with this sound schema; return its name."""
        template, name = f"template_{style}", f"shop_{next(self._numbers)}"
        if style not in self._templates:
            self.run("postgres", f"CREATE DATABASE {template}")
            self.run(template, schema_text(style))
            self._templates.add(style)
        self.run("postgres", f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def run(self, database: str, statements: str) -> None:
        """Run statements as the superuser; several are one transaction unless they say otherwise."""
        with psycopg.connect(self.server.endpoint.conninfo(database), autocommit=True) as connection:
            connection.execute(statements.encode())

    def drop(self, database: str) -> None:
        """Drop a database, whoever is connected to it."""
        with psycopg.connect(self.server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
            )


class RlsWorkspace:
    """What an injection is given: it opens a sound schema, and breaks it."""

    def __init__(self, stack: RlsStack) -> None:
        self.stack = stack
        self._database: str | None = None
        self._undo: list[str] = []

    def open(self, style: str) -> None:
        """Work on a clone of this schema."""
        self._database = self.stack.clone(style)

    @property
    def database(self) -> str:
        """The clone's name. Raises SmosError before one was opened."""
        if self._database is None:
            raise SmosError("no schema was opened")
        return self._database

    @property
    def dsn(self) -> str:
        """What `--dsn` would be given: the clone, as an administrator."""
        return self.stack.server.endpoint.conninfo(self.database)

    def sql(self, statements: str, *, undo: str = "") -> None:
        """Run statements as the superuser. undo: takes back what they do to roles, when the database is gone."""
        if undo:
            self._undo.append(undo)
        self.stack.run(self.database, statements)

    def close(self) -> None:
        """Drop the clone, and undo what belongs to the whole server."""
        if self._database is not None:
            self.stack.drop(self._database)
        for statements in reversed(self._undo):
            self.stack.run("postgres", statements)


@contextmanager
def workspace(stack: RlsStack) -> Iterator[RlsWorkspace]:
    """Give a workspace; afterwards nothing of it is left on the server."""
    work = RlsWorkspace(stack)
    try:
        yield work
    finally:
        work.close()


def exercise(check_id: str, work: RlsWorkspace) -> Judgement:
    """Run the real check on the clone. Raises TargetError for an unknown check."""
    if check_id != "RLS-01":
        raise TargetError(f"{check_id} can't be exercised")
    return prove_isolation(work.dsn, copies=work.stack.copies)
