"""What a write-ahead log archive holds, read from names and first pages; whatever wrote it.

Understood: plain segments, compressed ones (with or without an ending), `.partial` ones as pg_receivewal and a
promotion leave them, pgBackRest's (a hash in the name) and Barman's (folders of 16 digits). Nothing is changed, no link
is followed.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from smos.backup.streams import StreamFault, decompress, detect_compression, read_head
from smos.physical.label import LabelError, read_label, read_moment
from smos.physical.passphrase import encrypted
from smos.physical.wal import (
    BACKUP_HISTORY,
    HEADER_BYTES,
    HISTORY,
    read_header,
    read_history,
    split_name,
)
from smos.verdict import Problem

DEEPEST = 3
LONGEST_HISTORY = 4 << 20
LARGEST_BLOCK = 5 << 20
"""Stored bytes without which nothing of a compressed file may be told: lz4 has blocks of 4 MiB, bzip2 of 900 kB."""
ENDINGS = (".gz", ".zst", ".lz4", ".bz2", ".xz")
PARTIAL = ".partial"
_FILE = re.compile(
    r"(?P<name>[0-9A-F]{24})(?P<partial>\.partial)?(-[0-9a-f]{40})?(\.gz|\.zst|\.lz4|\.bz2|\.xz)?"
)
_HISTORY_FILE = re.compile(r"(?P<name>[0-9A-F]{8}\.history)(-[0-9a-f]{40})?(\.gz|\.zst|\.lz4|\.bz2|\.xz)?")
_OWN = re.compile(r"archive\.info(\.copy)?|xlog\.db|\..*\.tmp|archive_status|\.barman.*")
"""What the tools themselves keep beside segments; our own program's unfinished files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One archived segment. path: below the archive. number: None where the size of segments is unknown.

    system_identifier: None where its first page can't be read (encrypted, a missing decompressor).
    """

    name: str
    path: str
    bytes: int
    compression: str
    partial: bool
    timeline: int = 0
    number: int = 0
    system_identifier: int | None = None
    header_timeline: int | None = None
    header_address: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A listing. segment_bytes: what the first pages say (16 MiB where none can be read).

    histories: timeline to (parent, position of the switch); begun: start position to the moment of the label in a
    backup's history file, stopped: likewise to the moment that the backup ended.
    """

    directory: str
    there: bool
    segment_bytes: int
    segments: tuple[Segment, ...] = ()
    histories: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    history_paths: Mapping[int, str] = field(default_factory=dict)
    stopped: Mapping[int, datetime] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def numbers(self, timeline: int) -> dict[int, Segment]:
        """Return the segments of one timeline by number; a whole one before a partial one."""
        found: dict[int, Segment] = {}
        for item in self.segments:
            if item.timeline == timeline and (item.number not in found or found[item.number].partial):
                found[item.number] = item
        return found


