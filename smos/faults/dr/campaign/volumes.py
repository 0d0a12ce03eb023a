"""Damage to a volume that is archived anew, hashes made to fit: its list of entries alone gives it away.

The oracle is a walk over the tree before and after. Times don't count: no service depends on them.
"""

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from smos.faults.dr.campaign.model import (
    Bench,
    Dice,
    Effect,
    Level,
    NothingToDo,
    Step,
    Truth,
    run_steps,
    seal,
)
from smos.faults.dr.campaign.reference import tree
from smos.faults.dr.exercise import Scope
from smos.faults.dr.volumes import ACL, ACL_NAME
from smos.faults.dr.workspace import Workspace

NAMES = ("n8n_data", "odoo-web-data", "chatwoot-data")
Operation = Callable[[Path, Dice], str]


def _all(root: Path, *kinds: int) -> list[Path]:
    found = (root, *sorted(root.rglob("*")))
    return [path for path in found if not kinds or stat.S_IFMT(path.lstat().st_mode) in kinds]


def _name(root: Path, path: Path) -> str:
    return repr(str(path.relative_to(root)))


@contextmanager
def _times_kept(path: Path) -> Iterator[None]:
    """Leave the times of a file and of its directory as they are: they must not be what gives a change away."""
    kept = [(item, item.lstat()) for item in (path, path.parent) if item.exists() or item.is_symlink()]
    yield
    for item, status in kept:
        if item.exists() or item.is_symlink():
            os.utime(item, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _content(change: Callable[[Dice, bytes], bytes], root: Path, dice: Dice) -> str:
    path = dice.pick(_all(root, stat.S_IFREG))
    data = path.read_bytes()
    with _times_kept(path), path.open("r+b") as file:
        after = change(dice, data)
        file.write(after)
        file.truncate(len(after))
    return f"{_name(root, path)}: content"


def _flip(dice: Dice, data: bytes) -> bytes:
    at = dice.below(len(data))
    return data[:at] + bytes([data[at] ^ 1 << dice.below(8)]) + data[at + 1 :]


def _cut(dice: Dice, data: bytes) -> bytes:
    return data[: dice.below(len(data))]


def _append(dice: Dice, data: bytes) -> bytes:
    return data + dice.pick((b"\0", b"\n", bytes(4096), data))


def _same(_dice: Dice, data: bytes) -> bytes:
    return data


def _exchange(root: Path, dice: Dice) -> str:
    one, other = dice.two(_all(root, stat.S_IFREG))
    first, second = one.read_bytes(), other.read_bytes()
    with _times_kept(one), _times_kept(other):
        one.write_bytes(second)
        other.write_bytes(first)
    return f"{_name(root, one)} and {_name(root, other)}: contents exchanged"


def _remove(root: Path, dice: Dice) -> str:
    path = dice.pick(_all(root)[1:])
    with _times_kept(path):
        _delete(path)
    return f"{_name(root, path)} removed"


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for item in path.iterdir():
            _delete(item)
        path.rmdir()
    else:
        path.unlink()


def _rename(root: Path, dice: Dice) -> str:
    path = dice.pick(_all(root)[1:])
    name = dice.pick((
        f"{path.name}~", f"{path.name} ", path.name.swapcase(), unicodedata.normalize("NFD", path.name),
        path.name.replace("0", "O", 1), f".{path.name}",
    ))  # fmt: skip
    target = path.with_name(name)
    if target.exists() or target.is_symlink():
        raise NothingToDo("the name is taken")
    with _times_kept(path):
        path.rename(target)
    return f"{_name(root, path)} renamed to {name!r}"


def _exchange_names(root: Path, dice: Dice) -> str:
    one, other = dice.two([path for path in _all(root)[1:] if not path.is_dir() or path.is_symlink()])
    with _times_kept(one), _times_kept(other):
        spare = root / ".spare"
        one.rename(spare)
        other.rename(one)
        spare.rename(other)
    return f"names of {_name(root, one)} and {_name(root, other)} exchanged"


def _add(root: Path, dice: Dice) -> str:
    folder = dice.pick(_all(root, stat.S_IFDIR))
    path = folder / dice.pick(("new", "x.sh", ".x", "ñ"))
    what = dice.pick(("file", "directory", "link", "fifo", "hard link", "device"))
    if path.exists():
        raise NothingToDo("the name is taken")
    with _times_kept(path):
        if what == "file":
            path.write_bytes(b"" if dice.below(2) else b"new")
        elif what == "directory":
            path.mkdir()
        elif what == "link":
            path.symlink_to(dice.pick((".", "nowhere", "/etc/passwd")))
        elif what == "fifo":
            os.mkfifo(path)
        elif what == "hard link":
            os.link(dice.pick(_all(root, stat.S_IFREG)), path)
        elif os.geteuid() == 0:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    return f"{_name(root, path)}: a {what} added"


def _mode(root: Path, dice: Dice) -> str:
    path = dice.pick([path for path in _all(root) if not path.is_symlink()])
    mode = path.stat().st_mode & 0o7777
    after = dice.pick((mode ^ 1 << dice.below(12), 0o777, 0o600, 0o4755))
    path.chmod(after)
    return f"{_name(root, path)}: mode {mode:o} becomes {after:o}"


def _owner(root: Path, dice: Dice) -> str:
    path = dice.pick(_all(root))
    if os.geteuid() != 0:
        raise NothingToDo("only root may give files away")
    uid, gid = dice.pick(((0, -1), (-1, 0), (1000, 1000), (65534, 65534), (-1, 101), (2**31, -1)))
    mode = path.lstat().st_mode
    os.chown(path, uid, gid, follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        path.chmod(mode & 0o7777)  # chown takes set-user-ID away
    return f"{_name(root, path)}: owner {uid}:{gid}"


def _attribute(root: Path, dice: Dice) -> str:
    path = dice.pick(_all(root, stat.S_IFREG, stat.S_IFDIR))
    present = os.listxattr(path)
    what = dice.pick(("set", "remove", "change", "rights"))
    if what == "remove":
        os.removexattr(path, dice.pick(present))
    elif what == "change":
        name = dice.pick([name for name in present if name.startswith("user.")])
        os.setxattr(path, name, os.getxattr(path, name) + b"x")
    elif what == "set":
        os.setxattr(path, dice.pick(("user.new", "user.smarteros")), dice.pick((b"", b"x", b"\0\xff")))
    else:
        os.setxattr(path, ACL_NAME, ACL)
    return f"{_name(root, path)}: attribute, {what}"


def _retarget(root: Path, dice: Dice) -> str:
    path = dice.pick(_all(root, stat.S_IFLNK))
    target, status = str(path.readlink()), path.lstat()
    after = dice.pick((f"./{target}", f"{target}/", "/etc/passwd", "nowhere", target.upper(), target))
    with _times_kept(path):
        path.unlink()
        path.symlink_to(after)
        if os.geteuid() == 0:
            os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    return f"{_name(root, path)}: points at {after!r} instead of {target!r}"


def _another_type(root: Path, dice: Dice) -> str:
    path = dice.pick(_all(root)[1:])
    what = dice.pick(("file", "directory", "link", "fifo"))
    status = path.lstat()
    with _times_kept(path):
        _delete(path)
        if what == "file":
            path.write_bytes(b"")
        elif what == "directory":
            path.mkdir()
        elif what == "link":
            path.symlink_to("nowhere")
        else:
            os.mkfifo(path)
        if os.geteuid() == 0:
            os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    return f"{_name(root, path)} became a {what}"


def _unlink_twins(root: Path, dice: Dice) -> str:
    path = dice.pick([path for path in _all(root, stat.S_IFREG) if path.stat().st_nlink > 1])
    _copy_in_place(path)
    return f"{_name(root, path)}: a hard link became a copy"


def _copy_in_place(path: Path) -> None:
    data, status = path.read_bytes(), path.stat()
    attributes = [(name, os.getxattr(path, name)) for name in os.listxattr(path)]
    with _times_kept(path):
        path.unlink()
        path.write_bytes(data)
        if os.geteuid() == 0:
            os.chown(path, status.st_uid, status.st_gid)
        path.chmod(status.st_mode & 0o7777)
        for name, value in attributes:
            os.setxattr(path, name, value)


def _rewrite(root: Path, dice: Dice) -> str:
    path = dice.pick([path for path in _all(root, stat.S_IFREG) if path.stat().st_nlink == 1])
    _copy_in_place(path)
    return f"{_name(root, path)} written anew as it was (holes filled)"


def _link_twins(root: Path, dice: Dice) -> str:
    one, other = dice.two(_all(root, stat.S_IFREG))
    with _times_kept(one), _times_kept(other):
        other.unlink()
        os.link(one, other)
    return f"{_name(root, other)} became a hard link to {_name(root, one)}"


def _touch(root: Path, dice: Dice) -> str:
    path = dice.pick(_all(root))
    moment = dice.pick((0, 10**18, 1_800_000_000_000_000_001))
    os.utime(path, ns=(moment, moment), follow_symlinks=False)
    return f"{_name(root, path)}: time {moment}"


OPERATIONS: dict[str, Operation] = {
    "flip a bit": partial(_content, _flip),
    "cut a file": partial(_content, _cut),
    "append to a file": partial(_content, _append),
    "write the same": partial(_content, _same),
    "exchange contents": _exchange,
    "remove": _remove,
    "rename": _rename,
    "exchange names": _exchange_names,
    "add": _add,
    "mode": _mode,
    "owner": _owner,
    "attribute": _attribute,
    "retarget a link": _retarget,
    "change the type": _another_type,
    "copy a hard link": _unlink_twins,
    "make a hard link": _link_twins,
    "write anew": _rewrite,
    "touch": _touch,
}


def _guarded(operation: Operation, root: Path, dice: Dice) -> str:
    try:
        return operation(root, dice)
    except OSError as error:
        raise NothingToDo(f"refused: {error.strerror}") from error


def perform(_bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Damage a volume; the first step's dice say which."""
    name = Dice(steps[0].dice).pick(NAMES)
    rest = [Step(step.kind, step.dice[1:]) for step in steps]
    done, same = "", False

    def change(root: Path) -> None:
        nonlocal done, same
        before = tree(root)
        done = run_steps(rest, {kind: partial(_guarded, one, root) for kind, one in OPERATIONS.items()})
        same = tree(root) == before

    work.rearchive(name, change)
    seal(work)
    return Truth(
        effect=Effect.SAME if same else Effect.CHANGED,
        done=f"{name}: {done}",
        checks=("DR-02", "DR-04") if same else ("DR-04",),
        scope=Scope(volumes=(name,)),
        why="names, content, modes, owners, links and attributes are the same" if same else "",
    )


VOLUMES = Level(
    name="volumes",
    title="files of a volume, archived anew, hashes made to fit",
    kinds=tuple(OPERATIONS),
    perform=perform,
    examples=20,
    most=2,
)
