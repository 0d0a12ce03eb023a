"""What a database holds is read completely, and a faithful restore of it compares equal."""

# Fixtures carry the types.
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202

import dataclasses
import json

import psycopg
import pytest

from smos.postgres.catalogue import read_catalogue, read_roles
from smos.postgres.compare import compare_content, compare_roles
from smos.postgres.content import DatabaseContent
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from tests._postgres_kit import (
    DATA,
    connector,
    content,
    copy_database,
    drop_database,
    execute,
    load,
    sorted_dump,
    tool,
)

# Without the server's own housekeeping: what it writes when it likes would be taken for ours.
SETTINGS = {"fsync": "off", "max_wal_senders": "0", "wal_level": "minimal", "autovacuum": "off"}


@pytest.fixture(scope="module")
def servers():
    with Owner("smos-test-pgcontent") as owner:
        source = EmbeddedPostgres(owner, name="source", memory=True, settings=SETTINGS)
        sandbox = EmbeddedPostgres(
            owner, name="sandbox", memory=True, settings=SETTINGS, superuser="smos_admin"
        )
        source.start()
        sandbox.start()
        execute(source, "postgres", (DATA / "rich_roles.sql").read_text())
        execute(source, "postgres", "-- separately\nCREATE DATABASE rich")
        load(source, "rich", DATA / "rich.sql")
        execute(
            source,
            "postgres",
            "ALTER DATABASE rich SET work_mem = '7MB';"
            "ALTER DATABASE rich SET app.key = 'S3CRET-CANARY-database';"
            "ALTER ROLE app_ro IN DATABASE rich SET search_path = app;"
            "REVOKE CONNECT ON DATABASE rich FROM PUBLIC; GRANT CONNECT ON DATABASE rich TO app_rw, app_ro;"
            "COMMENT ON DATABASE rich IS 'todo'",
        )
        globals_sql = tool(source, "pg_dumpall", "--globals-only")
        # A membership is granted by a superuser of the source that is not the sandbox's bootstrap superuser: refused.
        globals_sql = globals_sql.replace(b"GRANTED BY postgres", b"GRANTED BY smos_admin")
        tool(sandbox, "psql", "--dbname=postgres", "--quiet", "--no-psqlrc", data=globals_sql)
        yield source, sandbox


@pytest.fixture(scope="module")
def rich(servers):
    return content(servers[0], "rich")


def drop_rich(sandbox):
    with connector(sandbox, "postgres")() as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = 'rich'").fetchone() is not None:
            execute(sandbox, "rich", "DROP SUBSCRIPTION IF EXISTS sub")
            drop_database(sandbox, "rich")


