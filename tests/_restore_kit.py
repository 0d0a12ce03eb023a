"""Shared by the restore tests: a rich source, dumps of it, sandboxes, and an oracle that is not ours (pg_dump)."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from smos.backup.model import ArtifactKind
from smos.drill.restore import SANDBOX_ADMIN, DumpSource, RestoreFacts, restore_set
from smos.drill.sandbox import SYSTEM_DATABASES, admin_connection, inspect_sandbox, settings_for
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.target import Limits

KINDS = {
    "plain": ArtifactKind.PG_DUMP_PLAIN,
    "custom": ArtifactKind.PG_DUMP_CUSTOM,
    "tar": ArtifactKind.PG_DUMP_TAR,
    "directory": ArtifactKind.PG_DUMP_DIRECTORY,
}
ROLES = r"""
CREATE ROLE app_owner NOLOGIN;
CREATE ROLE app_user LOGIN PASSWORD 'pässwort' CONNECTION LIMIT 7 VALID UNTIL '2031-01-01';
CREATE ROLE "Weird ""Role" NOINHERIT CREATEDB;
CREATE ROLE granter LOGIN;
CREATE ROLE boss SUPERUSER LOGIN;
CREATE ROLE maker CREATEROLE BYPASSRLS REPLICATION;
GRANT app_owner TO granter WITH ADMIN OPTION;
GRANT pg_read_all_data TO app_user;
GRANT pg_execute_server_program TO granter;
SET ROLE granter; GRANT app_owner TO "Weird ""Role"; RESET ROLE;
ALTER ROLE app_user SET search_path = app, public;
ALTER ROLE app_user SET statement_timeout = '30s';
COMMENT ON ROLE app_user IS 'it''s; the \! user';
CREATE DATABASE rich OWNER app_owner;
CREATE DATABASE "Sp ace""d" OWNER "Weird ""Role";
ALTER DATABASE rich SET timezone = 'America/Santiago';
ALTER DATABASE rich SET app.tenant = 'x y';
ALTER ROLE app_user IN DATABASE rich SET work_mem = '8MB';
REVOKE CONNECT ON DATABASE rich FROM PUBLIC;
GRANT CONNECT ON DATABASE rich TO app_user;
COMMENT ON DATABASE rich IS 'rich $$ one';
"""
RICH = r"""
CREATE SCHEMA app;
ALTER SCHEMA app OWNER TO app_owner;
CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm WITH SCHEMA app; CREATE EXTENSION postgres_fdw;
GRANT EXECUTE ON FUNCTION app.similarity(text, text) TO app_user;
CREATE TYPE app.mood AS ENUM ('ok', 'it''s', '\!');
CREATE TABLE app.t (
    id serial PRIMARY KEY, "select; from" text, m app.mood, h hstore, CHECK ("select; from" <> E'a\\b;')
);
INSERT INTO app.t ("select; from", m, h) VALUES
    ('\! touch /tmp/x', 'ok', 'a=>1'), (E'line1\n\\.\nline2\n\\connect foo\n\\i bar', '\!', NULL),
    (E'tab\tq''uote" $$ -- /* ', 'ok', NULL), (E'COPY x FROM PROGRAM ''id'';\\; DROP DATABASE y;\r\n\\!', 'it''s', NULL);
CREATE TABLE public.owned_by_other (x int); ALTER TABLE public.owned_by_other OWNER TO app_owner;
CREATE FUNCTION app.f(a int, b text DEFAULT 'x, y') RETURNS int LANGUAGE plpgsql AS $body$ BEGIN -- \! nope
 PERFORM 1; RETURN a; /* ' */ END $body$;
CREATE FUNCTION app.g(a int) RETURNS int LANGUAGE sql
    BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a > 1 THEN 2 ELSE 3 END; END;
