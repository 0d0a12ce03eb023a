"""The heartbeat: one small table whose newest row tells up to when a restored database holds data."""

from datetime import timedelta

import psycopg

from smos.clock import Clock
from smos.paths import compose_dir
from smos.provision.base import PostgresEndpoint

KEEP = timedelta(days=1)


def install(endpoint: PostgresEndpoint, database: str) -> None:
    """Create schema and table where they are missing; nothing else is touched. Raises psycopg.Error."""
    text = (compose_dir() / "selftest" / "heartbeat.sql").read_text(encoding="utf-8")
    with psycopg.connect(endpoint.conninfo(database)) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute(text)


def beat(endpoint: PostgresEndpoint, database: str, clock: Clock) -> None:
    """Commit one row with the clock's moment and remove rows older than a day. Raises psycopg.Error."""
    now = clock.now()
    with psycopg.connect(endpoint.conninfo(database)) as connection:
        connection.execute("INSERT INTO smos.heartbeat VALUES (%s) ON CONFLICT DO NOTHING", (now,))
        connection.execute("DELETE FROM smos.heartbeat WHERE at < %s", (now - KEEP,))
