"""What becomes slow or large when there is much of it: databases, tables, results. Each is measured once."""

import gzip
import os
import resource
import shutil
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import psycopg

from bench.measure import Table
from bench.rls import ROLES, schema
from smos.backup.catalog import read_catalog
from smos.backup.create import BackupSource, create_backup
from smos.checks import registry
from smos.checks.dr.backups import judge_existence
from smos.checks.dr.retention import judge_retention
from smos.clock import SystemClock
from smos.drill.plan import choose_set, make_plan
from smos.drill.restore import restore_set
from smos.drill.sandbox import LOADING_SETTINGS, SANDBOX_ADMIN
from smos.evidence.accounting import reconcile
from smos.evidence.allure import clear_results, own_files
from smos.evidence.results import Result, append_result, read_results
from smos.postgres.verify import read_and_check
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.rls.judge import judge_isolation
from smos.rls.probe import ProbeOptions, probe
from smos.target import Backups, Limits, Schedule, Target
from smos.verdict import Verdict

DATABASES = 100
BACKUPS = (2500, 5000, 10000)
TABLES = (500, 1000, 2000)
TENANTS = (10, 100, 1000)
TENANT_TABLES = 10
RESULTS = (1250, 2500, 5000)
JOBS = os.cpu_count() or 2
_TABLE = (
    "CREATE TABLE t{n} (id int PRIMARY KEY, name text NOT NULL, at timestamptz DEFAULT now());"
    "INSERT INTO t{n} SELECT i, 'n' || i FROM generate_series(1, 20) AS i;"
)


def measure(owner: Owner) -> list[Table]:
    """Measure everything; a ratio of 4 between 1x and 4x as much is linear."""
    return [many_backups(), many_tables(owner), many_tenants(owner), many_databases(owner), many_results()]


def many_backups() -> Table:
    """Read a directory of flat dumps, one an hour, and judge what DR-01 and DR-08 ask of it."""
    table = Table("A directory of backups: listed, judged (DR-01, DR-08)", f"{BACKUPS[0]} backups")
    now = SystemClock().now()
    head = gzip.compress(b"--\n-- PostgreSQL database dump\n--\n" + b"x" * 4096)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        target = Target(
            name="many",
            backups=Backups(
                directory=folder,
                schedule=Schedule(
                    period_hours=1, slack_hours=1, retention_days=BACKUPS[-1] // 24, timezone="UTC"
                ),
            ),
        )
        there = 0
        for number in BACKUPS:
            for hour in range(there, number):
                (folder / f"postgres-{now - timedelta(hours=hour):%Y%m%d_%H%M%S}.sql.gz").write_bytes(head)
            there = number
            started = time.monotonic()
            catalog = read_catalog(folder, timezone="UTC")
            judge_existence(target, catalog, now)
            judge_retention(target, catalog, now, None)
            table.add(f"{number} backups", time.monotonic() - started, f"{len(catalog.sets)} sets")
    return table


def many_tables(owner: Owner) -> Table:
    """Read and check one database of many small tables."""
    table = Table("Many tables: content and soundness of one database", f"{TABLES[0]} tables")
    server = EmbeddedPostgres(
        owner,
        name="tables",
        settings={"fsync": "off", "max_locks_per_transaction": "256", "autovacuum": "off"},
    )
    server.start()
    for number in TABLES:
        name = f"tables_{number}"
        with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        target = server.endpoint.conninfo(name)
        with psycopg.connect(target, autocommit=True) as connection:
            for first in range(0, number, 100):
                text = "".join(_TABLE.format(n=n) for n in range(first, first + 100))
                connection.execute(text.encode())
        started = time.monotonic()
        content, problems = read_and_check(lambda target=target: psycopg.connect(target), target, jobs=JOBS)  # type: ignore[misc]
        table.add(f"{number} tables", time.monotonic() - started, f"{len(content.tables)} read")
        if problems or len(content.tables) != number:
            raise RuntimeError(f"{len(content.tables)} tables, {problems}")
    server.kill()
    return table


