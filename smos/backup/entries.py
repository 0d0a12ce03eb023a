"""The list of a volume's entries: what came into the archive, to hold a restore against it.

A `.jsonl.zst` file: a first line that names format and volume, one line per entry in the order of `sort_key`,
a last line with the count. Both sides of a comparison stream in that order, so that memory does not grow with
the volume.

Reports name an entry by its `entry_id`, as file names can be personal data; the list holds it beside the
path: `zstdcat VOLUME.jsonl.zst | grep '"id":"3fa9…"'`.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import zstandard

from smos.backup.entryline import (
    DEVICES,
    NOT_ARCHIVED,
    Entry,
    EntryType,
    entry_id,
    from_json,
    sort_key,
    to_json,
)
from smos.backup.streams import READ_BYTES, StreamFault, decompress
from smos.errors import BackupError

__all__ = [
    "DifferenceKind",
    "EntriesError",
    "Entry",
    "EntryDifference",
    "EntryExample",
    "EntryType",
    "EntryWriter",
    "HashingFile",
    "compare_entries",
    "entry_id",
    "read_entries",
    "sort_key",
]

FORMAT = "smos-volume-entries"
VERSION = 1
LONGEST_LINE_BYTES = 4 << 20
"""A path has at most 64 KiB and an entry's attributes rarely more than a few."""
EXAMPLES = 50
_HEAD = frozenset({"format", "version", "volume"})
_END = frozenset({"end", "entries"})


class EntriesError(BackupError):
    """A list of entries can't be read as one."""


class HashingFile:
    """A binary file that is written through, with the SHA-256 and the size of what went in."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Write all of `data`."""
        self._digest.update(data)
        self._file.write(data)
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Hand everything to the file."""
        self._file.flush()

    @property
    def sha256(self) -> str:
        """Digest of everything written so far, hex."""
        return self._digest.hexdigest()


class EntryWriter:
    """Writes a list of entries; a context manager. The last line is only written when nothing was raised."""

    def __init__(self, path: Path, volume: str) -> None:
        self._file = path.open("xb")
        self.sink = HashingFile(self._file)
        self._stream = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
        self.entries = 0
        self._line({"format": FORMAT, "version": VERSION, "volume": volume})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._line({"end": True, "entries": self.entries})
                self.sink.write(self._stream.flush())
                self._file.flush()
        finally:
            self._file.close()

    def write(self, entry: Entry) -> None:
        """Append an entry; the caller keeps the order."""
        self.entries += 1
        self._line(to_json(entry))

    def _line(self, data: dict[str, Any]) -> None:
        line = json.dumps(data, separators=(",", ":")).encode("ascii") + b"\n"
        if packed := self._stream.compress(line):
            self.sink.write(packed)


def read_entries(path: Path, volume: str | None = None) -> Iterator[Entry]:
    """Yield the entries of a list, in its order; memory does not grow with their number.

    volume: whose list it must be by its own first line; None asks no such question.

    Raises EntriesError, also after some entries have been yielded: damaged, cut off, not in order, not a
    list.
    """
    lines = _lines(path)
    _, head = next(lines, (0, None))
    if head is None or head.keys() != _HEAD or head["format"] != FORMAT or not _is(head["version"], VERSION):
        raise EntriesError(
            f"{path.name} is not a list of entries that this version understands",
            remedy="take the set from another copy, or verify it with the version that made it",
        )
    if volume is not None and head["volume"] != volume:
        raise _damaged(path, 1, "it is the list of another volume")
    count, last = 0, b""
    ended = False
    for number, data in lines:
        if ended:
            raise _damaged(path, number, "something follows after the last line")
        if "end" in data:
            if data.keys() != _END or data["end"] is not True or not _is(data["entries"], count):
                raise _damaged(
                    path, number, f"it holds {count} entries, and its last line says something else"
                )
            ended = True
            continue
        try:
            entry = from_json(data)
        except ValueError as error:
            raise _damaged(path, number, str(error)) from error
        key = sort_key(entry.path)
        if count and key <= last:
            raise _damaged(path, number, "the entries are not in order")
        last, count = key, count + 1
        yield entry
    if not ended:
        raise _damaged(path, count + 1, "it ends early")


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    pending = b""
    number = 0
    try:
        with path.open("rb") as file:
            for block in decompress(iter(lambda: file.read(READ_BYTES), b""), "zstd"):
                *whole, pending = (pending + block).split(b"\n")
                for line in whole:
                    number += 1
                    data = json.loads(line)
                    if not isinstance(data, dict):
                        raise _damaged(path, number, "a line holds no object")
                    yield number, data
                if len(pending) > LONGEST_LINE_BYTES:
                    raise _damaged(path, number + 1, "a line is too long")
    except OSError as error:
        raise EntriesError(f"{path.name} can't be read: {error.strerror}") from error
    except StreamFault as error:
        raise _damaged(path, number + 1, error.detail) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, number + 1, "a line is not JSON") from error
    if pending:
        raise _damaged(path, number + 1, "the last line is cut off")


def _damaged(path: Path, number: int, why: str) -> EntriesError:
    return EntriesError(
        f"The list of entries {path.name} is damaged (line {number}): {why}",
        remedy="take the set from another copy",
    )


def _is(value: object, number: int) -> bool:
    """Tell whether a value is this number: JSON's `true` and `1.0` equal 1, too."""
    return type(value) is int and value == number


