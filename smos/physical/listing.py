"""A directory tree as it stands, to show afterwards that nobody wrote there: names, sizes, times of change."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

Listing = Mapping[str, tuple[int, ...]]


def take(*roots: Path | None) -> Listing:
    """Return path to (kind and mode, size, modification and change in nanoseconds, inode); links are not followed.

    The change time can't be set by a program, so a file that was written and dated back is seen as well. A
    directory's own times are left out: what came or went is seen by its name. What can't be read is left out.
    """
    found: dict[str, tuple[int, ...]] = {}
    waiting: list[str] = []
    real: list[Path] = []
    for root in roots:
        if root is None:
            continue
        place = Path(os.path.realpath(root))
        if not any(place.is_relative_to(other) for other in real):  # an archive in the store is seen with it
            waiting.append(os.fspath(root))
        real.append(place)
    while waiting:  # no recursion: a hostile tree may be deeper than the stack
        try:
            with os.scandir(waiting.pop()) as entries:
                items = list(entries)
        except OSError:
            continue
        for item in items:
            try:
                status = item.stat(follow_symlinks=False)
            except OSError:  # it went meanwhile, as what a program that archives renames
                continue
            if stat.S_ISDIR(status.st_mode):
                found[item.path] = (status.st_mode,)
                waiting.append(item.path)
            else:
                found[item.path] = (
                    status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino,
                )  # fmt: skip
    return found


def compare(before: Listing, after: Listing) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return (changed, gone, added), as paths."""
    changed = sorted(path for path, facts in before.items() if path in after and after[path] != facts)
    gone = sorted(before.keys() - after.keys())
    return tuple(changed), tuple(gone), tuple(sorted(after.keys() - before.keys()))
