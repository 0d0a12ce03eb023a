"""The load: clients that commit one row after the other and keep a ledger of what was acknowledged."""

import threading
import time
from collections.abc import Sequence
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from smos.errors import SmosError
from smos.failover.ledger import Journal, Ledger
from smos.failover.patience import break_off
from smos.wait import wait_for

INSERT = "INSERT INTO drill.ledger (drill, client, n, token) VALUES (%s, %s, %s, %s)"
LOAD_S = 120.0
"""Seconds within which the load is under way; a limit against hangs."""
END_S = 60.0
TCP_NAME = "failover-client"


class Writer:
    """One client with one connection; it stops for good when that breaks.

    statements: run on the connection first. latencies: seconds of each acknowledged commit, as the client saw it,
    without its own ledger. synchronous_commit: what its session says.
    """

    def __init__(
        self,
        conninfo: str,
        ledger: Ledger,
        *,
        drill: int,
        client: int,
        statements: Sequence[str] = (),
        name: str = TCP_NAME,
    ) -> None:
        self.client = client
        self.latencies: list[float] = []
        self.acknowledged = 0
        self.synchronous_commit = ""
        self.ended = ""
        self._conninfo = make_conninfo(conninfo, application_name=name)
        self._ledger = ledger
        self._drill = drill
        self._statements = statements
        self._stop = threading.Event()
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._thread = threading.Thread(target=self._run, name=f"writer {client}", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    @property
    def writes(self) -> bool:
        """Whether it still does."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End it, whatever it waits for: its connection is broken off, so that a commit under way stays unknown."""
        self._stop.set()
        if self._connection is not None:
            break_off(self._connection)
        if self._thread.ident is not None:
            self._thread.join(END_S)
        if self._thread.is_alive():
            raise SmosError(f"The writer {self.client} did not end within {END_S:g} s", remedy="report this")

    def _run(self) -> None:
        try:
            with (
                self._ledger.journal(self.client) as journal,
                psycopg.connect(self._conninfo, autocommit=True) as connection,
            ):
                self._connection = connection
                for statement in self._statements:
                    connection.execute(statement.encode())
                row = connection.execute("SHOW synchronous_commit").fetchone()
                self.synchronous_commit = str(row[0]) if row else ""
                self._write(connection, journal)
        except (psycopg.Error, OSError) as error:
            self.ended = f"{type(error).__name__}: {str(error).strip()[:200]}"

    def _write(self, connection: "psycopg.Connection[tuple[object, ...]]", journal: Journal) -> None:
        warned: list[str] = []
        # "The transaction has already committed locally, but might not have been replicated": no acknowledgement.
        connection.add_notice_handler(lambda diagnostic: warned.append(str(diagnostic.message_primary)))
        n = 0
        while not self._stop.is_set():
            n += 1
            token = journal.attempt(n)
            begun = time.monotonic()
            connection.execute(INSERT, (self._drill, self.client, n, token))
            ended = time.monotonic()
            if warned:
                self.ended = warned[0][:200]
                return
            journal.acknowledge(n, ended)
            self.latencies.append(ended - begun)
            self.acknowledged += 1


class Load:
    """Several writers at once; a context manager that ends them."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self.writers = tuple(writers)

    def __enter__(self) -> Self:
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all of them."""
        for writer in self.writers:
            writer.stop()

    def await_acknowledged(self, each: int) -> None:
        """Wait until every client has this many acknowledged commits. Raises SmosError when one ended before."""

        def under_way() -> bool:
            for writer in self.writers:
                if not writer.writes:
                    raise SmosError(
                        f"The client {writer.client} ended before the disaster: {writer.ended or 'no reason'}",
                        remedy="look at the primary's log",
                    )
            return all(writer.acknowledged >= each for writer in self.writers)

        wait_for(under_way, what=f"every client has {each} acknowledged commits", deadline_s=LOAD_S)

    @property
    def latencies(self) -> tuple[float, ...]:
        """Seconds of every acknowledged commit."""
        return tuple(value for writer in self.writers for value in writer.latencies)
