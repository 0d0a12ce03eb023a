"""Things that can be made again, kept between runs: copies of programs, templates of empty clusters.

An entry is made aside and renamed into place under a file lock, together with a listing of its files; one
that is incomplete or was changed is made again. Nothing here is ever the only copy of anything.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
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
    files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    facts = [(path, path.stat()) for path in files]
    return [[str(path.relative_to(root)), fact.st_size, fact.st_mtime_ns] for path, fact in facts]


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
