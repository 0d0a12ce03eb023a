"""Puts restored databases in the place of those in use: one transaction renames them all, or none.

Sessions on the databases are ended; a new one waits for the transaction (PostgreSQL locks a database that is being
renamed) and then meets the new database, or the old one. Killed at any moment, the server takes the transaction back.
"""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from smos.errors import BackupError
from smos.provision.base import PostgresEndpoint
from smos.restore.server import connect

LONGEST_NAME = 40
"""Bytes of a database's name, so that the longest temporary name fits into PostgreSQL's 63."""
_LEFT = re.compile(r"(?P<name>.+)__smos_(?P<state>restore|old)_(?P<id>[0-9a-f]{8})")
END_PAUSE_S = 0.05
TRIES = 6
"""PostgreSQL itself waits 5 s for sessions to go: half a minute in all."""
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s) AND pid <> pg_backend_pid()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of one database during a restore. exists: there is one in use already."""

    name: str
    id: str
    exists: bool

    @property
    def new(self) -> str:
        """Where it is restored and verified."""
        return f"{self.name}__smos_restore_{self.id}"

    @property
    def old(self) -> str:
        """What the one in use is called after the swap."""
        return f"{self.name}__smos_old_{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A database that an earlier run left. state: "restore" (never in use) or "old" (it was in use before)."""

    database: str
    name: str
    state: str
    id: str


def check_name(name: str) -> None:
    """Refuse a name that has no room for ours. Raises BackupError."""
    if len(name.encode()) > LONGEST_NAME:
        raise BackupError(
            f"{name}: a database whose name is longer than {LONGEST_NAME} bytes can't be swapped",
            remedy="restore it by hand (docs/encryption.md, docs/cli.md), or rename it",
        )


def left_over(databases: Sequence[str]) -> tuple[Left, ...]:
    """Return what earlier runs left, by the databases' names."""
    matches = ((database, _LEFT.fullmatch(database)) for database in databases)
    return tuple(
        Left(database=database, name=match["name"], state=match["state"], id=match["id"])
        for database, match in matches
        if match is not None
    )


def drop_database(endpoint: PostgresEndpoint, name: str) -> None:
    """Drop a database of ours, whoever is in it. Raises psycopg.Error."""
    if _LEFT.fullmatch(name) is None:
        raise BackupError(f"{name} is none of the databases that a restore makes")
    with connect(endpoint) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def swap(
    endpoint: PostgresEndpoint, names: Sequence[Names], before_commit: Callable[[], None] = lambda: None
) -> None:
    """Rename all at once: in use → old, restored → in use. before_commit: what must happen together with it.

    Raises BackupError; then everything is as it was.
    """
    renames = [(item.name, item.old) for item in names if item.exists]
    _rename(endpoint, [*renames, *((item.new, item.name) for item in names)], before_commit)


def swap_back(
    endpoint: PostgresEndpoint, names: Sequence[Names], before_commit: Callable[[], None] = lambda: None
) -> None:
    """Undo `swap`: what was in use before is in use again. Raises BackupError."""
    renames = [(item.name, item.new) for item in names]
    _rename(endpoint, [*renames, *((item.old, item.name) for item in names if item.exists)], before_commit)


def _rename(
    endpoint: PostgresEndpoint, renames: Sequence[tuple[str, str]], before_commit: Callable[[], None]
) -> None:
    places = [name for pair in renames for name in pair]
    last: psycopg.Error | None = None
    for _ in range(TRIES):
        try:
            with _sessions_ended(endpoint, places), connect(endpoint) as connection, connection.transaction():
                for before, after in renames:
                    connection.execute(
                        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                            sql.Identifier(before), sql.Identifier(after)
                        )
                    )
                before_commit()
        except psycopg.errors.ObjectInUse as error:
            last = error
        except psycopg.Error as error:
            raise BackupError(f"The databases could not be swapped: {str(error).strip()}") from error
        else:
            return
    raise BackupError(
        f"The databases could not be swapped, somebody keeps using them: {str(last).strip()}",
        remedy="stop the applications (and end prepared transactions), then restore again",
    )


@contextmanager
def _sessions_ended(endpoint: PostgresEndpoint, databases: Sequence[str]) -> Iterator[None]:
    """End the sessions on these databases, again and again: new ones may come until the lock is held."""
    ended = threading.Event()
    with connect(endpoint) as connection:

        def end() -> None:
            with suppress(psycopg.Error):  # the rename says what is wrong
                while True:
                    connection.execute(_END, [list(databases)])
                    if ended.wait(END_PAUSE_S):
                        return

        connection.execute(_END, [list(databases)])
        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
