"""What the demo's credentials open: the demo, and nothing else. Every login and every way out is really tried."""

# Statements are put together from constants of ours, never from what a database holds; SQL keeps its lines.
# ruff: noqa: E501

import re

import psycopg

from smos.demo.schema import LOGINS
from smos.demo.stack import PRODUCTION_DATABASE, DemoEndpoint, login
from smos.demo.verify.facts import BoundaryFacts, EscapeTry, LoginTry
from smos.provision.base import PostgresEndpoint

IN = "in"
DONE = "done"
NO_DATABASE = "no such database"
NO_ANSWER = "no answer"
REFUSED = frozenset({"42501"})
"""SQLSTATE of a way out that is closed: the role has not the right (insufficient_privilege)."""
ABSENT = {
    "connect elsewhere": frozenset({"0A000", "42704", "58P01"}),
    "read files": frozenset({"0A000", "58P01"}),
    "run code": frozenset({"0A000", "42704", "58P01"}),
}
"""What says, of an extension or a language, that the server has none: beginning of the attempt, SQLSTATEs."""
NO_PASSWORD = "refused: a password is asked for"  # noqa: S105  (a word for an outcome)
_SAID = (
    ("password authentication failed", "refused: password"),
    ("no password supplied", NO_PASSWORD),
    ("permission denied for database", "refused: no CONNECT"),
    (
        r'role "[^"]*" does not exist',
        "refused: unknown",
    ),  # nor does a file of the client's, which refuses nobody
    (r"no pg_hba\.conf entry", "refused: pg_hba.conf"),
    ("is not permitted to log in", "refused: NOLOGIN"),
)
REFUSALS = frozenset(kind for _, kind in _SAID)
"""Ways in which a login is refused. Anything else refuses nobody."""
LIMITS = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '20s'"
ESCAPES = (
    ("run a program: COPY TO PROGRAM", "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null'"),
    ("run a program: COPY FROM PROGRAM", "COPY demo.products FROM PROGRAM 'true'"),
    ("read a file: COPY FROM", "COPY demo.products FROM '/etc/hostname'"),
    ("write a file: COPY TO", "COPY (SELECT 1) TO '/dev/null'"),
    ("read a file: pg_read_file", "SELECT pg_read_file('/etc/hostname')"),
    ("read a file: lo_import", "SELECT lo_import('/etc/hostname')"),
    ("list a directory: pg_ls_dir", "SELECT pg_ls_dir('.')"),
    ("connect elsewhere: dblink", "CREATE EXTENSION dblink"),
    ("connect elsewhere: postgres_fdw", "CREATE EXTENSION postgres_fdw"),
    ("read files: file_fdw", "CREATE EXTENSION file_fdw"),
    ("connect elsewhere: a foreign server", "CREATE SERVER out FOREIGN DATA WRAPPER postgres_fdw"),
    ("connect elsewhere: CREATE SUBSCRIPTION", "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p WITH (connect = false)"),
    ("read all changes: a replication slot", "SELECT pg_create_logical_replication_slot('smos', 'test_decoding')"),
    ("run code: LANGUAGE c", "CREATE FUNCTION pg_temp.x() RETURNS int LANGUAGE c AS 'x', 'x'"),
    ("run code: an untrusted language", "CREATE EXTENSION plpython3u"),
    ("make objects in demo", "CREATE TABLE demo.mine (x int)"),
    ("make objects in public", "CREATE TABLE public.mine (x int)"),
    ("make temporary objects", "CREATE TEMPORARY TABLE mine (x int)"),
    ("make a large object", "SELECT lo_create(0)"),
    ("make a role", "CREATE ROLE mine"),
    ("make a database", "CREATE DATABASE smos_escape"),
    ("change the server: ALTER SYSTEM", "ALTER SYSTEM SET work_mem = '1MB'"),
    ("become the superuser: SET ROLE", "SET ROLE postgres"),
    ("become the owner: SET ROLE", "SET ROLE demo_owner"),
    ("become another: SET SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION postgres"),
    ("let itself past the policies", "ALTER ROLE CURRENT_USER BYPASSRLS"),
    ("read passwords: pg_authid", "SELECT count(rolpassword) FROM pg_authid"),
)  # fmt: skip
OUTSIDE_TRANSACTION = {
    "CREATE DATABASE smos_escape": "DROP DATABASE smos_escape",
    "ALTER SYSTEM SET work_mem = '1MB'": "ALTER SYSTEM RESET work_mem",
}
"""What can't be rolled back, and what undoes it where it was not refused."""
_LINKS = """
SELECT 'foreign server ' || srvname FROM pg_foreign_server
UNION ALL SELECT 'foreign data wrapper ' || fdwname FROM pg_foreign_data_wrapper
UNION ALL SELECT 'subscription ' || subname FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT 'extension ' || extname FROM pg_extension WHERE extname IN ('dblink', 'postgres_fdw', 'file_fdw', 'adminpack',
    'plpython3u', 'plperlu', 'pltclu', 'http', 'pg_net', 'pg_cron')
UNION ALL SELECT 'language ' || lanname FROM pg_language WHERE lanpltrusted = (lanname IN ('internal', 'c'))
ORDER BY 1
"""
_OTHERS = "SELECT datname FROM pg_database WHERE datallowconn AND datname <> current_database() ORDER BY 1"
"""Whatever else the server holds, also what somebody made there later."""


