"""Physical backups without their source: parts that don't fit, files that lack, archives that others made."""

import bz2
import hashlib
import os
import stat
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smos.checks.pitr.content import judge_soundness
from smos.checks.pitr.exercise import judge
from smos.checks.pitr.strategy import recommendation
from smos.physical.agreement import MANY, PAGE, disagreements
from smos.physical.archive import read_archive
from smos.physical.barman import _backup, _spaces
from smos.physical.drill import END, MOMENT
from smos.physical.facts import AttemptFacts, Outcome, PreparedFacts
from smos.physical.fetch import Fetcher
from smos.physical.label import ManifestHead, read_label
from smos.physical.reasons import reason_in
from smos.physical.relations import Relation, judge_files, told_of
from smos.physical.repository import measured
from smos.physical.staging import restore_command
from smos.physical.store import BaseBackup, Form
from smos.physical.tools import _BAD_PAGE, Control
from smos.physical.wal import LONG_HEADER, segment_name
from smos.target import Limits, Objectives
from smos.verdict import Problem, Verdict
from tests.test_pitr import attempt, record

GIB = 1 << 30
TABLE = Relation(16400, "app", "orders", "r", "p", 3, True, "base/5/16400")
BLOCK = 8192


def codes(problems: object) -> list[str]:
    return [problem.code for problem in problems]  # type: ignore[attr-defined]


# --- files and catalogue -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relation", "sizes", "version", "expected"),
    [
        (TABLE, {"": 3 * BLOCK}, 170000, []),
        (TABLE, {}, 170000, ["relation-missing"]),
        (TABLE, {"": 2 * BLOCK}, 170000, ["relation-short"]),
        (TABLE, {"": 2 * BLOCK}, 180000, []),  # a restored dump brings relpages along
        (TABLE, {"": 3 * BLOCK + 1}, 170000, ["relation-short"]),
        (replace(TABLE, persistence="u"), {"": 0}, 170000, []),  # unlogged: empty after a recovery
        (replace(TABLE, oid=1259), {"": 0}, 170000, []),
        (replace(TABLE, kind="i"), {"": 0}, 180000, ["relation-short"]),
        (replace(TABLE, kind="i", ready=False, pages=0), {"": 0}, 180000, []),  # CREATE INDEX CONCURRENTLY broke off
        (TABLE, {"": GIB, ".1": 3 * BLOCK}, 170000, []),
        (TABLE, {"": GIB, ".1": 0, ".2": 0}, 170000, []),  # what a truncation leaves behind
        (TABLE, {"": GIB - BLOCK, ".1": BLOCK}, 170000, ["relation-short"]),
        (TABLE, {"": GIB, ".2": BLOCK}, 170000, ["relation-missing"]),
    ],
)  # fmt: skip
def test_a_file_that_the_catalogue_misses_is_told_from_one_that_may_be_as_it_is(
    relation: Relation, sizes: dict[str, int], version: int, expected: list[str]
) -> None:
    files = {f"{relation.path}{ending}": size for ending, size in sizes.items()}
    assert codes(judge_files([relation], files, GIB, BLOCK, version)) == expected


@pytest.mark.parametrize(
    ("bits", "blocks"),
    [
        (b"", 0),
        (bytes(BLOCK), 0),
        (bytes(24) + b"\x01" + bytes(BLOCK - 25), 1),
        (bytes(24) + b"\x03\x0f" + bytes(BLOCK - 26), 6),
        (bytes(24) + b"\xff\x40" + bytes(BLOCK - 26), 8),
        (bytes(BLOCK) + bytes(24) + b"\x04" + bytes(BLOCK - 25), 8168 * 4 + 2),
    ],
)
def test_the_last_block_that_a_visibility_map_speaks_of_is_found(bits: bytes, blocks: int) -> None:
    assert told_of(bits) == blocks


