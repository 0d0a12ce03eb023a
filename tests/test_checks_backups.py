"""DR-01 and DR-02 on whole directories: pristine ones pass, and each fault F01 to F17 is seen."""

import base64
import gzip
import hashlib
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from smos.backup.manifest import Manifest
from smos.backup.state import compare_offsite, directory_state, state_changes
from smos.checks.dr.backup_rules import EXISTENCE, INTEGRITY
from smos.checks.dr.backups import judge_existence, judge_integrity
from smos.target import Schedule, Target
from smos.verdict import Judgement, Verdict
from tests._backup_kit import (
    DATABASES,
    NOW,
    SANTIAGO,
    VOLUMES,
    copy,
    dumps,
    flat_set,
    gz,
    history,
    keys,
    make_target,
    observe,
    stamp,
    volume_tar,
    with_vault,
    write,
    write_manifest,
    zst,
)

NEWEST = NOW - timedelta(hours=1)
DOCS = Path(__file__).parent.parent / "docs" / "findings-backups.md"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Eight daily sets of each kind, and the keys that the second kind is signed with."""
    base = tmp_path_factory.mktemp("pristine")
    private, public = keys(base / "keys")
    history(base / "flat", "flat")
    history(base / "own", "own", key=private)
    return {"flat": base / "flat", "own": base / "own", "private": private, "public": public}


@pytest.fixture(params=["flat", "own"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def backups(pristine: dict[str, Path], kind: str, tmp_path: Path) -> Path:
    """Copy the pristine directory, to be broken."""
    return copy(pristine[kind], tmp_path / "backups")


@pytest.fixture
def target(pristine: dict[str, Path], kind: str, backups: Path) -> Target:
    made = make_target(backups, manifest_public_key=pristine["public"] if kind == "own" else None)
    return with_vault(made) if kind == "own" else made


def found(judgement: Judgement) -> dict[str, Verdict]:
    return {
        finding.code: finding.verdict for finding in judgement.findings if finding.verdict is not Verdict.PASS
    }


def existence(target: Target, now: datetime = NOW) -> Judgement:
    return judge_existence(target, observe(target)[0], now)


def integrity(target: Target, changed: tuple[str, ...] = ()) -> Judgement:
    return judge_integrity(target, observe(target)[1], changed)


def newest(directory: Path, kind: str, what: str) -> Path:
    """Return the newest artifact of a kind: a dump, a volume archive."""
    if kind == "flat":
        prefix = {"dump": "postgres", "volume": "volumes"}[what]
        return directory / f"{prefix}-{stamp(NEWEST)}.{'sql' if what == 'dump' else 'tar'}.gz"
    root = directory / f"smos-{NEWEST:%Y%m%d_%H%M%S}"
    if what == "volume":
        return root / "volumes" / f"{VOLUMES[0]}.tar.zst"
    return max((root / "databases" / DATABASES[0]).glob("*.dat.zst"), key=lambda path: path.stat().st_size)


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def delete_set(directory: Path, kind: str, at: datetime) -> None:
    mark = stamp(at) if kind == "flat" else f"{at:%Y%m%d_%H%M%S}"
    victims = list(directory.glob(f"*{mark}*"))
    assert victims
    for path in victims:
        delete(path)


def test_pristine_backups_pass(target: Target) -> None:
    catalog, sets = observe(target)
    assert judge_existence(target, catalog, NOW).verdict is Verdict.PASS
    assert judge_integrity(target, sets, (), [item.id for item in catalog.sets]).verdict is Verdict.PASS
    assert len(sets) == 8


def test_judges_take_no_look_at_the_disk(target: Target, backups: Path) -> None:
    catalog, sets = observe(target)
    shutil.rmtree(backups)
    assert judge_existence(target, catalog, NOW).verdict is Verdict.PASS
    assert judge_integrity(target, sets).verdict is Verdict.PASS


# F01


def test_f01_a_missing_directory_is_not_proven(target: Target, backups: Path) -> None:
    shutil.rmtree(backups)
    assert found(existence(target)) == {"backup-directory-missing": Verdict.NOT_PROVEN}
    assert found(integrity(target)) == {"nothing-inspected": Verdict.NOT_PROVEN}


def test_f01_an_empty_directory_fails(target: Target, backups: Path) -> None:
    shutil.rmtree(backups)
    backups.mkdir()
    assert found(existence(target)) == {"no-backup": Verdict.FAIL}


def test_f01_unrelated_files_are_counted_and_are_no_backup(target: Target, backups: Path) -> None:
    shutil.rmtree(backups)
    backups.mkdir()
    for number in range(3):
        (backups / f"photo-{number}.jpg").write_bytes(b"\xff\xd8" + bytes(100))
    judgement = existence(target)
    assert found(judgement) == {"no-backup": Verdict.FAIL, "unknown-file": Verdict.NOT_PROVEN}
    assert "3 other files" in judgement.findings[0].message


def test_f01_a_missing_database_is_named(target: Target, backups: Path, kind: str) -> None:
    if kind == "flat":
        path = newest(backups, kind, "dump")
        write(path, gz(dumps().all.replace(b"\\connect smarteros\n", b"\\connect another\n")))
    else:
        delete(newest(backups, kind, "dump").parents[1] / "smarteros")
    judgement = existence(target)
    assert found(judgement)["missing-database"] is Verdict.FAIL
    message = next(item.message for item in judgement.findings if item.code == "missing-database")
    assert "smarteros" in message
    assert "n 8n" not in message


def test_f01_a_missing_volume_is_named(target: Target, backups: Path, kind: str) -> None:
    if kind == "flat":
        write(newest(backups, kind, "volume"), gz(volume_tar(*VOLUMES[1:])))
    else:
        delete(newest(backups, kind, "volume"))
    judgement = existence(target)
    assert found(judgement)["missing-volume"] is Verdict.FAIL
    assert VOLUMES[0] in next(item.message for item in judgement.findings if item.code == "missing-volume")


def test_f01_a_missing_vault_snapshot_fails(target: Target, backups: Path, kind: str) -> None:
    if kind == "own":
        delete(newest(backups, kind, "volume").parents[1] / "vault" / "raft.snap")
    assert found(existence(with_vault(target)))["missing-vault"] is Verdict.FAIL


def test_f01_what_a_file_holds_that_was_not_read_is_not_called_missing(
    target: Target, backups: Path, kind: str
) -> None:
    if kind == "own":
        return
    path = newest(backups, kind, "dump")
    data = b"age-encryption.org/v1\n" + os.urandom(5000)
    write(path, data)
    assert found(existence(target))["names-not-read"] is Verdict.NOT_PROVEN
    assert "missing-database" not in found(existence(target))


def test_f01_a_large_archive_is_judged_by_all_that_it_holds(target: Target, backups: Path, kind: str) -> None:
    """The catalog reads only the beginning; the volumes behind it count all the same."""
    if kind == "own":
        return
    members = {"n8n_data/big": os.urandom(3 << 20)} | {f"{name}/x": b"x" for name in VOLUMES[1:]}
    from tests._backup_kit import tar_of

    write(newest(backups, kind, "volume"), gz(tar_of(members)))
    assert "missing-volume" not in found(existence(target))
    write(newest(backups, kind, "volume"), gz(tar_of({"n8n_data/big": os.urandom(3 << 20)})))
    assert found(existence(target))["missing-volume"] is Verdict.FAIL


@pytest.mark.parametrize("derived", [True, False])
def test_f01_where_nobody_declared_anything_nothing_is_proven(target: Target, *, derived: bool) -> None:
    bare = target.model_copy(
        update={"derived": derived} if derived else {"databases": (), "volumes": (), "vault": None}
    )
    assert found(existence(bare)) == {"nothing-declared": Verdict.NOT_PROVEN}


# F02, F03, F04, F05


@pytest.mark.parametrize("day", [1, 3, 6])
def test_f02_a_missing_day_is_found(target: Target, backups: Path, kind: str, day: int) -> None:
    delete_set(backups, kind, NEWEST - timedelta(days=day))
    assert found(existence(target)) == {"gap-in-sequence": Verdict.FAIL}


def test_f02_a_gap_that_spans_no_whole_calendar_day_is_found(tmp_path: Path) -> None:
    # Every calendar day has a set, and yet 40 hours lie between two of them.
    for hours in (1, 25, 49, 89, 97, 121, 145, 169):
        flat_set(tmp_path, NOW - timedelta(hours=hours))
    assert found(existence(make_target(tmp_path))) == {"gap-in-sequence": Verdict.FAIL}


def test_f02_a_first_set_after_the_window_began_is_a_gap_when_there_is_an_older_one(tmp_path: Path) -> None:
    for day in (30, 3, 2, 1, 0):
        flat_set(tmp_path, NEWEST - timedelta(days=day))
    assert found(existence(make_target(tmp_path))) == {"gap-in-sequence": Verdict.FAIL}


def test_f02_a_young_installation_has_no_gap(tmp_path: Path) -> None:
    for day in (1, 0):
        flat_set(tmp_path, NEWEST - timedelta(days=day))
    assert existence(make_target(tmp_path)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "change",
    [datetime(2026, 4, 5, tzinfo=SANTIAGO), datetime(2026, 9, 6, 1, tzinfo=SANTIAGO)],
    ids=["25 hours", "23 hours"],
)
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "one missing"])
def test_f02_chiles_clock_changes_make_no_gap_and_hide_none(
    tmp_path: Path, change: datetime, *, missing: bool
) -> None:
    """At 02:00 local time every day, with a slack of a quarter of an hour only."""
    start = datetime(change.year, change.month, change.day, 2, tzinfo=SANTIAGO)
    for day in range(-4, 4):
        if missing and day == 0:
            continue
        at = (start.replace(tzinfo=None) + timedelta(days=day)).replace(tzinfo=SANTIAGO)
        flat_set(tmp_path, at.astimezone(UTC))
    schedule = Schedule(timezone="America/Santiago", slack_hours=0.25)
    now = (start.replace(tzinfo=None) + timedelta(days=3, hours=1)).replace(tzinfo=SANTIAGO).astimezone(UTC)
    verdicts = found(existence(make_target(tmp_path, schedule=schedule), now))
    assert verdicts == ({"gap-in-sequence": Verdict.FAIL} if missing else {})


def test_f02_an_hourly_schedule_is_held_to_its_hours(tmp_path: Path) -> None:
    for hour in (0, 1, 2, 5, 6):
        flat_set(tmp_path, NEWEST - timedelta(hours=hour))
    schedule = Schedule(timezone="America/Santiago", period_hours=1, slack_hours=0.5)
    assert "gap-in-sequence" in found(existence(make_target(tmp_path, schedule=schedule)))


def test_f03_a_stale_newest_set_fails_at_once(target: Target) -> None:
    assert existence(target, NEWEST + timedelta(hours=25, minutes=59)).verdict is Verdict.PASS
    assert found(existence(target, NEWEST + timedelta(hours=26, minutes=1))) == {"stale-backup": Verdict.FAIL}


def test_f03_file_times_do_not_make_a_stale_backup_fresh(target: Target, backups: Path) -> None:
    later = NEWEST + timedelta(hours=40)
    for path in backups.rglob("*"):
        os.utime(path, (later.timestamp(), later.timestamp()))
    assert found(existence(target, later)) == {"stale-backup": Verdict.FAIL}


def test_f03_an_old_set_under_a_new_name_fails(target: Target, backups: Path, kind: str) -> None:
    if kind == "flat":
        return
    delete_set(backups, kind, NEWEST)
    old = backups / f"smos-{NEWEST - timedelta(days=1):%Y%m%d_%H%M%S}"
    old.rename(backups / f"smos-{NEWEST:%Y%m%d_%H%M%S}")
    assert found(existence(target, NOW + timedelta(hours=4))) == {
        "stale-backup": Verdict.FAIL,
        "stamp-mismatch": Verdict.FAIL,
    }


def test_f03_a_date_without_a_time_is_not_proven_where_the_time_decides(tmp_path: Path) -> None:
    write(tmp_path / "postgres-2026-11-22.sql.gz", gz(dumps().all))
    write(tmp_path / "volumes-2026-11-22.tar.gz", gz(volume_tar(*VOLUMES)))
    target = make_target(tmp_path)
    midnight = datetime(2026, 11, 22, tzinfo=SANTIAGO)
    assert existence(target, midnight + timedelta(hours=25)).verdict is Verdict.PASS
    assert found(existence(target, midnight + timedelta(hours=30))) == {"stale-by-date": Verdict.NOT_PROVEN}
    assert found(existence(target, midnight + timedelta(hours=51))) == {"stale-backup": Verdict.FAIL}


def test_f04_a_stamp_in_the_future_fails_and_is_not_taken_for_the_newest(target: Target) -> None:
    assert existence(target, NEWEST - timedelta(minutes=9)).verdict is Verdict.PASS
    judgement = existence(target, NEWEST - timedelta(minutes=11))
    assert found(judgement) == {"future-stamp": Verdict.FAIL}
    assert judgement.facts["newest"] != max(item["id"] for item in judgement.facts["sets"])


def test_f04_only_future_stamps_are_no_current_backup(target: Target) -> None:
    assert found(existence(target, NOW - timedelta(days=30)))["no-current-backup"] is Verdict.FAIL


def test_f05_copied_files_are_information_only(target: Target, backups: Path) -> None:
    moment = (NOW + timedelta(days=9)).timestamp()
    for path in backups.rglob("*"):
        os.utime(path, (moment, moment))
    judgement = existence(target)
    assert judgement.verdict is Verdict.PASS
    assert "mtime-differs" in [item.code for item in judgement.findings]


# F06, F07


@pytest.mark.parametrize("data", [b"", gzip.compress(b"")], ids=["zero bytes", "gzip of nothing"])
@pytest.mark.parametrize("what", ["dump", "volume"])
def test_f06_empty_files_fail_both_checks(
    target: Target, backups: Path, kind: str, what: str, data: bytes
) -> None:
    write(newest(backups, kind, what), data, sidecar=kind == "flat")
    if kind == "own" and what == "dump":  # inside of a directory dump only inspection sees it
        assert integrity(target).verdict is Verdict.FAIL
        return
    empty = "empty-content" if data else "empty-file"
    assert found(existence(target))[empty] is Verdict.FAIL
    assert found(integrity(target))[empty] is Verdict.FAIL


def test_f06_a_set_below_the_floor_fails(tmp_path: Path) -> None:
    write(tmp_path / f"postgres-{stamp(NEWEST)}.sql.gz", gz(b"-- PostgreSQL database dump\n"))
    assert found(integrity(make_target(tmp_path)))["set-too-small"] is Verdict.FAIL


def test_f06_a_dump_with_a_header_and_nothing_else_fails(tmp_path: Path) -> None:
    write(tmp_path / f"smarteros-{stamp(NEWEST)}.sql.gz", gz(dumps().empty))
    assert found(integrity(make_target(tmp_path))) == {"dump-empty": Verdict.FAIL}
    write(tmp_path / f"smarteros-{stamp(NEWEST)}.sql.gz", gz(dumps().schema_only))
    assert found(integrity(make_target(tmp_path))) == {"dump-without-rows": Verdict.NOT_PROVEN}


def test_f07_a_collapse_against_the_median_fails(target: Target, backups: Path, kind: str) -> None:
    before = newest(backups, kind, "dump")
    for day in range(1, 8):
        path = newest_of(backups, kind, day)
        grow(path, kind)
    assert found(existence(target)) == {"size-collapse": Verdict.FAIL}
    assert before.exists()


def newest_of(backups: Path, kind: str, day: int) -> Path:
    at = NEWEST - timedelta(days=day)
    if kind == "flat":
        return backups / f"postgres-{stamp(at)}.sql.gz"
    return backups / f"smos-{at:%Y%m%d_%H%M%S}" / "globals.sql.zst"


def grow(path: Path, kind: str) -> None:
    text = gzip.decompress(path.read_bytes()) if kind == "flat" else dumps().globals
    filler = b"-- " + base64.b64encode(os.urandom(300_000)) + b"\n"
    path.write_bytes((gz if kind == "flat" else zst)(text.replace(b"\nSET ", b"\n" + filler + b"SET ", 1)))


def test_f07_one_dump_collapses_behind_a_large_volume(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(200_000)  # noqa: S311  (reproducible, not secret)
    for day in range(4, -1, -1):
        at = NEWEST - timedelta(days=day)
        size = 150_000 if day else 15_000
        write(tmp_path / f"postgres-{stamp(at)}.sql.gz", noise[:size])
        write(tmp_path / f"volumes-{stamp(at)}.tar.gz", noise * 5)
    judgement = existence(make_target(tmp_path))
    assert found(judgement)["size-collapse"] is Verdict.FAIL
    messages = [item.message for item in judgement.findings if item.code == "size-collapse"]
    assert len(messages) == 1
    assert messages[0].startswith(f"postgres-{stamp(NEWEST)}.sql.gz has 15000 bytes, 10% of the median of 4")


def test_f07_too_few_earlier_sets_are_said_to_be_too_few(tmp_path: Path) -> None:
    for day in (2, 1, 0):
        flat_set(tmp_path, NEWEST - timedelta(days=day))
    judgement = existence(make_target(tmp_path))
    assert "size-not-comparable" in [item.code for item in judgement.findings]
    assert judgement.verdict is Verdict.PASS


# F09


@pytest.mark.parametrize(
    ("name", "make", "code"),
    [
        ("backup.xyz", lambda path: path.write_bytes(bytes(300)), "unknown-file"),
        ("folder", lambda path: path.mkdir(), "unknown-directory"),
        ("link", lambda path: path.symlink_to("/etc/passwd"), "symlink-outside"),
        ("link", lambda path: path.symlink_to("nowhere"), "symlink-broken"),
        (".partial-smos-20261123_103000-1", lambda path: path.mkdir(), "unfinished-backup"),
        ("mydb.sql.gz", lambda path: path.write_bytes(gz(dumps().plain)), "no-stamp"),
        ("SHA256SUMS", lambda path: path.write_text("nonsense"), "hash-list-invalid"),
    ],
)
def test_f09_what_is_not_understood_is_never_ignored(
    target: Target, backups: Path, name: str, make: Callable, code: str
) -> None:
    make(backups / name)
    judgement = existence(target)
    assert found(judgement)[code] is Verdict.NOT_PROVEN
    assert any(name in item.message for item in judgement.findings if item.code == code)


def test_f09_a_file_that_cannot_be_read_is_not_proven(
    target: Target, backups: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = newest(backups, kind, "volume")
    real = os.open

    def refuse(path: str, *args: Any, **options: Any) -> int:
        if str(path) == str(victim):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    for judgement in (existence(target), integrity(target)):
        assert found(judgement)["unreadable"] is Verdict.NOT_PROVEN
        assert any(victim.name in item.message for item in judgement.findings if item.code == "unreadable")
    assert "missing-volume" not in found(existence(target))


def test_f09_readmes_and_logs_are_mentioned_only(target: Target, backups: Path) -> None:
    (backups / "README.md").write_text("hello")
    (backups / "backup.log").write_text("ok")
    judgement = existence(target)
    assert judgement.verdict is Verdict.PASS
    assert "README.md" in next(item.message for item in judgement.findings if item.code == "ignored-file")


# F10


def test_f10_the_second_copy_is_compared_byte_by_byte(
    target: Target, backups: Path, kind: str, tmp_path: Path
) -> None:
    offsite = tmp_path / "offsite"
    wanted = target.model_copy(update={"backups": target.backups.model_copy(update={"offsite": offsite})})
    catalog, sets = observe(wanted)
    paths = tuple(artifact.path for item in catalog.sets for artifact in item.artifacts)
    known = {
        file.path: file.sha256 for facts in sets for artifact in facts.artifacts for file in artifact.files
    }

    def judge() -> dict[str, Verdict]:
        facts = compare_offsite(backups, offsite, paths, known)
        return found(judge_existence(wanted, catalog, NOW, facts))

    assert found(judge_existence(wanted, catalog, NOW)) == {"offsite-not-compared": Verdict.NOT_PROVEN}
    assert judge()["offsite-missing"] is Verdict.NOT_PROVEN
    copy(backups, offsite)
    assert judge() == {}
    path = offsite / newest(backups, kind, "dump").relative_to(backups)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert judge() == {"offsite-different": Verdict.FAIL}
    path.unlink()
    assert judge() == {"offsite-incomplete": Verdict.FAIL}
    path.symlink_to(newest(backups, kind, "dump"))
    assert judge() == {"offsite-different": Verdict.FAIL}


# F11 to F17


def redeclare(backups: Path, kind: str, path: Path, pristine: dict[str, Path]) -> None:
    """Declare the damaged bytes, with a valid signature: the fault must be found in the bytes themselves."""
    if kind == "flat":
        write(path, path.read_bytes())
        return
    root = path.parents[len(path.relative_to(backups).parts) - 2]
    write_manifest(root, NEWEST, pristine["private"])


@pytest.mark.parametrize("what", ["dump", "volume"])
def test_f11_f12_a_cut_stream_fails_by_its_own_bytes(
    target: Target, backups: Path, kind: str, what: str, pristine: dict[str, Path]
) -> None:
    path = newest(backups, kind, what)
    path.write_bytes(path.read_bytes()[:-5])
    redeclare(backups, kind, path, pristine)
    assert found(integrity(target)) == {"compression-truncated": Verdict.FAIL}


@pytest.mark.parametrize("what", ["dump", "volume"])
def test_f11_a_wrong_checksum_fails(
    target: Target, backups: Path, kind: str, what: str, pristine: dict[str, Path]
) -> None:
    path = newest(backups, kind, what)
    data = bytearray(path.read_bytes())
    data[-6 if kind == "flat" else -2] ^= 1
    path.write_bytes(data)
    redeclare(backups, kind, path, pristine)
    assert found(integrity(target)) == {"compression-corrupt": Verdict.FAIL}


def test_f12_a_plain_dump_that_was_cut_before_compression_fails(tmp_path: Path) -> None:
    write(tmp_path / f"postgres-{stamp(NEWEST)}.sql.gz", gz(dumps().all[: len(dumps().all) // 2]))
    assert found(integrity(make_target(tmp_path))) == {"dump-truncated": Verdict.FAIL}


def test_f13_a_custom_dump_that_was_cut_fails(tmp_path: Path) -> None:
    path = tmp_path / f"smarteros-{stamp(NEWEST)}.dump"
    write(path, dumps().custom)
    assert integrity(make_target(tmp_path)).verdict is Verdict.PASS
    write(path, dumps().custom[:-300])
    assert found(integrity(make_target(tmp_path))) == {"dump-unreadable": Verdict.FAIL}


@pytest.mark.parametrize("what", ["dump", "volume"])
def test_f14_a_flipped_bit_fails(target: Target, backups: Path, kind: str, what: str) -> None:
    path = newest(backups, kind, what)
    data = bytearray(path.read_bytes())
    data[4 if kind == "flat" else 5] ^= 1  # the time in gzip's header: only the hash knows
    path.write_bytes(data)
    assert found(integrity(target))["hash-mismatch"] is Verdict.FAIL


def test_f14_a_flipped_bit_in_an_older_set_fails_as_well(target: Target, backups: Path, kind: str) -> None:
    path = newest_of(backups, kind, 5)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    judgement = integrity(target)
    assert found(judgement)["hash-mismatch"] is Verdict.FAIL
    day = NEWEST - timedelta(days=5)
    mark = stamp(day) if kind == "flat" else f"{day:%Y%m%d_%H%M%S}"
    assert mark in next(item.message for item in judgement.findings if item.code == "hash-mismatch")


def test_f14_without_any_declared_hash_nobody_can_say(tmp_path: Path) -> None:
    flat_set(tmp_path, NEWEST, sidecars=False)
    assert found(integrity(make_target(tmp_path))) == {"no-declared-hash": Verdict.NOT_PROVEN}


def replace_and_declare(root: Path, key: Path | None) -> None:
    """Replace an artifact by another valid one, and its hash in the manifest with it."""
    path = root / "globals.sql.zst"
    path.write_bytes(zst(dumps().globals.replace(b"app", b"bad")))
    manifest = Manifest.model_validate_json((root / "manifest.json").read_bytes())
    artifacts = tuple(
        item.model_copy(
            update={"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        )
        if item.path == "globals.sql.zst"
        else item
        for item in manifest.artifacts
    )
    data = manifest.model_copy(update={"artifacts": artifacts}).to_json()
    (root / "manifest.json").write_bytes(data)
    if key:
        from smos.backup.signing import sign_manifest

        (root / "manifest.json.sig").write_bytes(sign_manifest(data, key))


def test_f15_artifact_and_hash_replaced_together_fail_by_the_signature(
    pristine: dict[str, Path], tmp_path: Path
) -> None:
    backups = copy(pristine["own"], tmp_path / "backups")
    target = with_vault(make_target(backups, manifest_public_key=pristine["public"]))
    root = backups / f"smos-{NEWEST:%Y%m%d_%H%M%S}"
    replace_and_declare(root, None)
    assert found(integrity(target)) == {"signature-invalid": Verdict.FAIL}
    other, _ = keys(tmp_path / "attacker")
    replace_and_declare(root, other)
    assert found(integrity(target)) == {"signature-invalid": Verdict.FAIL}
    (root / "manifest.json.sig").unlink()
    assert found(integrity(target)) == {"signature-missing": Verdict.FAIL}
    unpinned = with_vault(make_target(backups))
    judgement = integrity(unpinned)
    assert judgement.verdict is Verdict.PASS
    assert "manifest-unsigned" in [item.code for item in judgement.findings]


def test_f15_a_manifest_that_was_removed_is_no_way_around_the_signature(
    pristine: dict[str, Path], tmp_path: Path
) -> None:
    backups = copy(pristine["own"], tmp_path / "backups")
    target = with_vault(make_target(backups, manifest_public_key=pristine["public"]))
    root = backups / f"smos-{NEWEST:%Y%m%d_%H%M%S}"
    (root / "manifest.json").unlink()
    (root / "manifest.json.sig").unlink()
    verdicts = found(integrity(target))
    assert verdicts["signature-missing"] is Verdict.FAIL
    assert verdicts["manifest-missing"] is Verdict.FAIL
    shutil.rmtree(backups)
    flat_set(backups, NEWEST)
    assert found(integrity(target)) == {"signature-missing": Verdict.FAIL}


def test_f15_files_missing_from_or_added_to_a_signed_set_fail(
    pristine: dict[str, Path], tmp_path: Path
) -> None:
    backups = copy(pristine["own"], tmp_path / "backups")
    target = with_vault(make_target(backups, manifest_public_key=pristine["public"]))
    root = backups / f"smos-{NEWEST:%Y%m%d_%H%M%S}"
    (root / "volumes" / f"{VOLUMES[0]}.jsonl.zst").unlink()
    (root / "volumes" / "extra.tar.zst").write_bytes(zst(volume_tar("extra")))
    assert found(integrity(target)) == {"missing-artifact": Verdict.FAIL, "extra-file": Verdict.FAIL}


def test_f16_plain_text_where_encryption_is_required_fails(target: Target) -> None:
    required = target.model_copy(update={"backups": target.backups.model_copy(update={"encrypted": True})})
    assert found(integrity(required)) == {"not-encrypted": Verdict.FAIL}


def test_f16_encrypted_as_required_is_present_and_its_content_unproven(tmp_path: Path) -> None:
    data = b"age-encryption.org/v1\n-> X25519 x\n" + os.urandom(4000)
    write(tmp_path / f"postgres-{stamp(NEWEST)}.sql.gz.age", data)
    required = make_target(tmp_path, encrypted=True)
    assert found(integrity(required)) == {"encrypted-not-read": Verdict.NOT_PROVEN}
    assert found(integrity(make_target(tmp_path))) == {"unexpected-encryption": Verdict.FAIL}


def test_f17_files_encrypted_by_somebody_else_fail(
    target: Target, backups: Path, kind: str, pristine: dict[str, Path]
) -> None:
    for what in ("dump", "volume"):
        path = newest(backups, kind, what)
        path.write_bytes(random.Random(2).randbytes(20_000))  # noqa: S311  (reproducible, not secret)
        redeclare(backups, kind, path, pristine)
    assert found(integrity(target))["high-entropy"] is Verdict.FAIL


# The rest


def test_a_backup_directory_that_changed_during_the_drill_fails(target: Target, backups: Path) -> None:
    before = directory_state(backups)
    (backups / "new").write_text("x")
    changes = state_changes(before, directory_state(backups))
    delete(backups / "new")
    assert found(integrity(target, changes)) == {"backup-directory-changed": Verdict.FAIL}


def test_a_set_that_should_have_been_inspected_and_was_not_leaves_it_open(target: Target) -> None:
    catalog, sets = observe(target)
    expected = [item.id for item in catalog.sets]
    assert found(judge_integrity(target, sets[:-1], (), expected)) == {
        "set-not-inspected": Verdict.NOT_PROVEN
    }


def test_a_problem_that_no_rule_knows_is_never_green(target: Target) -> None:
    from smos.verdict import Problem

    sets = observe(target)[1]
    odd = replace(sets[0], problems=(Problem("brand-new", "x"),))
    assert found(judge_integrity(target, (odd, *sets[1:]))) == {"brand-new": Verdict.NOT_PROVEN}


def test_every_finding_has_a_remedy_and_is_documented() -> None:
    text = DOCS.read_text()
    for code, rule in {**EXISTENCE, **INTEGRITY}.items():
        assert f"`{code}`" in text, code
        assert rule.remedy or rule.verdict is Verdict.PASS, code
    import re

    sources = [
        Path(__file__).parent.parent / "smos" / "checks" / "dr" / f"{name}.py"
        for name in ("backups", "integrity", "retention")
    ]
    for source in sources:
        for code in re.findall(r"(?:fail|not_proven|note)\(\s*\"([a-z0-9-]+)\"", source.read_text()):
            assert f"`{code}`" in text, code


def test_messages_and_facts_carry_no_content_of_the_backups(target: Target, backups: Path, kind: str) -> None:
    secret = "hunter2-canary"
    path = newest(backups, kind, "dump")
    path.write_bytes(
        (gz if kind == "flat" else zst)(f"-- PostgreSQL database dump\npassword {secret}\n".encode())
    )
    shown = repr(existence(target)) + repr(integrity(target))
    assert secret not in shown
