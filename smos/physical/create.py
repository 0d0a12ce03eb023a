"""Make physical backups: base backups in either format, incremental chains, and a continuous archive of the log."""

import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smos.errors import BackupError
from smos.physical import archive_wal
from smos.provision.base import PostgresEndpoint
from smos.provision.installations import PostgresInstallation
from smos.provision.owner import OwnedProcess, Owner
from smos.provision.relocate import reachable_python
from smos.wait import wait_for

BASE_S = 4 * 3600
INCREMENTAL_SINCE = 17
ARCHIVED_S = 120
CONNECTED_S = 60


def base_backup(
    owner: Owner,
    installation: PostgresInstallation,
    endpoint: PostgresEndpoint,
    destination: Path,
    *,
    tar: bool = False,
    onto: Path | None = None,
    spaces: Path | None = None,
    log: str = "stream",
    label: str = "smos",
    durable: bool = True,
) -> None:
    """Run pg_basebackup into the directory `destination` (the service user's, empty or not there), with a manifest.

    tar: base.tar.gz, one tar for each tablespace and pg_wal.tar.gz, else a plain directory. onto: the manifest of the
    backup that an incremental one builds on (PostgreSQL 17 and newer, summarize_wal on). spaces: where a plain backup
    puts tablespaces, each in a directory of its OID's name (else they would be put where the source's lie).
    durable: on the disk before it is done; else as the system pleases.
    log: "stream" brings the log that the backup needs, "none" relies on the archive.
    Raises BackupError, ProvisionError with the tool's words.
    """
    if onto is not None and installation.major < INCREMENTAL_SINCE:
        raise BackupError(
            f"PostgreSQL {installation.version} makes no incremental backups",
            remedy="take a full one, or use PostgreSQL 17 or newer with summarize_wal = on",
        )
    words: list[str | Path] = [installation.tool("pg_basebackup"), "--no-password", "--checkpoint=fast"]
    words += [
        f"--label={label}",
        f"--wal-method={log}",
        f"--pgdata={destination}",
        "--manifest-checksums=SHA256",
    ]
    words += ["--format=tar", "--gzip"] if tar else ["--format=plain"]
    words += [] if durable else ["--no-sync"]
    if onto is not None:
        words.append(f"--incremental={onto}")
    if spaces is not None:
        words += [f"--tablespace-mapping={old}={new}" for old, new in _spaces(endpoint, spaces)]
    owner.run(words, timeout_s=BASE_S, env=endpoint.env())


def _spaces(endpoint: PostgresEndpoint, into: Path) -> list[tuple[str, Path]]:
    import psycopg

    with psycopg.connect(endpoint.conninfo()) as connection:
        rows = connection.execute(
            "SELECT oid::text, pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''"
        ).fetchall()
    return [(str(location), into / str(oid)) for oid, location in rows]


def archive_command(owner: Owner, destination: Path) -> str | None:
    """Return an archive_command that runs our program for the service user; None where no Python can be run as it."""
    python = reachable_python(owner.user)
    if python is None:
        return None
    program = owner.directory("archiver", read_only=True) / "archive_wal.py"
    shutil.copyfile(archive_wal.__file__, program)
    program.chmod(0o644)
    words = f"{shlex.quote(str(python))} -I -S {shlex.quote(str(program))}".replace("%", "%%")
    return f'{words} "%p" {shlex.quote(str(destination)).replace("%", "%%")}/%f'


def shell_archive_command(destination: Path) -> str:
    """Return an archive_command that keeps the same promises without Python, for a server in a container.

    It takes cp, cmp, ln, rm and sync (coreutils, diffutils): a segment is copied under another name and flushed, gets
    its name by a hard link, which replaces nothing, and the directory is flushed. The same segment once more is no
    error, another one under its name is.
    """
    place = shlex.quote(str(destination)).replace("%", "%%")
    target, copy = f"{place}/%f", f"{place}/.%f.tmp"
    again = f'cmp -s "%p" {target} && sync {target} {place}'
    first = f'cp "%p" {copy} && sync {copy} && ln -T {copy} {target} && rm {copy} && sync {place}'
    return f"if test -e {target}; then {again}; else {first}; fi"


@contextmanager
def receive_log(
    owner: Owner, installation: PostgresInstallation, endpoint: PostgresEndpoint, destination: Path, slot: str
) -> Iterator[OwnedProcess]:
    """Run pg_receivewal into `destination` with a slot of its own, so that the server keeps what was not received yet.

    The segment that is being written is there as `.partial`. Raises ProvisionError, DeadlineError.
    """
    import psycopg

    tool = installation.tool("pg_receivewal")
    log = owner.run_dir / f"receive-{slot}.log"
    owner.run([tool, f"--slot={slot}", "--create-slot", "--if-not-exists"], timeout_s=60, env=endpoint.env())
    process = owner.spawn(
        [tool, f"--slot={slot}", f"--directory={destination}", "--synchronous", "--no-password"],
        name=f"pg_receivewal {slot}",
        log=log,
        env=endpoint.env(),
        stop_signal=signal.SIGINT,
    )

    def streams() -> bool:
        if process.poll() is not None:
            raise BackupError("pg_receivewal ended", log=process.log_tail())
        with psycopg.connect(endpoint.conninfo()) as connection:
            row = connection.execute(
                "SELECT active FROM pg_replication_slots WHERE slot_name = %s", (slot,)
            ).fetchone()
        return row == (True,)

    try:
        wait_for(streams, what="pg_receivewal streams", deadline_s=CONNECTED_S)
        yield process
    finally:
        process.stop(stop_signal=signal.SIGINT)


def archive_now(endpoint: PostgresEndpoint, archive: Path) -> str:
    """Have the server close its current segment, and wait until that is in the archive. Returns its name."""
    import psycopg

    with psycopg.connect(endpoint.conninfo(), autocommit=True) as connection:
        row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
    name = str(row[0]) if row else ""
    wait_for((archive / name).is_file, what=f"{name} is in the archive", deadline_s=ARCHIVED_S)
    return name
