"""The built-in source: PostgreSQL with four databases, Vault, three volumes, and a week of daily backups."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from smos.backup.create import BackupSource, VaultAccess, create_backup
from smos.backup.signing import generate_keypair
from smos.clock import Clock, ShiftedClock
from smos.errors import BackupError
from smos.paths import compose_dir
from smos.provision.embedded.openbao import EmbeddedOpenBao
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.provision.servers import EMBEDDED, Servers
from smos.selftest.volumes import build_volumes
from smos.target import Target, load_target
from smos.vault.bootstrap import bootstrap
from smos.vault.escrow import escrow_recipient, read_escrow
from smos.vault.snapshot import backup_credential

DAYS = 7
SOURCE_SETTINGS = {"fsync": "off", "synchronous_commit": "on", "max_wal_senders": "0", "wal_level": "minimal"}
"""The source lives for seconds and is thrown away; what is timed is the sandbox, which is durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestSource:
    """The running source and where its backups lie. `target` is complete: directory, escrow, public key."""

    target: Target
    postgres: EmbeddedPostgres
    vault: EmbeddedOpenBao
    backup_source: BackupSource
    signing_key: Path


def start_source(
    owner: Owner,
    clock: Clock,
    report: Callable[[str], None],
    *,
    encrypted: bool | None = None,
    servers: Servers = EMBEDDED,
) -> SelfTestSource:
    """Start the source, fill it, and take a backup for each of the last seven days and a current one.

    encrypted: whether the backups are; None: as the built-in target declares. servers: what makes its servers.

    The dates of the backups come from `clock`, shifted by whole days; nothing else is back-dated.
    """
    base = owner.directory("source")
    postgres = servers.postgres(owner, name="source", settings=SOURCE_SETTINGS, memory=True)
    vault = servers.openbao(owner, name="source-vault", memory=True)
    escrow = base / "escrow" / "escrow.json"
    escrow.parent.mkdir(mode=0o700)
    keys = base / "keys"
    keys.mkdir(mode=0o700)
    declared = load_target(compose_dir() / "selftest" / "target.yml")

    report("starting the source: PostgreSQL, OpenBao, three volumes")

    def databases() -> None:
        postgres.start()
        fill_databases(postgres, declared.database_names)

    def secrets() -> None:
        vault.start()
        bootstrap(
            vault.endpoint,
            escrow=escrow,
            tenants=("panaderia-nunoa", "ferreteria-aguila"),
            clock=clock,
        )

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(databases), pool.submit(secrets)]
        volumes = build_volumes(base / "volumes")
        for job in jobs:
            job.result()

    directory = base / "backups"
    directory.mkdir(mode=0o700)
    signing_key, public_key = keys / "backup-signing.pem", keys / "backup-signing.pub"
    generate_keypair(signing_key, public_key)
    backups = declared.backups.model_copy(
        update={
            "directory": directory,
            "manifest_public_key": public_key,
            "encrypted": declared.backups.encrypted if encrypted is None else encrypted,
        }
    )
    if declared.vault is None:
        raise BackupError(
            "The built-in target declares no Vault", remedy="restore compose/selftest/target.yml"
        )
    target = declared.model_copy(
        update={"backups": backups, "vault": declared.vault.model_copy(update={"escrow": escrow})}
    )
    keys_of_vault = read_escrow(escrow)
    source = BackupSource(
        name=target.name,
        postgres=postgres.endpoint,
        installation=postgres.installation,
        databases=target.database_names,
        volumes=volumes,
        vault=VaultAccess(
            vault.endpoint,
            backup_credential(keys_of_vault),
            declared.vault.kv_mount,
            declared.vault.transit_key,
            escrow_recipient(keys_of_vault) if backups.encrypted else None,
        ),
    )
    running = SelfTestSource(
        target=target, postgres=postgres, vault=vault, backup_source=source, signing_key=signing_key
    )
    staging = base / "staging"  # inside of what the owner removes, also after a kill
    staging.mkdir(mode=0o700)
    for day in range(DAYS, -1, -1):
        shifted = ShiftedClock(timedelta(days=-day), clock) if day else clock
        live_a_day(running, shifted.now())
        report(f"backup {DAYS - day + 1} of {DAYS + 1}: the state of {shifted.now():%Y-%m-%d %H:%M} UTC")
        create_backup(source, directory, clock=shifted, signing_key=signing_key, staging=staging)
    live_a_day(running, clock.now())  # written after the last backup: what a disaster loses
    return running


def fill_databases(postgres: EmbeddedPostgres, names: tuple[str, ...]) -> None:
    """Create roles and databases and load their content, databases in parallel."""
    folder = compose_dir() / "selftest"
    with psycopg.connect(postgres.endpoint.conninfo("postgres"), autocommit=True) as connection:
        # One statement at a time: CREATE DATABASE can't run inside the transaction of a multi-statement query.
        text = (folder / "roles.sql").read_text(encoding="utf-8")
        for statement in text.split(";\n"):
            if statement.strip():
                connection.execute(statement)

    def fill(name: str) -> None:
        with psycopg.connect(postgres.endpoint.conninfo(name)) as connection:
            connection.execute("SET client_min_messages = warning")
            for file in (f"{name}.sql", "heartbeat.sql"):
                connection.execute((folder / file).read_text(encoding="utf-8"))
                connection.execute("RESET ROLE")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, names))


def live_a_day(source: SelfTestSource, now: datetime) -> None:
    """Do what a day's use does: new orders, runs and messages, and a heartbeat in every database."""
    day = {
        "smarteros": "INSERT INTO app.orders (tenant_id, user_id, total, placed_at)"
        " SELECT 1 + i %% 4, 1 + i, 5990, %(now)s FROM generate_series(1, 25) AS i",
        "n8n": 'INSERT INTO execution_entity ("workflowId", finished, mode, "startedAt", data)'
        " SELECT id, true, 'trigger', %(now)s, 'ok' FROM workflow_entity",
        "chatwoot": "INSERT INTO messages (conversation_id, content, sent_at)"
        " SELECT id, 'Gracias', %(now)s FROM conversations",
        "botpress": "INSERT INTO events (bot_id, kind, span, payload)"
        " SELECT id, 'mensaje', tstzrange(%(now)s, NULL), '{}' FROM bots",
    }
    for name in source.target.database_names:
        with psycopg.connect(source.postgres.endpoint.conninfo(name)) as connection:
            connection.execute(day[name], {"now": now})
            connection.execute("INSERT INTO smos.heartbeat VALUES (%s) ON CONFLICT DO NOTHING", (now,))
