"""Logical restores of one database, from cold files to the first answered query and to durable on disk."""

import gzip
import os
import shlex
import shutil
import subprocess
import time
from itertools import count
from pathlib import Path

import psycopg

from bench.data import DATABASE, SOURCE_SETTINGS, fill
from bench.measure import Table, chill
from smos.backup.catalog import read_catalog
from smos.backup.create import BackupSource, create_backup
from smos.clock import SystemClock
from smos.drill.plan import choose_set, make_plan
from smos.drill.restore import restore_set
from smos.drill.sandbox import LOADING_SETTINGS, SANDBOX_ADMIN, make_durable
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.target import Limits

DEFAULTS = {"shared_buffers": "128MB", "max_wal_size": "1GB", "autovacuum_max_workers": "3", "jit": "on"}
"""PostgreSQL's own, where the harness' profile for small servers differs."""
JOBS = os.cpu_count() or 2
_numbers = count()


def measure(owner: Owner, gigabytes: float, runs: int, scratch: Path) -> list[Table]:
    """Dump once, restore `runs` times in every way, one way after the other within a run."""
    source = EmbeddedPostgres(owner, name="logical-source", settings=SOURCE_SETTINGS)
    source.start()
    size = fill(owner, source, gigabytes)
    dumps = _dump(source, scratch)
    source.kill()
    shutil.rmtree(source.data_dir)
    table = Table(
        f"Logical restore of {size / 1e9:.2f} GB, cold backup files, durable at the end", "gunzip | psql"
    )
    over = Table(
        f"The harness against the same tools, settings and format without it, {size / 1e9:.2f} GB",
        "bare tools, same settings",
    )
    for number in range(runs):
        print(f"logical restore, run {number + 1}", flush=True)
        for what, settings in (
            ("gunzip | psql", DEFAULTS),
            ("pg_restore -j2, custom format, gzip", DEFAULTS),
            ("pg_restore -j2, directory format, zstd by us", DEFAULTS),
            ("bare tools, same settings", LOADING_SETTINGS),
        ):
            server = _server(owner, settings)
            chill(dumps.values())
            started = time.monotonic()
            _run(server, dumps, what, scratch)
            answered = _answer(server, started)
            if settings is LOADING_SETTINGS:
                make_durable(server)
                over.add(what, time.monotonic() - started, f"answers after {answered:.2f} s")
            else:
                table.add(what, time.monotonic() - started, f"answers after {answered:.2f} s")
            _drop(server)
        server = _server(owner, LOADING_SETTINGS, superuser=SANDBOX_ADMIN)
        catalog = read_catalog(dumps["ours"], timezone="UTC")
        plan = make_plan(catalog, choose_set(catalog, None))
        chill([dumps["ours"]])
        started = time.monotonic()
        facts = restore_set(
            server, plan.dumps, plan.globals_path, limits=Limits(), jobs=JOBS,
            scratch=owner.directory("scratch"), progress=lambda _text: None,
        )  # fmt: skip
        answered = _answer(server, started)
        make_durable(server)
        seconds = time.monotonic() - started
        if not all(item.restored for item in facts.databases):
            raise RuntimeError(f"not restored: {facts}")
        table.add("ours, untrusted, as an unprivileged role", seconds, f"answers after {answered:.2f} s")
        over.add("ours, untrusted, as an unprivileged role", seconds, f"answers after {answered:.2f} s")
        _drop(server)
    return [table, over]


def _dump(source: EmbeddedPostgres, scratch: Path) -> dict[str, Path]:
    tool, target = source.installation.tool, source.endpoint.conninfo(DATABASE)
    plain = scratch / "dump.sql.gz"
    dump = subprocess.Popen([tool("pg_dump"), "--dbname", target], stdout=subprocess.PIPE)
    if dump.stdout is None:
        raise RuntimeError("no output")
    with gzip.open(plain, "wb", compresslevel=1) as file:
        shutil.copyfileobj(dump.stdout, file, 1 << 20)
    if dump.wait():
        raise RuntimeError("pg_dump failed")
    custom = scratch / "dump.custom"
    subprocess.run(
        [tool("pg_dump"), "-Fc", "--compress=gzip:1", f"--file={custom}", "--dbname", target], check=True
    )
    ours = scratch / "ours"
    ours.mkdir()
    create_backup(
        BackupSource(
            name="bench", postgres=source.endpoint, installation=source.installation, databases=(DATABASE,)
        ),
        ours,
        clock=SystemClock(),
    )
    folder = next(ours.glob("*/databases/*"))
    return {"plain": plain, "custom": custom, "ours": ours, "directory": folder}


def _server(owner: Owner, settings: object, superuser: str = "postgres") -> EmbeddedPostgres:
    server = EmbeddedPostgres(
        owner,
        name=f"restore-{next(_numbers)}",
        settings=dict(settings),
        superuser=superuser,
        no_network=True,  # type: ignore[call-overload]
    )
    server.start()
    return server


def _run(server: EmbeddedPostgres, dumps: dict[str, Path], what: str, scratch: Path) -> None:
    programs = {name: str(server.installation.tool(name)) for name in ("psql", "pg_restore", "createdb")}
    env = {**os.environ, **server.endpoint.env()}
    subprocess.run([programs["createdb"], DATABASE], env=env, check=True)
    target = f"--dbname={DATABASE}"
    if what == "gunzip | psql":
        words = f"gunzip -c {shlex.quote(str(dumps['plain']))} | {programs['psql']} -qX {target} -o /dev/null"
        subprocess.run(["/bin/sh", "-c", words], env=env, check=True)
        return
    if "custom" in what:
        subprocess.run([programs["pg_restore"], f"-j{JOBS}", target, dumps["custom"]], env=env, check=True)
        return
    # The wheel's pg_restore reads no zstd: unpacked first, as anybody would have to.
    place = scratch / f"unpacked-{next(_numbers)}"
    shutil.copytree(dumps["directory"], place)
    files = sorted(place.glob("*.zst"))
    waiting = [subprocess.Popen(["zstd", "-dq", "--rm", file]) for file in files]
    for process in waiting:
        process.wait()
    subprocess.run([programs["pg_restore"], f"-j{JOBS}", target, place], env=env, check=True)
    shutil.rmtree(place)


def _answer(server: EmbeddedPostgres, started: float) -> float:
    with psycopg.connect(server.endpoint.conninfo(DATABASE)) as connection:
        connection.execute("SELECT count(*) FROM pgbench_branches")
    return time.monotonic() - started


def _drop(server: EmbeddedPostgres) -> None:
    server.kill()
    shutil.rmtree(server.data_dir)