class DifferenceKind(StrEnum):
    """How an entry differs.

    MTIME is information only: services do not depend on it, and many tars keep whole seconds.
    """

    MISSING = "missing"
    EXTRA = "extra"
    TYPE = "type"
    OWNER = "owner"
    GROUP = "group"
    MODE = "mode"
    CONTENT = "content"
    XATTR = "xattr"
    LINK = "link-target"
    HARD_LINK = "hard-link"
    DEVICE = "device-not-restored"
    TORN = "torn-while-reading"
    MTIME = "mtime"


@dataclass(frozen=True, slots=True)
class EntryExample:
    """One differing entry. entry: its `entry_id`. detail: expected and found, never a name or content."""

    entry: str
    detail: str


@dataclass(frozen=True, slots=True)
class EntryDifference:
    """All differences of one kind: how many, and the first EXAMPLES of them."""

    kind: DifferenceKind
    count: int
    examples: tuple[EntryExample, ...]


class _Collector:
    def __init__(self) -> None:
        self._counts: dict[DifferenceKind, int] = {}
        self._examples: dict[DifferenceKind, list[EntryExample]] = {}

    def add(self, kind: DifferenceKind, path: bytes, detail: str) -> None:
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count <= EXAMPLES:
            self._examples.setdefault(kind, []).append(EntryExample(entry_id(path), detail))

    def result(self) -> tuple[EntryDifference, ...]:
        return tuple(
            EntryDifference(kind, self._counts[kind], tuple(self._examples[kind]))
            for kind in DifferenceKind
            if kind in self._counts
        )


def compare_entries(
    expected: Iterator[Entry],
    actual: Iterator[Entry],
    *,
    archived_device: Callable[[bytes], bool] = lambda _path: False,
    other_devices: Callable[[], Iterable[bytes]] = tuple,
) -> tuple[EntryDifference, ...]:
    """Compare two streams in the list's order; empty: equal. Memory does not grow with their length.

    archived_device: tells whether the archive carries the device node of that path; such a node is never
    created, so its absence is a gap of the sandbox and not of the backup. other_devices: asked at the end, gives
    the nodes that the archive carries and `archived_device` was not asked for.

    Raises what the iterators raise (EntriesError).
    """
    found = _Collector()
    left, right = next(expected, None), next(actual, None)
    while left is not None or right is not None:
        if left is not None and left.torn:
            found.add(DifferenceKind.TORN, left.path, "changed while it was archived")
        if left is not None and left.type in NOT_ARCHIVED:
            left = next(expected, None)
        elif right is None or (left is not None and sort_key(left.path) < sort_key(right.path)):
            assert left is not None  # noqa: S101  (the loop's condition, for the type checker)
            if left.type in DEVICES and archived_device(left.path):
                found.add(DifferenceKind.DEVICE, left.path, f"{left.type} device {left.device}")
            else:
                found.add(DifferenceKind.MISSING, left.path, f"{left.type}, {left.size} bytes")
            left = next(expected, None)
        elif left is None or sort_key(right.path) < sort_key(left.path):
            found.add(DifferenceKind.EXTRA, right.path, f"{right.type}, {right.size} bytes")
            right = next(actual, None)
        else:
            _compare(found, left, right)
            left, right = next(expected, None), next(actual, None)
    for path in other_devices():
        found.add(DifferenceKind.EXTRA, path, "a device node")
    return found.result()


def _compare(found: _Collector, left: Entry, right: Entry) -> None:
    path = left.path
    if left.type is not right.type:
        found.add(DifferenceKind.TYPE, path, f"{left.type} expected, {right.type} found")
        return
    if left.uid != right.uid:
        found.add(DifferenceKind.OWNER, path, f"{left.uid} expected, {right.uid} found")
    if left.gid != right.gid:
        found.add(DifferenceKind.GROUP, path, f"{left.gid} expected, {right.gid} found")
    if (
        left.mode != right.mode and left.type is not EntryType.SYMLINK
    ):  # Linux has no modes of links, macOS has
        found.add(DifferenceKind.MODE, path, f"{left.mode:04o} expected, {right.mode:04o} found")
    if left.type is EntryType.FILE and (left.size, left.sha256) != (right.size, right.sha256):
        detail = (
            f"{left.size} bytes expected, {right.size} found" if left.size != right.size else "other bytes"
        )
        found.add(DifferenceKind.CONTENT, path, detail)
    if left.xattrs != right.xattrs:
        found.add(DifferenceKind.XATTR, path, _xattr_detail(dict(left.xattrs), dict(right.xattrs)))
    if left.link != right.link:
        found.add(DifferenceKind.LINK, path, "another target")
    if left.hardlink != right.hardlink:
        found.add(DifferenceKind.HARD_LINK, path, _link_detail(left, right))
    if left.mtime_ns != right.mtime_ns:
        seconds = abs(left.mtime_ns - right.mtime_ns) / 1e9
        found.add(DifferenceKind.MTIME, path, f"{seconds:g} s apart")


def _link_detail(left: Entry, right: Entry) -> str:
    if right.hardlink is None:
        return "a file of its own, no longer linked"
    return "linked with another entry" if left.hardlink is not None else "linked, and was a file of its own"


def _xattr_detail(left: dict[str, str], right: dict[str, str]) -> str:
    """Only the class of an attribute (user, security, …) is named, or Linux' own well-known names."""
    lost = sum(name not in right for name in left)
    extra = sum(name not in left for name in right)
    changed = sum(name in right and right[name] != value for name, value in left.items())
    classes = sorted({name.split(".", 1)[0] for name in {*left, *right} if left.get(name) != right.get(name)})
    return f"{lost} lost, {changed} changed, {extra} added ({', '.join(classes)})"
