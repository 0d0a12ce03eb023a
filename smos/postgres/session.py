"""Sessions that print every value the same way, whatever a role's, a database's or a server's settings are.

Text forms of rows are hashed, definitions are printed by the server: both depend on settings. They are fixed
here once, for the length of a transaction, and nothing is written to the database.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel

Connect = Callable[[], "psycopg.Connection[Any]"]

LOCK_TIMEOUT_S = 10
"""A table that somebody holds exclusively for longer is reported as unread instead of waited for."""
STATEMENT_TIMEOUT_S = 6 * 3600
"""A bound against hanging, far above any scan that is meant to finish."""

_FIXED = {
    "client_min_messages": "error",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    # Temporary objects last: nothing in a database may shadow what is called here. Everything else is
    # printed with its schema.
    "search_path": "pg_catalog, pg_temp",
    "quote_all_identifiers": "off",
    # Rows hidden by a policy are an error, never silently absent.
    "row_security": "off",
    "synchronize_seqscans": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # the caller's `jobs` decide how much of the machine is used
    "idle_in_transaction_session_timeout": "0",
}


def fix_settings(
    connection: "psycopg.Connection[Any]", *, statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> None:
    """Fix, until the end of the transaction, every setting that changes how values or definitions print."""
    settings = {
        **_FIXED,
        "lock_timeout": str(LOCK_TIMEOUT_S * 1000),
        "statement_timeout": str(int(statement_timeout_s * 1000)),
    }
    if connection.info.server_version >= 170000:
        settings["transaction_timeout"] = "0"  # the statements are bounded, the transaction reads everything
    calls = ", ".join(["pg_catalog.set_config(%s, %s, true)"] * len(settings))
    connection.execute(f"SELECT {calls}".encode(), [text for pair in settings.items() for text in pair])


@contextmanager
def fixed_settings(connection: "psycopg.Connection[Any]") -> "Iterator[psycopg.Cursor[tuple[Any, ...]]]":
    """Give a cursor with fixed settings; afterwards settings and locks are as they were (rolled back)."""
    with connection.transaction(force_rollback=True):
        fix_settings(connection)
        with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            yield cursor


@contextmanager
def snapshot_session(connect: Connect, snapshot: str | None) -> "Iterator[psycopg.Connection[Any]]":
    """Open a read-only REPEATABLE READ transaction, in an exported snapshot where one is named; close it after.

    Raises psycopg.Error when the server refuses (the snapshot's owner has gone, for instance).
    """
    connection = connect()
    try:
        connection.rollback()  # a caller may hand over a connection that has already asked something
        connection.autocommit = False
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.row_factory = psycopg.rows.tuple_row
        if snapshot is not None:
            connection.execute(
                psycopg.sql.SQL("SET TRANSACTION SNAPSHOT {}").format(psycopg.sql.Literal(snapshot))
            )
        # A database may be SQL_ASCII: psycopg would hand over bytes instead of text.
        connection.execute("SET LOCAL client_encoding = 'UTF8'")
        fix_settings(connection)
        yield connection
    finally:
        connection.close()
