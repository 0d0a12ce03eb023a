"""A statement that waits for a standby which never answers must not hold up a drill.

PostgreSQL's `statement_timeout` does not cover that wait: it has been switched off when the commit begins to wait.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import psycopg

CANCEL_S = 10.0
"""Seconds that a server may take to hear of a cancellation; after them the connection is broken off."""


@contextlib.contextmanager
def patience(
    connection: "psycopg.Connection[tuple[object, ...]]", limit_s: float
) -> Iterator[threading.Event]:
    """Cancel what the connection waits for when the block is not done within `limit_s` seconds.

    A commit that waits for a standby then ends with a warning: it stays on this server. Any other statement raises
    psycopg.errors.QueryCanceled. A server that does not react either: the connection is broken off, and the statement
    raises psycopg.OperationalError. The event says whether patience was lost.
    """
    done, lost = threading.Event(), threading.Event()

    def watch() -> None:
        if done.wait(limit_s):
            return
        lost.set()
        with contextlib.suppress(psycopg.Error):  # whether it was heard shows below
            connection.cancel_safe(timeout=CANCEL_S)
        if not done.wait(CANCEL_S):
            break_off(connection)

    watcher = threading.Thread(target=watch, name="patience", daemon=True)
    watcher.start()
    try:
        yield lost
    finally:
        done.set()
        watcher.join()


def break_off(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Shut a connection's socket, whatever another thread waits for on it."""
    with (
        contextlib.suppress(OSError, psycopg.Error),  # it has ended by itself
        socket.socket(fileno=os.dup(connection.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)
