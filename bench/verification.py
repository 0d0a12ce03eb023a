"""Verification of one restored database: every row's content, every index, every constraint; against pg_amcheck.

pg_amcheck looks at pages and indexes only; what it is compared with reads every row's content as well.
"""

import os
import statistics
import time
from collections.abc import Callable

import psycopg

from bench.data import DATABASE, SOURCE_SETTINGS, fill
from bench.measure import Table, processor_seconds
from smos.drill.sandbox import LOADING_SETTINGS
from smos.failover.ground import postmaster_of
from smos.postgres.content import DatabaseContent
from smos.postgres.fingerprint import read_content
from smos.postgres.hashing import HashMode
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
    processor: dict[str, list[float]] = {}
    postmaster = postmaster_of(server)

    def add(what: str, work: Callable[[], object], remark: str = "") -> None:
        used, started = processor_seconds(postmaster), time.monotonic()
        work()
        seconds = time.monotonic() - started
        processor.setdefault(what, []).append(processor_seconds(postmaster) - used)
        remark = remark.replace("SPEED", f"{size / seconds / 1e6:.0f} MB/s")
        middle = f"server: {statistics.median(processor[what]):.1f} s of processor"
        table.add(what, seconds, f"{remark}; {middle}" if remark else middle)

    def everything() -> None:
        _, problems = read_and_check(lambda: psycopg.connect(target), target, jobs=jobs)
        if problems:
            raise RuntimeError(f"the data are not sound: {problems}")

    def content(mode: HashMode) -> DatabaseContent:
        return read_content(lambda: psycopg.connect(target), jobs=jobs, mode=mode)

    command = [str(tool), f"--jobs={jobs}", "--heapallindexed", target]
    for number in range(runs):
        print(f"verification, run {number + 1}", flush=True)
        add(
            PEER,
            lambda: owner.run(command, timeout_s=3600, env=env),
            "pages and indexes; no content, no references",
        )
        add("ours: content (fast), indexes, pages, references", everything)
        add("ours: indexes, pages, references alone", lambda: check_integrity(target, jobs=jobs))
        add("ours: content alone, fast (2 x 64 bit)", lambda: content(HashMode.FAST), "SPEED")
        if number == 0 or size < SLOW_BYTES:
            add("ours: content alone, sha256", lambda: content(HashMode.SHA256), "SPEED")
    server.kill()
    return [table]
