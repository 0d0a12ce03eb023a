"""Removes backup sets that are older than they are to be kept, and never the ones that a recovery would rest on.

What is kept whatever its age: the newest set that was verified, the newest set of all, and every set whose age
nobody can tell. A set is first put aside, under a name that nobody takes for a backup, then deleted: an interruption
leaves no half set that looks whole, and the next run goes on with what was put aside.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from smos.backup.manifest import PARTIAL_PREFIX
from smos.backup.model import BackupSet, Catalog
from smos.backup.names import hash_algorithm
from smos.backup.verified import Verification
from smos.errors import BackupError

ASIDE = f"{PARTIAL_PREFIX}pruned-"
"""Begin of the name of what was put aside: the catalogue calls it unfinished, whatever lies in it."""
LIST_NAME = ".pruned.json"
FUTURE_TOLERANCE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What happens to one set. remove: it goes; reason: why, or why it stays. bytes: of the stored set."""

    set_id: str
    stamp: datetime | None
    bytes: int
    remove: bool
    reason: str


def judge_sets(
    catalog: Catalog, verified: Mapping[str, Verification], *, keep: timedelta, now: datetime
) -> tuple[Ruling, ...]:
    """Return a ruling for every set, in the catalogue's order. keep: how long sets are kept; now: UTC."""
    dated = [item for item in catalog.sets if item.stamp is not None and item.stamp <= now + FUTURE_TOLERANCE]
    newest = dated[-1].id if dated else None
    proofs = [item for item in reversed(dated) if item.id in verified]
    # One that has lost files since it was verified counts for nothing: the newest one that has not is kept as well.
    proven = {item.id for item in proofs[:1]} | {
        item.id for item in [p for p in proofs if not p.problems][:1]
    }

    def rule(item: BackupSet) -> tuple[bool, str]:
        if item.stamp is None:
            return False, "nobody can tell its age"
        if item.stamp > now + FUTURE_TOLERANCE:
            return False, "its time stamp lies in the future"
        if item.id in proven:
            return False, "the newest set that was verified"
        if item.id == newest:
            return False, "the newest set"
        age = now - item.stamp
        if age <= keep:
            return False, f"{_days(age)} days old, kept for {_days(keep)}"
        return True, f"{_days(age)} days old, kept for {_days(keep)}"

    rulings = []
    for item in catalog.sets:
        remove, reason = rule(item)
        rulings.append(
            Ruling(set_id=item.id, stamp=item.stamp, bytes=item.stored_bytes, remove=remove, reason=reason)
        )
    return tuple(rulings)


def put_aside_before(directory: Path) -> tuple[str, ...]:
    """Return the sets that an interrupted run had begun to remove."""
    if not directory.is_dir():
        return ()
    return tuple(
        sorted(item.name.removeprefix(ASIDE) for item in directory.glob(f"{ASIDE}*") if item.is_dir())
    )


def prune(directory: Path, sets: Iterable[BackupSet]) -> tuple[str, ...]:
    """Remove these sets, after what an earlier run had put aside. Returns their IDs. Raises BackupError."""
    removed = []
    try:
        for name in put_aside_before(directory):
            _finish(directory, name)
            removed.append(name)
        for item in sets:
            _put_aside(directory, item)
            _finish(directory, item.id)
            removed.append(item.id)
    except OSError as error:
        raise BackupError(
            f"{error.filename or directory} could not be removed: {error.strerror}",
            remedy="let this user write to the backup directory, then prune again: it goes on where it stopped",
        ) from error
    return tuple(removed)


def _put_aside(directory: Path, item: BackupSet) -> None:
    """Move a set under a name of ours: a directory in one step, flat files behind a list that is written first."""
    aside = directory / f"{ASIDE}{item.id}"
    own = directory / item.id
    if own.is_dir() and not own.is_symlink() and all(a.path.split("/")[0] == item.id for a in item.artifacts):
        own.rename(aside)
        _sync(directory)
        return
    aside.mkdir(mode=0o700)
    names = {artifact.path.split("/")[0] for artifact in item.artifacts}
    # The list of hashes that belongs to one file goes with it.
    names |= {
        entry.name
        for entry in directory.iterdir()
        if hash_algorithm(entry.name) and entry.name.rpartition(".")[0] in names
    }
    with (aside / LIST_NAME).open("w", encoding="utf-8") as handle:
        json.dump(sorted(names), handle)
        handle.flush()
        os.fsync(handle.fileno())
    _sync(directory)


def _finish(directory: Path, set_id: str) -> None:
    aside = directory / f"{ASIDE}{set_id}"
    listing = aside / LIST_NAME
    if listing.is_file():
        try:
            names = json.loads(listing.read_text(encoding="utf-8"))
        except ValueError:
            names = []  # killed while the list was written: nothing had been moved yet
        for name in names:
            if isinstance(name, str) and "/" not in name and os.path.lexists(directory / name):
                (directory / name).rename(aside / name)
        _sync(directory)
    shutil.rmtree(aside)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _days(age: timedelta) -> str:
    return f"{age.total_seconds() / 86400:.1f}"