def try_boundary(demo: DemoEndpoint) -> BoundaryFacts:
    """Try every login of the demo everywhere, and every way out of the database as every role."""
    database = demo.database
    with database.connect() as admin:
        named = admin.execute("SELECT to_regclass('demo.identity') IS NOT NULL").fetchone()
        row = (
            admin.execute("SELECT environment FROM demo.identity").fetchone() if named and named[0] else None
        )
        links = tuple(str(found[0]) for found in admin.execute(_LINKS.encode()).fetchall())
        others = [str(found[0]) for found in admin.execute(_OTHERS.encode()).fetchall()]
    here = database.endpoint
    return BoundaryFacts(
        demo_identifier=_identifier(here),
        production_identifier=_identifier(demo.production) if demo.production else None,
        environment=str(row[0]) if row else "",
        own=tuple(_try_login(here, "demo", database.name, role, database.passwords) for role in LOGINS),
        elsewhere=tuple(
            _try_login(here, "demo", other, role, database.passwords) for other in others for role in LOGINS
        ),
        production=tuple(
            _try_login(demo.production, "production", name, role, database.passwords)
            for role in LOGINS
            for name in (PRODUCTION_DATABASE, "postgres")
        )
        if demo.production
        else (),
        without_password=tuple(_try_login(here, "demo", database.name, role, {}) for role in LOGINS),
        escapes=tuple(tried for role in LOGINS for tried in _escapes(demo, role)),
        links=links,
    )


def _identifier(endpoint: PostgresEndpoint) -> str | None:
    try:
        with login(endpoint, "postgres", None, {}) as connection:
            row = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    except psycopg.Error:
        return None  # the judge says NOT_PROVEN: nobody knows which cluster it is
    return str(row[0]) if row else None


def _try_login(
    endpoint: PostgresEndpoint, server: str, database: str, role: str, passwords: "dict[str, str] | object"
) -> LoginTry:
    known = passwords if isinstance(passwords, dict) else {}
    try:
        with login(endpoint, database, role, known) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        # A refused login carries no SQLSTATE on the client's side: keep the kind of refusal, without any value.
        return LoginTry(role=role, server=server, database=database, outcome=_kind(str(error)))
    return LoginTry(role=role, server=server, database=database, outcome=IN)


def _kind(text: str) -> str:
    if re.search(r'database "[^"]*" does not exist', text):  # said to whom the password let in
        return NO_DATABASE
    for words, kind in _SAID:
        if re.search(words, text):
            return kind
    return NO_ANSWER


def _escapes(demo: DemoEndpoint, role: str) -> list[EscapeTry]:
    database = demo.database
    try:
        connection = database.connect(role)
    except psycopg.OperationalError:
        return []  # the own login was refused: recorded there, and the judge misses these
    found = []
    with connection:
        for what, statement in ESCAPES:
            found.append(EscapeTry(role=role, what=what, outcome=_escape(connection, statement)))
            if connection.closed:
                break
    return found


def _escape(connection: "psycopg.Connection[tuple[object, ...]]", statement: str) -> str:
    try:
        if statement in OUTSIDE_TRANSACTION:
            connection.execute("SET default_transaction_read_only = off")  # whoever may log in may say so
            connection.execute(statement.encode())
            connection.execute(OUTSIDE_TRANSACTION[statement].encode())
            return DONE
        with connection.transaction(force_rollback=True), connection.cursor() as cursor:
            cursor.execute(LIMITS)
            cursor.execute("SET TRANSACTION READ WRITE")
            cursor.execute(statement.encode())
    except psycopg.Error as error:
        if connection.broken:
            raise
        return error.sqlstate or type(error).__name__
    return DONE