def test_a_page_that_is_cut_is_damage_and_no_gap_of_the_sandbox() -> None:
    assert _BAD_PAGE.search(
        'pg_checksums: error: could not read block 4 in file "base/1/2603": read 4376 of 8192'
    )
    assert not _BAD_PAGE.search('pg_checksums: error: could not open file "base/1/2603": Permission denied')


# --- the parts of one backup ---------------------------------------------------------------------------------------

LABEL = read_label("START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n")
MANIFEST = ManifestHead(
    files=1, bytes=1, system_identifier=7, label_moment=None, ranges=((1, 0x2000028, 0x2000120),)
)
BACKUP = BaseBackup(id="b", form=Form.DIRECTORY, place=Path(), label=LABEL, manifest=MANIFEST)
CONTROL = Control(
    system_identifier=7, state="in production", checksums=True, prepared=0, locks=64, wal_level="replica",
    redo=0x2000028, next_xid=900, oldest_xid=720, next_multi=1, oldest_multi=1,
)  # fmt: skip


def cluster(place: Path, xact: bytes | None = b"\x55" * PAGE, control: int = 8192) -> Path:
    for folder in ("global", "pg_xact", "pg_multixact/offsets"):
        (place / folder).mkdir(parents=True)
    (place / "global" / "pg_control").write_bytes(bytes(control))
    if xact is not None:
        (place / "pg_xact" / "0000").write_bytes(xact)
    return place


@pytest.mark.parametrize(
    ("backup", "control", "expected"),
    [
        (BACKUP, CONTROL, []),
        (BACKUP, replace(CONTROL, redo=0x2000100), []),  # a checkpoint while the backup ran
        (replace(BACKUP, manifest=None), replace(CONTROL, redo=0x9000000), []),
        (BACKUP, replace(CONTROL, redo=0x1000028), ["parts-mixed"]),  # the label is a later backup's
        (BACKUP, replace(CONTROL, redo=0x3000028), ["parts-mixed"]),  # the control file is a later backup's
        (BACKUP, replace(CONTROL, system_identifier=8), ["parts-mixed"]),
        (replace(BACKUP, manifest=replace(MANIFEST, ranges=((1, 0x1000028, 0x2000120),))), CONTROL, ["parts-mixed"]),
        (replace(BACKUP, manifest=replace(MANIFEST, ranges=((2, 0x2000060, 0x2000120), (1, 0x2000028, 0x2000060)))),
         CONTROL, []),  # a standby followed a promotion while the backup ran
    ],
)  # fmt: skip
def test_label_control_file_and_manifest_must_be_of_one_backup(
    backup: BaseBackup, control: Control, expected: list[str], tmp_path: Path
) -> None:
    assert codes(disagreements(backup, control, cluster(tmp_path))) == expected


