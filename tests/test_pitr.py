"""Physical backups: the archive program, what is read from files, hostile backups, another major version."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from smos.checks.pitr import CHECKS, words
from smos.checks.pitr.exercise import judge
from smos.checks.pitr.isolation import judge_isolation
from smos.checks.pitr.moments import judge_moment
from smos.clock import SystemClock
from smos.errors import ProvisionError, SmosError
from smos.faults.pitr import log
from smos.faults.pitr.kinds import Kind
from smos.faults.pitr.pages import PAGE, page_checksum
from smos.faults.pitr.workspace import Stock, workspace
from smos.physical import archive_wal, observe
from smos.physical.archive import read_archive
from smos.physical.choose import choose_moment
from smos.physical.coverage import cover
from smos.physical.drill import END, MOMENT, Drill
from smos.physical.facts import (
    ArchiveFacts,
    AttemptFacts,
    BackupFacts,
    DatabaseFacts,
    Known,
    Outcome,
    PitrRecord,
    SurveyFacts,
)
from smos.physical.label import LabelError, read_label, read_manifest_head, read_moment
from smos.physical.plain import PlainStore
from smos.physical.run import drill_target
from smos.physical.sandbox import GuardedEndpoint
from smos.physical.wal import lsn_number, read_history, segment_name, split_name
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import find_installations
from smos.provision.owner import Owner
from smos.selftest.pitr import DIRECTORY, PitrMaterial, prepare
from smos.target import Limits, Objectives, parse_target
from smos.verdict import Verdict

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


# --- the archive program -------------------------------------------------------------------------------------------


def run_archiver(source: Path, destination: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-S", archive_wal.__file__, str(source), str(destination)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_archive_program_keeps_what_is_there_and_succeeds_only_for_the_same(tmp_path: Path) -> None:
    source, destination = tmp_path / "segment", tmp_path / "archive" / "000000010000000000000001"
    destination.parent.mkdir()
    source.write_bytes(b"a" * 3_000_000)
    assert run_archiver(source, destination).returncode == 0
    assert destination.read_bytes() == source.read_bytes()
    assert (
        run_archiver(source, destination).returncode == 0
    )  # the server repeats what it did not see answered
    source.write_bytes(b"b" * 3_000_000)
    refused = run_archiver(source, destination)
    assert refused.returncode == 1
    assert "another content" in refused.stderr
    assert destination.read_bytes() == b"a" * 3_000_000
    assert [path.name for path in destination.parent.iterdir()] == [
        destination.name
    ]  # nothing half-made is left


def test_the_archive_program_follows_no_link_and_says_why_it_failed(tmp_path: Path) -> None:
    source, link, outside = tmp_path / "segment", tmp_path / "link", tmp_path / "outside"
    source.write_bytes(b"a")
    link.symlink_to(outside)
    refused = run_archiver(source, link)
    assert refused.returncode == 1
    assert not outside.exists()
    assert run_archiver(tmp_path / "absent", tmp_path / "new").returncode == 1
    assert not (tmp_path / "new").exists()


def test_the_archive_program_works_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_args: object, **_more: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    source, destination = tmp_path / "segment", tmp_path / "archived"
    source.write_bytes(b"a")
    archive_wal.archive(str(source), str(destination))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archived", "segment"]
    source.write_bytes(b"b")
    with pytest.raises(FileExistsError):
        archive_wal.archive(str(source), str(destination))


# --- what is read from files ---------------------------------------------------------------------------------------


def test_positions_and_names_of_segments_are_read_in_both_directions() -> None:
    assert lsn_number("1/2000028") == (1 << 32) + 0x2000028
    assert segment_name(2, 0x104, 16 << 20) == "000000020000000100000004"
    assert split_name("000000020000000100000004", 16 << 20) == (2, 0x104)
    with pytest.raises(ValueError, match="no segment of"):
        split_name("0000000200000001000000FF", 1 << 30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23 09:00:00 -03", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("2026-11-23 12:00:00 GMT", NOW),
        ("2026-11-23 17:30:00 +0530", NOW),
        ("2026-11-23 12:00:00 CST", None),
        ("2026-13-23 12:00:00 UTC", None),
        ("soon", None),
    ],
)
def test_a_moment_is_believed_only_with_a_zone_that_means_one_thing(
    text: str, expected: datetime | None
) -> None:
    assert read_moment(text) == expected


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"Files": 3}', b"\xff", b'{"Files": [1], "WAL-Ranges": []}']
)
def test_what_is_no_manifest_is_refused_by_one_error(data: bytes) -> None:
    with pytest.raises(LabelError):
        read_manifest_head(data)


@pytest.mark.parametrize("text", ["", "START WAL LOCATION: x", "CHECKPOINT LOCATION: 0/1"])
def test_what_is_no_label_is_refused_by_one_error(text: str) -> None:
    with pytest.raises(LabelError):
        read_label(text)


@pytest.mark.parametrize("text", ["", "x\ty\n", "2\t0/1\n1\t0/2\n", "1\t0/5\n2\t0/1\n", "\0" * 40])
def test_what_is_no_history_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_history(text)


def test_the_largest_stretch_without_a_gap_is_followed_over_a_switch_of_timelines(tmp_path: Path) -> None:
    size = 16 << 20
    for timeline, number in ((1, 1), (1, 2), (2, 2), (2, 3), (2, 5)):
        (tmp_path / segment_name(timeline, number, size)).write_bytes(bytes(100))
    (tmp_path / "00000002.history").write_text("1\t0/2000500\tno recovery target specified\n")
    archive = read_archive(tmp_path)
    found = cover(archive, start_lsn=0x1000028, timeline=1)
    assert (found.timeline, found.last_name) == (2, segment_name(2, 3, size))
    assert found.missing == (segment_name(2, 4, size),)
    (tmp_path / "00000002.history").unlink()
    assert cover(read_archive(tmp_path), start_lsn=0x1000028, timeline=1).last_name == segment_name(
        1, 2, size
    )


def test_a_name_that_claims_a_place_far_away_costs_no_time(tmp_path: Path) -> None:
    for name in ("000000010000000000000001", "00000001FFFFFFFF000000FF"):
        (tmp_path / name).write_bytes(bytes(100))
    assert len(cover(read_archive(tmp_path), start_lsn=0x1000028, timeline=1).missing) == 10


# --- judges --------------------------------------------------------------------------------------------------------


def record(*attempts: AttemptFacts, live: bool = True, **more: object) -> PitrRecord:
    backup = BackupFacts(
        id="b", form="directory", major=18, started=NOW, start="0/2000028", timeline=1, parent="", manifest=True,
        system_identifier=1, covered_to="000000010000000000000009", missing=(), problems=(),
    )  # fmt: skip
    archive = ArchiveFacts(
        directory="/wal", there=True, segments=9, bytes=9, segment_bytes=1, timelines=(1,), newest_timeline=1,
        strangers=(), problems=(),
    )  # fmt: skip
    survey = SurveyFacts(
        kind="plain", place="/b", backups=(backup,), archive=archive, uncovered=(), problems=()
    )
    known = Known(disaster=NOW + timedelta(hours=1), live=live)
    return PitrRecord(survey=survey, known=known, attempts=attempts, **more)  # type: ignore[arg-type]


def beats(*minutes: float) -> tuple[DatabaseFacts, ...]:
    return (DatabaseFacts(name="shop", heartbeats=tuple(NOW + timedelta(minutes=item) for item in minutes)),)


def attempt(purpose: str, *minutes: float, time: float | None = None) -> AttemptFacts:
    return AttemptFacts(
        purpose=purpose, goal=purpose, time=None if time is None else NOW + timedelta(minutes=time), backup="b",
        outcome=Outcome.RECOVERED, databases=beats(*minutes), settings={"archive_mode": "off"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("end", "moment", "expected"),
    [
        ((1, 2, 3, 4), (1, 2), ()),
        ((1, 2, 3, 4), (1,), ("target-undershot",)),
        ((1, 2, 3, 4), (1, 2, 3), ("target-overshot",)),
        ((1, 2), (1, 2), ("sandwich-open",)),  # nothing after it shows that it was not the end
        ((3, 4), (), ("sandwich-open",)),  # nothing between the backup and it
        ((-5, 3, 4), (-5,), ("sandwich-open",)),
        ((1, 2, 3), (), ("target-undershot",)),
    ],
)
def test_heartbeats_alone_show_whether_a_moment_was_met(
    end: tuple[float, ...], moment: tuple[float, ...], expected: tuple[str, ...]
) -> None:
    judgement = judge_moment(record(attempt("end", *end), attempt("moment", *moment, time=2.5)))
    assert tuple(finding.code for finding in judgement.findings) == expected
    assert judgement.verdict is (
        Verdict.PASS
        if not expected
        else Verdict.NOT_PROVEN
        if expected == ("sandwich-open",)
        else Verdict.FAIL
    )


def test_a_moment_is_chosen_between_two_heartbeats_after_the_backup() -> None:
    heartbeats = [NOW + timedelta(minutes=item) for item in range(-3, 8)]
    chosen = choose_moment(heartbeats, NOW)
    assert chosen is not None
    assert NOW + timedelta(minutes=3) < chosen < NOW + timedelta(minutes=5)
    assert choose_moment(heartbeats[:5], NOW) is None
    assert choose_moment([], None) is None


def test_what_a_running_source_writes_is_no_alarm_and_what_a_sandbox_would_write_is() -> None:
    new = "/wal/00000001000000000000000A"
    assert (
        judge_isolation(record(attempt("moment"), added=(new,), compared_entries=1)).verdict is Verdict.PASS
    )
    for path in ("/wal/00000002.history", "/wal/00000002000000000000000A", "/wal/other"):
        seen = judge_isolation(record(attempt("moment"), added=(path,), compared_entries=1))
        assert [finding.code for finding in seen.findings] == ["archive-written"]
    seen = judge_isolation(record(attempt("moment"), live=False, added=(new,), compared_entries=1))
    assert seen.verdict is Verdict.FAIL
    assert judge_isolation(record(attempt("moment"))).verdict is Verdict.NOT_PROVEN  # nothing was compared


def test_nothing_that_was_not_observed_is_green() -> None:
    for check in CHECKS:
        assert judge(check.id, record(), Objectives()).verdict is not Verdict.PASS, check.id


def test_every_code_of_a_finding_is_documented() -> None:
    text = (ROOT / "docs" / "pitr.md").read_text(encoding="utf-8")
    assert [code for code in (*words.FAILS, *words.UNPROVEN) if f"`{code}`" not in text] == []


def test_a_target_names_its_physical_backups_with_paths_from_its_own_folder_and_a_zone() -> None:
    data = {"name": "p", "physical": {"path": "base", "moment": "2026-11-23T09:00:00-03:00"}}
    physical = parse_target(data, origin="test").physical
    assert physical is not None
    assert physical.moment == NOW
    with pytest.raises(Exception, match=r"physical\.moment"):
        parse_target({"name": "p", "physical": {"path": "b", "moment": "2026-11-23T09:00:00"}}, origin="test")


# --- real servers --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> PitrMaterial:
    return prepare(tmp_path_factory.mktemp("pitr") / "source", SystemClock())


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("tests-pitr") as owner:
        yield owner


def test_a_hostile_backup_runs_nothing_and_is_recovered_all_the_same(
    material: PitrMaterial, owner: Owner
) -> None:
    with workspace(Stock(owner, material)) as work:
        canary = owner.directory("canary") / "touched"
        touch = f"touch {canary}"
        commands = ("archive_command", "restore_command", "recovery_end_command", "archive_cleanup_command")
        text = "".join(f"{name} = '{touch}'\n" for name in commands)
        text += f"archive_mode = 'always'\nssl = 'on'\nssl_passphrase_command = '{touch}'\nlisten_addresses = '*'\n"
        text += "shared_preload_libraries = 'auto_explain'\nprimary_conninfo = 'host=192.0.2.1'\n"
        for name in ("postgresql.auto.conf", "postgresql.conf", "recovery.conf"):
            (work.backup() / name).write_text(text)
        (work.backup() / "standby.signal").touch()
        (work.backup() / "pg_hba.conf").write_text("host all all all trust\n")
        work.rehash()
        record_ = work.drill([check.id for check in CHECKS])
        for check in ("PITR-03", "PITR-05", "PITR-07", "PITR-08"):
            judgement = judge(check, record_, work.objectives)
            assert judgement.verdict is Verdict.PASS, judgement.findings
        assert not canary.exists()
        assert "restore_command" in record_.prepared[0].brought


def test_a_recovery_after_the_last_one_starts_from_the_backup_and_not_from_what_that_one_left(
    material: PitrMaterial, owner: Owner
) -> None:
    place = Stock(owner, material).store(Kind.DIRECTORY)
    with owner.passing():
        store = PlainStore(owner, place, place / "wal", Limits())
        made = Drill(owner, store, material.question(), SystemClock())
        end = made.recover(END, last=True)
        assert end.destroyed
        moment = made.recover(MOMENT)
        assert (end.outcome, moment.outcome) == (Outcome.RECOVERED, Outcome.RECOVERED)
        assert {"before", "after"} <= {mark for item in end.databases for mark in item.markers}
        assert "after" not in {mark for item in moment.databases for mark in item.markers}
        record = made.record()
    assert [item.backup for item in record.prepared] == [DIRECTORY]
    assert (record.changed, record.gone, record.added) == ((), (), ())


def test_what_a_passing_work_made_is_gone_at_its_end_and_what_was_there_stays(owner: Owner) -> None:
    stays = owner.directory("stays")

    def fails() -> None:
        with owner.passing():
            made.append(owner.directory("goes"))
            made.append(owner.socket_directory("goes-too"))
            (made[0] / "file").touch()
            with pytest.raises(ProvisionError, match="has not ended"), owner.passing():
                pass
            raise KeyError

    made: list[Path] = []
    with pytest.raises(KeyError):
        fails()
    assert len(made) == 2
    assert not any(path.exists() for path in made)
    assert stays.is_dir()
    with owner.passing():  # and the next one is let in
        pass


def test_where_no_moment_can_be_recovered_the_end_is_looked_into(
    material: PitrMaterial, owner: Owner
) -> None:
    with workspace(Stock(owner, material)) as work:
        work.ask(moment=material.moment - timedelta(days=1), known_before=(), known_after=())
        record_ = work.drill(["PITR-05"])
        end, moment = record_.attempt("end"), record_.attempt("moment")
        assert end is not None
        assert moment is not None
        assert moment.outcome is Outcome.REFUSED
        assert end.inspected
        assert end.pages_checked
        assert {"template0", "template1", "shop"} <= {item.name for item in end.databases}
        assert judge("PITR-05", record_, work.objectives).verdict is Verdict.PASS


def test_a_page_checksum_is_computed_as_postgresql_does(material: PitrMaterial) -> None:
    path = next((material.place / DIRECTORY / "base" / "1").glob("1259"))
    page = path.read_bytes()[:PAGE]
    assert page_checksum(page, 0) == int.from_bytes(page[8:10], sys.byteorder)


def test_backups_of_postgresql_15_are_drilled_by_postgresql_15(owner: Owner, tmp_path: Path) -> None:
    installation = next((one for one in find_installations() if one.major in {15, 16}), None)
    if installation is None:
        pytest.skip("no PostgreSQL 15 or 16 here")
    older = prepare(tmp_path / "source", SystemClock(), installation=installation)
    assert not older.incremental
    for kind in (Kind.DIRECTORY, Kind.TAR):
        with workspace(Stock(owner, older)) as work:
            work.use(kind)
            record_ = work.drill([check.id for check in CHECKS])
            assert record_.prepared[0].major == installation.major
            seen = {check.id: judge(check.id, record_, work.objectives) for check in CHECKS}
            assert [
                (name, item.findings) for name, item in seen.items() if item.verdict is not Verdict.PASS
            ] == []


def test_what_a_database_of_the_backup_asks_to_load_is_not_loaded(owner: Owner) -> None:
    with psycopg_server(owner) as server:
        plain = server.endpoint
        with psycopg.connect(plain.conninfo(), autocommit=True) as connection:
            connection.execute("ALTER DATABASE postgres SET session_preload_libraries = 'hostile'")
        with pytest.raises(psycopg.OperationalError, match="hostile"):
            psycopg.connect(plain.conninfo())
        guarded = GuardedEndpoint(
            host=plain.host, port=plain.port, superuser=plain.superuser, version_num=plain.version_num
        )
        with psycopg.connect(guarded.conninfo()) as connection:
            assert connection.execute("SHOW session_preload_libraries").fetchone() == ("",)


def test_what_a_role_of_the_backup_asks_for_changes_nothing_and_its_triggers_and_functions_run_nothing(
    owner: Owner,
) -> None:
    """Before PostgreSQL 17 no setting turns event triggers off, and installing amcheck fires them."""
    with psycopg_server(owner) as server:
        plain = server.endpoint
        with psycopg.connect(plain.conninfo(), autocommit=True) as connection:
            for statement in HOSTILE:
                connection.execute(statement)
        older = GuardedEndpoint(
            host=plain.host, port=plain.port, superuser=plain.superuser, version_num=160000
        )
        observe._silence(older, "postgres")
        with psycopg.connect(older.conninfo(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION amcheck SCHEMA pg_catalog")
            connection.execute("SELECT to_regclass('smos.heartbeat'), now()").fetchone()
            assert connection.execute("SHOW zero_damaged_pages").fetchone() == ("off",)
            assert connection.execute("SELECT current_user").fetchone() == (plain.superuser,)
            assert connection.execute("SELECT count(*) FROM evil.ran").fetchone() == (0,)
            assert not observe._has(connection, "evil.beats", "at", "timestamptz")
            assert observe._has(connection, "evil.ran", "at", "timestamptz")


HOSTILE = (
    b"CREATE SCHEMA evil",
    b"CREATE TABLE evil.ran (at timestamptz)",
    b"CREATE TABLE evil.beats (at text)",
    (
        b"CREATE FUNCTION evil.fired() RETURNS event_trigger LANGUAGE plpgsql"
        b" AS 'BEGIN INSERT INTO evil.ran VALUES (now()); END'"
    ),
    (
        b"CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql"
        b" AS 'INSERT INTO evil.ran VALUES (pg_catalog.now()) RETURNING at'"
    ),
    b"CREATE ROLE weak",
    b"ALTER ROLE postgres SET search_path = evil, pg_catalog",
    b"ALTER ROLE postgres SET DateStyle = 'SQL, DMY'",
    b"ALTER ROLE postgres SET zero_damaged_pages = on",
    b"ALTER ROLE postgres SET role = weak",
    b"CREATE EVENT TRIGGER always ON ddl_command_start EXECUTE FUNCTION evil.fired()",
    b"ALTER EVENT TRIGGER always ENABLE ALWAYS",
)


def test_a_catalogue_that_lets_nobody_in_is_a_failed_recovery_and_not_a_long_wait(
    material: PitrMaterial, owner: Owner
) -> None:
    with workspace(Stock(owner, material)) as work:
        path = work.backup() / "base" / "1" / "1259"
        data = bytearray(path.read_bytes())
        data[4000:4100] = b"\xff" * 100
        path.write_bytes(data)
        work.rehash()
        judgement = work.exercise("PITR-02")
        assert [finding.code for finding in judgement.findings] == ["replay-failed"]
        assert judgement.verdict is Verdict.FAIL


def test_a_tree_without_end_is_listed_and_not_copied_and_a_part_says_nothing_of_the_whole(
    material: PitrMaterial, owner: Owner
) -> None:
    with workspace(Stock(owner, material)) as work:
        place = work.backup() / "base"
        deep = os.open(place, os.O_RDONLY)
        for _ in range(1100):  # deeper than Python's stack
            os.mkdir("d", dir_fd=deep)
            below = os.open("d", os.O_RDONLY, dir_fd=deep)
            os.close(deep)
            deep = below
        os.close(deep)
        codes = {finding.code for finding in work.exercise("PITR-01").findings}
        assert codes == {"entry-refused"}
        subprocess.run(["rm", "-rf", place / "d"], check=True, timeout=120)
        target = parse_target(
            {"name": "p", "physical": {"path": str(work.backup())}, "limits": {"bytes": 1 << 20}}, origin="t"
        )
        record_ = drill_target(owner, target, SystemClock(), ["PITR-01"])
        judgement = judge("PITR-01", record_, Objectives())
        assert judgement.verdict is Verdict.NOT_PROVEN  # our limit, and no word of missing files
        assert "limit-exceeded" in {finding.code for finding in judgement.findings}


@contextmanager
def psycopg_server(owner: Owner) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(owner, name="hostile", memory=True)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_a_fault_behind_the_backups_end_says_where_there_is_no_such_segment(tmp_path: Path) -> None:
    (tmp_path / DIRECTORY).mkdir()
    manifest = {"WAL-Ranges": [{"Timeline": 1, "Start-LSN": "0/1200028", "End-LSN": "0/1300100"}]}
    (tmp_path / DIRECTORY / "backup_manifest").write_text(json.dumps(manifest))
    segments = [tmp_path / f"0000000100000000{number:08X}" for number in (0x12, 0x13, 0x14, 0x15)]
    for path in segments:
        path.write_bytes(b"x")
    work: Any = SimpleNamespace(material=SimpleNamespace(place=tmp_path), needed=lambda: segments)
    with pytest.raises(SmosError, match="changes nothing"):
        log._fullest(work)
    segments.append(tmp_path / f"0000000100000000{0x16:08X}")
    assert log._fullest(work) == (segments[2], 1)
