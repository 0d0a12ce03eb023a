"""Repositories of pgBackRest and Barman: drilled through their own tools, found sound, and found damaged."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smos.checks.pitr import CHECKS
from smos.checks.pitr.exercise import judge
from smos.physical.pgbackrest import read_verify
from smos.physical.run import drill_target
from smos.provision.owner import Owner
from smos.target import Objectives, Target, parse_target
from smos.verdict import Judgement, Verdict
from tests import _pitr_kit as kit

ASKED = [check.id for check in CHECKS if check.id != "PITR-08"]  # nobody recorded what the source held


@pytest.fixture(scope="module")
def pgbackrest(tmp_path_factory: pytest.TempPathFactory) -> kit.Repository:
    return _made(tmp_path_factory, "pgbackrest")


@pytest.fixture(scope="module")
def barman(tmp_path_factory: pytest.TempPathFactory) -> kit.Repository:
    return _made(tmp_path_factory, "barman")


def _made(factory: pytest.TempPathFactory, kind: str) -> kit.Repository:
    if reason := kit.missing(kind):
        pytest.skip(reason)
    with Owner(f"tests-{kind}") as owner:
        made = kit.pgbackrest_repository(owner) if kind == "pgbackrest" else kit.barman_repository(owner)
        place = factory.mktemp(kind) / "repository"
        shutil.copytree(made.path, place, symlinks=True)
    return kit.Repository(place, place / made.archive.relative_to(made.path), made.stanza, made.last_beat)


@pytest.fixture
def owner() -> Iterator[Owner]:
    with Owner("tests-pitr-tools") as owner:
        yield owner


def drill(owner: Owner, kind: str, path: Path, *checks: str) -> dict[str, Judgement]:
    target: Target = parse_target(
        {"name": "demo", "databases": [{"name": "shop"}], "physical": {"kind": kind, "path": str(path)}},
        origin="test",
    )
    record = drill_target(owner, target, kit.CLOCK, checks)
    return {check: judge(check, record, Objectives()) for check in checks}


@pytest.mark.parametrize("kind", ["pgbackrest", "barman"])
def test_a_sound_repository_passes_every_check(
    kind: str, request: pytest.FixtureRequest, owner: Owner
) -> None:
    repository: kit.Repository = request.getfixturevalue(kind)
    seen = drill(owner, kind, repository.path, *ASKED)
    assert {check: judgement.verdict for check, judgement in seen.items()} == dict.fromkeys(
        ASKED, Verdict.PASS
    ), [finding for judgement in seen.values() for finding in judgement.findings]


def copied(repository: kit.Repository, tmp_path: Path) -> Path:
    place = tmp_path / "repository"
    shutil.copytree(repository.path, place, symlinks=True)
    return place


def codes(judgement: Judgement) -> set[str]:
    return {finding.code for finding in judgement.findings if finding.verdict is not Verdict.PASS}


def test_a_damaged_file_of_pgbackrest_is_found_though_its_verify_exits_with_0(
    pgbackrest: kit.Repository, owner: Owner, tmp_path: Path
) -> None:
    place = copied(pgbackrest, tmp_path)
    path = next((place / "backup").rglob("1255.gz"))
    path.write_bytes(path.read_bytes()[:300] + b"x" + path.read_bytes()[301:])
    judgement = drill(owner, "pgbackrest", place, "PITR-01")["PITR-01"]
    assert judgement.verdict is Verdict.FAIL
    assert {"tool-verify-failed", "tool-restore-failed"} <= codes(judgement)


@pytest.mark.parametrize("kind", ["pgbackrest", "barman"])
def test_a_missing_segment_of_a_repository_is_found(
    kind: str, request: pytest.FixtureRequest, owner: Owner, tmp_path: Path
) -> None:
    repository: kit.Repository = request.getfixturevalue(kind)
    place = copied(repository, tmp_path)
    archive = place / repository.archive.relative_to(repository.path)
    segments = sorted(
        path for path in archive.rglob("0*") if path.is_file() and len(path.name.split("-")[0]) == 24
    )
    segments[-2].unlink()
    judgement = drill(owner, kind, place, "PITR-02")["PITR-02"]
    assert judgement.verdict is Verdict.FAIL
    assert "wal-gap" in codes(judgement)


def test_a_damaged_file_of_barman_is_found_by_the_manifest(
    barman: kit.Repository, owner: Owner, tmp_path: Path
) -> None:
    place = copied(barman, tmp_path)
    path = next((place / "demo" / "base").glob("*/data/base/1/1255"))
    path.write_bytes(b"x" + path.read_bytes()[1:])
    judgement = drill(owner, "barman", place, "PITR-01")["PITR-01"]
    assert codes(judgement) == {"file-altered"}


def test_a_tool_that_is_not_installed_leaves_the_checks_unproven(
    owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smos.physical.repository.shutil.which", lambda *_args, **_more: None)
    (tmp_path / "backup" / "demo").mkdir(parents=True)
    seen = drill(owner, "pgbackrest", tmp_path, "PITR-01", "PITR-03")
    assert seen["PITR-01"].verdict is Verdict.NOT_PROVEN
    assert "tool-missing" in codes(seen["PITR-01"])
    assert seen["PITR-03"].verdict is Verdict.NOT_PROVEN


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (0, b"INFO: verify command end: completed successfully (20ms)", ""),
        (
            0,
            b"status: error\n  checksum invalid: 1\nverify command end: completed successfully",
            "tool-verify-failed",
        ),
        (
            0,
            b"backup: x, status: valid\n missing: 2\nverify command end: completed successfully",
            "tool-verify-failed",
        ),
        (0, b"", "tool-unclear"),
        (55, b"ERROR: [055]: unable to open", "tool-verify-failed"),
    ],
)
def test_the_words_of_pgbackrest_verify_count_and_not_its_exit_code(
    code: int, output: bytes, expected: str
) -> None:
    assert [problem.code for problem in read_verify(code, output)] == ([expected] if expected else [])


if sys.platform != "linux":  # the repositories are made with Debian's tools
    pytestmark = pytest.mark.skip(reason="Linux only")