CREATE PROCEDURE app.p() LANGUAGE sql AS 'select 1; select ''x''';
CREATE VIEW app.v AS SELECT id, "select; from" FROM app.t WHERE m <> '\!';
CREATE MATERIALIZED VIEW app.mv AS SELECT count(*) FROM app.t;
CREATE RULE r AS ON INSERT TO app.v DO INSTEAD (INSERT INTO app.t (m) VALUES ('ok'); DELETE FROM app.t WHERE false);
CREATE TABLE app.part (a int, b text) PARTITION BY RANGE (a);
CREATE TABLE app.part1 PARTITION OF app.part FOR VALUES FROM (0) TO (1000);
INSERT INTO app.part SELECT g, 'v' || g FROM generate_series(0, 999) g;
CREATE INDEX ON app.part (b);
CREATE TABLE app.parent (id int PRIMARY KEY); INSERT INTO app.parent SELECT generate_series(1, 20);
CREATE TABLE app.child (id int REFERENCES app.parent, note text, doubled int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO app.child SELECT g, repeat('é', g) FROM generate_series(1, 20) g;
CREATE TABLE app.ident (id int GENERATED ALWAYS AS IDENTITY, v bytea); INSERT INTO app.ident (v) VALUES ('\x00ff5c27');
ALTER TABLE app.t ENABLE ROW LEVEL SECURITY; ALTER TABLE app.t FORCE ROW LEVEL SECURITY;
CREATE POLICY pol ON app.t TO app_user USING (m = 'ok');
GRANT SELECT, INSERT (id) ON app.t TO app_user WITH GRANT OPTION;
ALTER TABLE app.t OWNER TO app_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT SELECT ON TABLES TO app_user;
SET ROLE app_user; GRANT SELECT ON app.t TO granter; RESET ROLE;
CREATE STATISTICS app.st ON a, b FROM app.part;
CREATE COLLATION app.c (locale = 'C'); COMMENT ON COLLATION app.c IS 'before the extensions, in a dump';
CREATE AGGREGATE app.agg(int) (sfunc = int4pl, stype = int);
CREATE OPERATOR app.=== (leftarg = int, rightarg = int, function = int4eq);
CREATE TEXT SEARCH CONFIGURATION app.es (COPY = spanish);
CREATE DOMAIN app.d AS text CHECK (value ~ '^\d+$');
CREATE PUBLICATION pub FOR TABLE app.part;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO app_user;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1');
CREATE USER MAPPING FOR app_user SERVER elsewhere OPTIONS (user 'x', password 'geheim');
CREATE FOREIGN TABLE app.far (a int) SERVER elsewhere;
SELECT lo_from_bytea(4242, 'blob\\!'::bytea);
ALTER LARGE OBJECT 4242 OWNER TO app_owner; GRANT SELECT ON LARGE OBJECT 4242 TO app_user;
COMMENT ON TABLE app.t IS E'multi\nline; \\! \'quoted\'';
CREATE TRIGGER tr BEFORE INSERT ON app.part FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
"""


def source_server(owner: Owner, *, name: str = "source", **options: object) -> EmbeddedPostgres:
    """Start a source that holds ROLES and RICH."""
    server = EmbeddedPostgres(owner, name=name, settings={"fsync": "off", "wal_level": "logical"}, **options)
    server.start()
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
        for statement in (line for line in ROLES.split(";\n") if line.strip()):
            connection.execute(statement)
    with psycopg.connect(server.endpoint.conninfo("rich"), autocommit=True) as connection:
        connection.execute(RICH)
    return server


def sandbox_server(owner: Owner, **options: object) -> EmbeddedPostgres:
    """Start an empty sandbox as a drill of a small backup does."""
    options.setdefault("settings", dict(settings_for(0)))
    options.setdefault("no_network", True)
    server = EmbeddedPostgres(owner, name="sandbox", superuser=SANDBOX_ADMIN, **options)
    server.start()
    return server


WHOLE_SERVER = """
SELECT (SELECT array_agg(d::text ORDER BY oid) FROM (SELECT oid, datname, datdba, datistemplate, datallowconn,
            datconnlimit, dattablespace, datacl FROM pg_database) AS d),
    (SELECT array_agg(r::text ORDER BY oid) FROM pg_authid AS r),
    (SELECT array_agg(m::text ORDER BY m::text) FROM pg_auth_members AS m),
    (SELECT array_agg(s::text ORDER BY s::text) FROM pg_db_role_setting AS s),
    (SELECT array_agg(t::text ORDER BY oid) FROM pg_tablespace AS t),
    (SELECT array_agg(p::text ORDER BY oid) FROM pg_parameter_acl AS p),
    (SELECT array_agg(d::text ORDER BY d::text) FROM pg_shdescription AS d),
    (SELECT array_agg(f::text ORDER BY f::text) FROM pg_file_settings AS f)
"""
MOST_DATABASES = 8
"""More take longer to remove than a new server to start."""


class Sandboxes:
    """A sandbox for one test after another: one server, emptied, where it then holds what a new one holds."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._known: dict[str, tuple[EmbeddedPostgres, dict[str, str], str]] = {}

    def take(self, **options: object) -> EmbeddedPostgres:
        """Give an empty one; the one that was given before for these options is not used any more."""
        server, settings, pristine = self._known.pop(repr(options), (None, {}, ""))
        if server is not None and (server.settings != settings or not empties(server, pristine)):
            server.kill()
            shutil.rmtree(server.data_dir)
            server = None
        if server is None:
            server = sandbox_server(self._owner, memory=True, **options)
            settings, pristine = dict(server.settings), whole_server(server)
        self._known[repr(options)] = server, settings, pristine
        return server


def whole_server(server: EmbeddedPostgres) -> str:
    """Return what belongs to a server as a whole, and to none of its databases."""
    with admin_connection(server) as connection:
        return repr(connection.execute(WHOLE_SERVER).fetchone())


def empties(server: EmbeddedPostgres, pristine: str) -> bool:
    """Take all that is not a new sandbox's off one; tell whether it could be, and no drill would refuse it."""
    try:
        with admin_connection(server) as connection:
            names = [row[0] for row in connection.execute("SELECT datname FROM pg_database")]
            databases = [name for name in names if name not in SYSTEM_DATABASES]
            if len(databases) > MOST_DATABASES:
                return False
            for name in databases:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            query = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> current_user"
            if roles := [sql.Identifier(row[0]) for row in connection.execute(query)]:
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.SQL(", ").join(roles)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.SQL(", ").join(roles)))
            connection.execute("ALTER ROLE ALL RESET ALL")
        return whole_server(server) == pristine and not inspect_sandbox(server).problems
    except psycopg.Error:
        return False