def restore_plain(source, sandbox):
    dump = tool(source, "pg_dump", "--create", "--dbname=rich")
    tool(sandbox, "psql", "--dbname=postgres", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", data=dump)


def restore_custom(source, sandbox):
    dump = tool(source, "pg_dump", "--format=custom", "--compress=0", "--dbname=rich")
    tool(
        sandbox,
        "pg_restore",
        "--create",
        "--exit-on-error",
        "--dbname=postgres",
        data=dump,
    )


@pytest.mark.parametrize("restore", [restore_plain, restore_custom], ids=["plain", "custom"])
@pytest.mark.parametrize("mode", ["fast-2", "fast", "sha256"])
def test_a_faithful_restore_compares_equal(servers, rich, restore, mode):
    source, sandbox = servers
    drop_rich(sandbox)
    restore(source, sandbox)
    restored = content(sandbox, "rich", mode=mode)
    expected = rich if mode == rich.mode else content(source, "rich", mode=mode)
    assert compare_content(expected, restored) == ()
    assert sorted_dump(source, "rich") == sorted_dump(sandbox, "rich")


def test_the_globals_of_a_faithful_restore_compare_equal(servers):
    source, sandbox = servers
    with connector(source, "postgres")() as one, connector(sandbox, "postgres")() as other:
        assert compare_roles(read_roles(one), read_roles(other), ignore=("smos_admin",)) == ()


def test_a_restore_under_another_administrator_compares_equal_when_the_superusers_are_matched(servers, rich):
    """As in a sandbox without the source's superuser: what it owned belongs to the sandbox's own."""
    source, sandbox = servers
    dump = tool(source, "pg_dump", "--no-owner", "--schema=smos", "--dbname=rich")
    execute(source, "postgres", "-- separately\nCREATE DATABASE narrow")
    execute(sandbox, "postgres", "-- separately\nCREATE DATABASE narrow")
    for server in servers:
        tool(server, "psql", "--dbname=narrow", "--quiet", "--no-psqlrc", data=dump)
    expected, actual = content(source, "narrow"), content(sandbox, "narrow")
    assert {d.code for d in compare_content(expected, actual)} == {"owner-differs"}
    assert compare_content(expected, actual, superuser_names=("postgres", "smos_admin")) == ()


@pytest.mark.parametrize(("right", "seen"), [("pg_read_all_data", True), ("pg_monitor", False)])
def test_options_of_user_mappings_are_the_same_for_every_reader_or_unknown(servers, rich, right, seen):
    source, _ = servers
    execute(source, "postgres", f"CREATE ROLE looker LOGIN; GRANT {right}, app_rw, app_ro TO looker")
    try:
        with psycopg.connect(source.endpoint.conninfo("rich", "looker")) as connection:
            found = read_catalogue(connection)
    finally:
        execute(source, "postgres", "DROP ROLE looker")
    mapping = "user-mapping:app_rw.elsewhere"
    assert (found.objects[mapping] == rich.catalogue.objects[mapping]) is seen
    assert found.objects[mapping].get("hidden", False) is not seen
    differences = compare_content(rich, dataclasses.replace(rich, catalogue=found))
    # What could not be read may have been lost: not proven, and no damage either.
    expected = [] if seen else [("content-unread", True)]
    assert [(item.code, item.uncertain) for item in differences if item.object == mapping] == expected


def test_every_kind_of_object_is_in_the_catalogue(rich):
    kinds = {key.partition(":")[0] for key in rich.catalogue.objects}
    assert kinds >= {
        "aggregate", "cast", "collation", "comment", "constraint", "database", "default-privileges", "event-trigger",
        "extension", "foreign-server", "foreign-table", "function", "index", "large-objects",
        "materialized-view", "operator", "policy", "privileges", "procedure", "publication", "rule", "schema",
        "sequence", "setting", "statistics", "subscription", "table", "text-search-configuration",
        "text-search-dictionary", "trigger", "type", "user-mapping", "view",
    }  # fmt: skip
    # What an extension brings is not listed, but what somebody changed about it is.
    assert not [key for key in rich.catalogue.objects if "similarity" in key]
    assert "privileges:function public.show_trgm(pg_catalog.text)" in rich.catalogue.objects


def test_no_secret_and_no_oid_is_recorded(servers, rich):
    with connector(servers[0], "rich")() as connection:
        roles = read_roles(connection)
        oids = connection.execute(
            "SELECT oid::text FROM pg_class WHERE relnamespace = 'app'::regnamespace"
        ).fetchall()
    text = json.dumps([rich.to_json(), roles])
    assert "S3CRET" not in text
    assert "SCRAM" not in text
    assert roles["roles"]["app_rw"]["has_password"] is True
    names = " ".join(rich.catalogue.objects)
    assert not [oid for (oid,) in oids if oid in names]


def test_content_survives_json(rich):
    assert DatabaseContent.from_json(json.loads(json.dumps(rich.to_json()))) == rich


@pytest.mark.parametrize("damage", [{}, {"tables": []}, {"mode": "md5"}, {"sequences": {"x": [1]}}])
def test_what_is_no_content_is_refused(rich, damage):
    data = {**rich.to_json(), **damage} if damage else {}
    with pytest.raises(ValueError, match=r"content of a database|is not a valid HashMode"):
        DatabaseContent.from_json(data)


def test_facts_are_read(rich):
    assert rich.tables["app.dup"].rows == 5
    assert rich.tables["app.no_columns"].rows == 2
    assert rich.tables["app.animal"].rows == 2, "the rows of children are not counted twice"
    assert "app.orders" not in rich.tables, "a partitioned table holds nothing itself"
    assert rich.tables["app.stale"].rows is None
    assert "app.remote" not in rich.tables
    assert rich.large_objects.count == 7
    assert rich.heartbeat_at.isoformat() == "2026-11-01T02:00:00+00:00"
    assert rich.sequences["app.orders_id_seq"].highest == 999
    assert set(rich.sort_canary) >= {"ñ", "Ü", " "}
    assert rich.lsn.count("/") == 1
    assert rich.problems == ()


def test_row_security_is_measured_as_ordinary_roles(rich):
    seen = {(f.table, f.role): (f.visible_without_context, f.total_rows) for f in rich.row_security}
    assert seen["app.users", "app_rw"] == (0, 200)
    assert seen["app.orders", "app_rw"] == (0, 500)
    assert seen["app.orders", "app_ro"] == (167, 500), "the policy `sent` shows a third of them"


def test_settings_of_the_session_do_not_change_the_hashes(servers, rich):
    def connect():
        connection = psycopg.connect(servers[0].endpoint.conninfo("rich"))
        connection.execute(
            "SET DateStyle = 'German'; SET TimeZone = 'America/Santiago'; SET extra_float_digits = -5;"
            "SET bytea_output = 'escape'; SET IntervalStyle = 'sql_standard'; SET search_path = app, public"
        )
        connection.commit()
        return connection

    from smos.postgres.fingerprint import read_content

    assert compare_content(rich, read_content(connect)) == ()


def test_the_same_rows_in_another_order_have_the_same_hash(servers, rich):
    source, _ = servers
    copy_database(source, "rich", "shuffled")
    execute(
        source,
        "shuffled",
        "CREATE TEMP TABLE t AS SELECT * FROM app.users ORDER BY md5(id::text);"
        "SET session_replication_role = replica; TRUNCATE app.users; INSERT INTO app.users SELECT * FROM t",
    )
    differences = compare_content(rich, content(source, "shuffled"))
    assert not [d for d in differences if d.object == "table:app.users"]


def test_a_snapshot_is_read_as_it_was(servers):
    source, _ = servers
    copy_database(source, "rich", "moving")
    with connector(source, "moving")() as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        (name,) = holder.execute("SELECT pg_export_snapshot()").fetchone()
        before = content(source, "moving", snapshot=name, jobs=2)
        execute(
            source,
            "moving",
            "INSERT INTO app.dup VALUES (9, 'new'); INSERT INTO app.animal (name) VALUES ('x')",
        )
        again = content(source, "moving", snapshot=name, jobs=2)
    after = content(source, "moving")
    assert compare_content(before, again) == ()
    assert {(d.code, d.object) for d in compare_content(before, after)} == {
        ("rows-extra", "table:app.dup"),
        ("rows-extra", "table:app.animal"),
    }


def test_ranges_of_a_large_table_add_up_to_the_whole(servers, monkeypatch):
    source, _ = servers
    execute(source, "postgres", "-- separately\nCREATE DATABASE large")
    execute(
        source,
        "large",
        "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 9) FROM generate_series(1, 60000) AS i",
    )
    monkeypatch.setattr("smos.postgres.fingerprint.BATCH_BYTES", 1 << 20)
    monkeypatch.setattr("smos.postgres.fingerprint.RANGE_BYTES", 1 << 20)
    whole = content(source, "large", jobs=1)
    parts = content(source, "large", jobs=3)
    assert whole.tables["public.t"].rows == 60000
    assert whole.tables == parts.tables


def test_a_table_that_cannot_be_read_is_said_and_stops_nothing_else(servers, rich, monkeypatch):
    source, _ = servers
    copy_database(source, "rich", "locked")
    monkeypatch.setattr("smos.postgres.session.LOCK_TIMEOUT_S", 0.05)
    with connector(source, "locked")() as holder:
        holder.execute("LOCK TABLE app.no_columns")
        read = content(source, "locked")
    assert read.tables["app.no_columns"].rows is None
    assert "LockNotAvailable" in read.tables["app.no_columns"].problem
    assert read.tables["app.users"].rows == 200
    difference = next(d for d in compare_content(rich, read) if d.object == "table:app.no_columns")
    assert difference.code == "content-unread"
    assert difference.uncertain


def test_reading_writes_nothing(servers):
    source, _ = servers
    dump = sorted_dump(source, "rich")
    with connector(source, "postgres")() as connection:
        connection.execute("CHECKPOINT")
        (before,) = connection.execute("SELECT xmin::text FROM pg_database WHERE datname = 'rich'").fetchone()
        (first,) = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())").fetchone()
    content(source, "rich")
    with connector(source, "postgres")() as connection:
        (after,) = connection.execute("SELECT xmin::text FROM pg_database WHERE datname = 'rich'").fetchone()
        (last,) = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())").fetchone()
    assert (before, first) == (after, last), "no transaction was given a number"
    assert sorted_dump(source, "rich") == dump


