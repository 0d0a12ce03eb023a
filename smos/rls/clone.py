"""A copy of the schema, without a single row, in a private server: there every statement may be tried.

Roles are made from what was discovered (without passwords), the schema comes from `pg_dump --schema-only`. The
server is of the same major version or a newer one, has no network, and is gone afterwards.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from smos.errors import ProvisionError
from smos.postgres.roles import read_roles
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation, choose_installation
from smos.provision.owner import Owner
from smos.rls.facts import Gap
from smos.rls.schema import Schema, ident

ADMIN = "smos_clone_admin"
DUMP_S = 600
LOAD_S = 900
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_locks_per_transaction": "8192",
    "max_connections": "20",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
"""A crash would lose nothing that matters; one transaction may lock every table of a big schema."""
_OURS = (
    (("DATABASE", "WITH (FORCE)"), "SELECT datname FROM pg_database WHERE datname ~ '^smos_clone'"),
    (("ROLE", ""), f"SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> '{ADMIN}'"),
)
"""What a copy brings: the kind and how it is dropped, and where it is found."""
_WHOLE_SERVER = """
SELECT (SELECT array_agg(d::text ORDER BY oid) FROM (SELECT oid, datname, datdba, datistemplate, datallowconn,
            datconnlimit, dattablespace, datacl FROM pg_database) AS d),
    (SELECT array_agg(r::text ORDER BY oid) FROM pg_authid AS r),
    (SELECT array_agg(m::text ORDER BY m::text) FROM pg_auth_members AS m),
    (SELECT array_agg(s::text ORDER BY s::text) FROM pg_db_role_setting AS s),
    (SELECT array_agg(t::text ORDER BY oid) FROM pg_tablespace AS t),
    (SELECT array_agg(p::text ORDER BY oid) FROM pg_parameter_acl AS p),
    (SELECT array_agg(f::text ORDER BY f::text) FROM pg_file_settings AS f)
"""
_ERROR = re.compile(r"(?m)^psql:[^:]*:\d+: ERROR:\s*(?P<text>.*)$")
_DUMP_ENV = {
    "host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING", "options": "PGOPTIONS",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A running copy. conninfo: of its administrator. gaps: what did not come over. isolation: of its network."""

    conninfo: str
    maintenance: str
    gaps: tuple[Gap, ...]
    isolation: str

    def second(self) -> str:
        """Copy the copy, so that two connections don't wait for each other; return its connection string."""
        with psycopg.connect(self.maintenance, autocommit=True) as admin:
            admin.execute(b"CREATE DATABASE smos_clone_2 TEMPLATE smos_clone STRATEGY file_copy")
        return make_conninfo(self.conninfo, dbname="smos_clone_2")


