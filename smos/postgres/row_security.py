"""Row security as an ordinary role meets it: how many rows it sees before any tenant is set.

The role logs in for real. `SET ROLE` in a superuser's session would not do: the expression of a policy is
code of whoever owns the table, and could call `set_config('role', …)` to climb back to the session's
superuser. Where no login without a password is possible (a live server with passwords) nothing is probed, and
that is said.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from smos.postgres.catalogue import Catalogue
from smos.postgres.content import MAX_PROBES, RowSecurityFacts
from smos.postgres.names import qualified
from smos.postgres.session import LOCK_TIMEOUT_S, fixed_settings

ConnectAs = Callable[[str], "psycopg.Connection[Any]"]

PROBE_TIMEOUT_S = 60

_PAIRS = b"""
SELECT n.nspname, c.relname, r.rolname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN pg_roles AS r
WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND r.rolcanlogin AND NOT r.rolsuper AND NOT r.rolbypassrls AND r.rolname !~ '^pg_'
  AND has_any_column_privilege(r.oid, c.oid, 'SELECT')
ORDER BY r.rolname, n.nspname, c.relname
"""


def login_without_password(connection: "psycopg.Connection[Any]") -> ConnectAs | None:
    """Return a way to log in as other roles on the same server, where that needs no password; else None.

    Only tried over a Unix socket that asked this connection for none, so that a production server never sees
    a failed login because of us.
    """
    info = connection.info
    if connection.pgconn.used_password or not info.host.startswith("/"):
        return None

    def connect_as(role: str) -> "psycopg.Connection[Any]":
        return psycopg.connect(
            make_conninfo(host=info.host, port=info.port, dbname=info.dbname, user=role, connect_timeout=10)
        )

    return connect_as


def probe_row_security(
    connection: "psycopg.Connection[Any]",
    catalogue: Catalogue,
    *,
    connect_as: ConnectAs | None = None,
    totals: Mapping[str, int] | None = None,
) -> tuple[RowSecurityFacts, ...] | None:
    """Count what every role that can log in and may read sees of every table with row security.

    connect_as: logs in as a role; None tries a socket without a password. totals: rows by table name where
    they were counted already. Returns None where logging in is not possible at all (then nothing is known).
    Nothing is written: each probe runs in a read-only transaction that is rolled back.
    """
    if not any(table.get("row_security") for table in catalogue.of_kind("table").values()):
        return ()
    login = connect_as or login_without_password(connection)
    if login is None:
        return None
    with fixed_settings(connection) as cursor:
        cursor.execute(_PAIRS)
        pairs = [(str(schema), str(table), str(role)) for schema, table, role in cursor]
        known = dict(totals or {})
        for schema, table, _ in pairs[:MAX_PROBES]:
            name = qualified(schema, table)
            if name not in known:
                cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table)))
                row = cursor.fetchone()
                known[name] = int(row[0]) if row else 0
    by_role: dict[str, list[tuple[str, str]]] = {}
    for schema, table, role in pairs[:MAX_PROBES]:
        by_role.setdefault(role, []).append((schema, table))
    facts: list[RowSecurityFacts] = []
    for role, tables in by_role.items():
        facts.extend(_probe_role(login, role, tables, known))
    return tuple(facts)


def _probe_role(
    login: ConnectAs, role: str, tables: list[tuple[str, str]], totals: Mapping[str, int]
) -> list[RowSecurityFacts]:
    def fact(schema: str, table: str, visible: int | None, error: str = "") -> RowSecurityFacts:
        name = qualified(schema, table)
        return RowSecurityFacts(
            table=name, role=role, total_rows=totals.get(name), visible_without_context=visible, error=error
        )

    try:
        connection = login(role)
    except psycopg.OperationalError:
        # The role may not connect (CONNECT revoked, connection limit 0): that is its behaviour, and a fact.
        return [fact(schema, table, None, "login-refused") for schema, table in tables]
    with closing(connection):
        connection.rollback()
        connection.read_only = True
        facts = []
        for schema, table in tables:
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(f"SET LOCAL statement_timeout = '{PROBE_TIMEOUT_S}s'".encode())
                    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'".encode())
                    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
                        row = cursor.execute(query).fetchone()
                facts.append(fact(schema, table, int(row[0]) if row else 0))
            except psycopg.Error as error:
                if connection.broken:
                    raise
                facts.append(fact(schema, table, None, error.sqlstate or "unknown"))
        return facts
