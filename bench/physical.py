"""Physical restores of one cluster: from cold backup files to the first answered query, by us and by the peers.

All peers restore the same cluster of the same major version, the newest that every one of them knows (pgBackRest
refuses versions that are younger than itself).
"""

import getpass
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.data import DATABASE, SOURCE_SETTINGS, fill
from bench.measure import Table, chill
from smos.durable import synchronise
from smos.errors import DeadlineError, ProvisionError
from smos.instant import INSTANT_SETTINGS, Level, start_instant
from smos.instant.server import FOREIGN
from smos.pieces import pack, unpack, verify
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import PostgresInstallation, find_installations
from smos.provision.owner import OwnedProcess, Owner
from smos.wait import wait_for

BACKREST, BARMAN = Path("/usr/bin/pgbackrest"), Path("/usr/bin/barman")
LONG_S = 1800


@dataclass(slots=True)
class Stage:
    """What the peers need. backups: name to the files that are read when it is restored."""

    owner: Owner
    installation: PostgresInstallation
    home: Path
    base: Path
    backups: dict[str, Path]


def measure(owner: Owner, gigabytes: float, runs: int, jobs: int) -> list[Table]:
    """Back up once with every tool, then restore in every way, one after the other within a run."""
    installation = _installation()
    source = EmbeddedPostgres(owner, name="physical", settings=SOURCE_SETTINGS, installation=installation)
    source.start()
    size = fill(owner, source, gigabytes)
    home = owner.directory("physical-backups")
    stage = Stage(owner, installation, home, home / "base", {})
    words = ["--checkpoint=fast", "--wal-method=stream", "--no-sync"]
    owner.run(
        [
            source.installation.tool("pg_basebackup"),
            f"--pgdata={stage.base}",
            *words,
            "-d",
            source.endpoint.conninfo(),
        ],
        timeout_s=LONG_S,
    )
    stage.backups["base"] = stage.base
    restore = Table(
        f"Physical restore of {size / 1e9:.2f} GB (PostgreSQL {installation.major}), cold files, to the first answer",
        "pgBackRest",
    )
    check = Table(
        f"Is the stored backup of {size / 1e9:.2f} GB whole? cold files", "pg_verifybackup, plain backup"
    )
    _barman_backup(stage, source, restore)
    source.stop()
    _backrest_backup(stage, source.data_dir, restore)
    shutil.rmtree(source.data_dir)
    pieces = home / "pieces"
    pieces.mkdir()
    started = time.monotonic()
    manifest = pack(stage.base, pieces, jobs=jobs)
    packing = time.monotonic() - started
    stage.backups["pieces"] = pieces
    for number in range(runs):
        print(f"physical restore, run {number + 1}", flush=True)
        _restores(stage, restore, jobs)
        _checks(stage, check)
    restore.remarks["ours, zstd pieces, full, durable"] = (
        f"packed in {packing:.1f} s to {manifest.stored / 1e9:.2f} GB; nothing but the pieces is read"
    )
    return [restore, check]


def _installation() -> PostgresInstallation:
    """Return PostgreSQL 15 (the youngest that Debian 12's pgBackRest knows), else the newest there is."""
    found = find_installations()
    return next((item for item in found if item.major == 15), found[0])


def _restores(stage: Stage, table: Table, jobs: int) -> None:
    owner = stage.owner

    def into(what: str, work: Callable[[Path], object], *, settings: dict[str, str] | None = None) -> None:
        place = owner.directory("restored")
        target = place / "data"
        chill(stage.backups.values())
        started = time.monotonic()
        work(target)
        seconds = _first_answer(owner, stage.installation, target, settings or {}, started)
        table.add(what, seconds)
        shutil.rmtree(place)

    if "pgbackrest" in stage.backups:
        into(
            "pgBackRest",
            lambda target: _backrest(stage, target, "restore", f"--process-max={jobs}", "--type=none"),
        )
    if "barman" in stage.backups:
        into("Barman (not durable)", lambda target: _barman(stage, "recover", "main", "latest", str(target)))

    def copied(target: Path) -> None:
        owner.run(["/bin/cp", "-a", stage.base, target], timeout_s=LONG_S)
        synchronise(target)

    into("cp -a of a plain base backup, durable", copied)

    def unpacked(target: Path) -> None:
        target.mkdir(mode=0o700)
        owner.give(target)
        unpack(stage.backups["pieces"], target, jobs=jobs + 1, user=owner.user)

    into("ours, zstd pieces, full, durable", unpacked)
    chill(stage.backups.values())
    started = time.monotonic()
    instant = start_instant(owner, stage.base, name="instant", installation=stage.installation)
    with psycopg.connect(instant.server.endpoint.conninfo(DATABASE)) as connection:
        connection.execute("SELECT count(*) FROM pgbench_branches")
    seconds = time.monotonic() - started
    table.add(f"ours, instant ({instant.tree.facts.level})", seconds, "on the plain backup itself, fsync off")
    if not instant.tree.untouched().unchanged:
        raise RuntimeError("the backup was changed")
    instant.server.kill()
    if instant.tree.facts.level is Level.COPY:
        raise RuntimeError("no instant mode here")


