"""Restores an untrusted tar below one directory: nothing is ever written outside of it, or through a link.

- Every path is walked component by component with O_NOFOLLOW (see `safepath`); absolute paths and `..` are
refused. - A symbolic link is data: it is made with the target that it has, wherever that points, and never
followed. - A hard link is made only to an entry of the same extraction, which is walked to in the same way.
- Nothing is overwritten: a second member of a name is refused, as two tools would restore two different
trees. - Device nodes are never made. Bytes, files, expansion and time are limited before anything is written.

The destination is made private (0700), so that setuid programs of a backup are out of reach for other users.
"""

import errno
import os
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from smos.backup.attributes import AttributeSetter
from smos.backup.entries import entry_id
from smos.backup.extract_facts import MOST_PROBLEMS, AttributeGap, ExtractFacts
from smos.backup.layout import Layout, Mapper, named, volume_bytes
from smos.backup.ledger import Attributes, Ledger
from smos.backup.safepath import OPEN_DIRECTORY, OPEN_FILE, DirTree, Parts, PathError, split_path
from smos.backup.streams import READ_BYTES, StreamFault, decompress, detect_compression
from smos.backup.tarheaders import TarFault
from smos.backup.tarread import (
    BLOCK_DEVICE,
    CHAR,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Member,
    TarReader,
)
from smos.backup.xattrs import DEFAULT_ACL, handle_path, set_xattr
from smos.target import Limits
from smos.verdict import Problem

RATIO_FROM_BYTES = 16 << 20
"""Expansion is judged beyond this much: a small file of zeros is no bomb."""
SLACK_BYTES = 64 << 20
PIECE_BYTES = 1 << 18
HEADER_BYTES = 4096
"""Of the stream per member, beside its content: header, extended header, padding."""
LOOK_MEMBERS = 64
LOOK_BYTES = 64 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = {errno.ENOSPC, errno.EDQUOT}


class _Stop(Exception):  # noqa: N818  (not an error: the reason to end an extraction)
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(code, detail)


def extract_archive(
    source: Path,
    destination: Path,
    *,
    volumes: tuple[str, ...],
    limits: Limits,
    layout: Layout | None = None,
    compression: str | None = None,
    ledger: Ledger | None = None,
) -> ExtractFacts:
    """Restore the `volumes` that the tar `source` holds to `destination`/<volume>/.

    volumes: all the names that the archive is known to hold (of an archive with several volumes, not one of
    them). layout, compression: None to tell from the bytes. ledger: takes what the disk can't hold, for a
    comparison. destination: is made, or must be empty.

    Never raises for what is wrong with the archive or the disk: that becomes problems. Raises
    UnsafeInputError for a volume's name that is no file name, and OSError when `destination` can't be made
    or is not empty.
    """
    for name in volumes:
        volume_bytes(name)
    destination.mkdir(mode=0o700, parents=True, exist_ok=True)
    destination.chmod(0o700)
    if any(destination.iterdir()):
        raise FileExistsError(errno.ENOTEMPTY, "The directory to restore to is not empty", str(destination))
    set_xattr(os.fsencode(destination), DEFAULT_ACL, b"\x02\0\0\0")
    started = time.monotonic()
    own = ledger or Ledger()
    try:
        handle = os.open(source, OPEN_FILE)
    except OSError as error:
        return _unread(source, error, layout)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return _unread(source, OSError(errno.EINVAL, "it is no regular file"), layout)
        compression = compression or detect_compression(os.pread(handle, 64, 0))
        layout = layout or _look(handle, compression, volumes)
        run = _Extraction(Mapper(volumes, layout), limits, own, AttributeSetter(own), status.st_size, started)
        with DirTree(destination) as tree:
            run.extract(tree, decompress(_blocks(handle), compression))
        return run.facts(compression)
    finally:
        os.close(handle)
        if ledger is None:
            own.close()


def _blocks(handle: int) -> Iterator[bytes]:
    """Yield the stored bytes; a read error is a fault of the source, apart from those of the sandbox."""
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        while block := os.read(handle, READ_BYTES):
            yield block
    except OSError as error:
        raise StreamFault("archive-unreadable", f"reading the archive failed: {error.strerror}") from error


