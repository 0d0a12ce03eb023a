"""Damage of a restored database is found: pages, indexes, references; and a gap of the tools is said as such."""

# Fixtures carry the types; statements stay on one line.
# ruff: noqa: ANN001, ANN003, ANN201

import pytest
from psycopg import sql

from smos.checks.dr.content import integrity_findings
from smos.paths import compose_dir
from smos.postgres.compare import compare_content
from smos.postgres.integrity import check_integrity
from smos.postgres.soundness import Task, run_tasks
from smos.postgres.verify import read_and_check
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import find_installations
from smos.provision.owner import Owner
from smos.verdict import Verdict
from tests._postgres_kit import connector, content, execute, load, tool

SETTINGS = {"fsync": "off", "max_wal_senders": "0", "wal_level": "minimal", "autovacuum": "off"}


@pytest.fixture(scope="module")
def owner():
    with Owner("smos-test-pgintegrity") as owner:
        yield owner


@pytest.fixture(scope="module")
def server(owner):
    server = EmbeddedPostgres(owner, name="integrity", memory=True, settings=SETTINGS)
    server.start()
    return server


@pytest.fixture
def database(server, request):
    name = f"db_{abs(hash(request.node.name)) % 10**8}"
    execute(server, "postgres", f"-- separately\nCREATE DATABASE {name}")
    execute(
        server,
        name,
        "CREATE TABLE parent (id integer PRIMARY KEY, name text);"
        "CREATE TABLE child (id integer PRIMARY KEY, parent integer REFERENCES parent, other text);"
        "CREATE INDEX child_other ON child (other); CREATE INDEX child_gin ON child USING gin (to_tsvector('simple', other));"
        "INSERT INTO parent SELECT i, 'p' || i FROM generate_series(1, 500) AS i;"
        "INSERT INTO child SELECT i, i, md5(i::text) FROM generate_series(1, 500) AS i;"
        "INSERT INTO child VALUES (501, NULL, NULL)",
    )
    return name


def problems(server, name, **options):
    return check_integrity(server.endpoint.conninfo(name), **options)


def test_a_sound_database_has_no_problems_and_keeps_its_extensions(server, database):
    assert problems(server, database) == ()
    with connector(server, database)() as connection:
        assert connection.execute("SELECT count(*) FROM pg_extension").fetchone() == (1,)


def test_an_index_that_lacks_a_row_is_found(server, database):
    """As after a torn restore of files: the table was written, its index was not."""
    execute(
        server,
        database,
        "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = 'child_other'::regclass",
    )
    execute(server, database, "INSERT INTO child VALUES (900, 1, 'not in the index')")
    execute(
        server,
        database,
        "UPDATE pg_index SET indisready = true, indisvalid = true WHERE indexrelid = 'child_other'::regclass",
    )
    found = problems(server, database)
    assert [problem.code for problem in found] == ["amcheck-failed"]
    assert "child_other" in found[0].detail
    assert "not in the index" not in found[0].detail
    assert Verdict.worst(f.verdict for f in integrity_findings(database, found)) is Verdict.FAIL


def test_a_damaged_page_is_found(server, database):
    with connector(server, database)() as connection:
        (path,) = connection.execute("SELECT pg_relation_filepath('child')").fetchone()
        connection.execute("CHECKPOINT")
    server.stop()
    file = server.data_dir / path
    data = bytearray(file.read_bytes())
    data[8192 - 64 : 8192 - 40] = b"\xff" * 24  # the header of a row
    file.write_bytes(data)
    server.start()
    assert "amcheck-failed" in {problem.code for problem in problems(server, database)}


def test_an_invalid_index_is_found(server, database):
    execute(
        server, database, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'child_other'::regclass"
    )
    assert "index-invalid" in {problem.code for problem in problems(server, database)}


def test_rows_that_refer_to_nothing_are_found(server, database):
    execute(server, database, "SET session_replication_role = replica; DELETE FROM parent WHERE id = 7")
    found = problems(server, database)
    assert [(p.code, p.detail.split(":")[0]) for p in found] == [
        ("foreign-key-violated", "public.child.child_parent_fkey")
    ]


def test_disabled_references_are_found(server, database):
    execute(server, database, "ALTER TABLE child DISABLE TRIGGER ALL")
    assert {problem.code for problem in problems(server, database)} == {"constraint-not-enforced"}


def test_a_missing_extension_proves_nothing_and_blames_nobody(server, database, monkeypatch):
    monkeypatch.setattr("smos.postgres.integrity.AMCHECK", "no_such_extension")
    found = problems(server, database)
    assert [problem.code for problem in found] == ["integrity-not-checked"]
    assert Verdict.worst(f.verdict for f in integrity_findings(database, found)) is Verdict.NOT_PROVEN


