"""Archives a volume in one pass: a zstd-compressed pax tar, and beside it the list of its entries.

The tar is meant for any restore tool: relative names below `./`, numeric owners, times to the nanosecond,
extended attributes as GNU tar keeps them (ACLs included, as the attributes that Linux makes of them), holes
as GNU's sparse format 1.0, hard links as such. Sockets are listed and not archived: nobody can restore one.

The source is only read, through handles that follow no link, without touching access times where that is
allowed.
"""

import os
import stat
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zstandard

from smos.backup.entries import Entry, EntryType, EntryWriter, HashingFile, entry_id
from smos.backup.names import printable
from smos.backup.safepath import OPEN_FILE, DirTree, Parts, walk
from smos.backup.tree import BLOCK_BYTES, Links, copy_content, data_segments, entry_type, make_entry
from smos.backup.xattrs import ACL_KEYWORDS, acl_to_text, handle_path, header_name, read_xattrs
from smos.errors import BackupError
from smos.verdict import Problem

TAR_BLOCK = 512
TAR_RECORD = 10240
BUFFER_BYTES = 1 << 18
WHOLE_FILE_BYTES = 1 << 20
"""Files up to this size are read into memory, and read again when they changed meanwhile."""
ATTEMPTS = 3
PROGRESS_ENTRIES = 5000
_TAR_TYPES = {
    EntryType.FILE: tarfile.REGTYPE,
    EntryType.DIRECTORY: tarfile.DIRTYPE,
    EntryType.SYMLINK: tarfile.SYMTYPE,
    EntryType.FIFO: tarfile.FIFOTYPE,
    EntryType.CHAR: tarfile.CHRTYPE,
    EntryType.BLOCK: tarfile.BLKTYPE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSummary:
    """What one archive holds.

    files: entries of every type but directories; entries: all that are listed; bytes: content of the
    regular files, holes counted, hard-linked content once. problems: `torn-while-reading`,
    `vanished-while-reading` (also in the list of entries), `socket-skipped`; each names entries by their id.
    """

    name: str
    files: int
    entries: int
    bytes: int
    archive_bytes: int
    archive_sha256: str
    entries_sha256: str
    problems: tuple[Problem, ...]


def create_volume_archive(
    root: Path,
    name: str,
    archive: Path,
    entries: Path,
    *,
    level: int = 3,
    progress: Callable[[str], None] | None = None,
) -> VolumeSummary:
    """Archive the directory `root` as volume `name` into the new files `archive` and `entries`.

    level: of zstd. progress: is told a sentence now and then.

    Raises BackupError when anything can't be read (nothing is ever skipped silently) or written, or when
    the archive would lie inside of the volume; the two files are removed then.
    """
    for path in (archive, entries):
        if path.resolve().parent.is_relative_to(root.resolve()):
            raise BackupError(
                f"{path} lies inside of the volume {name}", remedy="write the backup somewhere else"
            )
        if os.path.lexists(path):
            raise BackupError(f"{path} exists already", remedy="give a name that is not taken")
    try:
        return _create(root, name, archive, entries, level, progress)
    except BaseException as error:
        archive.unlink(missing_ok=True)
        entries.unlink(missing_ok=True)
        if isinstance(error, OSError):
            inside = isinstance(error.filename, bytes)
            where = root / os.fsdecode(error.filename) if inside else error.filename or root
            raise BackupError(
                f"Volume {name}: {printable(str(where))} can't be archived: {error.strerror}",
                remedy="run the backup as a user that may read every file of the volume, and see that"
                " the disk is healthy and has room: a backup never leaves files out",
            ) from error
        raise


def _create(
    root: Path, name: str, archive: Path, entries: Path, level: int, progress: Callable[[str], None] | None
) -> VolumeSummary:
    with (
        archive.open("xb") as file,
        EntryWriter(entries, name) as listing,
        DirTree(root) as tree,
    ):
        out = _TarStream(HashingFile(file), level)
        writer = _Writer(out, listing, tree)
        for parts, parent, entry_name, status in walk(tree, writer.vanished):
            try:
                writer.add(parts, parent, entry_name, status)
            except FileNotFoundError:
                writer.vanished(parts)
            except OSError as error:
                error.filename = b"/".join(parts)
                raise
            if progress and listing.entries % PROGRESS_ENTRIES == 0:
                progress(f"{name}: {listing.entries} entries, {writer.bytes} bytes")
        out.finish()
    return VolumeSummary(
        name=name,
        files=writer.files,
        entries=listing.entries,
        bytes=writer.bytes,
        archive_bytes=out.sink.bytes,
        archive_sha256=out.sink.sha256,
        entries_sha256=listing.sink.sha256,
        problems=writer.problems(),
    )


class _TarStream:
    """The compressed tar: buffers the many small headers, pads members to blocks."""

    def __init__(self, sink: HashingFile, level: int) -> None:
        self.sink = sink
        self._packer = zstandard.ZstdCompressor(level=level, threads=-1, write_checksum=True).compressobj()
        self._buffer = bytearray()
        self._written = 0

    def write(self, data: bytes) -> None:
        self._written += len(data)
        self._buffer += data
        if len(self._buffer) >= BUFFER_BYTES:
            self.sink.write(self._packer.compress(self._buffer))
            self._buffer = bytearray()

    def pad(self, block: int = TAR_BLOCK) -> None:
        if rest := self._written % block:
            self.write(bytes(block - rest))

    def finish(self) -> None:
        self.write(bytes(2 * TAR_BLOCK))
        self.pad(TAR_RECORD)
        self.sink.write(self._packer.compress(self._buffer))
        self.sink.write(self._packer.flush())
        self.sink.flush()


class _Writer:
    """Writes entries to the tar and to the list, and counts."""

    def __init__(self, out: _TarStream, listing: EntryWriter, tree: DirTree) -> None:
        self._out = out
        self._listing = listing
        self._tree = tree
        self._links = Links()
        self._last: Parts | None = None
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self._open_flags = OPEN_FILE | getattr(os, "O_NOATIME", 0)
        self.files = 0
        self.bytes = 0

    def add(self, parts: Parts, parent: int, name: bytes, status: os.stat_result) -> None:
        kind = entry_type(status)
        path = b"/".join(parts)
        if kind is EntryType.FILE:
            entry = self._file(path, parent, name, status)
        else:
            place = parent if not parts else handle_path(parent, name)
            xattrs = read_xattrs(place)
            link = os.fsencode(os.readlink(name, dir_fd=parent)) if kind is EntryType.SYMLINK else b""
            hardlink = self._links.first(status, path)
            entry = make_entry(path, kind, status, link=link, hardlink=hardlink, xattrs=xattrs)
            if kind is EntryType.SOCKET:
                self._note("socket-skipped", path)
            else:
                self._member(entry, status, xattrs)
        self._last = parts
        self._listing.write(entry)
        if kind is not EntryType.DIRECTORY:
            self.files += 1
        if entry.torn:
            self._note("torn-while-reading", path)

    def vanished(self, parts: Parts) -> None:
        """Record an entry that went away between the listing of its directory and now."""
        path = b"/".join(parts)
        self._note("vanished-while-reading", path)
        if parts != self._last:  # a directory may have gone into the archive already
            self._last = parts
            self._listing.write(Entry(path, EntryType.VANISHED, 0, 0, 0, 0, 0, torn=True))

    def problems(self) -> tuple[Problem, ...]:
        return tuple(
            Problem(code, f"{count} entries, the first: {', '.join(self._examples[code])}")
            for code, count in sorted(self._counts.items())
        )

    def _note(self, code: str, path: bytes) -> None:
        self._counts[code] += 1
        if self._counts[code] <= 5:
            self._examples.setdefault(code, []).append(entry_id(path))

    def _file(self, path: bytes, parent: int, name: bytes, listed: os.stat_result) -> Entry:
        handle = self._open(name, parent)
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode) or (before.st_dev, before.st_ino) != (
                listed.st_dev,
                listed.st_ino,
            ):
                raise FileNotFoundError  # another entry took its place: the one that was listed has vanished
            xattrs = read_xattrs(handle)
            hardlink = self._links.first(before, path)
            if before.st_size <= WHOLE_FILE_BYTES:
                before, content, sha256, torn = _read_whole(handle, before)
                entry = make_entry(
                    path, EntryType.FILE, before, sha256=sha256, hardlink=hardlink, xattrs=xattrs, torn=torn
                )
                self._member(entry, before, xattrs, None if hardlink is not None else len(content))
                if hardlink is None:
                    self._out.write(content)
                    self._out.pad()
            else:
                entry = self._large_file(handle, path, before, hardlink, xattrs)
        finally:
            os.close(handle)
        if hardlink is None:
            self.bytes += entry.size
        return entry

    def _large_file(
        self,
        handle: int,
        path: bytes,
        before: os.stat_result,
        hardlink: bytes | None,
        xattrs: dict[str, bytes],
    ) -> Entry:
        """Stream a file; its digest is known when its bytes are in the tar already."""
        size = before.st_size
        segments = data_segments(handle, size)
        sink = None
        if hardlink is None:
            self._member(make_entry(path, EntryType.FILE, before), before, xattrs, size, segments)
            sink = self._out.write
        else:
            link = make_entry(path, EntryType.FILE, before, hardlink=hardlink)
            self._member(link, before, xattrs)
        copied = copy_content(handle, size, segments, sink)
        if sink:
            self._out.pad()
        torn = bool(copied.missing) or _changed(before, os.fstat(handle))
        return make_entry(
            path, EntryType.FILE, before, sha256=copied.sha256, hardlink=hardlink, xattrs=xattrs, torn=torn
        )

    def _open(self, name: bytes, parent: int) -> int:
        try:
            return os.open(name, self._open_flags, dir_fd=parent)
        except PermissionError:
            if self._open_flags == OPEN_FILE:
                raise
        return os.open(name, OPEN_FILE, dir_fd=parent)  # O_NOATIME is for a file's owner and for root

    def _member(
        self,
        entry: Entry,
        status: os.stat_result,
        xattrs: dict[str, bytes],
        size: int | None = None,
        segments: list[tuple[int, int]] | None = None,
    ) -> None:
        """Write the header of a member, and the map of a sparse one; size: of its content, None for none."""
        info = tarfile.TarInfo("./" + _text(entry.path) if entry.path else ".")
        info.type = _TAR_TYPES[entry.type]
        info.mode = entry.mode
        info.uid, info.gid = entry.uid, entry.gid
        headers: dict[str, str] = {}
        seconds, fraction = divmod(entry.mtime_ns, 10**9)
        if fraction or seconds < 0:
            headers["mtime"] = _decimal(entry.mtime_ns)
        else:
            info.mtime = seconds
        if entry.type is EntryType.SYMLINK:
            info.linkname = _text(entry.link)
        if entry.type in {EntryType.CHAR, EntryType.BLOCK}:
            info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        sparse_map = b""
        if entry.hardlink is not None:
            info.type, info.linkname = tarfile.LNKTYPE, "./" + _text(entry.hardlink)
        else:
            headers |= _attribute_headers(xattrs)
            if size is not None:
                info.size = size
            if segments is not None and segments != [(0, size)]:
                sparse_map = _sparse_map(segments, entry.size)
                headers |= {
                    "GNU.sparse.major": "1",
                    "GNU.sparse.minor": "0",
                    "GNU.sparse.name": info.name,
                    "GNU.sparse.realsize": str(entry.size),
                }
                info.name = f"./GNUSparseFile.0/{entry_id(entry.path)}"
                info.size = len(sparse_map) + sum(length for _, length in segments)
        info.pax_headers = headers
        self._out.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        if sparse_map:
            self._out.write(sparse_map)