def _unread(source: Path, error: OSError, layout: Layout | None) -> ExtractFacts:
    problem = Problem("archive-unreadable", f"{source.name} can't be read: {error.strerror}")
    return ExtractFacts(
        compression="",
        layout=layout or "",
        stored_bytes=0,
        stream_bytes=0,
        members=0,
        files=0,
        bytes=0,
        seconds=0.0,
        complete=False,
        volumes=(),
        owners_restored=False,
        problems=(problem,),
        problem_counts=((problem.code, 1),),
    )


def _look(handle: int, compression: str, volumes: tuple[str, ...]) -> Layout:
    """Tell from the first members where the volumes lie."""
    wanted = frozenset(volume_bytes(name) for name in volumes)
    firsts: set[bytes] = set()
    try:
        reader = TarReader(decompress(_blocks(handle), compression))
        for _ in range(LOOK_MEMBERS):
            member = reader.next()
            if member is None or reader.offset > LOOK_BYTES:
                break
            parts = split_path(member.name)
            if named(parts, wanted):
                return Layout.NAMED
            firsts.update(parts[:1])
    except (TarFault, StreamFault, PathError, OSError):
        pass  # the extraction meets the same fault again and records it
    if len(volumes) != 1:
        return Layout.NAMED
    return Layout.DATA if firsts == {b"_data"} else Layout.ROOT


