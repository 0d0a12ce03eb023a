"""What readers of other tools' repositories share: where the tool is, and a repository that the service user may read.

The tools run as the service user, with a configuration of ours: the repository's owner may have written hooks into his.
Where that user may not read the repository, it is copied first; the tool then can't touch the original either.
"""

import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from smos.physical.fetch import SPACES, Fetched
from smos.provision.owner import Owner
from smos.provision.users import can_read
from smos.target import Limits
from smos.verdict import Problem

COPY_S = 4 * 3600
PROBED = 64
"""Files that are looked at to tell whether the service user may read a repository."""


def tool(name: str, package: str) -> tuple[str | None, tuple[Problem, ...]]:
    """Return the tool's path, or what is missing."""
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        detail = f"{name} is not installed here, and only it reads its repository: apt-get install {package}"
        return None, (Problem("tool-missing", detail),)
    return found, ()


def readable(owner: Owner, path: Path, limits: Limits) -> tuple[Path | None, float, tuple[Problem, ...]]:
    """Return the repository, or a copy of it that the service user may read; seconds that copying took; problems."""
    user = owner.user
    if user is None or all(can_read(file, user) for file in _some_files(path)):
        return path, 0.0, ()
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):  # the tool goes on archiving and expiring
                size += Path(folder, name).lstat().st_size
    if size > limits.bytes:
        return None, 0.0, (Problem("limit-exceeded", f"{path} holds {size} bytes, more than {limits.bytes}"),)
    started = time.monotonic()
    copy = owner.directory("repository") / "copy"
    owner.run(["/bin/cp", "-R", "-P", "--", path, copy], timeout_s=COPY_S, as_service_user=False)
    for folder, folders, names in os.walk(copy):
        for name in (*folders, *names):
            owner.give(Path(folder, name))
    owner.give(copy)
    return copy, time.monotonic() - started, ()


def only_name(path: Path, wanted: str | None) -> tuple[str | None, tuple[Problem, ...]]:
    """Return the stanza or server: the one that is wanted, else the only one that is there."""
    if not path.is_dir():
        return None, (Problem("backups-missing", f"there is no directory {path}"),)
    names = sorted(item.name for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))
    if wanted is not None:
        found = wanted if wanted in names else None
        return found, () if found else (Problem("backups-missing", f"{path} holds no {wanted}"),)
    if len(names) != 1:
        detail = f"{path} holds {len(names)} of them ({', '.join(names[:5])}): name one in physical.stanza"
        return None, (Problem("backups-missing", detail),)
    return names[0], ()


def measured(data: Path, seconds: float) -> Fetched:
    """Return what a tool restored: its files are counted, and its tablespaces found by their links.

    The tool put every tablespace beside `data`. What leads elsewhere, and what is neither file nor directory, is
    refused as in backups that we copy ourselves. Codes: link-refused, entry-refused, tablespace-missing.
    """
    room = Path(os.path.realpath(data.parent))
    root = room / data.name
    files = size = 0
    spaces: dict[str, Path] = {}
    problems: list[Problem] = []
    for path, facts in _below(root):
        label = path.relative_to(room)
        if stat.S_ISLNK(facts.st_mode):
            target = Path(os.path.realpath(path))
            space = path.parent == root / SPACES
            if not target.is_relative_to(room) or target == room or (space and target.is_relative_to(root)):
                problems.append(Problem("link-refused", f"{label} leads out of where it was restored to"))
            elif space and not target.is_dir():
                problems.append(Problem("tablespace-missing", f"{label} leads to nothing"))
            elif space:
                spaces[path.name] = target
        files += not stat.S_ISDIR(facts.st_mode)
        size += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
        problems += _strange(label, facts.st_mode)
    for path, facts in (entry for space in set(spaces.values()) for entry in _below(space)):
        files += not stat.S_ISDIR(facts.st_mode)
        size += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
        if stat.S_ISLNK(facts.st_mode):
            problems.append(Problem("link-refused", f"{path.relative_to(room)} lies in a tablespace"))
        problems += _strange(path.relative_to(room), facts.st_mode)
    return Fetched(
        data=data, spaces=spaces, files=files, bytes=size, seconds=seconds, problems=tuple(problems)
    )


def _below(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield everything below a directory with what it is itself; no link is followed."""
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(folder, name)
            yield path, path.lstat()


def _strange(label: Path, mode: int) -> tuple[Problem, ...]:
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
        return ()
    return (Problem("entry-refused", f"{label} is neither a file nor a directory"),)


def words_of(output: bytes, marks: Sequence[str]) -> str:
    """Return the lines of a tool's output that hold one of the marks, shortened."""
    lines = output.decode("utf-8", "replace").splitlines()
    return "; ".join(line.strip() for line in lines if any(mark in line for mark in marks))[:400]


def _some_files(path: Path) -> list[Path]:
    found: list[Path] = []
    for folder, _, names in os.walk(path):
        found += [Path(folder, name) for name in names if not Path(folder, name).is_symlink()]
        if len(found) > PROBED:
            break
    return found[:PROBED]
