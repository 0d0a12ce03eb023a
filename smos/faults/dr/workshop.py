"""A private PostgreSQL in which a backup's database is brought back, damaged by SQL, and dumped again.

So a damaged dump is what pg_dump itself writes of a damaged database, in the layout of `smos backup create`,
while the manifest beside it still tells what the database held.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psycopg
import zstandard
from psycopg import sql

from smos.backup.create import compress_data
from smos.errors import BackupError
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner

T = TypeVar("T")
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
TOOL_S = 120
_PROPERTIES = (
    """UPDATE pg_database SET datacl = t.datacl, datdba = t.datdba FROM pg_database t
    WHERE t.datname = %(template)s AND pg_database.datname = %(name)s""",
    """INSERT INTO pg_db_role_setting SELECT d.oid, s.setrole, s.setconfig FROM pg_db_role_setting s
    JOIN pg_database t ON t.oid = s.setdatabase, pg_database d
    WHERE t.datname = %(template)s AND d.datname = %(name)s""",
)
"""CREATE DATABASE … TEMPLATE copies neither rights nor settings of the database itself."""


class Workshop:
    """Starts its server with the first damage that is asked for. `pristine`: the backup set that it works from."""

    def __init__(self, owner: Owner, pristine: Path) -> None:
        self._owner = owner
        self._pristine = pristine
        self._server: EmbeddedPostgres | None = None
        self._templates: set[str] = set()
        self._read: dict[str, Any] = {}

    @property
    def owner(self) -> Owner:
        """What owns its server."""
        return self._owner

    @property
    def server(self) -> EmbeddedPostgres:
        """The running server, which has the roles of the backup."""
        if self._server is None:
            server = EmbeddedPostgres(self._owner, name="workshop", settings=SETTINGS, memory=True)
            server.start()
            self._server = server
            # `CREATE ROLE postgres` fails, as it always does: everything after it is what matters.
            roles = zstandard.ZstdDecompressor().stream_reader(
                (self._pristine / "globals.sql.zst").read_bytes()
            )
            self._tool("psql", "-X", "-q", "-d", server.endpoint.conninfo(), text=roles.read())
        return self._server

    def redump(
        self, name: str, statements: tuple[str, ...], folder: Path, *, options: LiteralString = ""
    ) -> None:
        """Write a dump of database `name`, changed by `statements`, into `folder` (new).

        Every statement runs as the superuser, in a transaction of its own. options: of CREATE DATABASE; then the
        database is made anew with them (its encoding or locale is the damage). Raises BackupError.
        """
        with self._clone(name, options):
            with self._connect(name) as connection:
                for statement in statements:
                    connection.execute(statement.encode())
            self.dump(name, folder)

    def redump_flat(self, name: str, kind: str, path: Path, *statements: str) -> None:
        """Write a dump in one file (kind: plain, custom, tar), after `statements`. Raises BackupError."""
        with self._clone(name, ""):
            with self._connect(name) as connection:
                for statement in statements:
                    connection.execute(statement.encode())
            words = (f"--format={kind}", "--compress=0", "--no-password", f"--file={path}")
            self._tool("pg_dump", *words, f"--dbname={self.server.endpoint.conninfo(name)}")

    def live(self, name: str) -> EmbeddedPostgres:
        """Return the server as the live system, which holds the database `name` until `drop`."""
        template = self._template(name)
        with self._connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return self.server

    def drop(self, name: str) -> None:
        """Drop a database that `live` made."""
        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def clone(self, name: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
        """Make a database `name` that is as it was backed up, for a while; yields the superuser's connection to it."""
        with self._clone(name, ""), self._connect(name) as connection:
            yield connection

    def whole(self, name: str, read: Callable[[EmbeddedPostgres, str], T]) -> T:
        """Return what `read` says of the database `name` as it was backed up. Asked once, then remembered."""
        return self.remembered(f"whole {name}", name, read)

    def remembered(self, key: str, name: str, read: Callable[[EmbeddedPostgres, str], T]) -> T:
        """Return what `read` said when it was first asked by this key. See `whole`."""
        if key not in self._read:
            with self._clone(name, ""):
                self._read[key] = read(self.server, name)
        found: T = self._read[key]
        return found

    @contextmanager
    def _clone(self, name: str, options: LiteralString) -> Iterator[None]:
        template = self._template(name)
        quoted, original = sql.Identifier(name), sql.Identifier(template)
        with self._connect() as connection:
            if options:
                make = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ").format(quoted)
                connection.execute(make + sql.SQL(options))
            else:
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(quoted, original))
            for statement in _PROPERTIES:
                connection.execute(statement, {"name": name, "template": template})
        try:
            if options:
                self._restore(name, create=False)
            yield
        finally:
            with self._connect() as connection:
                connection.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(quoted))
                connection.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(quoted))

    def dump(self, name: str, folder: Path) -> None:
        """Dump a database of the workshop as a backup does."""
        words = ("--format=directory", "--compress=0", "--no-password", f"--file={folder}")
        self._tool("pg_dump", *words, f"--dbname={self.server.endpoint.conninfo(name)}")
        for path in sorted(folder.glob("*.dat")):
            if path.name != "toc.dat":
                compress_data(path)

    def _template(self, name: str) -> str:
        template = f"pristine {name}"
        if name not in self._templates:
            self._restore(name, create=True)
            with self._connect() as connection:
                connection.execute(
                    sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                        sql.Identifier(name), sql.Identifier(template)
                    )
                )
            self._templates.add(name)
        return template

    def _restore(self, name: str, *, create: bool) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            for path in sorted((self._pristine / "databases" / name).iterdir()):
                data = path.read_bytes()
                if path.suffix == ".zst":  # the bundled pg_restore is built without zstd
                    data = zstandard.ZstdDecompressor().stream_reader(data).read()
                Path(scratch, path.name.removesuffix(".zst")).write_bytes(data)
            into = self.server.endpoint.conninfo("postgres" if create else name)
            words = ("--create",) if create else ()
            self._tool("pg_restore", "--exit-on-error", *words, "-d", into, scratch)

    def _connect(self, name: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.server.endpoint.conninfo(name), autocommit=True)

    def _tool(self, name: str, *words: str, text: bytes | None = None) -> None:
        server = self.server
        done = subprocess.run(
            [server.installation.tool(name), *words],
            env={"PATH": "/usr/bin:/bin", **server.endpoint.env()},
            input=text if text is not None else b"",
            capture_output=True,
            timeout=TOOL_S,
            check=False,
        )
        if done.returncode:
            raise BackupError(
                f"{name} failed in the workshop", log=done.stderr.decode(errors="replace")[-2000:]
            )
