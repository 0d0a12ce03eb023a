"""Take a backup: every database in one exported snapshot with its manifest, globals, volumes, Vault.

The set is written under a `.partial-` name and appears by one rename when all of it is on disk: a backup that was
interrupted is never taken for a backup. The layout is described in smos/backup/manifest.py.

An encrypted set (smos/backup/envelope.py) is first written into a private directory outside of the backup directory,
which never sees plain text; there each file lies until it was encrypted.
"""

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psycopg
import zstandard

from smos import __version__
from smos.backup.archive import create_volume_archive
from smos.backup.envelope import SUFFIX, parse_recipient
from smos.backup.manifest import (
    MANIFEST_NAME,
    PARTIAL_PREFIX,
    SET_PREFIX,
    SIGNATURE_NAME,
    STAMP_FORMAT,
    Artifact,
    DatabaseEntry,
    Encryption,
    Manifest,
    VaultEntry,
    VolumeEntry,
)
from smos.backup.sealing import Envelope, seal_artifact, with_suffix
from smos.backup.signing import sign_manifest
from smos.backup.stagingdir import staging_directory
from smos.clock import Clock
from smos.errors import BackupError
from smos.postgres.catalogue import read_roles
from smos.postgres.fingerprint import read_content
from smos.provision.base import PostgresEndpoint, VaultEndpoint
from smos.provision.installations import PostgresInstallation

if TYPE_CHECKING:
    from smos.vault.escrow import AppRoleCredential

CHUNK_BYTES = 1 << 20
ZSTD_LEVEL = 3
PARALLEL_DUMP_BYTES = 64 << 20
"""Below this a second dump process costs more than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSource:
    """What is backed up. Endpoints are connected to with the rights a backup needs, and only read."""

    name: str
    postgres: PostgresEndpoint | None = None
    installation: PostgresInstallation | None = None
    databases: tuple[str, ...] = ()
    volumes: Mapping[str, Path] = field(default_factory=dict)
    vault: "VaultAccess | None" = None


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """A Vault and the credential of its `backup` role.

    recipient: the escrow's age recipient (`age1…`): the set is encrypted, Vault's snapshot to this recipient and all
    the rest to a data key of Vault's. None: nothing is encrypted.
    """

    endpoint: VaultEndpoint
    credential: "AppRoleCredential"
    kv_mount: str
    transit_key: str
    recipient: str | None = None


def create_backup(
    source: BackupSource,
    directory: Path,
    *,
    clock: Clock,
    signing_key: Path | None = None,
    jobs: int = 2,
    staging: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write one backup set below `directory` and return its path.

    clock: gives the stamp and the dates of the manifest. signing_key: Ed25519 private key (PEM) for the manifest.
    jobs: parallel sessions per large database. Databases are dumped before volumes are read, so that every file
    that a row names was written before its volume was archived. staging: where an encrypted set's files lie before
    they are encrypted (default: the system's directory for temporary files); never below `directory`.

    Raises BackupError; nothing that looks like a backup is left behind then.
    """
    started = clock.now()
    set_id = f"{SET_PREFIX}{started.strftime(STAMP_FORMAT)}"
    final = directory / set_id
    if final.exists():
        raise BackupError(f"{final} exists already", remedy="two backups in one second; take it again")
    say = progress or (lambda _text: None)
    with _partial(directory, set_id) as work, _envelope(source, directory, set_id, staging) as envelope:
        # The data key is there before Vault's snapshot is taken, so that this snapshot holds the key that wraps it.
        stage = envelope.directory if envelope else work
        with ThreadPoolExecutor(max(jobs, 2)) as pool:
            vault = pool.submit(_vault, source, stage, clock)
            databases = [
                pool.submit(_database, source, name, stage, clock, jobs) for name in source.databases
            ]
            globals_ = pool.submit(_globals, source, stage)
            entries = []
            for job in databases:
                entries.append(job.result())
                say(f"{entries[-1].name}: dumped")
            roles, system_identifier, globals_path = globals_.result()
            volumes = list(
                pool.map(lambda item: _volume(item[0], item[1], stage), sorted(source.volumes.items()))
            )
            vault_entry = vault.result()
            files = sorted(path for path in stage.rglob("*") if path.is_file())
            if envelope:
                artifacts = tuple(pool.map(lambda path: seal_artifact(envelope, work, path), files))
            else:
                artifacts = tuple(pool.map(lambda path: _artifact(work, path), files))
        if envelope:
            globals_path = globals_path and globals_path + SUFFIX
            volumes = [with_suffix(entry, "archive", "entries") for entry in volumes]
            vault_entry = vault_entry and with_suffix(vault_entry, "snapshot")
        manifest = Manifest(
            set_id=set_id,
            source=source.name,
            tool=f"smarteros-verify {__version__}",
            started=started,
            # Never before what was read: somebody may have set the clock back meanwhile.
            finished=max(clock.now(), started, *(entry.snapshot_at for entry in entries)),
            system_identifier=system_identifier,
            globals_path=globals_path,
            roles=roles,
            databases=tuple(entries),
            volumes=tuple(volumes),
            vault=vault_entry,
            encryption=envelope.facts if envelope else None,
            artifacts=artifacts,
        )
        data = manifest.to_json()
        _write_durably(work / MANIFEST_NAME, data)
        if signing_key:
            _write_durably(work / SIGNATURE_NAME, sign_manifest(data, signing_key))
        _open_to_group(work, directory)
        for folder in (work, *(path for path in work.rglob("*") if path.is_dir())):
            _sync_directory(folder)
        work.rename(final)
        _sync_directory(directory)
    return final


