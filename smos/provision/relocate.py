"""Makes programs reachable for the service user: a copy in the cache where theirs lies behind closed doors.

A virtual environment below /root can't be entered by an unprivileged user. Copies are made once, atomically
(a temporary directory, then a rename), and checked file by file before use: an incomplete one is made again.
"""

import dataclasses
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from filelock import FileLock

from smos.errors import ProvisionError
from smos.paths import cache_dir
from smos.provision.guard import remove_tree
from smos.provision.installations import PostgresInstallation
from smos.provision.users import ServiceUser

LOCK_S = 120
"""Seconds to wait for another process that makes the same copy."""


def can_reach(path: Path, user: ServiceUser) -> bool:
    """Whether `user` may enter every directory above `path` and read it (mode bits only)."""
    real = path.resolve()
    return all(_allows(folder, user, stat.S_IXOTH) for folder in real.parents) and _allows(
        real, user, stat.S_IROTH
    )


def reachable_installation(
    installation: PostgresInstallation, user: ServiceUser | None
) -> PostgresInstallation:
    """Return the installation, or a copy of it that `user` can execute (None: this user, nothing to do)."""
    if user is None or can_reach(installation.bin_dir / "postgres", user):
        return installation
    root = installation.bin_dir.parent
    package = root.parent
    libraries = package.parent / f"{package.name}.libs"
    copy = copied([root, libraries], package.parent, f"postgresql-{installation.version}")
    return dataclasses.replace(installation, bin_dir=copy / installation.bin_dir.relative_to(package.parent))


def reachable_program(program: Path, user: ServiceUser | None) -> Path:
    """Return the program, or a copy of it that `user` can execute (None: this user, nothing to do)."""
    if user is None or can_reach(program, user):
        return program
    return copied([program], program.parent, program.name) / program.name


def copied(sources: list[Path], base: Path, label: str) -> Path:
    """Return a directory of the cache that holds `sources` at their places relative to `base`.

    Raises ProvisionError when the cache can't be written.
    """
    wanted = _listing(sources, base)
    digest = hashlib.sha256(f"{base}\n{wanted}".encode()).hexdigest()[:12]
    target = cache_dir() / f"{label}-{digest}"
    try:
        with FileLock(cache_dir() / f"{label}.lock", timeout=LOCK_S):
            if (
                not target.is_dir()
                or _listing([target / source.relative_to(base) for source in sources], target) != wanted
            ):
                _copy(sources, base, target)
    except OSError as error:
        raise ProvisionError(
            f"Could not copy {label} to {target}: {error}",
            remedy=f"free some space, or make {cache_dir()} writable for this user",
        ) from error
    return target


def _copy(sources: list[Path], base: Path, target: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        for source in sources:
            place = fresh / source.relative_to(base)
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, symlinks=True, copy_function=_place)
            elif source.exists():
                _place(str(source), str(place))
        for folder in (
            fresh,
            *(path for path in fresh.rglob("*") if path.is_dir() and not path.is_symlink()),
        ):
            folder.chmod(0o755)
        remove_tree(target)
        fresh.replace(target)
    except BaseException:
        remove_tree(fresh)
        raise


def _place(source: str, target: str, *, follow_symlinks: bool = True) -> None:
    """Copy one file with its mode and time."""
    shutil.copy2(source, target, follow_symlinks=follow_symlinks)
    if not os.path.islink(target):
        os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)


def _listing(sources: list[Path], base: Path) -> list[tuple[str, int, int]]:
    """Return path, size and time (ns) of every file."""
    files: list[Path] = []
    for source in sources:
        files += sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    facts = [(path, path.stat()) for path in files if path.exists()]
    return [(str(path.relative_to(base)), fact.st_size, fact.st_mtime_ns) for path, fact in facts]


def _allows(path: Path, user: ServiceUser, other_bit: int) -> bool:
    facts = path.stat()
    if facts.st_uid == user.uid:
        return bool(facts.st_mode & other_bit << 6)
    if facts.st_gid == user.gid:
        return bool(facts.st_mode & other_bit << 3)
    return bool(facts.st_mode & other_bit)