def read_archive(directory: Path | None, *, opened: Callable[[str], bytes] | None = None) -> Archive:
    """Read a listing. A directory that is not there, or can't be read, is a problem of it, never an exception.

    opened: gives a file of an encrypted archive by its path below the directory, still compressed (OSError where it
    can't). All histories are read through it; of segments the oldest and the newest, because each costs a process.
    """
    if directory is None:
        return Archive(directory="", there=False, segment_bytes=16 << 20)
    problems: list[Problem] = []
    strangers: list[str] = []
    segments: list[Segment] = []
    histories: dict[int, tuple[tuple[int, int], ...]] = {}
    paths: dict[int, str] = {}
    stopped: dict[int, datetime] = {}
    sizes: dict[int, int] = {}
    if not directory.is_dir():
        return Archive(
            directory=str(directory), there=False, segment_bytes=16 << 20,
            problems=(Problem("wal-archive-missing", f"there is no directory {directory}"),),
        )  # fmt: skip
    for path, size in _files(directory, problems):
        name = path.name
        relative = str(path.relative_to(directory))
        if (found := _FILE.fullmatch(name)) is not None:
            segment, declared = _segment(path, relative, found, size, problems)
            segments.append(segment)
            if declared:
                sizes[declared] = sizes.get(declared, 0) + 1
        elif (history := _HISTORY_FILE.fullmatch(name)) is not None:
            timeline = int(history["name"][:8], 16)
            try:
                histories[timeline] = read_history(_plain(path, relative, opened).decode())
                paths[timeline] = relative
            except (OSError, ValueError, StreamFault) as error:
                problems.append(Problem("timeline-history-damaged", f"{relative}: {error}"))
        elif BACKUP_HISTORY.fullmatch(name):
            _backup_history(path, stopped)
        elif not _OWN.fullmatch(name):
            strangers.append(relative)
    _uncover(segments, opened, sizes, problems)
    segment_bytes = max(sizes, key=lambda size: sizes[size], default=16 << 20)
    placed = list(_placed(segments, segment_bytes, problems))
    return Archive(
        directory=str(directory),
        there=True,
        segment_bytes=segment_bytes,
        segments=tuple(sorted(placed, key=lambda item: (item.timeline, item.number, item.partial))),
        histories=dict(sorted(histories.items())),
        history_paths=paths,
        stopped=stopped,
        strangers=tuple(sorted(strangers)),
        problems=tuple(problems),
    )


def base_name(name: str) -> str:
    """Return the server's own name of an archived file: without hash, ending of a compression, and `.partial`."""
    for pattern in (_FILE, _HISTORY_FILE):
        if (found := pattern.fullmatch(name)) is not None:
            return found["name"]
    return name


def content(path: Path, limit: int) -> Iterator[bytes]:
    """Yield a file's content, decompressed where it is compressed, whatever it is called; no link is followed.

    Raises OSError, StreamFault; ValueError when it holds more than `limit` bytes.
    """
    compression = read_head(path, stored_bytes=16, content_bytes=1).compression
    done = 0
    for block in decompress(_blocks(path), compression):
        done += len(block)
        if done > limit:
            raise ValueError(f"it holds more than {limit} bytes")
        yield block


def _uncover(
    segments: list[Segment],
    opened: Callable[[str], bytes] | None,
    sizes: dict[int, int],
    problems: list[Problem],
) -> None:
    """Look into the oldest and the newest of segments that are encrypted: whose they are, and how large."""
    if opened is None:
        return
    hidden = sorted(
        (
            index
            for index, item in enumerate(segments)
            if item.system_identifier is None and item.compression == "none" and not item.partial
        ),
        key=lambda index: segments[index].name[8:],
    )
    for index in dict.fromkeys((*hidden[:1], *hidden[-1:])):
        item = segments[index]
        try:
            header = read_header(_expanded(opened(item.path)))
        except (OSError, StreamFault) as error:
            problems.append(Problem("wal-unread", f"{item.path}: {error}"))
            continue
        if header is None:
            problems.append(Problem("wal-headless", f"{item.path} does not begin as a segment does"))
            continue
        sizes[header.segment_bytes] = sizes.get(header.segment_bytes, 0) + 1
        segments[index] = replace(
            item,
            system_identifier=header.system_identifier,
            header_timeline=header.timeline,
            header_address=header.address,
        )


def _plain(path: Path, relative: str, opened: Callable[[str], bytes] | None) -> bytes:
    """Return the whole of a small file that may be encrypted. Raises OSError, StreamFault, ValueError."""
    return _expanded(opened(relative)) if opened is not None and encrypted(path) else _whole(path)


def _expanded(stored: bytes) -> bytes:
    """Return the first page, or the whole of a small file. Raises StreamFault."""
    found = bytearray()
    for block in decompress((stored,), detect_compression(stored)):
        found += block
        if len(found) >= LONGEST_HISTORY:
            break
    return bytes(found)


