"""Repositories of pgBackRest and Barman for tests of their readers, made on a real PostgreSQL with heartbeats."""

import shutil
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql

from smos.clock import SystemClock
from smos.physical.create import archive_now
from smos.postgres.heartbeat import beat, install
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import find_installations
from smos.provision.owner import Owner
from smos.provision.users import server_user
from smos.wait import wait_for

CLOCK = SystemClock()
BETWEEN_S = 0.4
PASSPHRASE = "entre el dicho y el hecho"
OLDEST, NEWEST = 13, 15
"""PostgreSQL versions that pgBackRest 2.45 (Debian 12) knows."""


def missing(*tools: str) -> str:
    """Say why the repositories of a tool can't be made here; empty: they can."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if not any(OLDEST <= one.major <= NEWEST for one in find_installations()):
        return "no PostgreSQL 13 to 15 here, which these versions of the tools know"
    return ""


@dataclass(frozen=True)
class Repository:
    path: Path
    archive: Path
    stanza: str
    last_beat: datetime
    sealed: Path | None = None
    """pgBackRest: the same backups in a second repository, encrypted with PASSPHRASE."""


def server(owner: Owner, **settings: str) -> EmbeddedPostgres:
    installation = next(one for one in find_installations() if OLDEST <= one.major <= NEWEST)
    values = {"wal_level": "replica", "max_wal_senders": "4", "fsync": "off", **settings}
    return EmbeddedPostgres(
        owner, name="tool-source", installation=installation, settings=values, memory=True, segment_mb=1
    )


def fill(source: EmbeddedPostgres, owner: Owner) -> None:
    """Fill a source: a database, a tablespace whose name says nothing of where it lies, and heartbeats."""
    place = sql.Literal(str(owner.directory("tablespace")))
    with psycopg.connect(source.endpoint.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
        connection.execute(sql.SQL("CREATE TABLESPACE data LOCATION {}").format(place))
    with psycopg.connect(source.endpoint.conninfo("shop")) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT i, 'order ' || i AS text FROM generate_series(1, 20000) AS i"
        )
        connection.execute(
            "CREATE TABLE spaced TABLESPACE data AS SELECT i FROM generate_series(1, 200) AS i"
        )
    install(source.endpoint, "shop")


def live(source: EmbeddedPostgres, beats: int = 8) -> datetime:
    for number in range(beats):
        with psycopg.connect(source.endpoint.conninfo("shop")) as connection:
            connection.execute("INSERT INTO orders VALUES (%s, 'more')", (100000 + number,))
        beat(source.endpoint, "shop", CLOCK)
        threading.Event().wait(BETWEEN_S)  # heartbeats of a real source lie apart
    with psycopg.connect(source.endpoint.conninfo("shop")) as connection:
        row = connection.execute("SELECT max(at) FROM smos.heartbeat").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


def promote(owner: Owner, source: EmbeddedPostgres) -> None:
    """Let the source go on in a new timeline, as a standby does that takes over."""
    source.stop()
    signal = source.data_dir / "recovery.signal"
    signal.touch(mode=0o600)
    owner.give(signal)
    source.restart({"restore_command": "false", "recovery_target_timeline": "latest"})

    def open_() -> bool:
        with psycopg.connect(source.endpoint.conninfo()) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)

    wait_for(open_, what="the source took over", deadline_s=120, transient=(psycopg.OperationalError,))


def pgbackrest_repository(owner: Owner) -> Repository:
    """Stanza `demo`: a full and a differential backup, with the log archived by pgBackRest, in two repositories.

    The second one is encrypted, with small files in bundles. The log is compressed with bzip2, the backups with what
    costs least: pgBackRest alone reads them.
    """
    repo, sealed = owner.directory("repo"), owner.directory("sealed")
    scratch = owner.directory("scratch")
    config = owner.directory("etc", read_only=True) / "pgbackrest.conf"
    program = shutil.which("pgbackrest")
    source = server(owner, archive_mode="on", archive_command="false")
    words = [
        "[global]", f"repo1-path={repo}", f"lock-path={scratch}/lock", f"log-path={scratch}", "log-level-file=off",
        f"spool-path={scratch}", "start-fast=y", f"repo2-path={sealed}", "repo2-bundle=y",
        "repo2-cipher-type=aes-256-cbc", f"repo2-cipher-pass={PASSPHRASE}",
        "[global:archive-push]", "compress-type=bz2", "[global:backup]", "compress-type=lz4", "[demo]", f"pg1-path={source.data_dir}",
    ]  # fmt: skip
    source.start()
    words += [
        f"pg1-socket-path={source.endpoint.host}",
        f"pg1-port={source.endpoint.port}",
        "pg1-user=postgres",
    ]
    owner.write(config, "\n".join(words) + "\n")
    common = [str(program), f"--config={config}", "--stanza=demo"]
    source.restart({"archive_command": " ".join([*common, "archive-push", "%p"])})
    fill(source, owner)
    owner.run([*common, "stanza-create"], timeout_s=300)
    owner.run([*common, "--repo=1", "--type=full", "--no-resume", "backup"], timeout_s=300)
    owner.run([*common, "--repo=2", "--type=full", "--no-resume", "backup"], timeout_s=300)
    live(source, beats=3)
    owner.run([*common, "--repo=1", "--type=diff", "backup"], timeout_s=300)
    owner.run([*common, "--repo=2", "--type=incr", "backup"], timeout_s=300)
    last = live(source)
    with psycopg.connect(source.endpoint.conninfo(), autocommit=True) as connection:
        row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
    assert row is not None
    archive = repo / "archive" / "demo"
    both = (archive, sealed / "archive" / "demo")
    wait_for(
        lambda: all(any(place.rglob(f"{row[0]}-*")) for place in both),
        what="the last segment is in both archives",
        deadline_s=120,
    )
    source.stop()
    return Repository(repo, archive, "demo", last, sealed)


def barman_repository(owner: Owner) -> Repository:
    """Server `demo`: one backup by pg_basebackup, the log archived below `wals` as Barman does it.

    The log goes on in another timeline, as after a failover.
    """
    home = owner.directory("barman")
    scratch = owner.directory("incoming")
    source = server(owner, archive_mode="on", archive_command=f"test ! -f {scratch}/%f && cp %p {scratch}/%f")
    source.start()
    fill(source, owner)
    config = owner.directory("etc", read_only=True) / "barman.conf"
    bin_dir = source.installation.bin_dir
    dsn = f"host={source.endpoint.host} port={source.endpoint.port} user=postgres dbname=postgres"
    words = [
        "[barman]", f"barman_home={home}", f"barman_user={server_user()}",
        f"log_file={home}/barman.log", "log_level=INFO", f"barman_lock_directory={home}",
        "[demo]", "description=demo", f"conninfo={dsn}", f"streaming_conninfo={dsn}", "backup_method=postgres",
        "archiver=on", "immediate_checkpoint=true", f"incoming_wals_directory={scratch}", f"path_prefix={bin_dir}",
    ]  # fmt: skip
    owner.write(config, "\n".join(words) + "\n")
    barman = [str(shutil.which("barman")), "-c", str(config)]
    env = {"HOME": str(home)}
    owner.run([*barman, "cron"], timeout_s=300, env=env, check=False)
    archive_now(source.endpoint, scratch)
    owner.run([*barman, "archive-wal", "demo"], timeout_s=300, env=env)
    owner.run([*barman, "backup", "demo"], timeout_s=300, env=env)
    live(source, beats=4)
    promote(owner, source)
    last = live(source)
    archive_now(source.endpoint, scratch)
    owner.run([*barman, "archive-wal", "demo"], timeout_s=300, env=env)
    source.stop()
    return Repository(home, home / "demo" / "wals", "demo", last)
