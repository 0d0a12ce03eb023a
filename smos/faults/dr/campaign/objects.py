"""Steps on everything that is not a row: rights, owners, definitions, comments, large objects, the database itself.

Each is a query that lists what there is, and statements of which one is run on one of them. What the server refuses
changes nothing; the oracle says what came of the rest.
"""

# One statement a line; texts are put together from constants of this module.
# ruff: noqa: E501, S608

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psycopg

from smos.faults.dr.campaign.model import Dice, NothingToDo
from smos.faults.dr.campaign.rows import Connection

_OURS = "n.nspname !~ '^(pg_|information_schema$)'"
_NOT_OF_EXTENSION = "NOT EXISTS (SELECT FROM pg_depend AS x WHERE x.objid = {0}.oid AND x.deptype = 'e')"
_TABLES = f"SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND {_OURS} ORDER BY 1"
_VIEWS = f"SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'v' AND {_OURS} ORDER BY 1"
_MATERIALIZED = _VIEWS.replace("'v'", "'m'")
_SEQUENCES = _VIEWS.replace("'v'", "'S'")
_SCHEMAS = f"SELECT format('%I', n.nspname) FROM pg_namespace AS n WHERE {_OURS} ORDER BY 1"
_FUNCTIONS = f"SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE {_OURS} AND {_NOT_OF_EXTENSION.format('p')} ORDER BY 1"
_TYPES = f"SELECT format('%I.%I', n.nspname, t.typname) FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd') AND {_OURS} AND {_NOT_OF_EXTENSION.format('t')} ORDER BY 1"
_COLUMNS = f"SELECT format('%I.%I', n.nspname, c.relname), format('%I', a.attname) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped AND {_OURS} ORDER BY 1, a.attnum"
_LARGE = "SELECT oid::text FROM pg_largeobject_metadata ORDER BY oid"
_DATABASE = "SELECT format('%I', current_database())"
_ROLES = "SELECT format('%I', rolname) FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
_NOTHING = "SELECT ''"


@dataclass(frozen=True, slots=True)
class Family:
    """Steps on one kind of thing. listing: gives {0}, {1} of the statements; {role}, {other} and {n} are drawn."""

    listing: str
    statements: tuple[str, ...]


def _rights(what: str, listing: str, rights: str) -> Family:
    return Family(
        listing,
        tuple(
            statement.format(right=right, what=what)
            for right in rights.split()
            for statement in (
                "GRANT {right} ON {what} {{0}} TO {{role}}",
                "REVOKE {right} ON {what} {{0}} FROM {{role}}",
                "GRANT {right} ON {what} {{0}} TO {{grantee}} WITH GRANT OPTION",
            )
        ),
    )


