"""Damage to the backup directory as a whole: sets that vanish, get another name, are doubled, mixed with one another.

The oracle is a list of every byte, and, where whole sets are gone, the dates in the names of those that are left.
"""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

from smos.backup.manifest import SET_PREFIX, STAMP_FORMAT
from smos.faults.dr.campaign.files import BYTES, snapshot
from smos.faults.dr.campaign.model import Bench, Dice, Effect, Level, NothingToDo, Step, Truth, run_steps
from smos.faults.dr.workspace import Workspace


def _sets(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.name.startswith(SET_PREFIX))


def _stamp(path: Path) -> datetime:
    return datetime.strptime(path.name.removeprefix(SET_PREFIX), STAMP_FORMAT).replace(tzinfo=UTC)


def _remove(root: Path, dice: Dice) -> str:
    path = dice.pick(_sets(root))
    shutil.rmtree(path)
    return f"set {path.name} removed"


def _rename(root: Path, dice: Dice) -> str:
    path = dice.pick(_sets(root))
    shift = dice.pick((timedelta(days=1), timedelta(days=-1), timedelta(hours=5), timedelta(days=400)))
    target = path.with_name(f"{SET_PREFIX}{(_stamp(path) + shift).strftime(STAMP_FORMAT)}")
    if target.exists():
        raise NothingToDo("the name is taken")
    path.rename(target)
    return f"set {path.name} renamed by {shift}"


def _exchange(root: Path, dice: Dice) -> str:
    one, other = dice.two(_sets(root))
    spare = root / "spare"
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    return f"names of {one.name} and {other.name} exchanged"


def _copy(root: Path, dice: Dice) -> str:
    path = dice.pick(_sets(root))
    shift = dice.pick((timedelta(hours=12), timedelta(hours=-12), timedelta(days=-30)))
    target = path.with_name(f"{SET_PREFIX}{(_stamp(path) + shift).strftime(STAMP_FORMAT)}")
    if target.exists():
        raise NothingToDo("the name is taken")
    shutil.copytree(path, target)
    return f"set {path.name} copied, dated {shift} later"


def _mix(root: Path, dice: Dice) -> str:
    one, other = dice.two(_sets(root))
    names = sorted(
        path.relative_to(one)
        for path in one.rglob("*")
        if path.is_file() and (other / path.relative_to(one)).is_file()
    )
    name = dice.pick(names)
    data = (one / name).read_bytes()
    (one / name).write_bytes((other / name).read_bytes())
    (other / name).write_bytes(data)
    return f"{name} exchanged between {one.name} and {other.name}"


def _bytes(kind: str, root: Path, dice: Dice) -> str:
    folder = dice.pick(_sets(root))
    path = dice.pick([path for path in sorted(folder.rglob("*")) if path.is_file()])
    data, done = BYTES[kind](dice, path.read_bytes())
    path.write_bytes(data)
    return f"{path.relative_to(root)}: {done}"


OPERATIONS: dict[str, Callable[[Path, Dice], str]] = {
    "remove a set": _remove,
    "rename a set": _rename,
    "exchange two sets": _exchange,
    "copy a set": _copy,
    "exchange files between sets": _mix,
    "flip a bit of any set": partial(_bytes, "flip a bit"),
    "cut a file of any set": partial(_bytes, "cut the end"),
}


def _still_on_schedule(work: Workspace, before: dict[str, object], after: dict[str, object]) -> bool:
    """Tell whether only whole sets are gone, and those that are left are as close together as declared."""
    if any(before.get(name) != item for name, item in after.items()):
        return False
    gone = {name.partition("/")[0] for name in before.keys() - after.keys()}
    if any(name.partition("/")[0] in gone for name in after):
        return False
    schedule = work.target.backups.schedule
    allowed = timedelta(hours=schedule.period_hours + schedule.slack_hours)
    stamps = [*(_stamp(path) for path in _sets(work.backups)), work.now]
    return len(stamps) > 1 and all(later - earlier <= allowed for earlier, later in pairwise(stamps))


def perform(_bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Damage the backup directory."""
    before = snapshot(work.backups)
    done = run_steps(steps, {kind: partial(one, work.backups) for kind, one in OPERATIONS.items()})
    after = snapshot(work.backups)
    work.every_set = True
    effect, why = Effect.CHANGED, ""
    if after == before:
        effect, why = Effect.SAME, "no byte is another one"
    elif _still_on_schedule(work, before, after):
        effect, why = Effect.EITHER, "a whole set is gone, and the others are as close together as declared"
    return Truth(effect=effect, done=done, checks=("DR-01", "DR-02"), why=why, must_fail=True)


SETS = Level(
    name="sets",
    title="sets of the backup directory: gone, renamed, doubled, mixed",
    kinds=tuple(OPERATIONS),
    perform=perform,
    examples=4,
    most=2,
    sets=None,
)