@dataclass(slots=True)
class _Extraction:
    """The state of one extraction."""

    mapper: Mapper
    limits: Limits
    ledger: Ledger
    attributes: AttributeSetter
    stored_bytes: int
    started: float
    stream_bytes: int = 0
    members: int = 0
    files: int = 0
    restored_bytes: int = 0
    ended: bool = False
    devices: int = 0
    links_outward: int = 0
    unmapped: int = 0
    names_exact: bool = True
    seen: dict[bytes, None] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def extract(self, tree: DirTree, blocks: Iterator[bytes]) -> None:
        """Restore everything; what is wrong becomes problems."""
        try:
            self.names_exact = _names_exact(tree.root)
            reader = TarReader(self._metered(blocks))
            while (member := reader.next()) is not None:
                self._take(tree, reader, member)
            self.ended = True
            if not self.members:
                self._problem("archive-empty", "the archive holds nothing")
        except (TarFault, StreamFault) as fault:
            self._problem(fault.code, fault.detail)
        except _Stop as stop:
            self._problem(stop.problem.code, stop.problem.detail)
        except (OSError, sqlite3.Error) as error:  # what concerns one member is caught there
            self._problem("sandbox-refused", f"the sandbox or its temporary files: {type(error).__name__}")
        self._finish(tree)

    def facts(self, compression: str) -> ExtractFacts:
        """Return what was recorded."""
        return ExtractFacts(
            compression=compression,
            layout=self.mapper.layout,
            stored_bytes=self.stored_bytes,
            stream_bytes=self.stream_bytes,
            members=self.members,
            files=self.files,
            bytes=self.restored_bytes,
            seconds=time.monotonic() - self.started,
            complete=self.ended and not self.counts,
            volumes=tuple(os.fsdecode(name) for name in self.seen),
            owners_restored=not self.attributes.owners_missed,
            attribute_gaps=tuple(
                AttributeGap(*key, count) for key, count in sorted(self.attributes.gaps.items())
            ),
            modes_not_restored=self.attributes.modes_missed,
            times_not_restored=self.attributes.times_missed,
            devices_not_restored=self.devices,
            links_outward=self.links_outward,
            unlisted_directories=self.ledger.unlisted_directories(),
            unmapped=self.unmapped,
            names_exact=self.names_exact,
            problems=tuple(self.problems),
            problem_counts=tuple(sorted(self.counts.items())),
        )

    def _problem(self, code: str, detail: str) -> None:
        self.counts[code] += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(code, detail))

    def _metered(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass the stream on in pieces of a good size, and stop it at a limit."""
        limits = self.limits
        most = limits.bytes + SLACK_BYTES
        ratio_at = max(RATIO_FROM_BYTES, int(limits.ratio * self.stored_bytes))
        deadline = self.started + limits.restore_seconds
        pieces: list[bytes] = []
        size = 0
        for block in blocks:
            pieces.append(block)
            size += len(block)
            if size < PIECE_BYTES:
                continue
            self.stream_bytes += size
            if self.stream_bytes > ratio_at:
                raise _Stop(
                    "bomb-ratio",
                    f"it expands {self.stored_bytes} bytes to more than {limits.ratio:g} times as many",
                )
            if self.stream_bytes > most + HEADER_BYTES * self.members:
                raise _Stop("bomb-bytes", f"it expands to more than the limit of {limits.bytes} bytes")
            if time.monotonic() > deadline:
                raise _Stop("restore-timeout", f"it took longer than {limits.restore_seconds:g} s")
            yield b"".join(pieces)
            pieces, size = [], 0
        self.stream_bytes += size
        yield b"".join(pieces)

    def _take(self, tree: DirTree, reader: TarReader, member: Member) -> None:
        self.members += 1
        if self.members > self.limits.files:
            raise _Stop("bomb-files", f"it holds more than the limit of {self.limits.files} entries")
        try:
            place = self.mapper.map(split_path(member.name))
        except PathError as error:
            self._refuse(error.code, member, str(error))
            return
        if place is None:
            self.unmapped += 1
            return
        if member.kind == REGULAR and self.restored_bytes + member.size > self.limits.bytes:
            raise _Stop(
                "bomb-bytes",
                f"its files have more than the limit of {self.limits.bytes} bytes, at member {member.number}",
            )
        volume, inside = place
        parts = (volume, *inside)
        try:
            self._make(tree, reader, member, parts)
        except PathError as error:
            self._refuse(error.code, member, str(error))
        except OSError as error:
            self._failed(member, error)
        else:
            self.seen.setdefault(volume)

    def _refuse(self, code: str, member: Member, why: str) -> None:
        where = f"member {member.number} at byte {member.offset} of the tar (id {entry_id(member.name)})"
        self._problem(code, f"{where}: {why}")

    def _failed(self, member: Member, error: OSError) -> None:
        """Record why a member can't be made; the end of the disk ends the extraction."""
        code = error.errno or 0
        if code in _FULL:
            raise _Stop(
                "sandbox-disk-full", f"the sandbox's disk is full at member {member.number}"
            ) from error
        if code == errno.EEXIST:
            if self.names_exact:
                self._refuse("duplicate-member", member, "an entry of this name was restored before")
            else:
                self._refuse("name-collision", member, "the disk can't tell this name from another one")
        elif code in {errno.ENOTDIR, errno.ELOOP}:
            self._refuse("path-through-link", member, "its path leads through what is no directory")
        else:
            self._refuse(
                "sandbox-refused", member, f"the sandbox refuses it ({errno.errorcode.get(code, code)})"
            )

    def _make(self, tree: DirTree, reader: TarReader, member: Member, parts: Parts) -> None:
        kind = member.kind
        if kind == DIRECTORY:
            self._directory(tree, member, parts)
            return
        if len(parts) == 1:
            raise PathError("name-invalid", "the volume's root is no directory in it")
        parent, name = self._parent(tree, parts[:-1]), parts[-1]
        if kind == REGULAR:
            self._file(reader, member, parent, name, parts)
            self.restored_bytes += member.size
        elif kind == SYMLINK:
            if b"\0" in member.link:
                raise PathError("name-invalid", "its target holds a NUL byte")
            os.symlink(member.link, name, dir_fd=parent)
            self.links_outward += _outward(parts[1:-1], member.link)
            self.attributes.apply(handle_path(parent, name), member, parts, chmod=False)
        elif kind == HARD_LINK:
            self._hard_link(tree, member, parts)
        elif kind == FIFO:
            os.mkfifo(name, 0o600, dir_fd=parent)
            self.attributes.apply(handle_path(parent, name), member, parts)
        elif kind in {CHAR, BLOCK_DEVICE}:
            self.devices += 1
            self.ledger.device(b"/".join(parts))
            return
        self.files += 1

    def _parent(self, tree: DirTree, parts: Parts) -> int:
        try:
            return tree.open(parts)
        except FileNotFoundError:
            pass
        for depth in range(1, len(parts) + 1):
            handle = tree.open(parts[: depth - 1])
            try:
                os.mkdir(parts[depth - 1], 0o755, dir_fd=handle)
            except FileExistsError:
                continue
            self.ledger.directory(b"/".join(parts[:depth]), None)
        return tree.open(parts)

    def _directory(self, tree: DirTree, member: Member, parts: Parts) -> None:
        parent = self._parent(tree, parts[:-1])
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                raise
        attributes = Attributes(
            member.uid, member.gid, member.mode, member.mtime_ns, member.xattrs, member.texts
        )
        self.ledger.directory(b"/".join(parts), attributes)

    def _file(self, reader: TarReader, member: Member, parent: int, name: bytes, parts: Parts) -> None:
        handle = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            if member.segments == [(0, member.size)]:
                for piece in reader.content():
                    _write(handle, piece)
            else:
                os.ftruncate(handle, member.size)
                for start, length in member.segments:
                    os.lseek(handle, start, os.SEEK_SET)
                    for piece in reader.content(length):
                        _write(handle, piece)
            self.attributes.apply(handle, member, parts)
        finally:
            os.close(handle)

    def _hard_link(self, tree: DirTree, member: Member, parts: Parts) -> None:
        try:
            place = self.mapper.map(split_path(member.link))
        except PathError as error:
            raise PathError("hard-link-outside", f"its link: {error}") from error
        if place is None or not place[1]:
            raise PathError("hard-link-target-missing", "it links to what is not in a wanted volume")
        if member.link.endswith(b"/"):  # no system links to it then
            raise PathError("hard-link-target-missing", "it links to a directory")
        target = (place[0], *place[1])
        parent = os.dup(self._parent(tree, parts[:-1]))  # the next walk may close the tree's own handle
        try:
            source = tree.open(target[:-1])
            os.link(target[-1], parts[-1], src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError as error:
            raise PathError("hard-link-target-missing", "it links to what was not restored") from error
        except PermissionError as error:
            raise PathError("hard-link-target-missing", "it links to what can't be linked") from error
        finally:
            os.close(parent)

    def _finish(self, tree: DirTree) -> None:
        """Give the directories their attributes, now that nothing is written into them any more."""
        for path, attributes in self.ledger.directories():
            parts = tuple(path.split(b"/"))
            try:
                self.attributes.apply(tree.open(parts), attributes, parts, directory=True)
            except OSError as error:
                reason = errno.errorcode.get(error.errno or 0, "")
                self._problem("sandbox-refused", f"the attributes of a directory can't be set ({reason})")


def _write(handle: int, data: bytes) -> None:
    written = os.write(handle, data)
    while written < len(data):
        data = data[written:]
        written = os.write(handle, data)


def _outward(parent: Parts, target: bytes) -> bool:
    """Tell whether a symbolic link in `parent` points outside of its volume, by its text."""
    if target.startswith(b"/"):
        return True
    depth = len(parent)
    for part in target.split(b"/"):
        depth += {b"": 0, b".": 0, b"..": -1}.get(part, 1)
        if depth < 0:
            return True
    return False


def _names_exact(handle: int) -> bool:
    """Try whether the disk tells upper from lower case, and composed from decomposed letters."""
    name = "smos-Prob\u00e9".encode()
    os.mkdir(name, 0o700, dir_fd=handle)
    others = ("smos-prob\u00e9".encode(), "smos-Probe\u0301".encode())
    try:
        return not any(_exists(other, handle) for other in others)
    finally:
        os.rmdir(name, dir_fd=handle)


def _exists(name: bytes, handle: int) -> bool:
    try:
        os.close(os.open(name, OPEN_DIRECTORY, dir_fd=handle))
    except OSError:
        return False
    return True
