"""Backup directories for the tests of smos.backup and smos.checks: real dumps, in every shape that is read."""

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import zstandard

from smos.backup.catalog import read_catalog
from smos.backup.facts import SetFacts
from smos.backup.inspect import complete_names, inspect_set
from smos.backup.manifest import Artifact, DatabaseEntry, Manifest, VaultEntry, VolumeEntry
from smos.backup.model import Catalog
from smos.backup.signing import generate_keypair, sign_manifest
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.target import Backups, Database, Limits, Schedule, Target, VaultTarget

NOW = datetime(2026, 11, 23, 11, 30, tzinfo=UTC)
SANTIAGO = ZoneInfo("America/Santiago")
DATABASES = ("smarteros", "n 8n")
VOLUMES = ("n8n_data", "odoo-web-data", "chatwoot-data")
SQL = """
CREATE TABLE orders (id int PRIMARY KEY, note text NOT NULL);
INSERT INTO orders SELECT i, md5(i::text) FROM generate_series(1, 400) AS i;
CREATE TABLE empty (id int);
CREATE VIEW dear AS SELECT * FROM orders WHERE id < 10;
SELECT lo_from_bytea(0, 'recording');
"""


@dataclass(frozen=True)
class Dumps:
    """What pg_dump and pg_dumpall of PostgreSQL 18 wrote.

    directory: {file name: bytes}, uncompressed. directories: the same for each of DATABASES.
    """

    all: bytes
    globals: bytes
    plain: bytes
    created: bytes
    custom: bytes
    tar: bytes
    directory: dict[str, bytes]
    directories: dict[str, dict[str, bytes]]
    schema_only: bytes
    empty: bytes


@cache
def dumps() -> Dumps:
    """Dump a real server once per process."""
    with Owner("test-backups") as owner, tempfile.TemporaryDirectory() as scratch:
        server = EmbeddedPostgres(owner, name="source", settings={"fsync": "off"}, memory=True)
        server.start()
        with psycopg.connect(server.endpoint.conninfo("postgres"), autocommit=True) as connection:
            connection.execute("CREATE ROLE app LOGIN")
            for name in (*DATABASES, "void"):
                connection.execute(f'CREATE DATABASE "{name}"')
        for name in DATABASES:
            with psycopg.connect(server.endpoint.conninfo(name)) as connection:
                connection.execute(SQL)

        def run(tool: str, *arguments: str) -> bytes:
            done = subprocess.run(
                [server.installation.tool(tool), *arguments],
                env=server.endpoint.env(),
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr.decode()
            return done.stdout

        base = f"--dbname={server.endpoint.conninfo('smarteros')}"
        cluster = f"--dbname={server.endpoint.conninfo('postgres')}"
        directories = {}
        for number, name in enumerate(DATABASES):
            folder = Path(scratch) / f"dir-{number}"
            run("pg_dump", "-Fd", "-Z0", f"--file={folder}", f"--dbname={server.endpoint.conninfo(name)}")
            directories[name] = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        result = Dumps(
            all=run("pg_dumpall", cluster, "--exclude-database=void"),
            globals=run("pg_dumpall", "--globals-only", cluster),
            plain=run("pg_dump", base),
            created=run("pg_dump", "--create", f"--dbname={server.endpoint.conninfo('n 8n')}"),
            custom=run("pg_dump", "-Fc", base),
            tar=run("pg_dump", "-Ft", base),
            directory=directories["smarteros"],
            directories=directories,
            schema_only=run("pg_dump", "--schema-only", base),
            empty=run("pg_dump", f"--dbname={server.endpoint.conninfo('void')}"),
        )
        server.stop()
    return result


def tar_of(members: dict[str, bytes], *, dot: bool = False) -> bytes:
    """Return a tar (GNU format) of directories and files, with members in the given order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        seen = set()
        if dot:
            member = tarfile.TarInfo("./")
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
        for name, data in members.items():
            parent = name.rpartition("/")[0]
            if parent and parent not in seen and parent != ".":
                seen.add(parent)
                member = tarfile.TarInfo(parent)
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def volume_tar(*names: str) -> bytes:
    return tar_of(
        {f"./{name}/file-{i}": (name * 40 * (i + 1)).encode() for name in names for i in range(3)}, dot=True
    )


def vault_snapshot() -> bytes:
    members = {"meta.json": b'{"Version":1}', "state.bin": bytes(range(256)) * 40}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in members.items())
    return gzip.compress(tar_of({**members, "SHA256SUMS": sums.encode()}), mtime=0)


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def stamp(at: datetime, zone: ZoneInfo = SANTIAGO) -> str:
    return at.astimezone(zone).strftime("%Y%m%d_%H%M%S")


def write(path: Path, data: bytes, *, sidecar: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if sidecar:
        path.with_name(path.name + ".sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")
    return path


def flat_set(directory: Path, at: datetime, *, sidecars: bool = True) -> str:
    """Write what the old scripts write, with hash lists; return the stamp."""
    text = stamp(at)
    write(directory / f"postgres-{text}.sql.gz", gz(dumps().all), sidecar=sidecars)
    write(directory / f"volumes-{text}.tar.gz", gz(volume_tar(*VOLUMES)), sidecar=sidecars)
    return text


def own_set(directory: Path, at: datetime, key: Path | None = None) -> Path:
    """Write one set of our own layout, by hand: the reader is not tested with the writer's own mistakes."""
    root = directory / f"smos-{at.astimezone(UTC):%Y%m%d_%H%M%S}"
    for name in DATABASES:
        for file, data in dumps().directories[name].items():
            if file.endswith(".dat") and file != "toc.dat":
                write(root / "databases" / name / f"{file}.zst", zst(data), sidecar=False)
            else:
                write(root / "databases" / name / file, data, sidecar=False)
    write(root / "globals.sql.zst", zst(dumps().globals), sidecar=False)
    for name in VOLUMES:
        members = {f"file-{i}": (name * 40).encode() for i in range(3)}
        write(root / "volumes" / f"{name}.tar.zst", zst(tar_of(members)), sidecar=False)
        lines = "".join(json.dumps({"path": path}) + "\n" for path in members)
        write(root / "volumes" / f"{name}.jsonl.zst", zst(lines.encode()), sidecar=False)
    write(root / "vault/raft.snap", vault_snapshot(), sidecar=False)
    write(root / "vault/canary.json", b'{"ciphertext": "vault:v1:x"}', sidecar=False)
    write_manifest(root, at, key)
    return root


def write_manifest(root: Path, at: datetime, key: Path | None = None) -> None:
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith("manifest.json")
    ]
    manifest = Manifest(
        schema=1,
        set_id=root.name,
        source="test",
        tool="test",
        started=at,
        finished=at + timedelta(minutes=1),
        system_identifier=None,
        globals_path="globals.sql.zst",
        databases=tuple(
            DatabaseEntry(
                name=name,
                directory=f"databases/{name}",
                server_version_num=180000,
                dump_version="18",
                snapshot_at=at,
                lsn="0/0",
                heartbeat_at=None,
                content={},
            )
            for name in DATABASES
        ),
        volumes=tuple(
            VolumeEntry(
                name=name,
                archive=f"volumes/{name}.tar.zst",
                entries=f"volumes/{name}.jsonl.zst",
                files=3,
                bytes=1,
            )
            for name in VOLUMES
        ),
        vault=VaultEntry(
            snapshot="vault/raft.snap", canary="vault/canary.json", version="2", policies=(), auth_roles=()
        ),
        artifacts=tuple(
            Artifact(
                path=path.relative_to(root).as_posix(),
                bytes=path.stat().st_size,
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            )
            for path in files
        ),
    )
    data = manifest.to_json()
    (root / "manifest.json").write_bytes(data)
    if key:
        (root / "manifest.json.sig").write_bytes(sign_manifest(data, key))


