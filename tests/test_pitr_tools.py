"""Repositories of pgBackRest and Barman: drilled through their own tools, found sound, and found damaged."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smos.checks.pitr import CHECKS
from smos.checks.pitr.exercise import judge
from smos.physical.pgbackrest import _backups, _current, read_verify
from smos.physical.run import drill_target
from smos.provision.owner import Owner
from smos.target import Objectives, Target, parse_target
from smos.verdict import Judgement, Verdict
from tests import _pitr_kit as kit

ASKED = [check.id for check in CHECKS if check.id != "PITR-08"]  # nobody recorded what the source held


@pytest.fixture(scope="module")
def pgbackrest() -> Iterator[kit.Repository]:
    yield from _made("pgbackrest")


@pytest.fixture(scope="module")
def barman() -> Iterator[kit.Repository]:
    yield from _made("barman")


def _made(kind: str) -> Iterator[kit.Repository]:
    """Give a repository that is the service user's, as on the host of the backups; `copied` ones it may not read."""
    if reason := kit.missing(kind):
        pytest.skip(reason)
    with Owner(f"tests-{kind}") as owner:
        yield kit.pgbackrest_repository(owner) if kind == "pgbackrest" else kit.barman_repository(owner)


@pytest.fixture
def owner() -> Iterator[Owner]:
    with Owner("tests-pitr-tools") as owner:
        yield owner


def drill(owner: Owner, kind: str, path: Path, *checks: str, **more: str) -> dict[str, Judgement]:
    target: Target = parse_target(
        {
            "name": "demo",
            "databases": [{"name": "shop"}],
            "physical": {"kind": kind, "path": str(path), **more},
        },
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


def flip(path: Path, at: int) -> None:
    """Make another byte of the one at this place, whatever it is."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def codes(judgement: Judgement) -> set[str]:
    return {finding.code for finding in judgement.findings if finding.verdict is not Verdict.PASS}


def test_a_damaged_file_of_pgbackrest_is_found_though_its_verify_exits_with_0(
    pgbackrest: kit.Repository, owner: Owner, tmp_path: Path
) -> None:
    place = copied(pgbackrest, tmp_path)
    path = next((place / "backup").rglob("1255.lz4"))
    flip(path, 300)
    judgement = drill(owner, "pgbackrest", place, "PITR-01")["PITR-01"]
    assert judgement.verdict is Verdict.FAIL
    assert {"tool-verify-failed", "tool-restore-failed"} <= codes(judgement)


def test_an_encrypted_repository_is_drilled_with_the_passphrase_of_a_private_file_and_not_without(
    pgbackrest: kit.Repository, owner: Owner, tmp_path: Path
) -> None:
    assert pgbackrest.sealed is not None
    right, wrong, nothing = tmp_path / "right", tmp_path / "wrong", tmp_path / "nothing"
    for path, text in ((right, f"{kit.PASSPHRASE}\n"), (wrong, "otra"), (nothing, "\n")):
        path.touch(mode=0o600)
        path.write_text(text)
    asked = ("PITR-01", "PITR-02", "PITR-03", "PITR-07")
    seen = drill(owner, "pgbackrest", pgbackrest.sealed, *asked, passphrase_file=str(right))
    assert {check: judgement.verdict for check, judgement in seen.items()} == dict.fromkeys(
        asked, Verdict.PASS
    ), [finding for judgement in seen.values() for finding in judgement.findings]
    assert kit.PASSPHRASE not in repr(seen)

    def said(place: Path, **more: str) -> tuple[Verdict, set[str]]:
        judgement = drill(owner, "pgbackrest", place, "PITR-01", **more)["PITR-01"]
        return judgement.verdict, codes(judgement)

    assert said(pgbackrest.sealed, passphrase_file=str(wrong)) == (Verdict.FAIL, {"passphrase-wrong"})
    for more in ({}, {"passphrase_file": str(nothing)}, {"passphrase_file": str(tmp_path / "absent")}):
        assert said(pgbackrest.sealed, **more) == (Verdict.NOT_PROVEN, {"passphrase-missing"})
    assert said(pgbackrest.path, passphrase_file=str(right)) == (Verdict.FAIL, {"repository-plain"})
    right.chmod(0o644)
    assert said(pgbackrest.sealed, passphrase_file=str(right)) == (Verdict.FAIL, {"passphrase-exposed"})


def test_after_a_stanza_upgrade_only_the_cluster_that_is_served_now_counts() -> None:
    def backup(label: str, database: int) -> dict[str, object]:
        return {
            "label": label, "database": {"id": database}, "error": False, "lsn": {"start": "0/2000028"},
            "archive": {"start": "000000010000000000000002"}, "timestamp": {"start": 1, "stop": 2},
        }  # fmt: skip

    info = {
        "db": [{"id": 1, "system-id": 11, "version": "13"}, {"id": 2, "system-id": 22, "version": "15"}],
        "archive": [{"database": {"id": 1}, "id": "13-1"}, {"database": {"id": 2}, "id": "15-2"}],
        "backup": [backup("old", 1), backup("new", 2)],
    }
    assert _current(info) == ("15-2", 1)
    assert [(item.id, item.major, item.system_identifier) for item in _backups(info, Path("/r"))] == [
        ("new", 15, 22)
    ]


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
    flip(path, 0)
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
