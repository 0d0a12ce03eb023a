"""The tenants' rows, in the platform's database (schema `smos`, made when the first tenant is)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from smos.errors import AuthenticationError, TargetError, UnreachableError

SETUP = """
CREATE SCHEMA IF NOT EXISTS smos;
CREATE TABLE IF NOT EXISTS smos.tenants (
    id text PRIMARY KEY CHECK (id ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    name text NOT NULL CHECK (name <> ''),
    rut text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'deleting')),
    created timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON smos.tenants FROM PUBLIC;
"""
LIMITS = "-c lock_timeout=10s -c statement_timeout=30s"
CONNECT_S = 10


class State(StrEnum):
    """A tenant's state. DELETING: a removal that was interrupted; the next one goes on."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One row. rut: canonical, e.g. 76123456-0."""

    id: str
    name: str
    rut: str
    state: str
    created: datetime


@contextmanager
def connected(dsn: str, password: str | None) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """Yield a connection in one transaction, committed at the end of the block and rolled back by an error.

    Raises UnreachableError, AuthenticationError; neither holds the connection string.
    """
    try:
        conninfo = make_conninfo(dsn, connect_timeout=CONNECT_S, options=LIMITS)
        connection = psycopg.connect(make_conninfo(conninfo, password=password) if password else conninfo)
    except psycopg.ProgrammingError:
        raise TargetError(
            "postgres.dsn is no connection string", remedy="smos config set postgres.dsn …"
        ) from None
    except psycopg.OperationalError as error:
        if "authentication" in str(error) or "password" in str(error):
            raise AuthenticationError(
                "PostgreSQL refuses the login", remedy="smos config set postgres.password, or ~/.pgpass"
            ) from None
        raise UnreachableError(
            "PostgreSQL does not answer", remedy="look at postgres.dsn (smos config list)"
        ) from None
    with connection:
        yield connection


def lock(connection: "psycopg.Connection[tuple[object, ...]]", tenant: str) -> None:
    """Let one process at a time change a tenant; released with the transaction."""
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 7391))", (f"smos.tenants/{tenant}",)
    )


def installed(connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
    """Tell whether the table is there."""
    row = connection.execute("SELECT to_regclass('smos.tenants') IS NOT NULL").fetchone()
    return bool(row and row[0])


def find(connection: "psycopg.Connection[tuple[object, ...]]", tenant: str) -> Tenant | None:
    """Return one tenant."""
    return next((item for item in read(connection) if item.id == tenant), None)


def read(connection: "psycopg.Connection[tuple[object, ...]]") -> list[Tenant]:
    """Return every tenant, by id."""
    if not installed(connection):
        return []
    with connection.cursor(row_factory=class_row(Tenant)) as cursor:
        return cursor.execute("SELECT id, name, rut, state, created FROM smos.tenants ORDER BY id").fetchall()
