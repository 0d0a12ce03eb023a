"""Verification of one restored database: every row's content, every index, every constraint; against pg_amcheck.

pg_amcheck looks at pages and indexes only; what it is compared with reads every row's content as well.
"""

import os
import time

import psycopg

from bench.data import DATABASE, SOURCE_SETTINGS, fill
from bench.measure import Table
from smos.drill.sandbox import LOADING_SETTINGS
from smos.postgres.fingerprint import read_content
from smos.postgres.integrity import check_integrity
from smos.postgres.verify import read_and_check
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner

PEER = "pg_amcheck -j2 --heapallindexed"
SLOW_BYTES = 1 << 30
"""From here on the cryptographic mode is measured once."""


def measure(owner: Owner, gigabytes: float, runs: int) -> list[Table]:
    """Measure on one server, whose data lie in the page cache: as right after a restore."""
    jobs = os.cpu_count() or 2
    settings = {
        **SOURCE_SETTINGS,
        **{k: LOADING_SETTINGS[k] for k in ("shared_buffers", "maintenance_work_mem")},
    }
    server = EmbeddedPostgres(owner, name="verify", settings=settings)
    server.start()
    size = fill(owner, server, gigabytes)
    target = server.endpoint.conninfo(DATABASE)
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION amcheck")
    table = Table(f"Verification of a restored database of {size / 1e9:.2f} GB, just restored", PEER)
    tool = server.installation.tool("pg_amcheck")
    env = {"PGOPTIONS": "-c client_min_messages=warning"}
    for number in range(runs):
        print(f"verification, run {number + 1}", flush=True)
        started = time.monotonic()
        owner.run([tool, f"--jobs={jobs}", "--heapallindexed", target], timeout_s=3600, env=env)
        table.add(PEER, time.monotonic() - started, "pages and indexes; no content, no references")
        started = time.monotonic()
        _, problems = read_and_check(lambda: psycopg.connect(target), target, jobs=jobs)
        table.add("ours: content (fast), indexes, pages, references", time.monotonic() - started)
        if problems:
            raise RuntimeError(f"the data are not sound: {problems}")
        started = time.monotonic()
        check_integrity(target, jobs=jobs)
        table.add("ours: indexes, pages, references alone", time.monotonic() - started)
        started = time.monotonic()
        read_content(lambda: psycopg.connect(target), jobs=jobs)
        seconds = time.monotonic() - started
        table.add("ours: content alone, fast (2 x 64 bit)", seconds, f"{size / seconds / 1e6:.0f} MB/s")
        if number == 0 or size < SLOW_BYTES:
            started = time.monotonic()
            read_content(lambda: psycopg.connect(target), jobs=jobs, mode="sha256")
            seconds = time.monotonic() - started
            table.add("ours: content alone, sha256", seconds, f"{size / seconds / 1e6:.0f} MB/s")
    server.kill()
    return [table]