def _open_to_group(work: Path, directory: Path) -> None:
    """Let the group read the set where the directory passes its own on (setgid): a drill's read-only account."""
    mode = directory.stat().st_mode
    if not mode & stat.S_ISGID:
        return
    for path in (*work.rglob("*"), work):
        if not path.is_symlink():
            path.chmod(0o700 | mode & 0o050 if path.is_dir() else 0o600 | mode & 0o040)


@contextmanager
def _partial(directory: Path, set_id: str) -> Iterator[Path]:
    work = directory / f"{PARTIAL_PREFIX}{set_id}-{os.getpid()}"
    try:
        work.mkdir(mode=0o700)
    except OSError as error:
        raise BackupError(
            f"The backup directory {directory} can't be written: {error.strerror}",
            remedy="create the directory first, and let this user write to it",
        ) from error
    try:
        yield work
    except psycopg.Error as error:
        raise BackupError(
            f"No backup was taken: {str(error).strip()}",
            remedy="check the database's name, and that the role may connect and read everything",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)  # after success the name is gone already


@contextmanager
def _envelope(
    source: BackupSource, directory: Path, set_id: str, staging: Path | None
) -> Iterator[Envelope | None]:
    access = source.vault
    if access is None or access.recipient is None:
        yield None
        return
    with staging_directory(staging) as stage:
        if stage.resolve().is_relative_to(directory.resolve()):
            raise BackupError(
                f"The staging directory {stage} lies in the backup directory",
                remedy="name another directory for temporary files: plain text must not get among the backups",
            )
        from smos.vault.datakey import new_data_key  # with its clients: only where there is a Vault

        escrow = parse_recipient(access.recipient)
        key, wrapped = new_data_key(access.endpoint, access.credential, access.transit_key)
        facts = Encryption(wrapped_key=wrapped, transit_key=access.transit_key, escrow_recipient=str(escrow))
        yield Envelope(key, escrow, facts, set_id, stage)


