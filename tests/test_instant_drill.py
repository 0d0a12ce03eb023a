"""A drill with `restore_mode: instant` recovers on the backup itself and judges as the full one does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from smos.checks.pitr.objectives import judge_objectives
from smos.clock import SystemClock
from smos.errors import ProvisionError
from smos.instant import open_instant
from smos.instant.clone import INSTANT_LEVELS
from smos.physical.drill import END, MOMENT
from smos.physical.facts import Outcome, PitrRecord
from smos.physical.plain import PlainStore
from smos.physical.run import run_drill
from smos.provision.owner import Owner
from smos.selftest.pitr import DIRECTORY, TAR, WAL, PitrMaterial, copy_store, prepare
from smos.target import Limits, Objectives, parse_target


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-instant-drill") as owned:
        yield owned


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> PitrMaterial:
    return prepare(tmp_path_factory.mktemp("pitr") / "store", SystemClock())


def drill(owner: Owner, material: PitrMaterial, place: Path, name: str, *checks: str) -> PitrRecord:
    copy_store(material, place, (name, WAL))
    store = PlainStore(owner, place, place / "wal", Limits(), instant=True)
    return run_drill(owner, store, material.question(), SystemClock(), checks)


def test_every_recovery_starts_from_the_backup_itself_which_stays_as_it_was(
    owner: Owner, material: PitrMaterial, tmp_path: Path
) -> None:
    copy_store(material, tmp_path / "try", (DIRECTORY, WAL))
    backup = tmp_path / "try" / DIRECTORY
    linked = {f"pg_tblspc/{item.name}": item.resolve() for item in (backup / "pg_tblspc").iterdir()}
    try:
        open_instant(owner, backup, name="try", linked=linked, levels=INSTANT_LEVELS)
    except ProvisionError as error:
        pytest.skip(f"no instant mode on this system: {error.message}")
    record = drill(owner, material, tmp_path / "store", DIRECTORY, "PITR-02", "PITR-05")
    (prepared,) = record.prepared
    assert prepared.level in INSTANT_LEVELS
    assert (prepared.verified_with, prepared.problems) == ("pg_verifybackup", ())
    assert [item.purpose for item in record.attempts] == [END, MOMENT]
    for attempt in record.attempts:
        assert (attempt.outcome, attempt.detail) == (Outcome.RECOVERED, "")
        assert attempt.destroyed
    moment = record.attempts[1]
    assert (moment.pages_checked, moment.pages) == (True, ())
    assert all(not item.problems and not item.differences for item in moment.databases)
    assert (record.changed, record.gone, record.added) == ((), (), ())
    judged = judge_objectives(record, Objectives())
    assert "rto-not-measured" in {finding.code for finding in judged.findings}
    assert judged.facts["restore_mode"] == prepared.level


def test_what_cannot_be_run_in_place_is_restored_in_full_and_says_so(
    owner: Owner, material: PitrMaterial, tmp_path: Path
) -> None:
    record = drill(owner, material, tmp_path / "store", TAR, "PITR-02")
    (prepared,) = record.prepared
    assert (prepared.level, prepared.refused) == ("full", "the backup is a tar")
    assert record.attempts[0].outcome is Outcome.RECOVERED
    assert "instant-refused" in {item.code for item in judge_objectives(record, Objectives()).findings}


def test_the_target_says_how_it_is_restored(tmp_path: Path) -> None:
    for mode in ("full", "instant"):
        data = {"schema": 1, "name": "shop", "physical": {"path": str(tmp_path), "restore_mode": mode}}
        declared = parse_target(data, origin="a test").physical
        assert declared is not None
        assert declared.restore_mode == mode
