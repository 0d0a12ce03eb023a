"""What variants of a fault share: only what is the same to the byte, and copies that are the same in every respect."""

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from smos.backup.model import ArtifactKind
from smos.drill.plan import RestorePlan
from smos.drill.restore import DumpSource
from smos.faults.dr.copies import is_ordinary, portrait
from smos.faults.dr.shelf import content_key
from smos.faults.dr.workspace import Workspace
from smos.target import Backups, Database, Limits, Target


@pytest.fixture
def target() -> Target:
    return Target(name="t", backups=Backups(directory=Path("/nowhere")), databases=(Database(name="n8n"),))


def plan_of(root: Path) -> RestorePlan:
    """Make a dump of two files and globals below `root`, and the plan that restores them."""
    folder = root / "n8n"
    folder.mkdir(parents=True)
    (folder / "toc.dat").write_bytes(b"toc")
    (folder / "1.dat.zst").write_bytes(b"rows")
    (root / "globals.sql.zst").write_bytes(b"roles")
    return RestorePlan(
        chosen=None, manifest=None, problem="", volumes=(), vault_snapshot=None, vault_canary=None,
        dumps=(DumpSource(database="n8n", kind=ArtifactKind.PG_DUMP_DIRECTORY, path=folder),),
        globals_path=root / "globals.sql.zst",
    )  # fmt: skip


def test_only_a_restore_of_the_same_bytes_is_shared(tmp_path: Path, target: Target) -> None:
    plan = plan_of(tmp_path / "one")
    key = content_key(plan, target)
    assert key == content_key(plan_of(tmp_path / "two"), target)
    tighter = target.model_copy(update={"limits": Limits(restore_seconds=1)})
    assert content_key(plan, tighter) != key
    assert content_key(replace(plan, globals_path=None), target) != key
    versions = replace(plan.dumps[0], extensions=(("pg_trgm", "1.6"),))
    assert content_key(replace(plan, dumps=(versions,)), target) != key
    for path in (plan.dumps[0].path / "1.dat.zst", tmp_path / "one" / "globals.sql.zst"):
        before = path.read_bytes()
        path.write_bytes(before[:-1] + b"!")
        assert content_key(plan, target) != key
        path.write_bytes(before)
    assert content_key(plan, target) == key
    (plan.dumps[0].path / "more.dat").touch()
    assert content_key(plan, target) != key


def test_a_dump_with_a_link_is_never_shared(tmp_path: Path, target: Target) -> None:
    plan = plan_of(tmp_path)
    (plan.dumps[0].path / "2.dat.zst").symlink_to("/etc/passwd")
    assert content_key(plan, target) is None


def test_a_copy_that_lost_something_is_told(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    plan_of(source)
    (source / "n8n" / "toc.dat").chmod(0o400)
    shutil.copytree(source, copy)
    assert is_ordinary(source)
    assert portrait(source) == portrait(copy)
    (copy / "n8n" / "toc.dat").chmod(0o600)
    assert portrait(source) != portrait(copy)
    os.link(source / "globals.sql.zst", source / "again")
    assert not is_ordinary(source)


IDENTITY = frozenset({"directory", "backups", "vaultshop", "_material", "_workshop"})
"""What a copy has of its own, and what all copies have in common."""


def test_a_copy_of_which_more_than_files_was_changed_is_never_shared(tmp_path: Path, target: Target) -> None:
    plan_of(tmp_path / "material" / "backups")
    material: Any = SimpleNamespace(
        backups=tmp_path / "material" / "backups", target=target, now=datetime(2026, 11, 23, tzinfo=UTC)
    )

    def fresh(name: str) -> Workspace:
        (tmp_path / name).mkdir()
        return Workspace(material, tmp_path / name, Mock(), Mock())

    untouched = fresh("untouched")
    assert untouched.plain
    assert untouched.again(tmp_path / "again") is not None
    changeable = sorted(vars(untouched).keys() - IDENTITY)
    assert {"target", "now", "strikes", "attacked", "judge", "every_set"} <= set(changeable)
    for name in changeable:  # one that comes new is thought of, or fails here
        work = fresh(name)
        setattr(work, name, Mock())
        assert not work.plain, name
        assert work.again(tmp_path / f"{name}-again") is None, name
    beside = fresh("beside")
    (beside.directory / "escrow.json").touch()
    assert not beside.plain