def many_tenants(owner: Owner) -> Table:
    """Probe row-level security where many tenants have rows in every table."""
    table = Table(
        "Tenants: isolation probed on 10 tables with 20 rows of each, 4 roles", f"{TENANTS[0]} tenants"
    )
    server = EmbeddedPostgres(owner, name="tenants", settings={"fsync": "off", "autovacuum": "off"})
    server.start()
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
        for role in ROLES:
            connection.execute(f"CREATE ROLE {role} LOGIN".encode())
    for number in TENANTS:
        name = f"tenants_{number}"
        with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        target = server.endpoint.conninfo(name)
        with psycopg.connect(target, autocommit=True) as connection:
            connection.execute(schema(TENANT_TABLES + 1).encode())
            connection.execute(
                "INSERT INTO tenants SELECT md5(n::text)::uuid, 'tenant ' || n FROM generate_series(1, %s) AS n",
                (number,),
            )
            for n in range(1, TENANT_TABLES + 1):
                text = (
                    f"INSERT INTO t{n} (tenant_id, name, amount) SELECT id, 'row ' || n, n FROM tenants,"  # noqa: S608  (our own names)
                    " generate_series(1, 20) AS n"
                )
                connection.execute(text.encode())
        started = time.monotonic()
        judgement = judge_isolation(probe(target, ProbeOptions()))
        table.add(f"{number} tenants", time.monotonic() - started, f"{judgement.verdict}")
    server.kill()
    return table


def many_databases(owner: Owner) -> Table:
    """Restore a set of many databases; the memory of this process is what is looked at."""
    table = Table(f"{DATABASES} databases, backed up and restored on {JOBS} processors", "restored")
    source = EmbeddedPostgres(owner, name="many", settings={"fsync": "off", "max_connections": "50"})
    source.start()
    names = tuple(f"db_{number:03d}" for number in range(DATABASES))
    with psycopg.connect(source.endpoint.conninfo("template1"), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE);"
            "INSERT INTO t (name) SELECT md5(i::text) FROM generate_series(1, 2000) AS i"
        )
    with psycopg.connect(source.endpoint.conninfo(), autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}".encode())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        started = time.monotonic()
        create_backup(
            BackupSource(
                name="many", postgres=source.endpoint, installation=source.installation, databases=names
            ),
            folder,
            clock=SystemClock(),
        )
        table.add("backed up", time.monotonic() - started)
        source.kill()
        server = EmbeddedPostgres(
            owner, name="many-sandbox", settings=LOADING_SETTINGS, superuser=SANDBOX_ADMIN, no_network=True
        )
        server.start()
        catalog = read_catalog(folder, timezone="UTC")
        plan = make_plan(catalog, choose_set(catalog, None))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        facts = restore_set(
            server, plan.dumps, plan.globals_path, limits=Limits(), jobs=JOBS,
            scratch=owner.directory("many-scratch"), progress=lambda _text: None,
        )  # fmt: skip
        seconds = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good = sum(item.restored for item in facts.databases)
    if good != DATABASES:
        raise RuntimeError(f"{good} of {DATABASES} were restored")
    table.add(
        "restored",
        seconds,
        f"peak memory of the harness {after >> 10} MiB, {(after - before) >> 10} of them new",
    )
    server.kill()
    shutil.rmtree(server.data_dir)
    return table


def many_results() -> Table:
    """Write, read back and judge the results of a large run, and list and clear what Allure left of it."""
    table = Table(
        "Results of one run: written, read back, judged; Allure's files listed and cleared",
        f"{RESULTS[0]} tests",
    )
    ids = [check.id for check in registry.CHECKS]
    for number in RESULTS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            collected = {f"suites/test_{n % 40}.py::test_{n}": ids[n % len(ids)] for n in range(number)}
            for n in range(number):
                (folder / f"{n:08x}-0000-4000-8000-000000000000-result.json").write_text("{}")
            started, used = time.monotonic(), time.process_time()
            for node, check in collected.items():
                append_result(
                    folder,
                    "main",
                    Result(
                        check=check,
                        nodeid=node,
                        verdict=Verdict.PASS,
                        findings=(),
                        facts={"n": 1},
                        seconds=0.1,
                    ),
                )
            outcome = reconcile(
                collected=collected, results=read_results(folder), required=ids, waivers=(),
                today=SystemClock().now().date(),
            )  # fmt: skip
            listed = len(own_files(folder))
            clear_results(folder)
            used = time.process_time() - used
            table.add(
                f"{number} tests",
                time.monotonic() - started,
                f"{listed} files, {len(outcome.checks)} checks; processor {used:.2f} s, the rest is one fsync a test",
            )
    return table
