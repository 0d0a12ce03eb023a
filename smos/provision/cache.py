"""Things that can be made again, kept between runs: copies of programs, templates of empty clusters.

An entry is made aside and renamed into place under a file lock, together with a listing of its files; one
that is incomplete or was changed is made again. Nothing here is ever the only copy of anything.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from smos.errors import ProvisionError
from smos.paths import cache_dir
from smos.provision.guard import remove_tree

LOCK_S = 180
"""Seconds to wait for another process that makes the same entry."""


class CacheError(ProvisionError):
    """The cache can't be used: no home directory, no room, not writable."""


def cached(label: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the directory of the entry `label` for `key`, made by `make` where it is not there complete.

    `make` is given an empty directory to fill; a ProvisionError of its own goes through.
    Raises CacheError when the cache can't be used.
    """
    try:
        home = cache_dir()
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home
        raise CacheError(
            f"There is no cache directory: {error}", remedy="set HOME to a directory that this user can write"
        ) from error
    try:
        entry = home / f"{label}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        with FileLock(home / f"{entry.name}.lock", timeout=LOCK_S):
            if not _intact(entry):
                _make(entry, make)
    except (OSError, Timeout) as error:
        raise CacheError(
            f"The cache entry {label} could not be made: {error}",
            remedy="free some space, or make the cache directory writable for this user",
        ) from error
    return entry / "content"


def listing(root: Path) -> list[list[str | int]]:
    """Return path, size and time (ns) of every file below `root` (or of `root`, when that is a file)."""
    if not root.is_dir():
        fact = root.stat()
        return [[".", fact.st_size, fact.st_mtime_ns]]
    return sorted(_files(str(root), ""))


def _files(folder: str, below: str) -> Iterator[list[str | int]]:
    """Yield the same of the files in a folder. Not with Path: a template has a thousand, and is looked at often."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{below}{entry.name}/")
            elif entry.is_file():
                fact = entry.stat()
                yield [f"{below}{entry.name}", fact.st_size, fact.st_mtime_ns]


def _intact(entry: Path) -> bool:
    try:
        wanted = json.loads((entry / "listing.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(wanted == listing(entry / "content"))


def _make(entry: Path, make: Callable[[Path], None]) -> None:
    for left in entry.parent.glob(f".{entry.name}.*"):
        remove_tree(left)  # of a run that was killed here; the lock is ours
    fresh = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=entry.parent))
    try:
        content = fresh / "content"
        content.mkdir()
        make(content)
        for folder in (fresh, content, *(path for path in content.rglob("*") if _is_folder(path))):
            folder.chmod(0o755)  # the service user reads root's cache
        (fresh / "listing.json").write_text(json.dumps(listing(content)), encoding="utf-8")
        if entry.exists():
            remove_tree(entry)
        fresh.replace(entry)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