def _first_answer(
    owner: Owner, installation: PostgresInstallation, data: Path, settings: dict[str, str], started: float
) -> float:
    for name in FOREIGN:
        (data / name).unlink(missing_ok=True)
    server = EmbeddedPostgres(
        owner,
        name="answer",
        installation=installation,
        settings={**INSTANT_SETTINGS, "fsync": "on", **settings},
        data_dir=data,
    )
    server.start(LONG_S)
    with psycopg.connect(server.endpoint.conninfo(DATABASE)) as connection:
        connection.execute("SELECT count(*) FROM pgbench_branches")
    seconds = time.monotonic() - started
    server.kill()
    return seconds


def _checks(stage: Stage, table: Table) -> None:
    def one(what: str, work: Callable[[], object], remark: str = "") -> None:
        chill(stage.backups.values())
        started = time.monotonic()
        work()
        table.add(what, time.monotonic() - started, remark)

    tool = stage.installation.tool("pg_verifybackup")
    one("pg_verifybackup, plain backup", lambda: stage.owner.run([tool, stage.base], timeout_s=LONG_S))
    if "pgbackrest" in stage.backups:
        remark = "2.45 exits 0 on a corrupted repository"
        one("pgbackrest verify", lambda: _backrest(stage, None, "verify"), remark)
    if "barman" in stage.backups:
        with suppress(ProvisionError):
            one("barman verify-backup", lambda: _barman(stage, "verify-backup", "main", "latest"))
    jobs = os.cpu_count() or 2
    one("ours, pieces: every digest of pieces and files", lambda: verify(stage.backups["pieces"], jobs=jobs))


# --- pgBackRest -------------------------------------------------------------------------------------------------


def _backrest(stage: Stage, data: Path | None, command: str, *words: str) -> None:
    if data is not None and command == "restore":
        data.mkdir(mode=0o700)
        stage.owner.give(data)
    place = [f"--pg1-path={data}"] if data else []
    config = f"--config={stage.home / 'pgbackrest.conf'}"
    stage.owner.run([BACKREST, config, "--stanza=main", *place, *words, command], timeout_s=LONG_S)


def _backrest_backup(stage: Stage, data: Path, table: Table) -> None:
    if not BACKREST.exists():
        table.lack("pgBackRest", "not installed (apt install pgbackrest)")
        return
    lines = ["[global]", f"repo1-path={stage.home / 'pgbackrest'}", f"log-path={stage.home}"]
    lines += [f"lock-path={stage.home / 'lock'}", "log-level-console=error", "[main]", f"pg1-path={data}"]
    stage.owner.write(stage.home / "pgbackrest.conf", "\n".join(lines) + "\n")
    try:
        _backrest(stage, data, "stanza-create", "--no-online")
        started = time.monotonic()
        words = (
            "--no-online",
            "--compress-type=zst",
            "--compress-level=1",
            f"--process-max={os.cpu_count() or 2}",
        )
        _backrest(stage, data, "backup", *words)
        table.remarks["pgBackRest"] = (
            f"zstd 1, process-max={os.cpu_count()}; backup {time.monotonic() - started:.1f} s"
        )
    except ProvisionError as error:
        table.lack("pgBackRest", (error.log.splitlines() or [error.message])[-1][:120])
        return
    stage.backups["pgbackrest"] = stage.home / "pgbackrest"


# --- Barman -----------------------------------------------------------------------------------------------------

_BARMAN = """[barman]
barman_user = {user}
barman_home = {home}
barman_lock_directory = {home}
configuration_files_directory = {home}
log_file = {home}/barman.log
log_level = ERROR
[main]
description = main
conninfo = {conninfo}
streaming_conninfo = {conninfo}
backup_method = postgres
streaming_archiver = on
slot_name = barman
create_slot = auto
path_prefix = {bin}
"""


def _barman(stage: Stage, *words: str) -> None:
    stage.owner.run([BARMAN, "-c", stage.home / "barman.conf", "-q", *words], timeout_s=LONG_S)


def _barman_backup(stage: Stage, source: EmbeddedPostgres, table: Table) -> None:
    if not BARMAN.exists():
        table.lack("Barman", "not installed (apt install barman)")
        return
    place = stage.home / "barman"
    place.mkdir()
    stage.owner.give(place)
    user = stage.owner.user.name if stage.owner.user else getpass.getuser()
    text = _BARMAN.format(
        user=user, home=place, conninfo=source.endpoint.conninfo(), bin=source.installation.bin_dir
    )
    stage.owner.write(stage.home / "barman.conf", text)
    receiver: OwnedProcess | None = None
    try:
        with suppress(ProvisionError):
            _barman(stage, "receive-wal", "--create-slot", "main")
        receiver = stage.owner.spawn(
            [BARMAN, "-c", stage.home / "barman.conf", "receive-wal", "main"],
            name="barman receive-wal",
            log=stage.home / "receive.log",
        )

        def archived() -> bool:
            with suppress(ProvisionError):
                _barman(stage, "switch-wal", "--force", "--archive", "--archive-timeout=5", "main")
            done = stage.owner.run(
                [BARMAN, "-c", stage.home / "barman.conf", "check", "main"], timeout_s=60, check=False
            )
            return done.returncode == 0

        wait_for(archived, what="Barman receives the log", deadline_s=90)
        _barman(stage, "backup", "--wait", "main")
    except (ProvisionError, DeadlineError) as error:
        table.lack("Barman", (error.log.splitlines() or [error.message])[-1][:120])
        return
    finally:
        if receiver is not None:
            receiver.kill()
    table.remarks["Barman (not durable)"] = "Debian's 3.4, plain, local; leaves the writing to the kernel"
    stage.backups["barman"] = place
