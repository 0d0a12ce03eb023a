"""Restore untrusted PostgreSQL dumps into a sandbox: completely where it can be done safely, and honest where not.

`restore_set` is the entrance. What is recorded is in restore_facts, what is allowed in sqlrules and globals, how
each format is read in textdump and archive.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg

from smos.backup.model import ArtifactKind
from smos.backup.streams import StreamFault, detect_compression
from smos.drill.administrator import Administrator
from smos.drill.archive import ArchiveRestore
from smos.drill.context import Context
from smos.drill.feed import can_restrict
from smos.drill.globals import SUPERUSER, read_globals
from smos.drill.job import Job
from smos.drill.restore_facts import DatabaseRestore, DumpSource, RestoreError, RestoreFacts, WithheldRole
from smos.drill.sandbox import (
    LOADING_SETTINGS,
    SANDBOX_ADMIN,
    SandboxFacts,
    assert_sandbox,
    inspect_sandbox,
    loading_settings,
    make_durable,
)
from smos.drill.textdump import LimitError, Meter, TextRestore, read_text
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.target import Limits
from smos.verdict import Problem

__all__ = [
    "LOADING_SETTINGS",
    "SANDBOX_ADMIN",
    "DatabaseRestore",
    "DumpSource",
    "RestoreError",
    "RestoreFacts",
    "SandboxFacts",
    "WithheldRole",
    "assert_sandbox",
    "inspect_sandbox",
    "loading_settings",
    "make_durable",
    "restore_set",
]

TEXT = frozenset({ArtifactKind.PG_DUMP_PLAIN, ArtifactKind.PG_DUMPALL})
ARCHIVES = frozenset({ArtifactKind.PG_DUMP_CUSTOM, ArtifactKind.PG_DUMP_TAR, ArtifactKind.PG_DUMP_DIRECTORY})
LOOK_S = 0.5
"""Seconds between two looks of the watchdog."""
SPARE = 512 * 2**20
"""Bytes that must stay free on the sandbox's disk."""