def test_a_cast_of_the_database_cannot_forge_the_hash(servers):
    """A table's owner may define a cast of its rows to text; the hash must not go through it."""
    source, _ = servers
    execute(source, "postgres", "-- separately\nCREATE DATABASE forged")
    execute(
        source,
        "forged",
        "CREATE TABLE t (a integer); INSERT INTO t VALUES (1);"
        "CREATE FUNCTION lie(t) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'the same'$$;"
        "CREATE CAST (t AS text) WITH FUNCTION lie(t) AS IMPLICIT",
    )
    before = content(source, "forged")
    execute(source, "forged", "UPDATE t SET a = 2")
    assert [d.code for d in compare_content(before, content(source, "forged"))] == ["values-changed"]


def test_the_policy_of_a_probed_table_cannot_climb_to_the_superuser(servers):
    """The expression of a policy is its owner's code: it runs in a login of the role, not in a superuser's."""
    source, _ = servers
    execute(source, "postgres", "-- separately\nCREATE DATABASE trap")
    execute(
        source,
        "trap",
        "CREATE TABLE t (a integer); INSERT INTO t VALUES (1); GRANT SELECT ON t TO app_rw;"
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY p ON t USING (set_config('role', 'postgres', false) IS NOT NULL)",
    )
    (facts,) = content(source, "trap").row_security
    assert facts.visible_without_context is None
    assert facts.error == psycopg.errors.InsufficientPrivilege.sqlstate


def test_a_catalogue_needs_the_same_few_queries_for_any_number_of_tables(servers):
    source, _ = servers

    def queries(name):
        with connector(source, name)() as connection:
            sent = []
            original = psycopg.Cursor.execute

            def spy(self, *args, **kwargs):
                sent.append(args)
                return original(self, *args, **kwargs)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(psycopg.Cursor, "execute", spy)
                read_catalogue(connection)
            return len(sent)

    execute(source, "postgres", "-- separately\nCREATE DATABASE bare")
    assert queries("rich") == queries("bare")
