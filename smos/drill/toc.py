"""The table of contents of pg_dump's archives, read by ourselves: every statement that it holds can be judged.

Source of the layout: ReadHead and ReadToc in src/bin/pg_dump/pg_backup_archiver.c.
"""

import mmap
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smos.backup.pgdump import ArchiveHeader, TocError, parse_archive_header

HEAD = 2**16
LONGEST = 64 * 2**20
MOST_ENTRIES = 5_000_000
PRE, DATA, POST = 2, 3, 4
"""Sections as the archive numbers them; pg_dump writes them in this order."""
SECTIONS_SINCE = (1, 11)
SETTINGS = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH"})
"""What pg_dump writes before the database's own entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the table of contents. needs: IDs of what must come before it, as they are written."""

    id: int
    kind: str
    tag: str
    section: int
    definition: str
    copy: str
    namespace: str
    owner: str
    has_data: bool
    file: str
    needs: tuple[str, ...] = ()
    drop: str = ""


def out_of_order(header: ArchiveHeader, entries: Sequence[Entry]) -> Entry | None:
    """Return the first entry that stands before something that it needs; None where pg_restore could follow the order.

    pg_dump sorts by need and by section, and pg_restore makes all that stands before the database's own entry somewhere
    else. What is restored here goes by kinds and sections, and would not notice.
    """
    own = next((number for number, entry in enumerate(entries) if entry.kind == "DATABASE"), 0)
    if early := next((entry for entry in entries[:own] if entry.kind not in SETTINGS), None):
        return early
    places = {str(entry.id): number for number, entry in enumerate(entries)}
    reached = 0
    for number, entry in enumerate(entries):
        section = (
            entry.section if header.version >= SECTIONS_SINCE and entry.section in {PRE, DATA, POST} else 0
        )
        if 0 < section < reached or any(places.get(need, 0) > number for need in entry.needs):
            return entry
        reached = max(reached, section)
    return None


def read_contents(data: "mmap.mmap | bytes") -> tuple[ArchiveHeader, tuple[Entry, ...]]:
    """Read header and table of contents. Raises TocError (TocTooNewError for a format that is not known)."""
    header = parse_archive_header(bytes(data[:HEAD]))
    reader = _Reader(data, header)
    if not 0 <= header.entries <= MOST_ENTRIES:
        raise TocError(f"claims {header.entries} entries")
    entries = []
    for _ in range(header.entries):
        number = reader.integer()
        has_data = reader.integer() != 0
        reader.string()
        reader.string()
        tag, kind = reader.string(), reader.string()
        section = reader.integer() if header.version >= SECTIONS_SINCE else PRE
        definition, drop = reader.string(), reader.string()
        copy, namespace = reader.string(), reader.string()
        reader.string()
        if header.version >= (1, 14):
            reader.string()
        if header.version >= (1, 16):
            reader.integer()
        owner = reader.string()
        reader.string()
        needs = tuple(iter(reader.string, None))
        file = ""
        if header.format == "custom":
            reader.take(1 + header.offset_bytes)
        else:
            file = reader.string() or ""
        entries.append(
            Entry(
                number, kind or "", tag or "", section, definition or "", copy or "", namespace or "", owner or "",
                has_data, file, needs, drop or "",
            )
        )  # fmt: skip
    return header, tuple(entries)


class _Reader:
    def __init__(self, data: "mmap.mmap | bytes", header: ArchiveHeader) -> None:
        self._data, self._position, self._size = data, header.end, header.integer_bytes

    def take(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST:
            raise TocError(f"a length of {size} bytes makes no sense")
        piece = bytes(self._data[self._position : self._position + size])
        if len(piece) < size:
            raise TocError("it ends inside the table of contents")
        self._position += size
        return piece

    def integer(self) -> int:
        negative = self.take(1)[0]
        value = int.from_bytes(self.take(self._size), "little")
        return -value if negative else value

    def string(self) -> str | None:
        length = self.integer()
        return None if length < 0 else self.take(length).decode(errors="surrogateescape")


def contents_of(path: Path) -> tuple[ArchiveHeader, tuple[Entry, ...]]:
    """Read header and table of contents of a custom file or of a `toc.dat`. Raises TocError or OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would let us wait
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise TocError("it is no regular file")
        if status.st_size == 0:
            raise TocError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_contents(data)