def _placed(segments: list[Segment], size: int, problems: list[Problem]) -> Iterator[Segment]:
    """Give each segment its timeline and number, which need the size of segments to be known."""
    for item in segments:
        try:
            timeline, number = split_name(item.name, size)
        except ValueError as error:
            problems.append(Problem("wal-misnamed", str(error)))
            continue
        yield replace(item, timeline=timeline, number=number)


def _segment(
    path: Path, relative: str, found: "re.Match[str]", size: int, problems: list[Problem]
) -> tuple[Segment, int | None]:
    """Return one segment, and the size of segments that its first page declares."""
    header, compression = None, "none"
    try:
        head = read_head(path, stored_bytes=4096, content_bytes=HEADER_BYTES)
        if len(head.content) < HEADER_BYTES and head.fault is None and not head.complete:
            head = read_head(path, stored_bytes=LARGEST_BLOCK, content_bytes=HEADER_BYTES)
        compression = head.compression
        header = read_header(head.content)
        unreadable = (head.fault is not None and head.fault.code == "decompressor-missing") or head.encryption
        blank = found["partial"] is not None and not any(head.content)  # nothing was received yet
        if header is None and not (unreadable or blank or _encrypted(head.content, found)):
            problems.append(Problem("wal-headless", f"{relative} does not begin as a segment does"))
    except OSError as error:
        problems.append(Problem("wal-unread", f"{relative}: {error.strerror or error}"))
    segment = Segment(
        name=found["name"],
        path=relative,
        bytes=size,
        compression=compression,
        partial=found["partial"] is not None,
        system_identifier=header.system_identifier if header else None,
        header_timeline=header.timeline if header else None,
        header_address=header.address if header else None,
    )
    return segment, header.segment_bytes if header else None


def _encrypted(content_: bytes, found: "re.Match[str]") -> bool:
    """Tell whether it is a segment that pgBackRest encrypted (its names carry a hash; OpenSSL's magic)."""
    return found.group(3) is not None and content_.startswith(b"Salted__")


def _files(directory: Path, problems: list[Problem], depth: int = 0) -> Iterator[tuple[Path, int]]:
    try:
        with os.scandir(directory) as entries:
            items = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        problems.append(Problem("wal-unread", f"{directory.name}: {error.strerror or error}"))
        return
    for entry in items:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # renamed or expired meanwhile: the source goes on archiving
            continue
        if stat.S_ISDIR(status.st_mode) and _FILE.fullmatch(entry.name):
            problems.append(Problem("wal-unread", f"{entry.name} is a directory, and should be a segment"))
        elif stat.S_ISDIR(status.st_mode):
            if depth < DEEPEST and entry.name not in {"archive_status", "summaries"}:
                yield from _files(Path(entry.path), problems, depth + 1)
        elif stat.S_ISREG(status.st_mode):
            yield Path(entry.path), status.st_size
        else:
            problems.append(Problem("wal-unread", f"{entry.name} is no regular file; links are not followed"))


def _backup_history(path: Path, stopped: dict[int, datetime]) -> None:
    """Read when a backup ended; what can't be read is not needed: the label itself says when it began."""
    try:
        text = _whole(path).decode("utf-8", "replace")
        label = read_label(text)
    except (OSError, LabelError, ValueError):
        return
    line = next((line for line in text.splitlines() if line.startswith("STOP TIME: ")), "")
    moment = read_moment(line.removeprefix("STOP TIME: "))
    if moment is not None:
        stopped[label.start_lsn] = moment


def _whole(path: Path) -> bytes:
    return b"".join(content(path, LONGEST_HISTORY))


def _blocks(path: Path) -> Iterator[bytes]:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb", 0) as file:
        while block := file.read(1 << 18):
            yield block


__all__ = ["ENDINGS", "HISTORY", "PARTIAL", "Archive", "Segment", "base_name", "content", "read_archive"]