def test_a_check_that_could_not_be_run_proves_nothing_and_what_was_left_is_named(server, database):
    def task(name, weight, query) -> Task:
        return Task(name, weight, sql.SQL(query).format(), lambda _rows: [])

    tasks = [
        task("impossible", 3, "SELECT 1 / 0"),
        task("last words", 2, "SELECT pg_terminate_backend(pg_backend_pid())"),
        task("never asked", 1, "SELECT 1"),
    ]
    found = run_tasks(tasks, server.endpoint.conninfo(database), jobs=1)
    assert {problem.code for problem in found} == {"integrity-not-checked"}
    assert [problem.detail.split(":")[0] for problem in found] == [task.name for task in tasks]
    assert run_tasks([], server.endpoint.conninfo(database), jobs=2) == []


def test_a_large_table_is_checked_in_ranges_to_its_last_page(server, database, monkeypatch):
    monkeypatch.setattr("smos.postgres.soundness.HEAP_RANGE_BYTES", 16384)
    execute(server, database, "CREATE TABLE wide AS SELECT repeat('x', 900) AS v FROM generate_series(1, 90)")
    assert problems(server, database) == ()
    with connector(server, database)() as connection:
        path, pages = connection.execute(
            "SELECT pg_relation_filepath('wide'), pg_relation_size('wide') / 8192"
        ).fetchone()
        connection.execute("CHECKPOINT")
    server.stop()
    file = server.data_dir / path
    data = bytearray(file.read_bytes())
    data[-64:-40] = b"\xff" * 24
    file.write_bytes(data)
    server.start()
    assert pages > 5
    assert "amcheck-failed" in {problem.code for problem in problems(server, database)}


def test_content_and_checks_side_by_side_say_what_they_say_alone(server, database):
    found, trouble = read_and_check(connector(server, database), server.endpoint.conninfo(database), jobs=3)
    assert (found.to_json()["tables"], trouble) == (content(server, database).to_json()["tables"], ())
    assert found.to_json()["catalogue"] == content(server, database).to_json()["catalogue"]


def test_another_encoding_or_collation_is_found(server):
    execute(server, "postgres", "-- separately\nCREATE DATABASE utf TEMPLATE template0")
    execute(
        server,
        "postgres",
        "-- separately\nCREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    utf, ascii_ = content(server, "utf"), content(server, "ascii")
    codes = {d.code for d in compare_content(utf, ascii_)}
    assert codes == {"database-encoding-differs", "collation-differs"}
    assert not [d for d in compare_content(utf, ascii_) if d.uncertain], "the server could have had both"


def test_a_collation_that_the_sandbox_lacks_is_not_blamed_on_the_backup(server):
    from dataclasses import replace

    here = content(server, "postgres")
    objects = {**here.catalogue.objects}
    objects["database:"] = {**objects["database:"], "collate": "es_CL.UTF-8", "ctype": "es_CL.UTF-8"}
    source = replace(here, catalogue=replace(here.catalogue, objects=objects))
    (difference,) = compare_content(source, here)
    assert difference.code == "collation-differs"
    assert difference.uncertain


@pytest.mark.parametrize("major", [13, 14, 15, 16, 17])
def test_a_database_of_an_older_server_compares_equal_where_that_is_certain(owner, server, major):
    installation = next((one for one in find_installations() if one.major == major), None)
    if installation is None or not {"pg_trgm", "citext"} <= set(installation.extensions):
        pytest.skip(f"PostgreSQL {major} with its contrib extensions is not installed here")
    older = EmbeddedPostgres(owner, name=f"older{major}", installation=installation, memory=True)
    older.start()
    folder = compose_dir() / "selftest"
    for one in (older, server):
        load(one, "postgres", folder / "roles.sql")
    load(older, "smarteros", folder / "smarteros.sql")
    load(older, "smarteros", folder / "heartbeat.sql")
    # Its owner is subject to row security itself, so that pg_restore could not refresh it.
    execute(older, "smarteros", "DROP MATERIALIZED VIEW IF EXISTS app.tenant_totals")
    execute(server, "postgres", "-- separately\nDROP DATABASE smarteros")
    dump = tool(
        server, "pg_dump", "--create", "--format=custom", f"--dbname={older.endpoint.conninfo('smarteros')}"
    )
    tool(server, "pg_restore", "--create", "--exit-on-error", "--dbname=postgres", data=dump)
    expected, actual = content(older, "smarteros"), content(server, "smarteros")
    differences = compare_content(expected, actual)
    assert not [d for d in differences if not d.uncertain], differences
    execute(
        server,
        "smarteros",
        "UPDATE app.users SET full_name = 'x' WHERE id = 7; DROP POLICY own_tenant ON app.users",
    )
    certain = {d.code for d in compare_content(expected, content(server, "smarteros")) if not d.uncertain}
    assert certain >= {"values-changed", "policy-lost"}
