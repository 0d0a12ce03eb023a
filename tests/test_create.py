"""Taking backups: atomic, standard formats, dates from the clock alone."""

import stat
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import zstandard

from smos.backup.coherence import contradictions
from smos.backup.create import BackupSource, create_backup
from smos.backup.manifest import MANIFEST_NAME, read_manifest
from smos.clock import ShiftedClock, SystemClock
from smos.errors import BackupError
from smos.postgres.fingerprint import DatabaseContent
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.selftest.source import fill_databases

DATABASES = ("smarteros", "n8n", "chatwoot", "botpress")


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    with Owner("test-create") as owner:
        server = EmbeddedPostgres(owner, name="source", settings={"fsync": "off"}, memory=True)
        server.start()
        fill_databases(server, DATABASES)
        yield server


def source_of(postgres: EmbeddedPostgres, *databases: str) -> BackupSource:
    return BackupSource(
        name="test", postgres=postgres.endpoint, installation=postgres.installation, databases=databases
    )


def test_a_backup_lists_every_file_it_wrote(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    path = create_backup(source_of(postgres, *DATABASES), tmp_path, clock=SystemClock())
    manifest = read_manifest(path)
    assert manifest is not None
    there = {item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file()}
    assert there == {artifact.path for artifact in manifest.artifacts} | {MANIFEST_NAME}
    assert {entry.name for entry in manifest.databases} == set(DATABASES)
    assert manifest.system_identifier


def test_dates_come_from_the_injected_clock(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    path = create_backup(
        source_of(postgres, "n8n"), tmp_path, clock=ShiftedClock(timedelta(days=-3), SystemClock())
    )
    manifest = read_manifest(path)
    assert manifest is not None
    assert timedelta(days=2, hours=23) < datetime.now(UTC) - manifest.started < timedelta(days=3, hours=1)
    assert manifest.started.strftime("smos-%Y%m%d_%H%M%S") == path.name


class SetBack:
    """A clock that runs, and is an hour behind from its third reading on: after the dump's snapshot was taken."""

    readings = 0

    def now(self) -> datetime:
        """Return the moment that it shows."""
        self.readings += 1
        return datetime.now(UTC) - timedelta(hours=1 if self.readings > 2 else 0)


def test_a_clock_that_is_set_back_ends_no_backup_before_it_was_read(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    clock = SetBack()
    manifest = read_manifest(create_backup(source_of(postgres, "n8n"), tmp_path, clock=clock))
    assert manifest is not None
    assert clock.readings > 2
    assert manifest.finished == manifest.databases[0].snapshot_at >= manifest.started
    assert contradictions(manifest) == ()


def test_the_manifest_lists_predefined_roles_that_became_members(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with psycopg.connect(postgres.endpoint.conninfo("postgres"), autocommit=True) as connection:
        connection.execute("CREATE ROLE seen_by_monitors")
        connection.execute("GRANT seen_by_monitors TO pg_monitor")
        try:
            manifest = read_manifest(create_backup(source_of(postgres, "n8n"), tmp_path, clock=SystemClock()))
        finally:
            connection.execute("DROP ROLE seen_by_monitors")
    assert manifest is not None
    assert manifest.roles["predefined_members"] is True
    given = [(item["role"], item["member"]) for item in manifest.roles["memberships"]]
    assert ("seen_by_monitors", "pg_monitor") in given
    assert not [pair for pair in given if all(name.startswith("pg_") for name in pair)], "initdb's own"


def test_an_interrupted_backup_leaves_nothing_that_looks_like_one(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    with pytest.raises(BackupError, match="nowhere"):
        create_backup(source_of(postgres, "n8n", "nowhere"), tmp_path, clock=SystemClock())
    assert list(tmp_path.iterdir()) == []


def test_the_data_files_are_what_zstd_and_pg_restore_understand(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    path = create_backup(source_of(postgres, "chatwoot"), tmp_path, clock=SystemClock())
    folder = path / "databases" / "chatwoot"
    listed = subprocess.run(
        [postgres.installation.tool("pg_restore"), "--list", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "TABLE DATA public messages" in listed.stdout
    for file in folder.glob("*.zst"):
        assert file.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"


def test_a_read_only_directory_is_one_clear_message(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="can't be written"):
        create_backup(source_of(postgres, "n8n"), tmp_path / "missing", clock=SystemClock())


@pytest.mark.parametrize(("of_directory", "of_set"), [(0o2750, 0o750), (0o0755, 0o700), (0o2700, 0o700)])
def test_a_group_that_the_directory_passes_on_may_read_the_set_and_others_may_not(
    postgres: EmbeddedPostgres, tmp_path: Path, of_directory: int, of_set: int
) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    backups.chmod(of_directory)
    path = create_backup(source_of(postgres, "n8n"), backups, clock=SystemClock())
    assert stat.S_IMODE(path.stat().st_mode) == of_set
    if of_directory == 0o2750:  # pg_dump makes its own folder 0700
        folders = {stat.S_IMODE(item.stat().st_mode) for item in path.rglob("*") if item.is_dir()}
        files = {stat.S_IMODE(item.stat().st_mode) for item in path.rglob("*") if item.is_file()}
        assert (folders, files) == ({0o750}, {0o640})


def test_dump_and_manifest_agree_while_others_write(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(postgres.endpoint.conninfo("botpress"), autocommit=True) as connection:
            while not stop.is_set():
                connection.execute(
                    "INSERT INTO events (bot_id, kind, span, payload) VALUES ('bot-1', 'meanwhile', 'empty', '{}')"
                )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        path = create_backup(source_of(postgres, "botpress"), tmp_path, clock=SystemClock())
    finally:
        stop.set()
        writer.join()
    manifest = read_manifest(path)
    assert manifest is not None
    promised = DatabaseContent.from_json(manifest.databases[0].content).tables["public.events"].rows
    rows = [
        zstandard.ZstdDecompressor().stream_reader(file.read_bytes()).read().count(b"\tbot-")
        for file in (path / "databases" / "botpress").glob("[0-9]*.dat.zst")
    ]
    assert promised == max(rows)
    assert promised >= 2000
