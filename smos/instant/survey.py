"""What a physical backup consists of, entry by entry, and a seal that shows whether anything of it was changed.

The backup is untrusted: anything but files and directories is refused, except the symbolic links that PostgreSQL
itself makes (`pg_wal`, `pg_tblspc/<oid>`), which the caller must say the whereabouts of.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smos.errors import BackupError, UnsafeInputError

LINKS = re.compile(r"pg_wal|pg_tblspc/[0-9]{1,10}")
"""Where PostgreSQL keeps symbolic links in a data directory. Source: its manual, "Database File Layout"."""
MOST_ENTRIES = 5_000_000
"""Files and directories of a backup; a cluster of 100,000 tables has some 400,000."""
DEEPEST = 32
"""Levels of directories; PostgreSQL uses five."""
OVERLAY_ATTRIBUTE = re.compile(r"(trusted|user)\.overlay\.")
"""Extended attributes with which a file tells overlayfs to look elsewhere."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or link. path: below the root, "" for the root itself. kind: "d", "f" or "l"."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    bytes: int
    inode: int
    modified_ns: int
    changed_ns: int

    def line(self) -> str:
        """Return what the seal is computed from. `changed_ns` (ctime) moves with every write, chmod and chown."""
        return "\0".join(map(str, (
            self.path, self.kind, self.mode, self.uid, self.gid, self.bytes, self.inode, self.modified_ns,
            self.changed_ns,
        )))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A tree as it lies on disk: its entries, and the links that PostgreSQL made (path to where they lead)."""

    root: Path
    entries: tuple[Entry, ...]
    links: tuple[tuple[str, str], ...]

    @property
    def files(self) -> tuple[Entry, ...]:
        """The regular files."""
        return tuple(entry for entry in self.entries if entry.kind == "f")

    @property
    def bytes(self) -> int:
        """The sum of the files' sizes."""
        return sum(entry.bytes for entry in self.entries if entry.kind == "f")

    def seal(self) -> str:
        """Return SHA-256 over every entry's name, kind, mode, owner, size, inode, mtime and ctime, in hex.

        Contents are not read: no write leaves ctime as it was, short of an administrator who sets the clock back.
        """
        digest = hashlib.sha256()
        for entry in self.entries:
            digest.update(entry.line().encode(errors="surrogateescape") + b"\n")
        return digest.hexdigest()


def survey(root: Path) -> Survey:
    """Read a tree, nothing of the files' contents.

    Raises BackupError when it can't be read, UnsafeInputError for what no backup holds.
    """
    entries: list[Entry] = []
    links: list[tuple[str, str]] = []
    try:
        if not stat.S_ISDIR(root.lstat().st_mode):
            raise BackupError(f"{root} is not a directory", remedy="name the directory that holds PG_VERSION")
        for entry, target in _walk(root):
            entries.append(entry)
            if target is not None:
                links.append((entry.path, target))
            if len(entries) > MOST_ENTRIES:
                raise UnsafeInputError(f"{root} holds more than {MOST_ENTRIES} entries")
    except OSError as error:
        raise BackupError(
            f"{error.filename or root} can't be read: {error.strerror}",
            remedy="look at its owner and its rights",
        ) from error
    return Survey(root=root, entries=tuple(entries), links=tuple(links))


def differing(before: Survey, after: Survey, most: int = 20) -> tuple[str, ...]:
    """Return the names of entries that are new, gone or changed; at most `most` of them."""
    old = {entry.path: entry for entry in before.entries}
    new = {entry.path: entry for entry in after.entries}
    names = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    return tuple(name or "." for name in names[:most])


def _walk(root: Path) -> Iterator[tuple[Entry, str | None]]:
    """Yield every entry in a stable order; the target with a link."""
    yield _entry("", "d", root.lstat()), None
    queue = [("", 0)]
    while queue:
        folder, depth = queue.pop()
        if depth > DEEPEST:
            raise UnsafeInputError(f"{root / folder} lies more than {DEEPEST} levels deep")
        with os.scandir(root / folder if folder else root) as found:
            children = sorted(found, key=lambda item: item.name)
        for child in children:
            path = f"{folder}/{child.name}" if folder else child.name
            status = child.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                _refuse_overlay(root / path)
                queue.append((path, depth + 1))
                yield _entry(path, "d", status), None
            elif stat.S_ISREG(status.st_mode):
                _refuse_overlay(root / path)
                yield _entry(path, "f", status), None
            elif stat.S_ISLNK(status.st_mode) and LINKS.fullmatch(path):
                yield _entry(path, "l", status), str(Path(root, path).readlink())
            else:
                what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "neither a file nor a directory"
                raise UnsafeInputError(
                    f"The backup holds {path!r}, which is {what}: no base backup has that",
                    remedy="treat the backup as tampered with until its origin is known",
                )


def _refuse_overlay(path: Path) -> None:
    if not hasattr(os, "listxattr"):
        return
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # a file system without them has none
        return
    if any(OVERLAY_ATTRIBUTE.match(name) for name in names):
        raise UnsafeInputError(
            f"{path} carries an attribute that directs overlayfs elsewhere",
            remedy="treat the backup as tampered with; a copy without extended attributes can be restored",
        )


def _entry(path: str, kind: str, status: os.stat_result) -> Entry:
    return Entry(
        path, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_size, status.st_ino,
        status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip
