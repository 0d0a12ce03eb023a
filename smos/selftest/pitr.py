"""The built-in source of the point-in-time drill: a week of a shop's life in a few seconds.

One PostgreSQL with segments of 1 MiB, a tablespace, its log archived by our own program; base backups as tar, as a
directory and (PostgreSQL 17+) as an incremental chain, taken while orders come in; then a change of timeline, as after
a failover; then the moment that is recovered to, between two markers; then the disaster. Everything is left in one
directory, so that many drills can use copies of it.
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from pydantic import TypeAdapter

from smos.clock import Clock
from smos.errors import BackupError
from smos.paths import compose_dir
from smos.physical.create import (
    INCREMENTAL_SINCE,
    archive_command,
    archive_now,
    base_backup,
    receive_log,
    shell_archive_command,
)
from smos.physical.drill import Question
from smos.physical.facts import Known
from smos.physical.staging import restore_command
from smos.postgres.content import DatabaseContent
from smos.postgres.fingerprint import read_content
from smos.postgres.heartbeat import beat, install
from smos.provision.base import PostgresEndpoint
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation, choose_installation
from smos.provision.owner import Owner
from smos.provision.servers import servers_for
from smos.target import Provision

DATABASE = "shop"
SEGMENT_MIB = 1
BEFORE, AFTER = "before", "after"
FACTS = "source.json"
PAUSE_S = 0.01
"""Seconds between two orders while a backup is taken: enough to keep it busy, little enough to keep it short."""
WAL = "wal"
TAR, DIRECTORY, FIRST, SECOND = "1-tar", "2-directory", "3-incremental", "4-incremental"


@dataclass(frozen=True, slots=True, kw_only=True)
class PitrMaterial:
    """What the source left. place: holds the backups and `wal`. Moments in UTC; position: in the log, as text.

    incremental: whether there is a chain. identifier: of the cluster.
    """

    place: Path
    version: str
    major: int
    identifier: int
    incremental: bool
    moment: datetime
    position: str
    disaster: datetime
    content: dict[str, dict[str, object]]

    @property
    def wal(self) -> Path:
        """The archive of the log."""
        return self.place / WAL

    def question(self) -> Question:
        """Return what a drill of these backups asks."""
        return Question(
            known=Known(
                disaster=self.disaster,
                before=(BEFORE,),
                after=(AFTER,),
                databases=(DATABASE,),
                content_known=True,
                live=False,
            ),
            moment=self.moment,
            position=self.position,
            expected={name: DatabaseContent.from_json(data) for name, data in self.content.items()},
        )


_ADAPTER = TypeAdapter(PitrMaterial)


def load(place: Path) -> PitrMaterial | None:
    """Return what an earlier process of this run prepared; None where it did not."""
    path = place / FACTS
    return _ADAPTER.validate_json(path.read_bytes()) if path.is_file() else None


def prepare(
    place: Path,
    clock: Clock,
    *,
    installation: PostgresInstallation | None = None,
    provision: Provision = Provision.EMBEDDED,
) -> PitrMaterial:
    """Let the source live and die, and leave its backups in the directory `place` (made here). Raises SmosError."""
    with Owner("pitr-source") as owner:
        store = owner.directory("store", memory=True)
        installation = installation or choose_installation(at_least=15)
        material = _live(owner, store, clock, installation, provision)
        shutil.copytree(store, place, symlinks=True)
        _repoint(place, store)
    moved = _ADAPTER.validate_python({**_ADAPTER.dump_python(material, mode="json"), "place": str(place)})
    (place / FACTS).write_bytes(_ADAPTER.dump_json(moved))
    return moved


def copy_store(material: PitrMaterial, place: Path, names: tuple[str, ...]) -> None:
    """Copy some of the backups, or the archive, to the directory `place`; links of tablespaces lead to the copies."""
    place.mkdir(parents=True, exist_ok=True)
    parts = [material.place / name for name in names]
    parts += [spaces for name in names if (spaces := material.place / f"{name}-spaces").is_dir()]
    # A fifth of what shutil.copytree takes for a thousand small files.
    subprocess.run(["/bin/cp", "-R", "-P", "-p", *parts, place], check=True)
    _repoint(place, material.place)


def _repoint(place: Path, old: Path) -> None:
    """Let the links of tablespaces lead to where the store is now."""
    for link in place.glob("*/pg_tblspc/*"):
        target = link.readlink()
        if target.is_relative_to(old):
            link.unlink()
            link.symlink_to(place / target.relative_to(old))


def _live(
    owner: Owner, store: Path, clock: Clock, installation: PostgresInstallation, provision: Provision
) -> PitrMaterial:
    wal = _own_directory(owner, store, WAL)
    contained = provision is Provision.DOCKER
    command = shell_archive_command(wal) if contained else archive_command(owner, wal)
    settings = {
        "fsync": "off",
        "wal_level": "replica",
        "max_wal_senders": "4",
        "archive_timeout": "0",
        "min_wal_size": "4MB",
        "lc_messages": "C",
    }
    settings |= {"archive_mode": "on", "archive_command": command} if command else {}
    incremental = installation.major >= INCREMENTAL_SINCE
    settings |= {"summarize_wal": "on"} if incremental else {}
    server = servers_for(provision, sockets=True).postgres(
        owner,
        name="pitr-source",
        installation=installation,
        settings=settings,
        memory=True,
        segment_mb=SEGMENT_MIB,  # so that a drill reads and copies little
    )
    space = owner.directory("space")
    server.share(wal, space)
    server.start()
    _load(server, space)
    if command is None:
        with receive_log(owner, installation, server.endpoint, wal, "smos"):
            return _history(owner, server, store, wal, clock, switch=False)
    return _history(owner, server, store, wal, clock, switch=True)


def _history(
    owner: Owner, server: EmbeddedPostgres, store: Path, wal: Path, clock: Clock, *, switch: bool
) -> PitrMaterial:
    """Take the backups, change the timeline, pass the moment, and end in the disaster."""
    endpoint, installation = server.endpoint, server.installation
    incremental = installation.major >= INCREMENTAL_SINCE

    def take(name: str, *, tar: bool = False, onto: str | None = None, log: str = "stream") -> None:
        spaces = None if tar else _own_directory(owner, store, f"{name}-spaces")
        with _orders(endpoint):
            base_backup(
                owner,
                installation,
                endpoint,
                store / name,
                tar=tar,
                onto=store / onto / "backup_manifest" if onto else None,
                spaces=spaces,
                log=log,
                durable=False,  # it lives for one run
            )
        _trade(endpoint, clock, 20)

    take(TAR, tar=True)
    take(DIRECTORY, log="none")
    if incremental:
        take(FIRST, onto=DIRECTORY)
        take(SECOND, onto=FIRST)
    else:  # so that whole segments lie behind the last backup's end here as well
        archive_now(endpoint, wal)
        _trade(endpoint, clock, 20)
    archive_now(endpoint, wal)
    if switch:
        _change_timeline(owner, server, wal)
    _trade(endpoint, clock, 40)
    _mark(endpoint, BEFORE)
    moment, position = _now(endpoint)
    content = read_content(lambda: psycopg.connect(endpoint.conninfo(DATABASE)), probe=False)
    _mark(endpoint, AFTER)
    _trade(endpoint, clock, 40)
    archive_now(endpoint, wal)
    _trade(endpoint, clock, 5)  # in a segment that is not archived yet: what the disaster loses
    with psycopg.connect(endpoint.conninfo()) as connection:
        row = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    disaster = clock.now()
    server.kill()
    return PitrMaterial(
        place=store,
        version=installation.version,
        major=installation.major,
        identifier=int(row[0]) if row else 0,
        incremental=incremental,
        moment=moment,
        position=position,
        disaster=disaster,
        content={DATABASE: json.loads(json.dumps(content.to_json()))},
    )


def _load(server: EmbeddedPostgres, space: Path) -> None:
    endpoint = server.endpoint
    with psycopg.connect(endpoint.conninfo(), autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE TABLESPACE archive LOCATION {}").format(str(space)))
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    with psycopg.connect(endpoint.conninfo(DATABASE)) as connection:
        connection.execute((compose_dir() / "selftest" / "pitr.sql").read_bytes())
    install(endpoint, DATABASE)
    with psycopg.connect(endpoint.conninfo(DATABASE), autocommit=True) as connection:
        # Else the first reader of a page would write it whole to the log, and mend what a fault damages in a backup.
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")


def _change_timeline(owner: Owner, server: EmbeddedPostgres, wal: Path) -> None:
    """Go on in a new timeline, as a standby does that takes over."""
    server.stop()
    signal = server.data_dir / "recovery.signal"
    signal.touch(mode=0o600)
    owner.give(signal)
    server.restart({"restore_command": restore_command(wal), "recovery_target_timeline": "latest"})
    with psycopg.connect(server.endpoint.conninfo()) as connection:
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    if row != (False,):
        from smos.wait import wait_for

        def promoted() -> bool:
            with psycopg.connect(server.endpoint.conninfo()) as connection:
                return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)

        wait_for(
            promoted, what="the source has taken over", deadline_s=60, transient=(psycopg.OperationalError,)
        )
    if signal.exists():
        raise BackupError("the source did not take over", log=server.logs()[-2000:])


def _trade(endpoint: PostgresEndpoint, clock: Clock, rounds: int) -> None:
    """Write orders, and a heartbeat after each few of them."""
    with psycopg.connect(endpoint.conninfo(DATABASE), autocommit=True) as connection:
        for number in range(rounds):
            _order(connection, number)
            if number % 4 == 0:
                connection.execute(
                    "INSERT INTO smos.heartbeat VALUES (%s) ON CONFLICT DO NOTHING", (clock.now(),)
                )
    beat(endpoint, DATABASE, clock)


def _order(connection: "psycopg.Connection[object]", number: int) -> None:
    connection.execute(
        "WITH sold AS (INSERT INTO app.orders (product_id, buyer, quantity) SELECT 1 + (%s + i) %% 200,"
        " 'Ferretería ' || i, 1 FROM generate_series(1, 10) AS i RETURNING id)"
        " INSERT INTO app.invoices SELECT id, 'F-' || id FROM sold",
        (number,),
    )
    connection.execute("UPDATE app.products SET price = price + 1 WHERE id = 1 + %s %% 200", (number,))


@contextmanager
def _orders(endpoint: PostgresEndpoint) -> Iterator[None]:
    """Let orders come in, from another thread, as long as the block runs: a backup of a busy server."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with psycopg.connect(endpoint.conninfo(DATABASE), autocommit=True) as connection:
                number = 0
                while not stop.wait(PAUSE_S):
                    number += 1
                    _order(connection, number)
        except BaseException as error:  # noqa: BLE001  (raised again where the block ends)
            failures.append(error)

    thread = threading.Thread(target=work, name="orders")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


def _mark(endpoint: PostgresEndpoint, name: str) -> None:

    with psycopg.connect(endpoint.conninfo(DATABASE)) as connection:
        connection.execute("INSERT INTO smos.marker VALUES (%s)", (name,))


def _now(endpoint: PostgresEndpoint) -> tuple[datetime, str]:
    """Return the server's clock and its position, with nothing committed after."""
    with psycopg.connect(endpoint.conninfo(DATABASE)) as connection:
        row = connection.execute("SELECT clock_timestamp(), pg_current_wal_insert_lsn()::text").fetchone()
    if row is None:
        raise BackupError("the source gave no answer")
    return row[0].astimezone(UTC), str(row[1])


def _own_directory(owner: Owner, parent: Path, name: str) -> Path:
    path = parent / name
    path.mkdir(mode=0o700)
    owner.give(path)
    return path