class Copies:
    """Servers that hold one copy after another, for whoever probes many databases in turn; the owner ends them.

    A copy is alone on its server, and nothing of it is there for the next one: a server that can't be emptied is
    ended, and the next copy gets a new one. One copy at a time.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._servers: dict[PostgresInstallation, tuple[EmbeddedPostgres, str]] = {}

    @contextmanager
    def empty(self, installation: PostgresInstallation) -> Iterator[EmbeddedPostgres]:
        """Give a server of this installation that holds nothing, and take everything off it afterwards."""
        server, pristine = self._servers.pop(installation, (None, ""))
        if server is None:
            server = _server(self.owner, installation)
            pristine = _emptied(server)
        try:
            yield server
        except BaseException:
            server.kill()
            raise
        if _found_empty(server, pristine):
            self._servers[installation] = (server, pristine)
        else:
            server.kill()


@contextmanager
def cloned(
    connection: "psycopg.Connection[Any]", schema: Schema, copies: Copies | None = None
) -> Iterator[Clone]:
    """Start a copy of this database's schema. Raises ProvisionError when there can't be one.

    copies: where it goes; None: a server of its own, which is gone afterwards.
    """
    installation = _installation(schema, ssl=bool(connection.pgconn.ssl_in_use))
    if copies is not None:
        with copies.empty(installation) as server:
            yield _filled(copies.owner, server, connection, schema)
        return
    with Owner("rls") as owner:
        server = _server(owner, installation)
        yield _filled(owner, server, connection, schema)
        server.kill()


def _server(owner: Owner, installation: PostgresInstallation) -> EmbeddedPostgres:
    server = EmbeddedPostgres(
        owner,
        name="clone",
        installation=installation,
        superuser=ADMIN,
        settings=SETTINGS,
        no_network=True,
        memory=True,
    )
    server.start()
    return server


def _filled(
    owner: Owner, server: EmbeddedPostgres, connection: "psycopg.Connection[Any]", schema: Schema
) -> Clone:
    """Load the roles and the schema into an empty server."""
    dump = _dump(owner, server.installation, connection)
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as admin:
        admin.execute(b"CREATE DATABASE smos_clone TEMPLATE template0 STRATEGY file_copy")
        for statement in _roles(connection, schema):
            try:
                admin.execute(statement.encode())
            except psycopg.Error:
                if not statement.startswith("GRANT"):  # a predefined role that this version does not have
                    raise
    done = owner.run(
        [server.installation.tool("psql"), "--no-psqlrc", "--quiet", "--dbname=smos_clone"],
        env=server.endpoint.env()
        | {"PGOPTIONS": "-c client_min_messages=error -c check_function_bodies=off"},
        input=dump,
        check=False,
        timeout_s=LOAD_S,
    )
    errors = [match["text"] for match in _ERROR.finditer(done.stderr.decode(errors="replace"))]
    gaps = [
        Gap(
            code="not-cloned",
            target=schema.database,
            reason=f"the copy of the schema lacks something: {text[:200]}",
            remedy="install what is missing for a local PostgreSQL, or use --probe-writes",
        )
        for text in errors
        if not _harmless(text)
    ]
    return Clone(
        conninfo=server.endpoint.conninfo("smos_clone"),
        maintenance=server.endpoint.conninfo(),
        gaps=tuple(gaps[:20]),
        isolation=server.isolation,
    )


def _emptied(server: EmbeddedPostgres) -> str:
    """Take every database and role of a copy off the server; return what belongs to the whole server then."""
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as admin:
        for kind, query in _OURS:
            for (name,) in admin.execute(query.encode()).fetchall():
                with suppress(psycopg.Error):  # what stays is seen below
                    admin.execute(f"DROP {kind[0]} {ident(name)} {kind[1]}".encode())
        return repr(admin.execute(_WHOLE_SERVER.encode()).fetchone())


def _found_empty(server: EmbeddedPostgres, pristine: str) -> bool:
    """Tell whether it holds what it held before there was a copy; one that doesn't let itself be emptied does not."""
    try:
        return _emptied(server) == pristine
    except psycopg.Error:
        return False


def _installation(schema: Schema, *, ssl: bool) -> PostgresInstallation:
    major = schema.version_num // 10000
    features = ("ssl",) if ssl else ()
    wanted = tuple(name for name in schema.extensions if name != "plpgsql")
    try:
        return choose_installation(at_least=major, features=features, extensions=wanted)
    except ProvisionError:
        return choose_installation(at_least=major, features=features)


def _dump(owner: Owner, installation: PostgresInstallation, connection: "psycopg.Connection[Any]") -> bytes:
    """Dump the schema; the password travels in the environment of pg_dump, never in its arguments."""
    parameters = connection.info.get_parameters()
    env = {name: str(parameters[key]) for key, name in _DUMP_ENV.items() if parameters.get(key)}
    env |= {
        "PGHOST": connection.info.host,
        "PGPORT": str(connection.info.port),
        "PGDATABASE": connection.info.dbname,
    }
    env["PGUSER"] = connection.info.user
    if connection.info.password:
        env["PGPASSWORD"] = connection.info.password
    env["PGOPTIONS"] = f"{env.get('PGOPTIONS', '')} -c lock_timeout=5000 -c row_security=off".strip()
    done = owner.run(
        [installation.tool("pg_dump"), "--schema-only", "--no-publications", "--no-subscriptions",
         "--no-tablespaces", "--no-security-labels", "--lock-wait-timeout=5000"],
        env=env,
        as_service_user=False,
        timeout_s=DUMP_S,
    )  # fmt: skip
    return done.stdout


def _roles(connection: "psycopg.Connection[Any]", schema: Schema) -> Iterator[str]:
    found = read_roles(connection)
    connection.rollback()
    for name, values in found["roles"].items():
        words = [
            word
            for key, word in (
                ("superuser", "SUPERUSER"),
                ("bypass_row_security", "BYPASSRLS"),
                ("login", "LOGIN"),
                ("create_role", "CREATEROLE"),
            )
            if values[key]
        ]
        words.append("INHERIT" if values["inherit"] else "NOINHERIT")
        if name != ADMIN:
            yield f"CREATE ROLE {ident(name)} {' '.join(words)}"
    for item in found["memberships"]:
        options = ""
        if item["inherit"] is not None and schema.version_num >= 160000:
            options = f" WITH INHERIT {bool(item['inherit'])}, SET {bool(item['set'])}"
        yield f"GRANT {ident(item['role'])} TO {ident(item['member'])}{options}"


def _harmless(text: str) -> bool:
    return bool(re.search(r'schema "public" already exists|must be owner of|event trigger', text))