@pytest.mark.parametrize(
    ("xact", "changes", "expected"),
    [
        (None, {}, ["xact-missing"]),
        (b"\x55" * (PAGE // 2), {}, ["xact-missing"]),
        (bytes(PAGE), {}, ["xact-blank"]),
        (bytes(PAGE), {"next_xid": 720 + MANY // 2}, []),  # so few may all be running
        (b"\x55" * 200 + bytes(PAGE - 200), {}, []),
        (b"\x55" * PAGE, {"next_xid": 40_000}, ["xact-missing"]),
        (
            b"\x55" * PAGE,
            {"next_xid": 40_000, "redo": 0x2000100},
            [],
        ),  # assigned while the backup ran, perhaps
        (b"\x55" * PAGE, {"next_multi": 5}, ["xact-missing"]),
        (b"\x55" * PAGE, {"oldest_xid": (1 << 32) - 10, "next_xid": 40}, ["xact-missing"]),  # wrapped around
    ],
)
def test_statuses_of_transactions_that_must_be_there_are_missed(
    xact: bytes | None, changes: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    assert codes(disagreements(BACKUP, replace(CONTROL, **changes), cluster(tmp_path, xact))) == expected


def test_a_hostile_backup_makes_nobody_wait_for_its_statuses(tmp_path: Path) -> None:
    """A control file may claim any range, and a FIFO or a device may lie where a file of statuses should."""
    data = cluster(tmp_path)
    claimed = replace(CONTROL, oldest_multi=1, next_multi=(1 << 32) - 1)
    assert set(codes(disagreements(BACKUP, claimed, data))) == {"xact-missing"}
    (data / "pg_xact" / "0000").unlink()
    os.mkfifo(data / "pg_xact" / "0000")
    assert codes(disagreements(BACKUP, CONTROL, data)) == ["backup-unread"]
    (data / "pg_xact" / "0000").unlink()
    (data / "pg_xact" / "0000").symlink_to("/dev/zero")
    assert codes(disagreements(BACKUP, CONTROL, data)) == ["backup-unread"]


def test_a_control_file_of_the_wrong_size_is_damaged(tmp_path: Path) -> None:
    assert codes(disagreements(BACKUP, CONTROL, cluster(tmp_path, control=6851))) == ["control-damaged"]


@pytest.mark.parametrize(
    ("strange", "expected"),
    [
        (lambda data: (data / "pg_tblspc" / "16400").symlink_to(data.parent / "space-0"), []),
        (lambda data: (data / "pg_tblspc" / "16400").symlink_to("/usr"), ["link-refused"]),
        (lambda data: (data / "pg_tblspc" / "16400").symlink_to(data), ["link-refused"]),
        (lambda data: (data / "pg_tblspc" / "16400").symlink_to(data.parent / "gone"), ["tablespace-missing"]),
        (lambda data: (data / "pg_wal").symlink_to("/srv"), ["link-refused"]),
        (lambda data: (data / "log").symlink_to("global"), []),
        (lambda data: os.mkfifo(data / "backup_manifest"), ["entry-refused"]),
        (lambda data: os.mkfifo(data.parent / "space-0" / "PG_15"), []),  # nothing leads there
    ],
)  # fmt: skip
def test_what_a_tool_restored_leads_nowhere_else_and_holds_files_alone(
    strange: Callable[[Path], object], expected: list[str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for folder in ("data/global", "data/pg_tblspc", "space-0"):
        (tmp_path / folder).mkdir(parents=True)
    (data / "global" / "pg_control").write_bytes(bytes(20))
    strange(data)
    found = measured(data, 1.0)
    assert codes(found.problems) == expected
    linked = (data / "pg_tblspc" / "16400").is_symlink() and not expected
    assert found.spaces == ({"16400": tmp_path / "space-0"} if linked else {})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.symlink_to("/dev/zero"), "backup-unread"),
        (os.mkfifo, "backup-unread"),
        (lambda path: path.write_text(f"status=DONE\nbackup_label={'-' * 100_000}1\n"), "label-damaged"),
        (lambda path: path.write_text("status=FAILED\n"), "tool-backup-failed"),
    ],
)
def test_a_hostile_description_of_a_barman_backup_is_told_and_waits_for_nobody(
    make: Callable[[Path], object], expected: str, tmp_path: Path
) -> None:
    make(tmp_path / "backup.info")
    backup = _backup(tmp_path / "backup.info")
    assert codes(backup.problems) == [expected]
    assert _spaces(backup) == ()


# --- archives of others --------------------------------------------------------------------------------------------


def test_a_segment_whose_compressed_blocks_are_large_is_read_all_the_same(tmp_path: Path) -> None:
    """Of bzip2's blocks nothing can be told before they end: 4 KiB of the file are not enough."""
    size = 1 << 20
    head = struct.pack("=HHIQIxxxxQII", 0xD110, LONG_HEADER, 1, 5 * size, 0, 77, size, 8192)
    data = (
        head
        + b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(6250))
        + bytes(size - len(head) - 200_000)
    )
    (tmp_path / f"{segment_name(1, 5, size)}.bz2").write_bytes(bz2.compress(data))
    archive = read_archive(tmp_path)
    assert archive.problems == ()
    assert (archive.segment_bytes, archive.segments[0].system_identifier) == (size, 77)


def test_what_an_encrypted_archive_holds_is_asked_of_its_tool_and_no_more_than_needed(tmp_path: Path) -> None:
    size = 4 << 20
    asked: list[str] = []
    for number in range(3, 9):
        (tmp_path / f"{segment_name(1, number, size)}-{'a' * 40}.bz2").write_bytes(b"Salted__" + bytes(100))
    (tmp_path / "00000002.history").write_bytes(b"Salted__" + bytes(40))

    def opened(relative: str) -> bytes:
        asked.append(relative)
        if relative.endswith(".history"):
            return b"1\t0/2000500\tno recovery target specified\n"
        number = int(relative[16:24], 16)
        return bz2.compress(
            struct.pack("=HHIQIxxxxQII", 0xD110, LONG_HEADER, 1, number * size, 0, 77, size, 8192)
        )

    archive = read_archive(tmp_path, opened=opened)
    assert archive.problems == ()
    assert archive.segment_bytes == size
    assert archive.histories == {2: ((1, 0x2000500),)}
    assert len(asked) == 3

    def refused(_relative: str) -> bytes:
        raise OSError("no")

    seen = codes(read_archive(tmp_path, opened=refused).problems)
    assert set(seen) == {"timeline-history-damaged", "wal-unread"}


def test_a_segment_from_a_read_only_archive_can_be_written_by_the_server(tmp_path: Path) -> None:
    archive, data = tmp_path / "it's", tmp_path / "data"
    archive.mkdir()
    data.mkdir()
    (archive / "segment").write_bytes(b"a")
    (archive / "segment").chmod(0o444)
    command = restore_command(archive).replace("%f", "segment").replace("%p", "copy")
    assert subprocess.run(["sh", "-c", command], cwd=data, check=False, timeout=60).returncode == 0
    assert (data / "copy").stat().st_mode & 0o200
    absent = restore_command(archive).replace("%f", "absent").replace("%p", "none")
    assert subprocess.run(["sh", "-c", absent], cwd=data, check=False, timeout=60).returncode != 0
    assert [path.name for path in data.iterdir()] == ["copy"]


# --- soundness -----------------------------------------------------------------------------------------------------


def test_soundness_is_not_proven_where_only_heartbeats_were_looked_at() -> None:
    seen = judge_soundness(record(attempt(END, 1, 2)))
    assert seen.verdict is Verdict.NOT_PROVEN
    assert codes(seen.findings) == ["integrity-not-checked"]
    looked = replace(attempt(END, 1, 2), inspected=True, pages_checked=True)
    assert judge_soundness(record(looked)).verdict is Verdict.PASS
    damaged = replace(looked, pages=(Problem("page-damaged", "x"),))
    assert judge_soundness(record(damaged)).verdict is Verdict.FAIL


def test_the_moment_is_judged_before_the_end() -> None:
    late = AttemptFacts(purpose=MOMENT, goal="m", time=None, backup="b", outcome=Outcome.LATE)
    end = replace(attempt(END, 1, 2), inspected=True, pages_checked=True)
    assert judge("PITR-05", record(end, late), None).verdict is Verdict.PASS  # type: ignore[arg-type]
    moment = replace(attempt(MOMENT, 1, time=2), inspected=True, pages=(Problem("page-damaged", "x"),))
    assert judge("PITR-05", record(end, moment), None).verdict is Verdict.FAIL  # type: ignore[arg-type]


# --- the recommendation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rpo_s", "rto_s", "expected"),
    [
        (7200, 60, "base backups as often as now are enough"),
        (1800, 60, "base backups with the archived log, as it is"),
        (60, 60, "receive the log while it is written"),
        (7200, 5, "the recovery itself takes too long"),
    ],
)
def test_the_way_of_keeping_backups_that_meets_the_objectives_is_named_with_its_cost(
    rpo_s: float, rto_s: float, expected: str
) -> None:
    """A backup an hour before the disaster, a heartbeat five minutes before it, ten seconds to recover."""
    prepared = PreparedFacts(
        backup="b", chain=("b",), major=18, verified_with="x", checksums=True, system_identifier=1, files=1, bytes=1,
        fetch_s=8.0, verify_s=0.0, combine_s=0.0, brought=(), problems=(), usable=True,
    )  # fmt: skip
    end = replace(attempt(END, 54, 55), replay_s=2.0)
    objectives = Objectives(rpo_hours=rpo_s / 3600, rto_hours=rto_s / 3600)
    judgement = judge("PITR-06", record(end, prepared=(prepared,)), objectives)
    lines = [finding.message for finding in judgement.findings if finding.code == "recommendation"]
    assert "up to 60.0 min would be lost" in lines[0]
    assert "5.0 min lost" in lines[1]
    assert "the log takes" in lines[1]
    assert "10.00 s (fetched in 8.00 s, log replayed in 2.00 s)" in lines[2]
    assert expected in lines[3]
    exceeded = {finding.code for finding in judgement.findings} & {"rto-exceeded", "rpo-exceeded"}
    assert exceeded == ({"rto-exceeded"} if rto_s < 10 else {"rpo-exceeded"} if rpo_s < 300 else set())


def test_a_recommendation_says_where_the_time_of_a_recovery_was_not_measured() -> None:
    lines = list(recommendation(record(), Objectives(), attempt(END, 54, 55), 60.0, None))
    assert "RTO 4.0 h, which was not measured," in lines[-1]


def test_a_machine_that_is_short_of_something_is_not_blamed_on_the_backup() -> None:
    log = "2026 [1] FATAL:  could not create shared memory segment: No space left on device\n"
    code, words = reason_in(log, "PostgreSQL ended")
    assert (code, "No space left" in words) == ("sandbox-short", True)
    end = AttemptFacts(
        purpose=END, goal="e", time=None, backup="b", outcome=Outcome.NOT_TRIED, code=code, detail=words
    )
    judgement = judge("PITR-02", record(end), Objectives())
    assert (judgement.verdict, codes(judgement.findings)) == (Verdict.NOT_PROVEN, ["log-not-replayed"])


def growing(status: os.stat_result) -> os.stat_result:
    """Return what is known of a file that was empty when it was opened."""
    return os.stat_result([*status[:6], 0, *status[7:10]])


@pytest.mark.parametrize("room", [1 << 20, 4 << 20])
def test_a_file_that_grows_while_it_is_fetched_is_copied_to_its_end_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "heap").write_bytes(os.urandom(2 << 20))
    fetcher = Fetcher(tmp_path, store, Limits(bytes=room), lambda _: None)
    truth = os.fstat
    monkeypatch.setattr(os, "fstat", lambda fd: growing(truth(fd)))
    fetched = fetcher.fetch(replace(BACKUP, place=store), "fetched")
    assert [problem.code for problem in fetched.problems] == ([] if room > 2 << 20 else ["limit-exceeded"])
    copied = (fetched.data / "heap").read_bytes()
    assert len(copied) <= room
    assert (copied == (store / "heap").read_bytes()) is (room > 2 << 20)


def test_a_file_that_became_something_else_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "heap").write_bytes(b"rows")
    fetcher = Fetcher(tmp_path, store, Limits(), lambda _: None)
    pipe = os.stat_result([stat.S_IFIFO, *store.stat()[1:10]])
    monkeypatch.setattr(os, "fstat", lambda _: pipe)
    fetched = fetcher.fetch(replace(BACKUP, place=store), "fetched")
    assert [problem.code for problem in fetched.problems] == ["backup-unread"]
    assert not (fetched.data / "heap").exists()