class Watchdog:
    """A thread that ends jobs which take too long, grow beyond the limit, or fill the disk."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs: list[Job] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def add(self, job: Job) -> None:
        """Watch a job from now on."""
        with self._lock:
            self._jobs.append(job)

    def remove(self, job: Job) -> None:
        """Watch it no more."""
        with self._lock:
            if job in self._jobs:
                self._jobs.remove(job)

    def end(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def abort(self) -> None:
        """End all jobs at once: somebody interrupted the drill."""
        with self._lock:
            jobs = list(self._jobs)
        for job in jobs:
            self._end(job, "interrupted")

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            with self._lock:
                jobs = list(self._jobs)
            full = self._disk_full()
            now = time.monotonic()
            for job in jobs:
                if now > job.deadline:
                    self._end(job, "restore-timeout")
                elif full or (job.opened and self._size(job) > self._context.limits.bytes):
                    self._end(job, "sandbox-disk-full")

    def _end(self, job: Job, reason: str) -> None:
        job.expire(reason)
        if job.loading.role:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
            self._ask(query, job.loading.role)
        self.remove(job)

    def _disk_full(self) -> bool:
        state = os.statvfs(self._context.server.data_dir)
        return state.f_bavail * state.f_frsize < SPARE

    def _size(self, job: Job) -> int:
        rows = self._ask("SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s", job.name)
        return int(str(rows[0][0])) if rows else 0

    def _ask(self, query: str, value: str) -> list[tuple[object, ...]]:
        try:
            return self._context.administrator.rows(query, value)
        except psycopg.Error:
            return []  # the server is gone: the jobs notice and say so


def restore_set(
    sandbox: EmbeddedPostgres,
    sources: Sequence[DumpSource],
    globals_: Path | None,
    *,
    limits: Limits,
    jobs: int,
    scratch: Path,
    progress: Callable[[str], None],
    source_identifier: str | None = None,
    superuser: str = SUPERUSER,
) -> RestoreFacts:
    """Restore dumps into an empty sandbox and record how it went; one database that fails stops no other.

    sandbox: running, made for this (superuser SANDBOX_ADMIN, `no_network=True`, LOADING_SETTINGS).
    globals_: `pg_dumpall --globals-only`, compressed or not. jobs: databases (and sessions of one) at a time.
    scratch: a directory of ours on the sandbox's disk that the service user may enter. source_identifier: the
    source's system identifier, where it is known. superuser: the role that initdb made there.

    Nothing is restored into a sandbox that is not empty, is the source, archives, or listens: the facts then say
    so. Raises psycopg.Error when the sandbox does not answer at all.
    """
    started = time.monotonic()
    facts = inspect_sandbox(sandbox, source_identifier=source_identifier)
    problems = list(facts.problems)
    if not can_restrict(sandbox.installation.version_num):
        problems.append(
            Problem("psql-unrestricted", f"psql {sandbox.installation.version} has no \\restrict")
        )
    if problems:
        return RestoreFacts(
            databases=(), roles_created=(), roles_withheld=(), sandbox=facts, problems=tuple(problems),
            seconds=time.monotonic() - started, harness_roles=(),
        )  # fmt: skip
    administrator = Administrator(sandbox, facts, limits)
    context = Context(sandbox, administrator, facts, limits, jobs, scratch, progress, superuser)
    try:
        administrator.prepare()
        if globals_ is not None:
            _globals(context, globals_, problems)
        watchdog = Watchdog(context)
        try:
            databases = _restore(context, sources, watchdog, problems)
        finally:
            watchdog.end()
        remaining = administrator.finish()
        facts = replace(facts, superusers=administrator.superusers())
    finally:
        administrator.close()
    return RestoreFacts(
        databases=databases,
        roles_created=tuple(administrator.created),
        roles_withheld=tuple(administrator.withheld.values()),
        sandbox=facts,
        problems=(*problems, *administrator.problems),
        seconds=time.monotonic() - started,
        harness_roles=tuple(dict.fromkeys((facts.administrator, *remaining))),
    )


def _globals(context: Context, path: Path, problems: list[Problem]) -> None:
    try:
        with path.open("rb") as file:
            compression = detect_compression(file.read(64))
        found = read_globals(read_text(path, compression, context.limits, Meter()), context.superuser)
    except (StreamFault, LimitError, OSError) as error:
        problems.append(Problem("globals-unreadable", f"{path.name}: {type(error).__name__}"))
        return
    if not found.complete:
        problems.append(Problem("globals-incomplete", f"{path.name}: the trailer is missing"))
    context.administrator.apply(found)


def _restore(
    context: Context, sources: Sequence[DumpSource], watchdog: Watchdog, problems: list[Problem]
) -> tuple[DatabaseRestore, ...]:
    """Restore the dumps, cluster dumps first (they bring roles), then the largest."""

    def one(source: DumpSource) -> tuple[DatabaseRestore, ...]:
        if source.kind not in TEXT | ARCHIVES:
            problems.append(
                Problem("dump-kind-unknown", f"{source.path.name}: {source.kind} is no dump of a database")
            )
            return ()
        work = (TextRestore if source.kind in TEXT else ArchiveRestore)(context, source, watchdog)
        restored = work.run()
        problems.extend(work.problems)
        return restored

    clusters = [source for source in sources if source.kind is ArtifactKind.PG_DUMPALL]
    others = sorted(
        (source for source in sources if source not in clusters), key=lambda source: -_weight(source.path)
    )
    with ThreadPoolExecutor(max(1, context.jobs)) as pool:
        try:
            found = [one(source) for source in clusters]
            found += list(pool.map(one, others))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            watchdog.abort()  # or leaving the block would wait for all of them
            raise
    return tuple(sorted((item for part in found for item in part), key=lambda item: item.name))


def _weight(path: Path) -> int:
    try:
        if path.is_dir():
            return sum(item.stat().st_size for item in path.iterdir())
        return path.stat().st_size
    except OSError:
        return 0  # said again, as a fact, when it is opened
