"""The sandbox: shown to be empty, isolated and not the source before anything is restored into it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from smos.durable import synchronise
from smos.errors import ProvisionError, UnsafeInputError
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.verdict import Problem

SANDBOX_ADMIN = "smos_sandbox_admin"
"""The sandbox's own superuser. Not `postgres`: that name belongs to the backup, whose objects it often owns."""
OWN_PREFIX = "smos_sandbox_"
"""Roles of the sandbox itself; no role of a backup may have such a name."""
SYSTEM_DATABASES = ("postgres", "template0", "template1")
ADMIN_OPTIONS = (
    "-c search_path=pg_catalog,pg_temp -c client_min_messages=error -c log_min_error_statement=panic"
)
"""Given with the connection, so that settings which came with a backup can't change what the administrator does."""
MIB = 2**20
LEAST_BUFFERS = 32
"""Mebibytes."""
LARGEST_GROWTH = 32
"""How many times larger than its backup a database may well be: zstd packs text, and no dump holds an index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxFacts:
    """What the sandbox is, and what was in it before. superusers: names after the restore (empty before).

    isolation: "network-namespace" (no route out exists) or "configuration" (nothing listens, and extensions that
    could connect are withheld). reader: a role that may read everything and change nothing; content of a backup
    is read with it, never as a superuser.
    """

    system_identifier: str
    version_num: int
    isolation: str
    administrator: str
    reader: str
    archive_mode: str
    listen_addresses: str
    subscriptions: int
    databases: tuple[str, ...]
    roles: tuple[str, ...]
    objects: int
    superusers: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


_OBJECTS = """
SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384) + (SELECT count(*) FROM pg_proc WHERE oid >= 16384)
     + (SELECT count(*) FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_(toast_)?temp_')
     + (SELECT count(*) FROM pg_type WHERE oid >= 16384) + (SELECT count(*) FROM pg_extension WHERE oid >= 16384)
"""


def admin_connection(server: EmbeddedPostgres, database: str = "postgres") -> "psycopg.Connection[Any]":
    """Connect as the sandbox's administrator, in autocommit, deaf to settings that came with a backup."""
    return psycopg.connect(
        server.endpoint.conninfo(database, options=ADMIN_OPTIONS, application_name="smos administrator"),
        autocommit=True,
        client_encoding="UTF8",
    )


def inspect_sandbox(server: EmbeddedPostgres, *, source_identifier: str | None = None) -> SandboxFacts:
    """Look at a sandbox before a restore; `problems` holds every reason not to use it.

    source_identifier: the source's system identifier, where it is known.
    Raises psycopg.Error when it does not answer.
    """
    with admin_connection(server) as connection:
        identifier = _text(connection, "SELECT system_identifier::text FROM pg_control_system()")
        archive_mode = _text(connection, "SELECT current_setting('archive_mode')")
        listen = _text(connection, "SELECT current_setting('listen_addresses')")
        subscriptions = int(_text(connection, "SELECT count(*)::text FROM pg_subscription"))
        databases = _names(connection, "SELECT datname FROM pg_database ORDER BY 1")
        roles = _names(connection, r"SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1")
        objects = int(_text(connection, _OBJECTS))
    with admin_connection(server, "template1") as connection:
        objects += int(_text(connection, _OBJECTS))
    administrator = server.endpoint.superuser
    extra = tuple(name for name in databases if name not in SYSTEM_DATABASES)
    strangers = tuple(name for name in roles if name != administrator)
    problems: list[Problem] = []
    if source_identifier is not None and identifier == source_identifier:
        problems.append(Problem("sandbox-is-source", "the sandbox has the system identifier of the source"))
    if extra or objects or strangers or subscriptions:
        seen = f"{len(extra)} databases, {objects} objects, {len(strangers)} roles, {subscriptions} subscriptions"
        problems.append(Problem("sandbox-not-empty", f"before the restore the sandbox held {seen}"))
    if archive_mode != "off":
        problems.append(Problem("sandbox-archives", f"archive_mode is {archive_mode}"))
    if listen:
        problems.append(Problem("sandbox-listens", "the sandbox listens on the network"))
    if not administrator.startswith(OWN_PREFIX):
        problems.append(Problem("sandbox-admin-name", f"the sandbox's superuser is called {administrator}"))
    return SandboxFacts(
        system_identifier=identifier,
        version_num=server.installation.version_num,
        isolation=server.isolation,
        administrator=administrator,
        reader=f"{OWN_PREFIX}reader",
        archive_mode=archive_mode,
        listen_addresses=listen,
        subscriptions=subscriptions,
        databases=extra,
        roles=strangers,
        objects=objects,
        problems=tuple(problems),
    )


def assert_sandbox(facts: SandboxFacts) -> None:
    """Refuse a server that is no safe, empty sandbox. Raises UnsafeInputError."""
    if not facts.problems:
        return
    reasons = "; ".join(problem.detail for problem in facts.problems)
    source = any(problem.code == "sandbox-is-source" for problem in facts.problems)
    raise UnsafeInputError(
        f"Refused on identity: {reasons}" if source else f"This server is no safe sandbox: {reasons}",
        remedy=f"restore only into a new server of the harness' own (superuser {SANDBOX_ADMIN}, no network)",
    )


def loading_settings(memory: int, cores: int, stored: int | None = None) -> dict[str, str]:
    """Return PostgreSQL settings for loading a sandbox as fast as it can; nothing in it is durable meanwhile.

    memory: bytes of the machine that may be used, about. cores: processors. stored: bytes of the backup, where they
    are known: buffers that a small one can't fill only take time to set up. See `make_durable`.
    """
    maintenance = max(64, min(1024, memory // MIB // 16))
    buffers = min(1024, memory // MIB // 32)
    if stored is not None:
        buffers = min(buffers, stored * LARGEST_GROWTH // MIB)
    return {
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_replication_slots": "0",
        "max_logical_replication_workers": "0",
        "max_wal_size": "8GB" if memory > 8 * 2**30 else "2GB",
        "checkpoint_timeout": "30min",
        "autovacuum": "off",
        "shared_buffers": f"{max(LEAST_BUFFERS, buffers)}MB",
        "maintenance_work_mem": f"{maintenance}MB",
        "max_parallel_maintenance_workers": str(max(0, min(4, cores - 1))),
        "max_connections": "100",
    }


def settings_for(stored: int | None) -> Mapping[str, str]:
    """Return `loading_settings` for this machine and a backup of `stored` bytes (None: of any size)."""
    return loading_settings(_machine_memory(), os.cpu_count() or 1, stored)


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


LOADING_SETTINGS: Mapping[str, str] = settings_for(None)
"""For a backup of any size."""
DURABLE_SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "autovacuum": "on",
}


def make_durable(server: EmbeddedPostgres) -> float:
    """Put a loaded sandbox on disk and restart it as a production server would run; return the seconds it took.

    Raises ProvisionError when it can't be stopped, synchronised or started.
    """
    started = time.monotonic()
    with admin_connection(server) as connection:
        connection.execute("CHECKPOINT")
    server.stop()
    try:
        synchronise(server.data_dir)
    except OSError as error:
        raise ProvisionError(
            f"The sandbox could not be written to disk: {error.strerror}",
            remedy="look at the free space and the health of the disk",
        ) from error
    server.restart(DURABLE_SETTINGS)
    return time.monotonic() - started


def _text(connection: "psycopg.Connection[Any]", query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    return "" if row is None else str(row[0])


def _names(connection: "psycopg.Connection[Any]", query: str) -> tuple[str, ...]:
    return tuple(str(row[0]) for row in connection.execute(query.encode()))