def dump(server: EmbeddedPostgres, tool: str, *words: str) -> bytes:
    """Run pg_dump or pg_dumpall on a server and return what it writes."""
    done = subprocess.run(
        [server.installation.tool(tool), *words],
        env={**os.environ, **server.endpoint.env()},
        capture_output=True,
        check=True,
    )
    return done.stdout


def restore(server: EmbeddedPostgres, owner: Owner, *sources: DumpSource, **options: object) -> RestoreFacts:
    """Restore into a sandbox with the usual options."""
    options.setdefault("limits", Limits())
    options.setdefault("globals_", None)
    return restore_set(
        server,
        sources,
        jobs=2,
        scratch=owner.directory("scratch"),
        progress=lambda _text: None,
        **options,
    )


def plain(path: Path, database: str | None, text: str | bytes) -> DumpSource:
    """Write a plain dump and describe it."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return DumpSource(database=database, kind=ArtifactKind.PG_DUMP_PLAIN, path=path)


def oracle(server: EmbeddedPostgres, database: str) -> list[str]:
    """Return all lines of a plain pg_dump, sorted, without what differs between two dumps of the same thing."""
    text = dump(server, "pg_dump", "--create", "--dbname", database).decode()
    text = re.sub(r"^(\\(un)?restrict|--).*\n", "", text, flags=re.MULTILINE)
    return sorted(line for line in text.splitlines() if line)


def wrap(body: str, *, rows: str = "1\tone\n2\ttwo\n") -> str:
    """Return a small plain dump as pg_dump writes it, with `body` after its table's data."""
    return (
        "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n-- Dumped from database version 18.1\n"
        "-- Dumped by pg_dump version 18.1\n\nSET statement_timeout = 0;\nSET client_encoding = 'UTF8';\n"
        "SET standard_conforming_strings = on;\nSELECT pg_catalog.set_config('search_path', '', false);\n"
        "SET check_function_bodies = false;\nSET row_security = off;\n\nCREATE TABLE public.t (\n    a integer,\n    b text\n);\n\n"
        f"COPY public.t (a, b) FROM stdin;\n{rows}\\.\n\n\n{body}\n\n"
        "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
    )
