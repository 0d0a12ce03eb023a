"""Shows that a directory was not changed, and that a second copy holds the same bytes."""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smos.backup.names import printable

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """One entry below a directory, links not followed. path: relative. Times in nanoseconds since the epoch.

    changed_ns: the inode's change time, which nobody can set back: it rises with every write, rename, chmod
    and touch, and not with reading. sha256: empty unless content was asked for.
    """

    path: str
    mode: int
    size: int
    inode: int
    modified_ns: int
    changed_ns: int
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryState:
    """All entries below a directory, sorted by path; `unreadable` names what could not be looked at."""

    entries: tuple[FileState, ...]
    unreadable: tuple[str, ...] = ()


def directory_state(directory: Path, *, with_content: bool = False) -> DirectoryState:
    """Record every entry below `directory`. Cheap without `with_content`, which hashes every regular file."""
    entries: list[FileState] = []
    unreadable: list[str] = []

    waiting = [
        (directory, "")
    ]  # a list, not recursion: who can write there can also nest folders without end
    while waiting:
        folder, relative = waiting.pop()
        try:
            found = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            unreadable.append(f"{printable(relative) or '.'}: {error.strerror}")
            continue
        for entry in found:
            path = f"{relative}/{entry.name}" if relative else entry.name
            digest = ""
            try:
                status = os.lstat(entry.path)
                if with_content and stat.S_ISREG(status.st_mode):
                    digest = file_sha256(Path(entry.path))
            except FileNotFoundError:  # a backup that is under way renames and removes its own
                continue
            entries.append(
                FileState(
                    path=printable(path),
                    mode=status.st_mode,
                    size=status.st_size,
                    inode=status.st_ino,
                    modified_ns=status.st_mtime_ns,
                    changed_ns=status.st_ctime_ns,
                    sha256=digest,
                )
            )
            if stat.S_ISDIR(status.st_mode):
                waiting.append((Path(entry.path), path))
    entries.sort(key=lambda entry: entry.path)
    return DirectoryState(entries=tuple(entries), unreadable=tuple(unreadable))


directory_digest = directory_state
"""The same, by the name that the design uses."""


def state_changes(before: DirectoryState, after: DirectoryState) -> tuple[str, ...]:
    """Return one line per entry that appeared, vanished or changed; empty when nothing did."""
    old = {entry.path: entry for entry in before.entries}
    new = {entry.path: entry for entry in after.entries}
    changes = [f"vanished: {path}" for path in sorted(old.keys() - new.keys())]
    changes += [f"appeared: {path}" for path in sorted(new.keys() - old.keys())]
    changes += [f"changed: {path}" for path in sorted(old.keys() & new.keys()) if old[path] != new[path]]
    return tuple(changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsiteFacts:
    """A second copy compared with the first, file by file, by size and SHA-256.

    exists: the second directory is there. compared, bytes: how much was equal or different, not missing.
    """

    location: str
    exists: bool
    compared: int
    bytes: int
    missing: tuple[str, ...]
    different: tuple[str, ...]
    unreadable: tuple[str, ...]


def compare_offsite(
    directory: Path, offsite: Path, artifacts: tuple[str, ...], known: Mapping[str, str] | None = None
) -> OffsiteFacts:
    """Compare the files of `artifacts` (paths below `directory`) with those in `offsite`.

    known: SHA-256 of files that have been hashed already, by path; the others are hashed here. Reads both
    whole.
    """
    missing: list[str] = []
    different: list[str] = []
    unreadable: list[str] = []
    compared = size = 0
    for path in sorted({file for artifact in artifacts for file in _files(directory, artifact)}):
        try:
            there = os.lstat(offsite / path)
        except FileNotFoundError:
            missing.append(path)
            continue
        except OSError as error:
            unreadable.append(f"{path}: {error.strerror}")
            continue
        try:
            here = os.lstat(directory / path)
            same = stat.S_ISREG(there.st_mode) and here.st_size == there.st_size
            if same:
                digest = (known or {}).get(path) or file_sha256(directory / path)
                same = digest == file_sha256(offsite / path)
        except OSError as error:
            unreadable.append(f"{path}: {error.strerror}")
            continue
        compared += 1
        size += there.st_size
        if not same:
            different.append(path)
    return OffsiteFacts(
        location=str(offsite),
        exists=offsite.is_dir(),
        compared=compared,
        bytes=size,
        missing=tuple(missing),
        different=tuple(different),
        unreadable=tuple(unreadable),
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file as hex; links are not followed. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    digest = hashlib.sha256()
    with os.fdopen(handle, "rb", 0) as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _files(directory: Path, artifact: str) -> list[str]:
    path = directory / artifact
    if path.is_dir() and not path.is_symlink():
        return [
            f"{artifact}/{entry.relative_to(path).as_posix()}"
            for entry in sorted(path.rglob("*"))
            if entry.is_file()
        ]
    return [artifact]