def _database(source: BackupSource, name: str, work: Path, clock: Clock, jobs: int) -> DatabaseEntry:
    endpoint, installation = _postgres(source)
    folder = work / "databases" / name
    folder.parent.mkdir(exist_ok=True)

    def connect() -> psycopg.Connection:
        return psycopg.connect(endpoint.conninfo(name), autocommit=False)

    with connect() as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = holder.execute(
            "SELECT pg_export_snapshot(), pg_database_size(current_database()), current_setting('server_version_num')"
        ).fetchone()
        if row is None:
            raise BackupError(f"{name}: the server exported no snapshot")
        snapshot, size, version = str(row[0]), int(row[1]), int(row[2])
        at = clock.now()
        workers = jobs if size > PARALLEL_DUMP_BYTES else 1
        dump = subprocess.Popen(
            [
                installation.tool("pg_dump"),
                *("--format=directory", "--compress=0", "--no-password", f"--jobs={workers}"),
                *(f"--snapshot={snapshot}", f"--file={folder}", f"--dbname={endpoint.conninfo(name)}"),
            ],
            env={**os.environ, **endpoint.env()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            content = read_content(connect, snapshot=snapshot, jobs=workers)
            _, complaint = dump.communicate()
        finally:
            if dump.poll() is None:
                dump.kill()
                dump.wait()
        if dump.returncode:
            raise BackupError(f"pg_dump of {name} failed", log=complaint.decode(errors="replace")[-2000:])
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(compress_data, sorted(path for path in folder.glob("*.dat") if path.name != "toc.dat")))
    return DatabaseEntry(
        name=name,
        directory=f"databases/{name}",
        server_version_num=version,
        dump_version=installation.version,
        snapshot_at=at,
        lsn=content.lsn,
        heartbeat_at=content.heartbeat_at,
        content=content.to_json(),
    )


def _globals(source: BackupSource, work: Path) -> tuple[dict[str, object], str | None, str | None]:
    if not source.postgres:
        return {}, None, None
    endpoint, installation = _postgres(source)
    path = work / "globals.sql.zst"
    with path.open("wb") as file, zstandard.ZstdCompressor(level=ZSTD_LEVEL).stream_writer(file) as sink:
        dump = subprocess.Popen(
            [
                installation.tool("pg_dumpall"),
                *("--globals-only", "--no-password", f"--dbname={endpoint.conninfo('postgres')}"),
            ],
            env={**os.environ, **endpoint.env()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, complaint = dump.communicate()
        if dump.returncode:
            raise BackupError(
                "pg_dumpall --globals-only failed", log=complaint.decode(errors="replace")[-2000:]
            )
        sink.write(out)
    with psycopg.connect(endpoint.conninfo("postgres")) as connection:
        roles = read_roles(connection)
        row = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    return roles, str(row[0]) if row else None, path.name


def _volume(name: str, root: Path, work: Path) -> VolumeEntry:
    folder = work / "volumes"
    folder.mkdir(exist_ok=True)
    archive, entries = folder / f"{name}.tar.zst", folder / f"{name}.jsonl.zst"
    summary = create_volume_archive(root, name, archive, entries, level=ZSTD_LEVEL)
    return VolumeEntry(
        name=name,
        archive=f"volumes/{archive.name}",
        entries=f"volumes/{entries.name}",
        files=summary.files,
        bytes=summary.bytes,
    )


def _vault(source: BackupSource, work: Path, clock: Clock) -> VaultEntry | None:
    access = source.vault
    if access is None:
        return None
    from smos.vault.snapshot import take_snapshot

    return take_snapshot(
        access.endpoint,
        access.credential,
        work / "vault",
        kv_mount=access.kv_mount,
        transit_key=access.transit_key,
        clock=clock,
    )


def _postgres(source: BackupSource) -> tuple[PostgresEndpoint, PostgresInstallation]:
    if source.postgres is None or source.installation is None:
        raise BackupError(
            "Databases are to be backed up, but no PostgreSQL is given",
            remedy="give the source's address and an installation whose pg_dump is not older than the server",
        )
    return source.postgres, source.installation


def compress_data(path: Path) -> None:
    """Replace `x.dat` by `x.dat.zst`: what pg_dump itself writes where it is built with zstd."""
    target = path.with_name(path.name + ".zst")
    with path.open("rb") as reader, target.open("wb") as writer:
        zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True, write_checksum=True).copy_stream(
            reader, writer, size=path.stat().st_size
        )
    path.unlink()


def _artifact(work: Path, path: Path) -> Artifact:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
            size += len(block)
        _sync(file)
    return Artifact(path=path.relative_to(work).as_posix(), bytes=size, sha256=digest.hexdigest())


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        _sync(file)


def _sync(file: IO[bytes]) -> None:
    os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
