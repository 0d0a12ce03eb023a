"""DR-08: sets reach back for the retention period, no shorter and no longer (F08)."""

import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from smos.backup.catalog import read_catalog
from smos.checks.dr.retention import judge_retention
from smos.target import Schedule
from smos.verdict import Judgement, Verdict
from tests._backup_kit import NOW, flat_set, make_target, own_set

DAY = timedelta(days=1)


def judge(
    directory: Path,
    ages: Iterable[float],
    *,
    last_verified: str | None = None,
    first: datetime | None = None,
    own: bool = False,
    **schedule: Any,
) -> Judgement:
    """Make a set of each age (in days) and judge them."""
    directory.mkdir(exist_ok=True)
    for age in ages:
        (own_set if own else flat_set)(directory, NOW - age * DAY)
    target = make_target(directory, schedule=Schedule(timezone="America/Santiago", **schedule))
    catalog = read_catalog(directory, timezone="America/Santiago")
    return judge_retention(target, catalog, NOW, last_verified, first)


def found(judgement: Judgement) -> dict[str, Verdict]:
    return {item.code: item.verdict for item in judgement.findings if item.verdict is not Verdict.PASS}


@pytest.mark.parametrize("own", [False, True], ids=["flat", "own"])
@pytest.mark.parametrize(
    "offset",
    [0.01, 0.3, 0.6, 0.95],
    ids=["just after a run", "in the morning", "in the evening", "just before the next run"],
)
def test_seven_daily_sets_pass_at_any_time_of_the_day(tmp_path: Path, *, own: bool, offset: float) -> None:
    assert judge(tmp_path / "b", [offset + day for day in range(7)], own=own).verdict is Verdict.PASS


def test_the_eighth_set_is_due_to_be_removed_and_tolerated_for_the_slack(tmp_path: Path) -> None:
    ages = list(range(8))
    assert judge(tmp_path / "a", [age + 0.01 for age in ages]).verdict is Verdict.PASS
    judgement = judge(tmp_path / "b", [age + 0.2 for age in ages])
    assert found(judgement) == {"kept-too-long": Verdict.FAIL}


def test_f08_sets_beyond_the_period_fail_each_by_name(tmp_path: Path) -> None:
    judgement = judge(tmp_path / "b", [*range(7), 9, 40])
    long = [item for item in judgement.findings if item.code == "kept-too-long"]
    assert len(long) == 2
    assert "40.0 days old" in long[0].message
    assert all(item.verdict is Verdict.FAIL and item.remedy for item in long)


def test_f08_the_last_verified_set_is_kept_however_old(tmp_path: Path) -> None:
    verified = own_set(tmp_path / "b", NOW - 40 * DAY).name
    judgement = judge(tmp_path / "b", range(7), last_verified=verified)
    assert judgement.verdict is Verdict.PASS
    (kept,) = [item for item in judgement.findings if item.code == "last-verified-kept"]
    assert "40.0 days" in kept.message
    assert found(judge(tmp_path / "b", ())) == {"kept-too-long": Verdict.FAIL}


@pytest.mark.parametrize("days", [1, 3, 5])
def test_f08_a_history_longer_than_what_is_kept_fails(tmp_path: Path, days: int) -> None:
    judgement = judge(tmp_path / "b", [day + 0.3 for day in range(days)], first=NOW - 90 * DAY)
    assert found(judgement) == {"kept-too-short": Verdict.FAIL}


def test_f08_a_young_installation_is_not_proven_and_told_when_it_will_be(tmp_path: Path) -> None:
    judgement = judge(tmp_path / "b", [0.3, 1.3, 2.3])
    assert found(judgement) == {"retention-not-yet-provable": Verdict.NOT_PROVEN}
    assert "2026-11-2" in judgement.findings[-1].remedy
    assert found(judge(tmp_path / "b", (), first=NOW - 2.3 * DAY)) == {
        "retention-not-yet-provable": Verdict.NOT_PROVEN
    }


def test_f08_a_set_removed_within_the_period_is_known_from_the_last_verified_one(tmp_path: Path) -> None:
    judgement = judge(tmp_path / "b", [0.3, 1.3], last_verified="smos-20261118_113000")
    assert found(judgement) == {"kept-too-short": Verdict.FAIL, "last-verified-removed": Verdict.FAIL}


def test_a_last_verified_set_that_was_pruned_in_time_is_mentioned(tmp_path: Path) -> None:
    judgement = judge(tmp_path / "b", range(7), last_verified="20261001_020000")
    assert judgement.verdict is Verdict.PASS
    assert [item.code for item in judgement.findings] == ["last-verified-pruned"]


def test_an_old_kept_set_does_not_stand_for_the_days_in_between(tmp_path: Path) -> None:
    verified = own_set(tmp_path / "b", NOW - 40 * DAY).name
    judgement = judge(tmp_path / "b", [0.3, 1.3], last_verified=verified)
    assert found(judgement) == {"kept-too-short": Verdict.FAIL}


def test_a_job_that_stopped_is_not_blamed_on_retention(tmp_path: Path) -> None:
    assert judge(tmp_path / "b", [3.3, 4.3, 5.3, 6.3]).verdict is Verdict.PASS


def test_other_periods_are_held_to_their_own_numbers(tmp_path: Path) -> None:
    weekly = {"period_hours": 168, "slack_hours": 12, "retention_days": 35}
    assert judge(tmp_path / "a", [1, 8, 15, 22, 29], **weekly).verdict is Verdict.PASS
    assert found(judge(tmp_path / "b", [1, 8, 15], first=NOW - 90 * DAY, **weekly)) == {
        "kept-too-short": Verdict.FAIL
    }


def test_without_a_directory_or_a_dated_set_nothing_is_known(tmp_path: Path) -> None:
    target = make_target(tmp_path / "nowhere")
    missing = judge_retention(target, read_catalog(tmp_path / "nowhere", timezone="UTC"), NOW, None)
    assert found(missing) == {"backup-directory-missing": Verdict.NOT_PROVEN}
    assert found(judge(tmp_path / "b", ())) == {"no-dated-backup": Verdict.NOT_PROVEN}
    flat_set(tmp_path / "b", NOW)
    for path in sorted((tmp_path / "b").iterdir()):
        path.rename(path.with_name(path.name.replace("20261123_083000", "latest")))
    undated = judge_retention(target, read_catalog(tmp_path / "b", timezone="UTC"), NOW, None)
    assert found(undated) == {"no-stamp": Verdict.NOT_PROVEN, "no-dated-backup": Verdict.NOT_PROVEN}
    shutil.rmtree(tmp_path / "b")


def test_sets_in_the_future_do_not_count(tmp_path: Path) -> None:
    judgement = judge(tmp_path / "b", [-30, 0.3])
    assert found(judgement) == {"retention-not-yet-provable": Verdict.NOT_PROVEN}