FAMILIES: dict[str, Family] = {
    "rights of a table": _rights("TABLE", _TABLES, "SELECT INSERT UPDATE DELETE TRUNCATE REFERENCES TRIGGER ALL"),
    "rights of a view": _rights("TABLE", _VIEWS, "SELECT INSERT ALL"),
    "rights of a sequence": _rights("SEQUENCE", _SEQUENCES, "USAGE SELECT UPDATE"),
    "rights of a schema": _rights("SCHEMA", _SCHEMAS, "USAGE CREATE"),
    "rights of a function": _rights("FUNCTION", _FUNCTIONS, "EXECUTE"),
    "rights of a type": _rights("TYPE", _TYPES, "USAGE"),
    "rights of a database": _rights("DATABASE", _DATABASE, "CONNECT CREATE TEMPORARY"),
    "rights of a large object": _rights("LARGE OBJECT", _LARGE, "SELECT UPDATE"),
    "rights of a language": _rights("LANGUAGE", "SELECT 'plpgsql'", "USAGE"),
    "rights of a built-in function": _rights("FUNCTION", "SELECT 'pg_catalog.pg_sleep(double precision)'", "EXECUTE"),
    "rights of a column": Family(_COLUMNS, ("GRANT SELECT ({1}) ON {0} TO {role}", "GRANT UPDATE ({1}) ON {0} TO {role}", "REVOKE SELECT ({1}) ON {0} FROM {role}")),
    "default rights": Family(_SCHEMAS, (
        "ALTER DEFAULT PRIVILEGES FOR ROLE {grantee} IN SCHEMA {0} GRANT SELECT ON TABLES TO {role}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE smarteros_owner IN SCHEMA {0} REVOKE SELECT ON TABLES FROM smarteros_readonly",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {grantee} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {grantee} GRANT USAGE ON SEQUENCES TO {role}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {grantee} REVOKE USAGE ON TYPES FROM PUBLIC",
    )),
    "owner of a table": Family(_TABLES, ("ALTER TABLE {0} OWNER TO {grantee}",)),
    "owner of a view": Family(f"{_VIEWS.removesuffix('ORDER BY 1')} UNION {_MATERIALIZED}", ("ALTER TABLE {0} OWNER TO {grantee}",)),
    "owner of a function": Family(_FUNCTIONS, ("ALTER FUNCTION {0} OWNER TO {grantee}",)),
    "owner of a type": Family(_TYPES, ("ALTER TYPE {0} OWNER TO {grantee}",)),
    "owner of a schema": Family(_SCHEMAS, ("ALTER SCHEMA {0} OWNER TO {grantee}",)),
    "owner of a large object": Family(_LARGE, ("ALTER LARGE OBJECT {0} OWNER TO {grantee}",)),
    "owner of the database": Family(_DATABASE, ("ALTER DATABASE {0} OWNER TO {grantee}",)),
    "column": Family(_COLUMNS, (
        "ALTER TABLE {0} DROP COLUMN {1}", "ALTER TABLE {0} DROP COLUMN {1} CASCADE", "ALTER TABLE {0} RENAME COLUMN {1} TO renamed_{n}",
        "ALTER TABLE {0} ALTER {1} DROP DEFAULT", "ALTER TABLE {0} ALTER {1} SET DEFAULT NULL", "ALTER TABLE {0} ALTER {1} SET DEFAULT '1'",
        "ALTER TABLE {0} ALTER {1} DROP NOT NULL", "ALTER TABLE {0} ALTER {1} SET NOT NULL", "ALTER TABLE {0} ALTER {1} DROP IDENTITY",
        "ALTER TABLE {0} ALTER {1} SET GENERATED ALWAYS", "ALTER TABLE {0} ALTER {1} SET GENERATED BY DEFAULT", "ALTER TABLE {0} ALTER {1} DROP EXPRESSION",
        "ALTER TABLE {0} ALTER {1} SET STORAGE EXTERNAL", "ALTER TABLE {0} ALTER {1} SET STORAGE MAIN", "ALTER TABLE {0} ALTER {1} SET STATISTICS {n}",
        "ALTER TABLE {0} ALTER {1} SET COMPRESSION pglz", "ALTER TABLE {0} ALTER {1} SET (n_distinct = {n})", "ALTER TABLE {0} ALTER {1} TYPE text",
        "ALTER TABLE {0} ALTER {1} TYPE varchar(2000)", "ALTER TABLE {0} ALTER {1} TYPE numeric", 'ALTER TABLE {0} ALTER {1} TYPE text COLLATE "C"',
        "ALTER TABLE {0} ADD COLUMN added_{n} integer", "ALTER TABLE {0} ADD COLUMN added_{n} text NOT NULL DEFAULT 'x'",
    )),
    "table": Family(_TABLES, (
        "DROP TABLE {0}", "DROP TABLE {0} CASCADE", "TRUNCATE {0} CASCADE", "ALTER TABLE {0} RENAME TO renamed_{n}", "ALTER TABLE {0} SET SCHEMA smos", "ALTER TABLE {0} SET UNLOGGED",
        "ALTER TABLE {0} SET (fillfactor = 70)", "ALTER TABLE {0} SET (autovacuum_enabled = off)", "ALTER TABLE {0} SET (toast.autovacuum_enabled = off)",
        "ALTER TABLE {0} REPLICA IDENTITY FULL", "ALTER TABLE {0} REPLICA IDENTITY NOTHING", "ALTER TABLE {0} SET WITHOUT CLUSTER", "ALTER TABLE {0} DISABLE TRIGGER ALL",
        "CREATE TABLE smos.added_{n} (LIKE {0})", "CREATE TABLE smos.added_{n} AS SELECT * FROM {0} LIMIT 3", "CREATE TABLE smos.child_{n} () INHERITS ({0})",
        "CREATE RULE added_{n} AS ON DELETE TO {0} DO INSTEAD NOTHING", "CREATE STATISTICS smos.added_{n} (mcv) ON ctid, tableoid FROM {0}",
        "CREATE PUBLICATION added_{n} FOR TABLE {0}", "ALTER TABLE {0} ADD CONSTRAINT added_{n} CHECK (true)", "ALTER TABLE {0} ADD CONSTRAINT added_{n} CHECK (true) NOT VALID",
        "CREATE TRIGGER added_{n} BEFORE UPDATE ON {0} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "CREATE VIEW smos.added_{n} AS SELECT * FROM {0}",
    )),
    "row security": Family(_TABLES, (
        "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY", "ALTER TABLE {0} DISABLE ROW LEVEL SECURITY", "ALTER TABLE {0} FORCE ROW LEVEL SECURITY", "ALTER TABLE {0} NO FORCE ROW LEVEL SECURITY",
        "CREATE POLICY added_{n} ON {0} USING (true)", "CREATE POLICY added_{n} ON {0} AS RESTRICTIVE FOR DELETE TO {role} USING (false)",
    )),
    "policy": Family("SELECT format('%I', polname), polrelid::regclass::text FROM pg_policy ORDER BY 2, 1", (
        "DROP POLICY {0} ON {1}", "ALTER POLICY {0} ON {1} RENAME TO renamed_{n}", "ALTER POLICY {0} ON {1} TO {role}", "ALTER POLICY {0} ON {1} USING (true)",
        "ALTER POLICY {0} ON {1} WITH CHECK (true)", "ALTER POLICY {0} ON {1} USING (tenant_id = 2)",
    )),
    "partition": Family("SELECT inhparent::regclass::text, inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE relkind IN ('r', 'p') ORDER BY 2", (
        "ALTER TABLE {0} DETACH PARTITION {1}", "DROP TABLE {1}",
    )),
    "constraint": Family(f"SELECT format('%I', conname), conrelid::regclass::text FROM pg_constraint AS o JOIN pg_namespace AS n ON n.oid = connamespace WHERE conrelid <> 0 AND {_OURS} ORDER BY 2, 1", (
        "ALTER TABLE {1} DROP CONSTRAINT {0}", "ALTER TABLE {1} DROP CONSTRAINT {0} CASCADE", "ALTER TABLE {1} RENAME CONSTRAINT {0} TO renamed_{n}", "ALTER TABLE {1} ALTER CONSTRAINT {0} DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE {1} ALTER CONSTRAINT {0} NOT ENFORCED", "COMMENT ON CONSTRAINT {0} ON {1} IS 'x'", "ALTER TABLE {1} ALTER CONSTRAINT {0} NO INHERIT",
    )),
    "index": Family(f"SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text, format('%I', c.relname) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE {_OURS} ORDER BY 1", (
        "DROP INDEX {0}", "ALTER INDEX {0} RENAME TO renamed_{n}", "ALTER INDEX {0} SET (fillfactor = 60)", "ALTER INDEX {0} SET (fastupdate = off)", "ALTER TABLE {1} CLUSTER ON {2}",
        "ALTER TABLE {1} REPLICA IDENTITY USING INDEX {2}", "COMMENT ON INDEX {0} IS 'x'", "CREATE INDEX added_{n} ON {1} ((1))", "ALTER INDEX {0} ALTER COLUMN 1 SET STATISTICS {n}",
    )),
    "trigger": Family("SELECT format('%I', tgname), tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 2, 1", (
        "DROP TRIGGER {0} ON {1}", "ALTER TABLE {1} DISABLE TRIGGER {0}", "ALTER TABLE {1} ENABLE REPLICA TRIGGER {0}", "ALTER TABLE {1} ENABLE ALWAYS TRIGGER {0}",
        "ALTER TRIGGER {0} ON {1} RENAME TO renamed_{n}", "COMMENT ON TRIGGER {0} ON {1} IS 'x'",
    )),
    "function": Family(_FUNCTIONS, (
        "DROP FUNCTION {0}", "DROP FUNCTION {0} CASCADE", "ALTER FUNCTION {0} SECURITY DEFINER", "ALTER FUNCTION {0} IMMUTABLE", "ALTER FUNCTION {0} VOLATILE", "ALTER FUNCTION {0} STRICT", "ALTER FUNCTION {0} PARALLEL SAFE",
        "ALTER FUNCTION {0} COST {n}", "ALTER FUNCTION {0} LEAKPROOF", "ALTER FUNCTION {0} SET search_path = 'public'", "ALTER FUNCTION {0} RENAME TO renamed_{n}", "ALTER FUNCTION {0} SET SCHEMA smos", "COMMENT ON FUNCTION {0} IS 'x'",
        "UPDATE pg_proc SET prosrc = prosrc || E'\\n' WHERE oid = '{0}'::regprocedure AND prosrc <> ''", "UPDATE pg_proc SET prosrc = replace(prosrc, 'NEW', 'OLD') WHERE oid = '{0}'::regprocedure",
    )),
    "sequence": Family(_SEQUENCES, (
        "SELECT setval('{0}', 1, false)", "SELECT setval('{0}', {n})", "SELECT setval('{0}', last_value - 1) FROM {0}", "SELECT setval('{0}', last_value, false) FROM {0}", "SELECT setval('{0}', last_value + {n}) FROM {0}",
        "ALTER SEQUENCE {0} INCREMENT 7", "ALTER SEQUENCE {0} INCREMENT -1", "ALTER SEQUENCE {0} CYCLE", "ALTER SEQUENCE {0} CACHE {n}", "ALTER SEQUENCE {0} MAXVALUE 1000000", "ALTER SEQUENCE {0} START 5", "ALTER SEQUENCE {0} OWNED BY NONE",
        "DROP SEQUENCE {0} CASCADE", "ALTER SEQUENCE {0} RENAME TO renamed_{n}", "COMMENT ON SEQUENCE {0} IS 'x'", "ALTER SEQUENCE {0} SET UNLOGGED",
    )),
    "view": Family(_VIEWS, (
        "DROP VIEW {0}", "ALTER VIEW {0} RESET (security_invoker)", "ALTER VIEW {0} SET (security_barrier)", "ALTER VIEW {0} RENAME TO renamed_{n}", "COMMENT ON VIEW {0} IS 'x'",
        "CREATE OR REPLACE VIEW {0} AS SELECT tenant_id, date_trunc('day', placed_at) AS day, count(*) AS orders, sum(total) AS total FROM app.orders GROUP BY 1, 2",
    )),
    "materialized view": Family(_MATERIALIZED, ("DROP MATERIALIZED VIEW {0}", "REFRESH MATERIALIZED VIEW {0} WITH NO DATA", "REFRESH MATERIALIZED VIEW {0}", "COMMENT ON MATERIALIZED VIEW {0} IS 'x'", "CREATE INDEX added_{n} ON {0} ((1))")),
    "type": Family(_TYPES, (
        "ALTER TYPE {0} ADD VALUE 'x{n}'", "ALTER TYPE {0} ADD VALUE 'x{n}' BEFORE 'pagado'", "ALTER TYPE {0} RENAME VALUE 'pagado' TO 'x{n}'", "ALTER TYPE {0} RENAME TO renamed_{n}", "COMMENT ON TYPE {0} IS 'x'",
        "ALTER DOMAIN {0} ADD CONSTRAINT added_{n} CHECK (true)", "ALTER DOMAIN {0} SET DEFAULT '1'", "ALTER DOMAIN {0} SET NOT NULL",
    )),
    "constraint of a domain": Family("SELECT contypid::regtype::text, format('%I', conname) FROM pg_constraint WHERE contypid <> 0 ORDER BY 1, 2", ("ALTER DOMAIN {0} DROP CONSTRAINT {1}", "ALTER DOMAIN {0} RENAME CONSTRAINT {1} TO renamed_{n}")),
    "extension": Family("SELECT format('%I', extname) FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1", ("DROP EXTENSION {0} CASCADE", "COMMENT ON EXTENSION {0} IS 'x'", "ALTER EXTENSION {0} SET SCHEMA smos")),
    "schema": Family(_SCHEMAS, ("DROP SCHEMA {0} CASCADE", "ALTER SCHEMA {0} RENAME TO renamed_{n}", "COMMENT ON SCHEMA {0} IS 'x'", "CREATE SCHEMA added_{n}", "COMMENT ON SCHEMA {0} IS NULL")),
    "comment": Family(_TABLES, ("COMMENT ON TABLE {0} IS 'x'", "COMMENT ON TABLE {0} IS NULL", "COMMENT ON TABLE {0} IS 'Pedidos; total en CLP, IVA incluido '")),
    "comment of a column": Family(_COLUMNS, ("COMMENT ON COLUMN {0}.{1} IS 'x'",)),
    "large object": Family(_LARGE, (
        "SELECT lo_put({0}, {n}, 'X')", "SELECT lo_put({0}, 9000, '\\x00')", "SELECT lo_unlink({0})", "SELECT lo_truncate(lo_open({0}, 131072), {n})", "SELECT lo_put({0}, 0, lo_get({0}, 0, 1))",
        "SELECT lo_from_bytea(0, 'x')", "SELECT lo_from_bytea(0, lo_get({0}))", "SELECT lo_create(0)", "COMMENT ON LARGE OBJECT {0} IS 'x'", "SELECT lo_put({0}, 0, lo_get((SELECT max(oid) FROM pg_largeobject_metadata)))",
    )),
    "database": Family(_DATABASE, (
        "ALTER DATABASE {0} SET work_mem = '5MB'", "ALTER DATABASE {0} RESET ALL", "ALTER DATABASE {0} SET timezone = 'UTC'", "ALTER DATABASE {0} CONNECTION LIMIT {n}", "COMMENT ON DATABASE {0} IS 'x'", "ALTER DATABASE {0} IS_TEMPLATE true",
        "ALTER ROLE {grantee} IN DATABASE {0} SET search_path = 'x'", "ALTER DATABASE {0} SET search_path = 'smos'", "ALTER DATABASE {0} SET row_security = off", "ALTER DATABASE {0} SET session_replication_role = 'replica'",
    )),
    "something new": Family(_NOTHING, (
        "CREATE FUNCTION smos.added_{n}() RETURNS integer LANGUAGE sql AS 'SELECT {n}'", "CREATE PROCEDURE smos.added_{n}() LANGUAGE sql AS ''", "CREATE SEQUENCE smos.added_{n}", "CREATE TYPE smos.added_{n} AS (x integer)", "CREATE TYPE smos.added_{n} AS ENUM ('x')",
        "CREATE TYPE smos.added_{n} AS RANGE (subtype = integer)", "CREATE DOMAIN smos.added_{n} AS text", 'CREATE COLLATION smos.added_{n} FROM "C"', "CREATE AGGREGATE smos.added_{n}(integer) (sfunc = int4pl, stype = integer)",
        "CREATE OPERATOR smos.<<< (function = int4pl, leftarg = integer, rightarg = integer)", "CREATE TEXT SEARCH CONFIGURATION smos.added_{n} (COPY = pg_catalog.spanish)", "CREATE TEXT SEARCH DICTIONARY smos.added_{n} (TEMPLATE = simple)",
        "CREATE FOREIGN DATA WRAPPER added_{n}", "CREATE CAST (app.order_state AS integer) WITH INOUT", "CREATE CONVERSION smos.added_{n} FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8", "CREATE EXTENSION btree_gist", "CREATE PUBLICATION added_{n} FOR ALL TABLES",
        "CREATE ACCESS METHOD added_{n} TYPE INDEX HANDLER gisthandler", "CREATE VIEW smos.added_{n} AS SELECT 1 AS x", "CREATE MATERIALIZED VIEW smos.added_{n} AS SELECT 1 AS x", "CREATE TABLE public.added_{n} (x integer)", "CREATE UNLOGGED TABLE smos.added_{n} (x integer)",
        "CREATE OPERATOR CLASS smos.added_{n} FOR TYPE integer USING btree AS OPERATOR 3 =", "CREATE EVENT TRIGGER added_{n} ON ddl_command_end EXECUTE FUNCTION app.missing()", "CREATE TRANSFORM FOR integer LANGUAGE plpgsql (FROM SQL WITH FUNCTION int4recv(internal))",
    )),
}  # fmt: skip


def change(family: Family, connection: Connection, dice: Dice) -> str:
    """Run one statement of the family on one of its things. Raises NothingToDo where the server refuses it."""
    # The statement first: of hundreds of them, each is to come up.
    statement, subject = (
        dice.pick(family.statements),
        dice.pick(connection.execute(family.listing.encode()).fetchall()),
    )
    roles = [str(row[0]) for row in connection.execute(_ROLES).fetchall() if row[0] != "postgres"]
    text = statement.format(
        *subject, role=dice.pick((*roles, "PUBLIC")), grantee=dice.pick(roles), n=1 + dice.below(97)
    )
    try:
        with connection.transaction():
            connection.execute(text.encode())
    except psycopg.Error as error:
        raise NothingToDo(f"{text}: refused, {error.sqlstate}") from error
    return text


OBJECTS: dict[str, Callable[[Connection, Dice], str]] = {
    name: partial(change, family) for name, family in FAMILIES.items()
}