def _read_whole(handle: int, before: os.stat_result) -> tuple[os.stat_result, bytes, str, bool]:
    """Read a small file until it holds still for one reading; (status, content, digest, torn)."""
    for attempt in range(ATTEMPTS):
        blocks: list[bytes] = []
        copied = copy_content(handle, before.st_size, [(0, before.st_size)], blocks.append)
        after = os.fstat(handle)
        torn = bool(copied.missing) or _changed(before, after)
        if not torn or attempt == ATTEMPTS - 1 or after.st_size > 4 * BLOCK_BYTES:
            break
        before = after
    return before, b"".join(blocks), copied.sha256, torn


def _changed(before: os.stat_result, after: os.stat_result) -> bool:
    """Tell whether a file changed; a change that keeps its size within one tick of its clock goes unseen."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _attribute_headers(xattrs: dict[str, bytes]) -> dict[str, str]:
    headers = {}
    for name, value in xattrs.items():
        headers[header_name(name)] = value.decode("utf-8", "surrogateescape")
        if name in ACL_KEYWORDS and (text := acl_to_text(value)):
            headers[ACL_KEYWORDS[name]] = text
    return headers


def _sparse_map(segments: list[tuple[int, int]], size: int) -> bytes:
    """GNU's sparse format 1.0: number of segments, then offset and length of each, padded to a block."""
    listed = list(segments)
    if not listed or sum(listed[-1]) < size:
        listed.append((size, 0))  # marks a hole at the end, as GNU tar does
    text = f"{len(listed)}\n" + "".join(f"{start}\n{length}\n" for start, length in listed)
    data = text.encode("ascii")
    return data + bytes(-len(data) % TAR_BLOCK)


def _decimal(nanoseconds: int) -> str:
    sign = "-" if nanoseconds < 0 else ""
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{seconds}.{fraction:09d}"


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