def history(
    directory: Path, kind: str, *, days: int = 7, now: datetime = NOW, key: Path | None = None
) -> None:
    """Write one set a day, the newest some hours before `now`, `days` + 1 of them."""
    directory.mkdir(exist_ok=True)
    for day in range(days, -1, -1):
        at = now - timedelta(days=day, hours=1)
        if kind == "flat":
            flat_set(directory, at)
        else:
            own_set(directory, at, key)


def keys(folder: Path) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    private, public = folder / "signing.pem", folder / "signing.pub"
    generate_keypair(private, public)
    return private, public


def make_target(directory: Path, **changes: object) -> Target:
    """Return a target that declares what the sets hold; the keys of `Backups` and `Target` may be overridden."""
    backups = {key: value for key, value in changes.items() if key in Backups.model_fields}
    rest = {key: value for key, value in changes.items() if key not in Backups.model_fields}
    values: dict[str, object] = {
        "schema": 1,
        "name": "test",
        "backups": Backups(
            **{"directory": directory, "schedule": Schedule(timezone="America/Santiago"), **backups}  # type: ignore[arg-type]
        ),
        "databases": tuple(Database(name=name) for name in DATABASES),
        "volumes": VOLUMES,
        "vault": None,
        "limits": Limits(),
    }
    return Target.model_validate({**values, **rest})


def with_vault(target: Target) -> Target:
    return target.model_copy(update={"vault": VaultTarget()})


def observe(target: Target) -> tuple[Catalog, tuple[SetFacts, ...]]:
    """Do what a drill does: list, inspect every set, complete the names."""
    directory = target.backups.directory
    assert directory is not None
    catalog = read_catalog(directory, timezone=target.backups.schedule.timezone, volumes=target.volumes)
    sets = tuple(inspect_set(directory, item, target=target) for item in catalog.sets)
    return complete_names(catalog, sets), sets


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, symlinks=True)
    return target
