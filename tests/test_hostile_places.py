"""Bad input from places that nobody thinks of: each ends in one clear message, none hangs, none crashes the drill."""

import os
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

from smos.backup.catalog import read_catalog
from smos.backup.manifest import MANIFEST_NAME, Manifest
from smos.backup.signing import verify_manifest
from smos.backup.state import directory_state
from smos.checks.registry import not_provided
from smos.drill.content import _roles as compare_restored_roles
from smos.drill.leftout import excuse
from smos.drill.restore_facts import WithheldRole
from smos.errors import SmosError, TargetError
from smos.physical.archive import read_archive
from smos.physical.listing import take
from smos.postgres.difference import Difference
from smos.target import Provision, check_places, load_target, parse_target, resolve_settings
from smos.vault.escrow import read_escrow


def manifest_of(set_id: str, started: str) -> bytes:
    moment = datetime.fromisoformat(started)
    return Manifest(
        set_id=set_id, source="s", tool="t", started=moment, finished=moment, system_identifier=None,
        globals_path=None, databases=(), volumes=(), vault=None, artifacts=(),
    ).to_json()  # fmt: skip


@pytest.mark.parametrize("started", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_manifest_with_an_impossible_time_is_a_problem_of_that_set_alone(
    tmp_path: Path, started: str
) -> None:
    place = tmp_path / "smos-20261101_020000"
    place.mkdir()
    (place / MANIFEST_NAME).write_bytes(manifest_of(place.name, started))
    catalog = read_catalog(tmp_path, timezone="UTC")
    assert [problem.code for problem in catalog.sets[0].problems] == ["manifest-unreadable"]


def test_folders_without_end_are_a_problem_and_no_crash(tmp_path: Path) -> None:
    place = tmp_path / "smos-20261101_020000"
    place.mkdir()
    handle = os.open(place, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    catalog = read_catalog(tmp_path, timezone="UTC")
    assert "unknown-file" in {problem.code for problem in catalog.sets[0].problems}
    assert len(directory_state(tmp_path).entries) > 1000
    subprocess.run(["rm", "-rf", place], check=True)  # pytest's own clean-up would recurse too deep


@pytest.mark.parametrize("look", [take, directory_state, read_archive])
def test_what_goes_between_listing_and_looking_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[Path], object]
) -> None:
    """Where backups are being made, names come and go."""
    passing = tmp_path / "000000010000000000000001"
    passing.write_bytes(bytes(100))
    listed = os.scandir

    class Listed(list[os.DirEntry[str]]):
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def list_and_lose(place: Path) -> Listed:
        with listed(place) as entries:
            found = Listed(entries)
        passing.unlink()
        return found

    monkeypatch.setattr(os, "scandir", list_and_lose)
    seen = look(tmp_path)
    assert not passing.exists()
    assert passing.name not in repr(seen)


@pytest.mark.timeout(120)
def test_a_fifo_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(SmosError):
        read_escrow(fifo)
    with pytest.raises(SmosError):
        verify_manifest(b"{}", b"", fifo)
    with pytest.raises(TargetError):
        load_target(fifo)


def test_one_directory_is_no_second_copy(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    target = parse_target(
        {
            "schema": 1,
            "name": "t",
            "backups": {"directory": str(tmp_path), "offsite": str(tmp_path / "link")},
        },
        origin="test",
    )
    with pytest.raises(TargetError, match="one copy is no second one"):
        check_places(target)


def test_the_escrow_may_not_lie_with_the_backups(tmp_path: Path) -> None:
    target = parse_target(
        {
            "schema": 1,
            "name": "t",
            "backups": {"directory": str(tmp_path)},
            "vault": {"escrow": str(tmp_path / "sub" / "escrow.json")},
        },
        origin="test",
    )
    with pytest.raises(TargetError, match=r"vault\.escrow lies in the backup directory"):
        check_places(target)


def test_names_can_not_write_to_the_terminal() -> None:
    with pytest.raises(TargetError, match="name"):
        parse_target({"schema": 1, "name": "a\x1b[2Jb"}, origin="test")


def test_a_provisioner_that_a_suite_lacks_is_refused_before_anything_starts() -> None:
    provision = resolve_settings(provision="docker", environ={}).provision
    assert not_provided(provision, ["dr", "rls"]) == ("rls",)
    assert not_provided(Provision.AUTO, ["dr"]) == not_provided(Provision.EMBEDDED, ["dr"]) == ()


def test_a_role_that_the_globals_elevate_beyond_the_manifest_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roles = {"roles": {"app": {"superuser": False}, "dba": {"superuser": True}}}
    monkeypatch.setattr("smos.drill.content._read_roles", lambda _sandbox: roles)
    restore = SimpleNamespace(
        roles_withheld=(
            WithheldRole(name="app", attributes=("SUPERUSER",)),
            WithheldRole(name="dba", attributes=("SUPERUSER",)),
        ),
        harness_roles=(),
    )
    plan = SimpleNamespace(manifest=SimpleNamespace(roles=roles))
    found = compare_restored_roles(None, plan, restore)  # type: ignore[arg-type]
    assert [(item.code, item.object) for item in found] == [("role-changed", "role:app")]


def test_rights_that_the_source_had_and_the_sandbox_withheld_are_no_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = {
        "role": "pg_execute_server_program",
        "member": "ops",
        "admin": True,
        "inherit": True,
        "set": True,
    }
    manifest = {
        "roles": {"dba": {"superuser": True}, "ops": {"superuser": False}, "late": {"superuser": True}},
        "memberships": [program, {**program, "member": "late"}],
    }
    sandbox = {"roles": {name: {"superuser": False} for name in manifest["roles"]}, "memberships": []}
    monkeypatch.setattr("smos.drill.content._read_roles", lambda _sandbox: sandbox)
    restore = SimpleNamespace(
        roles_withheld=(
            WithheldRole(name="dba", attributes=("SUPERUSER",)),
            WithheldRole(name="ops", attributes=(), roles=("pg_execute_server_program",)),
        ),
        harness_roles=(),
    )
    plan = SimpleNamespace(manifest=SimpleNamespace(roles=manifest))
    found = compare_restored_roles(None, plan, restore)  # type: ignore[arg-type]
    assert {(item.code, item.object) for item in found} == {
        ("role-changed", "role:late"),
        ("membership-missing", "membership:late in pg_execute_server_program"),
    }, "what the globals do not hold is lost"


def test_what_the_sandbox_left_out_proves_nothing_against_the_backup() -> None:
    missing = [
        Difference("event-trigger-missing", "event-trigger:guard", ""),
        Difference("comment-differs", "comment:event-trigger guard", ""),
        Difference("function-missing", "function:app.f(integer)", ""),
        Difference("object-missing", "cast:(text AS app.colour)", ""),
    ]
    others = [
        Difference("table-missing", "table:app.guards", ""),
        Difference("event-trigger-missing", "event-trigger:guard2", ""),
        Difference("function-differs", "function:app.f(integer)", ""),
    ]
    left_out = ("EVENT TRIGGER guard", "FUNCTION app . f ( integer )", "CAST (textASapp.colour)")
    found = excuse([*missing, *others], left_out)
    assert [item.uncertain for item in found] == [True] * 4 + [False] * 3
    assert not any(item.uncertain for item in excuse(missing, ()))


def test_a_manifest_without_roles_proves_nothing_about_roles() -> None:
    plan = SimpleNamespace(manifest=SimpleNamespace(roles={}))
    (difference,) = compare_restored_roles(None, plan, SimpleNamespace())  # type: ignore[arg-type]
    assert (difference.code, difference.uncertain) == ("roles-not-compared", True)
