"""Every change of a list is found, with the code that names it; pg_dump itself agrees that something changed.

The source is cloned, one thing is changed in the clone, and both are compared.
"""

# Fixtures carry the types; statements stay on one line.
# ruff: noqa: ANN001, ANN002, ANN201

from dataclasses import dataclass

import pytest

from smos.checks.dr.content import content_findings
from smos.postgres.compare import compare_content
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.verdict import Verdict
from tests._postgres_kit import DATA, content, copy_database, drop_database, execute, load, sorted_dump


@dataclass(frozen=True)
class Mutation:
    """A change, and the codes that must be reported (and no others, unless `also` allows them).

    seen_by_pg_dump: False for what no dump shows, so that the oracle can't confirm it.
    """

    name: str
    sql: str
    codes: frozenset[str]
    also: frozenset[str] = frozenset()
    seen_by_pg_dump: bool = True


def m(name, sql, *codes, also=(), seen=True):
    return Mutation(name, sql, frozenset(codes), frozenset(also), seen)


MUTATIONS = (
    # Rows
    m("table dropped", "DROP TABLE app.dup", "table-missing"),
    m("table renamed", "ALTER TABLE app.dup RENAME TO dup2", "table-missing", "table-extra"),
    m("partition dropped", "DROP TABLE app.orders_2025", "table-missing", also=["row-security-behaviour-differs", "materialized-view-empty"]),
    m("table emptied", "TRUNCATE app.booking", "rows-missing"),
    m("one row gone", "DELETE FROM app.animal WHERE name = 'Fido'", "rows-missing"),
    m("one row more", "INSERT INTO app.dup VALUES (7, 'x')", "rows-extra"),
    m("a value changed", "UPDATE app.users SET full_name = 'x' WHERE id = 7", "values-changed"),
    m("values of two rows swapped", "UPDATE app.loose SET b = 6 - b", "values-changed"),
    m("one duplicate for another", "ALTER TABLE app.dup DISABLE RULE keep; DELETE FROM app.dup WHERE ctid = (SELECT min(ctid) FROM app.dup); INSERT INTO app.dup VALUES (2, 'b'); ALTER TABLE app.dup ENABLE RULE keep", "values-changed"),
    m("NULL became empty", "UPDATE app.dup SET b = '' WHERE b IS NULL", "values-changed"),
    m("the scale of a number", "UPDATE app.users SET price = 1.000 WHERE id = 3", "values-changed"),
    m("minus zero", "UPDATE app.users SET score = 0 WHERE id = 1", "values-changed"),
    m("NaN", "UPDATE app.users SET score = 0.5 WHERE id = 5", "values-changed"),
    m("the last digit of a float", "UPDATE app.users SET score = 0.3 WHERE id = 3", "values-changed"),
    m("white space in json", "UPDATE app.kinds SET j = '{\"b\": 1, \"a\":2}' WHERE r = 1", "values-changed"),
    m("lower bound of an array", "UPDATE app.kinds SET arr = '{1,NULL}' WHERE r = 1", "values-changed"),
    m("an unlogged row", "DELETE FROM app.cache", "rows-missing"),
    m("rows of two partitions", "UPDATE app.orders SET total = total + 1 WHERE id IN (1, 999)", "values-changed", also=["row-security-behaviour-differs"]),
    m("a column called like an alias", 'UPDATE app."Exotic Ñame" SET r = 8 WHERE "select" = 1', "values-changed"),
    m("a materialized view", "DROP MATERIALIZED VIEW app.totals; CREATE MATERIALIZED VIEW app.totals AS SELECT name, length(name) AS n FROM app.tenants WITH NO DATA; ALTER MATERIALIZED VIEW app.totals OWNER TO app_owner; GRANT SELECT ON app.totals TO app_ro; CREATE UNIQUE INDEX totals_name ON app.totals (name)", "materialized-view-empty"),
    # Large objects and sequences
    m("a large object gone", "SELECT lo_unlink((SELECT min(oid) FROM pg_largeobject_metadata))", "large-objects-differ"),
    m("a byte of a large object", "SELECT lo_put((SELECT min(oid) FROM pg_largeobject_metadata), 3000, '\\x00')", "large-objects-differ"),
    m("zeros at the end of a large object", "SELECT lo_put((SELECT min(oid) FROM pg_largeobject_metadata), 20000, '\\x00')", "large-objects-differ"),
    m("owner of a large object", "DO $$BEGIN EXECUTE format('ALTER LARGE OBJECT %s OWNER TO app_rw', (SELECT min(oid) FROM pg_largeobject_metadata)); END$$", "large-objects-differ"),
    m("a sequence set back", "SELECT setval('app.users_id_seq', 100)", "sequence-behind"),
    m("the sequence of an identity", "ALTER TABLE app.tenants ALTER id RESTART WITH 5", "sequence-behind"),
    m("the sequence of a partitioned table", "SELECT setval('app.orders_id_seq', 11)", "sequence-behind"),
    m("a sequence that a default uses", "SELECT setval('app.numbers', 90)", "sequence-behind"),
    m("increment of a sequence", "ALTER SEQUENCE app.numbers INCREMENT 5", "sequence-differs"),
    m("a sequence that nothing owns", "ALTER SEQUENCE app.users_id_seq OWNED BY NONE", "sequence-differs"),
    # Row security
    m("row security off", "ALTER TABLE app.users DISABLE ROW LEVEL SECURITY", "row-security-lost"),
    m("not forced", "ALTER TABLE app.users NO FORCE ROW LEVEL SECURITY", "row-security-lost"),
    m("a policy gone", "DROP POLICY own ON app.users", "policy-lost"),
    m("the policy that shows rows gone", "DROP POLICY sent ON app.orders", "policy-lost", "row-security-behaviour-differs"),
    m("a policy wide open", "ALTER POLICY own ON app.users USING (true)", "policy-changed", "row-security-behaviour-differs"),
    m("a policy for another role", "ALTER POLICY sent ON app.orders TO app_rw", "policy-changed", "row-security-behaviour-differs"),
    m("a policy's check", "ALTER POLICY own ON app.users WITH CHECK (true)", "policy-changed"),
    m("a restrictive policy made permissive", "DROP POLICY never ON app.users; CREATE POLICY never ON app.users FOR DELETE TO app_rw USING (false)", "policy-changed"),
    m("a policy more", "CREATE POLICY all_of_it ON app.users FOR SELECT USING (true)", "policy-extra", "row-security-behaviour-differs"),
    m("the function of the policies", "CREATE OR REPLACE FUNCTION app.tenant() RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE RETURN 1", "function-body-differs", "row-security-behaviour-differs"),
    # Privileges
    m("a grant revoked", "REVOKE DELETE ON app.users FROM app_rw", "grant-missing"),
    m("a grant of a column", "REVOKE UPDATE (name) ON app.tenants FROM app_rw", "grant-missing"),
    m("a grant option", "REVOKE GRANT OPTION FOR SELECT ON app.dup FROM app_rw CASCADE", "grant-missing", "grant-extra"),
    m("granted to all", "GRANT SELECT ON app.tenants TO PUBLIC", "grant-extra"),
    m("execute for all", "GRANT EXECUTE ON FUNCTION app.over(text) TO PUBLIC", "grant-extra"),
    m("use of a schema", "REVOKE USAGE ON SCHEMA app FROM app_ro", "grant-missing", "row-security-behaviour-differs"),
    m("a built-in function", "GRANT EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) TO PUBLIC", "grant-missing"),
    m("an extension's function", "GRANT EXECUTE ON FUNCTION public.show_trgm(text) TO PUBLIC", "grant-missing"),
    m("default privileges gone", "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app REVOKE SELECT ON TABLES FROM app_ro", "default-privileges-differ"),
    m("default privileges more", "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT INSERT ON TABLES TO app_ro", "default-privileges-differ"),
    m("another owner", "ALTER TABLE app.dup OWNER TO app_rw", "owner-differs", also=["grant-missing", "grant-extra", "grantor-differs"]),
    m("owner of the database", 'ALTER DATABASE "mutant" OWNER TO app_owner', "owner-differs"),
    # Indexes, constraints, triggers, rules
    m("an index gone", "DROP INDEX app.users_trgm", "index-missing"),
    m("an index more", "CREATE INDEX more ON app.dup (a)", "index-extra"),
    m("an index invalid", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'app.users_lower'::regclass", "index-invalid"),
    m("an index without its condition", "DROP INDEX app.users_lower; CREATE INDEX users_lower ON app.users (lower(full_name) DESC NULLS LAST) INCLUDE (score)", "index-differs"),
    m("statistics of an index", "ALTER INDEX app.users_lower ALTER COLUMN 1 SET STATISTICS 55", "index-differs"),
    m("a primary key", "ALTER TABLE app.cache DROP CONSTRAINT cache_pkey", "constraint-missing", "index-missing"),
    m("a foreign key", "ALTER TABLE app.users DROP CONSTRAINT users_tenant_id_fkey", "constraint-missing"),
    m("a foreign key not deferrable", "ALTER TABLE app.users ALTER CONSTRAINT users_tenant_id_fkey NOT DEFERRABLE", "constraint-differs"),
    m("a check", "ALTER TABLE app.tenants DROP CONSTRAINT short", "constraint-missing", "comment-differs"),
    m("a check of a domain", "ALTER DOMAIN app.rut DROP CONSTRAINT rut_form", "constraint-missing"),
    m("an exclusion", "ALTER TABLE app.booking DROP CONSTRAINT booking_room_during_excl", "constraint-missing", "index-missing"),
    m("a check not validated", "ALTER TABLE app.tenants DROP CONSTRAINT short; ALTER TABLE app.tenants ADD CONSTRAINT short CHECK (length(name) < 90) NOT VALID; COMMENT ON CONSTRAINT short ON app.tenants IS 'corto'", "constraint-not-valid"),
    m("references not enforced", "ALTER TABLE app.users DISABLE TRIGGER ALL", "constraint-not-enforced", seen=False),
    m("NOT NULL", "ALTER TABLE app.tenants ALTER name DROP NOT NULL", "column-differs"),
    m("NOT NULL under another name", "ALTER TABLE app.tenants RENAME CONSTRAINT tenants_name_not_null TO other", "column-differs"),
    m("NOT NULL that children don't inherit", "ALTER TABLE app.dup ADD CONSTRAINT filled NOT NULL a NO INHERIT", "column-differs"),
    m("a trigger gone", "DROP TRIGGER touch ON app.tenants", "trigger-missing"),
    m("a trigger disabled", "ALTER TABLE app.tenants DISABLE TRIGGER touch", "trigger-disabled"),
    m("a trigger enabled", "ALTER TABLE app.tenants ENABLE TRIGGER asleep", "trigger-differs"),
    m("a trigger without its condition", "CREATE OR REPLACE TRIGGER touch BEFORE UPDATE OF name ON app.tenants FOR EACH ROW EXECUTE FUNCTION app.touch()", "trigger-differs"),
    m("an event trigger gone", "DROP EVENT TRIGGER guard", "event-trigger-missing"),
    m("a rule gone", "DROP RULE keep ON app.dup", "rule-missing"),
    # Definitions
    m("a function gone", "DROP FUNCTION app.over(text)", "function-missing"),
    m("a function's body", "CREATE OR REPLACE FUNCTION app.over(a integer, b integer DEFAULT 3) RETURNS integer LANGUAGE sql IMMUTABLE STRICT COST 7 AS 'SELECT a - b'", "function-body-differs"),
    m("no longer SECURITY DEFINER", "ALTER FUNCTION app.touch() SECURITY INVOKER", "function-differs"),
    m("a function's search_path", "ALTER FUNCTION app.touch() RESET search_path", "function-differs"),
    m("a procedure gone", "DROP PROCEDURE app.job", "function-missing"),
    m("an aggregate gone", "DROP AGGREGATE app.product(bigint)", "function-missing"),
    m("a view gone", "DROP VIEW app.sales", "view-missing"),
    m("a view's text", "CREATE OR REPLACE VIEW app.checked AS SELECT a, b FROM app.loose WHERE a > 1 WITH LOCAL CHECK OPTION", "view-differs"),
    m("a view no longer security_invoker", "ALTER VIEW app.sales RESET (security_invoker)", "view-differs"),
    m("a label of an enum", "ALTER TYPE app.state ADD VALUE 'lost'", "type-differs"),
    m("a column more", "ALTER TABLE app.empty ADD COLUMN more text", "column-extra"),
    m("a column gone", "ALTER TABLE app.empty DROP COLUMN id", "column-missing"),
    m("the order of columns", "ALTER TABLE app.loose DROP COLUMN a CASCADE; ALTER TABLE app.loose ADD COLUMN a integer", "column-order-differs", also=["values-changed", "view-missing", "constraint-missing", "index-missing", "statistics-missing", "object-missing"]),
    m("a type", "ALTER TABLE app.empty ALTER id TYPE bigint", "column-differs"),
    m("a default", "ALTER TABLE app.tenants ALTER created_at SET DEFAULT '2026-01-02Z'", "column-differs"),
    m("a collation of a column", 'ALTER TABLE app.dup ALTER b TYPE text COLLATE "C"', "column-collation-differs"),
    m("an identity", "ALTER TABLE app.tenants ALTER id SET GENERATED BY DEFAULT", "column-differs"),
    m("a column no longer computed", "ALTER TABLE app.orders ALTER tax DROP EXPRESSION", "column-differs"),
    m("a table logged", "ALTER TABLE app.cache SET LOGGED", "table-differs"),
    m("an option of a table", "ALTER TABLE app.loose RESET (fillfactor)", "table-differs"),
    m("a partition detached", "ALTER TABLE app.orders DETACH PARTITION app.orders_2025", "table-differs", also=["row-security-behaviour-differs", "constraint-extra", "column-differs"]),
    m("no longer inherited", "ALTER TABLE app.dog NO INHERIT app.animal", "table-differs"),
    m("replica identity", "ALTER TABLE app.loose REPLICA IDENTITY DEFAULT", "table-differs"),
    m("a comment", "COMMENT ON COLUMN app.users.email IS 'otro'", "comment-differs"),
    m("no comment", "COMMENT ON TABLE app.users IS NULL", "comment-differs"),
    m("statistics", "DROP STATISTICS app.loose_stats", "object-missing"),
    m("a cast", "DROP CAST (app.pair AS text)", "object-missing"),
    m("an operator", "DROP OPERATOR app.@#@ (integer, integer)", "object-missing"),
    m("a collation", "DROP COLLATION app.plain", "collation-missing"),
    m("a publication", "DROP PUBLICATION pub", "object-missing"),
    m("the rows of a publication", "ALTER PUBLICATION pub SET TABLE app.tenants (id, name) WHERE (id > 2)", "definition-differs"),
    m("a mapping to another server", "DROP USER MAPPING FOR app_rw SERVER elsewhere", "object-missing"),
    m("a foreign table", "DROP FOREIGN TABLE app.remote", "foreign-table-missing"),
    m("a text search configuration", "ALTER TEXT SEARCH CONFIGURATION app.es DROP MAPPING FOR url", "definition-differs"),
    m("a schema more", "CREATE SCHEMA more", "schema-extra"),
    m("an extension gone", "DROP EXTENSION vector CASCADE", "extension-missing", "column-missing", also=["values-changed", "comment-differs"]),
    m("an extension's version", "ALTER EXTENSION pg_trgm UPDATE TO '1.6'; UPDATE pg_extension SET extversion = '1.5' WHERE extname = 'pg_trgm'", "extension-version-differs", seen=False),
    m("an extension's schema", "ALTER EXTENSION hstore SET SCHEMA app", "extension-differs", also=["column-differs", "grant-missing", "comment-differs", "values-changed"]),
    m("a setting of the database", 'ALTER DATABASE "mutant" SET work_mem = \'1MB\'', "setting-extra"),
    m("the limit of connections", 'ALTER DATABASE "mutant" CONNECTION LIMIT 3', "setting-differs"),
)  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with Owner("smos-test-pgmutations") as owner:
        server = EmbeddedPostgres(
            owner,
            name="mutations",
            memory=True,
            settings={"fsync": "off", "max_wal_senders": "0", "wal_level": "minimal", "autovacuum": "off"},
        )
        server.start()
        execute(server, "postgres", (DATA / "rich_roles.sql").read_text())
        execute(server, "postgres", "-- separately\nCREATE DATABASE rich")
        load(server, "rich", DATA / "rich.sql")
        execute(server, "rich", "DROP SUBSCRIPTION sub")  # a clone with one can't be dropped
        yield server


@pytest.fixture(scope="module")
def expected(server):
    return content(server, "rich"), sorted_dump(server, "rich")


@pytest.fixture
def mutant(server):
    copy_database(server, "rich", "mutant")
    yield "mutant"
    drop_database(server, "mutant")


def test_an_unchanged_clone_compares_equal(server, expected, mutant):
    before, dump = expected
    assert compare_content(before, content(server, mutant)) == ()
    assert sorted_dump(server, mutant) == dump


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_change_is_found_and_named(server, expected, mutant, mutation):
    before, dump = expected
    execute(server, mutant, mutation.sql)
    differences = compare_content(before, content(server, mutant))
    codes = {difference.code for difference in differences}
    assert codes >= mutation.codes, differences
    assert codes <= mutation.codes | mutation.also, differences
    assert (sorted_dump(server, mutant) != dump) is mutation.seen_by_pg_dump
    assert not [d for d in differences if len(d.detail) > 260]
    findings = content_findings("rich", differences)
    assert Verdict.worst(finding.verdict for finding in findings) is Verdict.FAIL
    assert all(finding.remedy for finding in findings if finding.verdict is not Verdict.PASS)
