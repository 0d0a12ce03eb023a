"""Probing leaves the user's database as it was: rows, definitions, counters, roles; also when it is killed at work."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from smos.faults.rls.workspace import RlsStack, workspace
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import find_installations
from smos.provision.owner import Owner
from smos.rls.check import prove_isolation
from smos.rls.facts import Mode, ProbeOptions
from smos.verdict import Verdict
from smos.wait import wait_for

CHECKOUT = Path(__file__).resolve().parent.parent
STATE = (
    (
        "SELECT oid, relname, relfilenode, relacl::text, relrowsecurity, relforcerowsecurity, xmin::text FROM pg_class"
        " WHERE relkind NOT IN ('t', 'i') ORDER BY 1"
    ),
    "SELECT * FROM pg_sequences ORDER BY 1, 2",
    "SELECT oid, rolname, rolsuper, rolbypassrls, rolconfig::text FROM pg_roles ORDER BY 1",
    "SELECT oid, polname, xmin::text FROM pg_policy ORDER BY 1",
    "SELECT oid, prosrc, xmin::text FROM pg_proc WHERE pronamespace::regnamespace::text !~ '^pg_|inform' ORDER BY 1",
    "SELECT oid FROM pg_largeobject_metadata ORDER BY 1",
    "SELECT gid FROM pg_prepared_xacts",
    "SELECT relname FROM pg_class WHERE relpersistence = 't'",
    (
        "SELECT locktype, mode FROM pg_locks WHERE pid <> pg_backend_pid() AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    ),
)
TABLES = (
    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND n.nspname !~ '^pg_|^inform' ORDER BY 1"
)


def state(dsn: str) -> list[str]:
    """Everything that a probe could change, down to the transactions that touched a row."""
    with psycopg.connect(dsn) as connection:
        found = [repr(connection.execute(query.encode()).fetchall()) for query in STATE]
        for (table,) in connection.execute(TABLES).fetchall():
            rows = connection.execute(
                f"SELECT xmin::text, xmax::text, t::text FROM {table} AS t ORDER BY ctid".encode()
            )
            found.append(f"{table} {rows.fetchall()!r}")
    return found


def probers(dsn: str, *, writing: bool = False) -> int:
    """Count the probe's sessions, or those that have written; where none is listed its locks are gone as well."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'smos rls'"
            " AND (backend_xid IS NOT NULL OR NOT %s)",
            (writing,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def majors() -> list[int]:
    return sorted(
        {item.version_num // 10_000 for item in find_installations() if item.version_num >= 150_000}
    )


@pytest.fixture(scope="module", params=majors(), ids=lambda item: f"PostgreSQL {item}")
def stack(request: pytest.FixtureRequest) -> Iterator[RlsStack]:
    chosen = next(item for item in find_installations() if item.version_num // 10_000 == request.param)
    with Owner("test-rls-unchanged") as owner:
        yield RlsStack(owner, chosen)


@pytest.mark.parametrize("mode", Mode)
def test_no_mode_changes_rows_definitions_counters_or_roles(stack: RlsStack, mode: Mode) -> None:
    with workspace(stack) as work:
        work.open("objects")  # triggers of it draw from a counter
        work.sql(
            "INSERT INTO crm.organizations (slug) VALUES ('one'), ('two');"
            "CREATE TABLE crm.drafts (org uuid NOT NULL, n bigserial, body text NOT NULL);"
            "ALTER TABLE crm.drafts ENABLE ROW LEVEL SECURITY; ALTER TABLE crm.drafts FORCE ROW LEVEL SECURITY;"
            "CREATE POLICY org ON crm.drafts USING (org = (SELECT crm.org()));"
            "GRANT SELECT, INSERT, UPDATE, DELETE ON crm.drafts TO ob_api"
        )
        before = state(work.dsn)
        judgement = prove_isolation(work.dsn, ProbeOptions(mode=mode))
        assert state(work.dsn) == before
    assert judgement.verdict is (Verdict.PASS if mode is Mode.CLONE else Verdict.NOT_PROVEN)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda item: item.name
)
def test_a_probe_that_is_stopped_at_work_leaves_nothing(stack: RlsStack, number: signal.Signals) -> None:
    with workspace(stack) as work:
        work.open("single_tenant")
        work.sql("INSERT INTO app.tenants (name) VALUES ('one tenant'), ('another')")
        before = state(work.dsn)
        with psycopg.connect(work.dsn) as holder:
            holder.execute("LOCK TABLE app.files IN SHARE MODE")  # the probe has planted rows, and waits here
            with subprocess.Popen(
                [sys.executable, "-m", "smos.cli.app", "rls", work.dsn, "--probe-writes", "--no-pgrls", "--lock-timeout", "60", "--statement-timeout", "120"],
                cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            ) as process:  # fmt: skip
                wait_for(
                    lambda: probers(work.dsn, writing=True) > 0, deadline_s=120, what="the probe has written"
                )
                process.send_signal(number)
                assert process.wait(120) != 0
            # Also a statement that waits ends with its client.
            wait_for(lambda: probers(work.dsn) == 0, deadline_s=120, what="the server has noticed")
        assert state(work.dsn) == before


def test_a_role_with_few_rights_proves_nothing_and_breaks_nothing(stack: RlsStack) -> None:
    with workspace(stack) as work:
        work.open("single_tenant")
        work.sql("CREATE ROLE nobody_much LOGIN", undo="DROP ROLE nobody_much")
        dsn = stack.server.endpoint.conninfo(work.database, user="nobody_much")
        for mode in Mode:
            judgement = prove_isolation(dsn, ProbeOptions(mode=mode))
            assert judgement.verdict is Verdict.NOT_PROVEN
            assert {"cannot-become", "not-administrator"} & {item.code for item in judgement.findings}


def test_names_in_another_encoding_are_read(tmp_path: Path) -> None:
    with Owner("test-rls-encoding") as owner:
        server = EmbeddedPostgres(owner, name="latin", memory=True)
        server.start()
        with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
            connection.execute("CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
            connection.execute("CREATE ROLE vendedor LOGIN")
        with psycopg.connect(server.endpoint.conninfo("shop"), autocommit=True) as connection:
            connection.execute(
                'CREATE TABLE "año" (dueño int NOT NULL, n int, PRIMARY KEY (dueño, n));'
                'ALTER TABLE "año" ENABLE ROW LEVEL SECURITY; ALTER TABLE "año" FORCE ROW LEVEL SECURITY;'
                "CREATE POLICY dueño ON \"año\" USING (dueño = NULLIF(current_setting('a.dueno', true), '')::int);"
                'GRANT SELECT, INSERT, UPDATE, DELETE ON "año" TO vendedor'
            )
        with psycopg.connect(server.endpoint.conninfo("bytes"), autocommit=True) as connection:
            connection.execute(b"SET client_encoding = SQL_ASCII")
            connection.execute(b'CREATE TABLE "a\xf1o" (id int)')
        for mode in (Mode.CLONE, Mode.IN_PLACE):
            assert (
                prove_isolation(server.endpoint.conninfo("shop"), ProbeOptions(mode=mode)).verdict
                is Verdict.PASS
            )
        (finding,) = prove_isolation(server.endpoint.conninfo("bytes")).findings
        assert (finding.verdict, finding.code) == (Verdict.NOT_PROVEN, "database-not-probed")
