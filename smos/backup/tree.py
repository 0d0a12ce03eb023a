"""Reads a directory tree as entries: what really lies on disk, file by file, with its digest."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from smos.backup.entries import Entry, EntryType
from smos.backup.safepath import OPEN_FILE, DirTree, walk
from smos.backup.xattrs import handle_path, read_xattrs, show_value

BLOCK_BYTES = 1 << 20
ZEROS = bytes(BLOCK_BYTES)
HOLES_FROM_BYTES = 1 << 17
"""Smaller files are read whole: asking for their holes costs more than it saves."""
MOST_SEGMENTS = 100_000

_TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFIFO: EntryType.FIFO,
    stat.S_IFSOCK: EntryType.SOCKET,
    stat.S_IFCHR: EntryType.CHAR,
    stat.S_IFBLK: EntryType.BLOCK,
}


def entry_type(status: os.stat_result) -> EntryType:
    """Return the type of an entry from its lstat."""
    return _TYPES[stat.S_IFMT(status.st_mode)]


def data_segments(handle: int, size: int) -> list[tuple[int, int]]:
    """Return (offset, length) of the parts of a file that hold data, in order; between them are holes.

    One segment for the whole file where the file system can't tell.
    """
    if size < HOLES_FROM_BYTES or not hasattr(os, "SEEK_DATA"):
        return [(0, size)]
    segments: list[tuple[int, int]] = []
    offset = 0
    while offset < size and len(segments) <= MOST_SEGMENTS:
        try:
            start = os.lseek(handle, offset, os.SEEK_DATA)
            end = os.lseek(handle, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data follows
                break
            return [(0, size)]
        if start >= size:
            break
        offset = min(end, size)
        segments.append((start, offset - start))
    os.lseek(handle, 0, os.SEEK_SET)
    if len(segments) > MOST_SEGMENTS or any(start % 512 for start, _ in segments):
        return [(0, size)]
    return segments


class Copied(NamedTuple):
    """sha256 of the logical content of `size` bytes, hex; missing: bytes that the file lost meanwhile."""

    sha256: str
    missing: int


def copy_content(
    handle: int, size: int, segments: list[tuple[int, int]], sink: Callable[[bytes], object] | None = None
) -> Copied:
    """Read `size` bytes, holes as zeros; hand the segments' bytes to `sink`; fill up what is missing."""
    digest = hashlib.sha256()
    position = missing = 0
    for start, length in segments:
        _hash_zeros(digest, start - position)
        position = start + length
        left = length
        while left:
            block = os.pread(handle, min(left, BLOCK_BYTES), start + length - left)
            if not block:
                missing += left
                block = ZEROS[: min(left, BLOCK_BYTES)]
            digest.update(block)
            if sink:
                sink(block)
            left -= len(block)
    _hash_zeros(digest, size - position)
    return Copied(digest.hexdigest(), missing)


def _hash_zeros(digest: "hashlib._Hash", count: int) -> None:
    while count > 0:
        digest.update(ZEROS[: min(count, BLOCK_BYTES)])
        count -= BLOCK_BYTES


class Links:
    """Which entries share an inode: hands out the path of the first entry that was met."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], tuple[bytes, int]] = {}

    def first(self, status: os.stat_result, path: bytes) -> bytes | None:
        """Return the first path of this inode, None when `path` is the first (or the only) one."""
        if status.st_nlink < 2 or stat.S_ISDIR(status.st_mode):
            return None
        key = (status.st_dev, status.st_ino)
        known = self._first.get(key)
        if known is None:
            self._first[key] = (path, status.st_nlink - 1)
            return None
        path, left = known
        if left > 1:
            self._first[key] = (path, left - 1)
        else:
            del self._first[key]  # all its names were met
        return path


def make_entry(
    path: bytes,
    kind: EntryType,
    status: os.stat_result,
    *,
    sha256: str = "",
    link: bytes = b"",
    hardlink: bytes | None = None,
    xattrs: dict[str, bytes] | None = None,
    torn: bool = False,
) -> Entry:
    """Build an entry from what was read of it."""
    device = (
        f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        if kind in {EntryType.CHAR, EntryType.BLOCK}
        else ""
    )
    return Entry(
        path,
        kind,
        status.st_uid,
        status.st_gid,
        stat.S_IMODE(status.st_mode),
        status.st_size if kind is EntryType.FILE else 0,
        status.st_mtime_ns,
        sha256,
        link,
        hardlink,
        tuple((name, show_value(value)) for name, value in xattrs.items()) if xattrs else (),
        device,
        torn,
    )


def read_tree(root: Path, overlay: Callable[[Entry], Entry] | None = None) -> Iterator[Entry]:
    """Yield every entry below `root` (the root is the first), in the order of `entries.sort_key`.

    Content is read and hashed; hard-linked content once for each name. No symbolic link is followed.
    overlay: replaces what this disk could not hold by what the archive says.

    Raises OSError for what can't be read.
    """
    links = Links()
    with DirTree(root) as tree:
        for parts, parent, name, status in walk(tree):
            kind = entry_type(status)
            path = b"/".join(parts)
            hardlink = links.first(status, path)
            sha256, target = "", b""
            if kind is EntryType.FILE:
                handle = os.open(name, OPEN_FILE, dir_fd=parent)
                try:
                    size = status.st_size
                    sha256 = copy_content(handle, size, data_segments(handle, size)).sha256
                    xattrs = read_xattrs(handle)
                finally:
                    os.close(handle)
            else:
                if kind is EntryType.SYMLINK:
                    target = os.fsencode(os.readlink(name, dir_fd=parent))
                xattrs = read_xattrs(parent if not parts else handle_path(parent, name))
            entry = make_entry(
                path, kind, status, sha256=sha256, link=target, hardlink=hardlink, xattrs=xattrs
            )
            yield overlay(entry) if overlay else entry
