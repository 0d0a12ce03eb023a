"""What PostgreSQL's dumps say of themselves: header, table of contents, databases, completion trailer.

Only read, never run. Plain SQL is scanned as a stream; the archive formats (custom, tar, directory) share one
header and one table of contents (source: src/bin/pg_dump/pg_backup_archiver.c, ReadHead and ReadToc).
"""

import re
from dataclasses import dataclass
from datetime import datetime

PLAIN_MARK = b"-- PostgreSQL database dump"
CLUSTER_MARK = b"-- PostgreSQL database cluster dump"
ARCHIVE_MAGIC = b"PGDMP"
NEWEST_TOC = (1, 16)
"""Newest archive version whose table of contents this module knows (PostgreSQL 17 and 18)."""
MOST_DATABASES = 10_000
LONGEST_STRING = 256 << 20
_CARRY = 4096
_TAIL = 4096
_RESTRICT_BYTES = 8192
r"""A dump that uses `\restrict` does so before its first statement."""

_VERSIONS = re.compile(
    rb"^-- Dumped from database version ([^\r\n]{1,200})\r?\n"
    rb"-- Dumped by pg_dump version ([^\r\n]{1,200})\r?\n",
    re.MULTILINE,
)
_CONNECT = re.compile(
    rb"\\connect (?:-reuse-previous=on )?"
    rb"(?:\"((?:[^\"\n]|\"\")*)\"|([^\s\"]+)|\"dbname='((?:[^'\n\\]|\\.)*)'\")[ \r]*\n",
    re.MULTILINE,
)
_CONNINFO = re.compile(rb"^dbname='((?:[^'\n\\]|\\.)*)'$")
_RESTRICT = re.compile(rb"^\\restrict (\w+)\r?\n", re.MULTILINE)
_TRAILER = re.compile(rb"^-- PostgreSQL database (cluster )?dump complete\r?\n--\r?\n", re.MULTILINE)
_UNRESTRICT = re.compile(rb"\s*\\unrestrict (\w+)\r?\n")
_ROWS = re.compile(rb" FROM stdin;\r?\n(?!\\\.)[\s\S]")
_OBJECTS = re.compile(rb"^CREATE (?!DATABASE )", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainFacts:
    """What a plain dump holds. connects: it changes the database, be it only to template1.

    trailer: why the dump does not count as complete, empty when it does.
    """

    cluster: bool
    server_version: str
    dump_version: str
    databases: tuple[str, ...]
    connects: bool
    has_objects: bool
    has_rows: bool
    trailer: str


class PlainScanner:
    """Push parser for a plain dump: `feed` the bytes, then ask for `facts`."""

    def __init__(self) -> None:
        self._carry = b""
        self._tail = b""
        self._first: bytes | None = None
        self._versions: tuple[str, str] | None = None
        self._databases: dict[str, None] = {}
        self._connects = False
        self._objects = False
        self._rows = False
        self._restrict = b""
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the dump."""
        window = self._carry + data
        if self._first is None or len(self._first) < 512:
            self._first = ((self._first or b"") + data)[:512]
        # Plain searches go before the regular expressions: they are some fifty times as fast.
        if self._versions is None and b"\n-- Dumped from" in window:
            self._versions = plain_versions(window)
        if not self._restrict and self._size < _RESTRICT_BYTES and (match := _RESTRICT.search(window)):
            self._restrict = match[1]
        self._size += len(data)
        self._objects = self._objects or (b"\nCREATE " in window and bool(_OBJECTS.search(window)))
        self._rows = self._rows or b"\nINSERT INTO " in window or bool(_ROWS.search(window))
        if b"\n\\connect " in window:
            self._connects = True
            for name in connected_databases(window):
                if len(self._databases) < MOST_DATABASES:
                    self._databases.setdefault(name)
        # Search again from the beginning of the line before the last one, so that no line is ever cut in two.
        start = window.rfind(b"\n", 0, max(window.rfind(b"\n"), 0))
        self._carry = window[max(start, len(window) - _CARRY, 0) :]
        self._tail = (self._tail + data)[-_TAIL:] if len(data) < _TAIL else data[-_TAIL:]

    def facts(self) -> PlainFacts:
        """Return what was found; call it after the last byte."""
        cluster = is_cluster(self._first or b"")
        return PlainFacts(
            cluster=cluster,
            server_version=self._versions[0] if self._versions else "",
            dump_version=self._versions[1] if self._versions else "",
            databases=tuple(self._databases),
            connects=self._connects,
            has_objects=self._objects,
            has_rows=self._rows,
            trailer=self._missing(cluster=cluster),
        )

    def _missing(self, *, cluster: bool) -> str:
        r"""Say what is wrong with the end of the dump.

        pg_dump ends with its trailer, since the releases of August 2025 followed by `\unrestrict` with the
        token of the first `\restrict`; pg_dumpall ends with its own trailer; both with an empty line.
        """
        found = [match for match in _TRAILER.finditer(self._tail) if bool(match[1]) == cluster]
        if not found:
            return "the completion trailer is missing"
        rest = self._tail[found[-1].end() :]
        if self._restrict and not cluster:
            token = _UNRESTRICT.match(rest)
            if token is None or token[1] != self._restrict:
                if rest.strip() and not b"\\unrestrict".startswith(rest.strip()[:11]):
                    return "statements follow after the completion trailer"
                return r"the closing \unrestrict after the completion trailer is missing or cut"
            rest = rest[token.end() :]
        if rest.strip():
            return "statements follow after the completion trailer"
        return "" if rest.endswith(b"\n") else "the empty line after the completion trailer is missing"


def is_cluster(head: bytes) -> bool:
    """Tell whether a plain dump is pg_dumpall's (a cluster's)."""
    cluster, plain = head.find(CLUSTER_MARK), head.find(PLAIN_MARK)
    return cluster >= 0 and (plain < 0 or cluster < plain)


def connected_databases(text: bytes) -> tuple[str, ...]:
    r"""Return the names in `\connect` lines, in order, without template1 (every pg_dumpall connects to it).

    COPY data can't contain such a line (its backslashes are doubled); the text of a function could, so a name
    is a claim that only the restore proves.
    """
    names: dict[str, None] = {}
    position = text.find(b"\n\\connect ")
    while position >= 0:
        match = _CONNECT.match(text, position + 1)
        position = text.find(b"\n\\connect ", position + 1)
        if match is None:
            continue
        if match[2] is not None:
            name = _text(match[2])
        elif match[3] is not None:
            name = _unescape(match[3])
        else:
            conninfo = _CONNINFO.match(match[1])
            name = _unescape(conninfo[1]) if conninfo else _text(match[1].replace(b'""', b'"'))
        if name != "template1":
            names.setdefault(name)
    return tuple(names)


def plain_versions(head: bytes) -> tuple[str, str] | None:
    """Return (server version, pg_dump version) from a plain dump's comments."""
    match = _VERSIONS.search(head)
    return (_text(match[1]), _text(match[2])) if match else None


class TocError(Exception):
    """The header or the table of contents ends early or makes no sense."""


class TocTooNewError(TocError):
    """The archive's version is newer than what this module knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveHeader:
    """Header of an archive. version: the format's, e.g. (1, 16). compression: as in the header, for people.

    created: as the dumping machine's local clock had it, without a zone; None when it is no date.
    entries: number of entries in the table of contents. end: where the table begins, in bytes.
    """

    version: tuple[int, int]
    format: str
    compression: str
    created: datetime | None
    database: str
    server_version: str
    dump_version: str
    entries: int
    end: int
    integer_bytes: int
    offset_bytes: int


@dataclass(frozen=True, slots=True)
class TocEntry:
    """One entry of the table of contents. file: of its data, in the tar and directory formats."""

    tag: str
    kind: str
    has_data: bool
    copied: bool
    file: str


class _Reader:
    def __init__(self, data: bytes, position: int, integer_bytes: int = 4) -> None:
        self.data = data
        self.position = position
        self.integer_bytes = integer_bytes

    def take(self, size: int) -> bytes:
        if size < 0 or size > LONGEST_STRING:
            raise TocError(f"a length of {size} bytes at byte {self.position} makes no sense")
        piece = self.data[self.position : self.position + size]
        if len(piece) < size:
            raise TocError(f"ends at byte {len(self.data)} inside the table of contents")
        self.position += size
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def integer(self) -> int:
        negative = self.byte()
        if negative > 1:
            raise TocError(f"no integer at byte {self.position - 1}")
        value = int.from_bytes(self.take(self.integer_bytes), "little")
        return -value if negative else value

    def string(self) -> str | None:
        length = self.integer()
        return None if length < 0 else _text(self.take(length))


_COMPRESSIONS = {0: "none", 1: "gzip", 2: "lz4", 3: "zstd"}
_FORMATS = {1: "custom", 3: "tar", 5: "directory"}


def parse_archive_header(data: bytes) -> ArchiveHeader:
    """Parse the header of a custom file or of `toc.dat`. Raises TocError."""
    if not data.startswith(ARCHIVE_MAGIC):
        raise TocError("does not begin with PGDMP")
    reader = _Reader(data, len(ARCHIVE_MAGIC))
    version = (reader.byte(), reader.byte())
    reader.byte()
    if version > NEWEST_TOC:
        raise TocTooNewError(f"archive version {version[0]}.{version[1]} is newer than 1.{NEWEST_TOC[1]}")
    if version < (1, 10):
        raise TocTooNewError(f"archive version {version[0]}.{version[1]} is from before PostgreSQL 8.0")
    reader.integer_bytes = reader.byte()
    offset_bytes = reader.byte()
    kind = _FORMATS.get(reader.byte())
    if reader.integer_bytes not in {4, 8} or offset_bytes not in {4, 8} or kind is None:
        raise TocError("sizes or format in the header make no sense")
    if version >= (1, 15):
        compression = _COMPRESSIONS.get(reader.byte(), "unknown")
    else:
        compression = "none" if reader.integer() == 0 else "gzip"
    second, minute, hour, day, month, year, _dst = (reader.integer() for _ in range(7))
    try:
        created = datetime(year + 1900, month + 1, day, hour, minute, min(second, 59))  # noqa: DTZ001  (no zone known)
    except ValueError:
        created = None
    database, server, dumper = reader.string(), reader.string(), reader.string()
    return ArchiveHeader(
        version=version,
        format=kind,
        compression=compression,
        created=created,
        database=database or "",
        server_version=server or "",
        dump_version=dumper or "",
        entries=reader.integer(),
        end=reader.position,
        integer_bytes=reader.integer_bytes,
        offset_bytes=offset_bytes,
    )


def parse_toc(data: bytes) -> tuple[ArchiveHeader, tuple[TocEntry, ...], int]:
    """Parse header and table of contents; the third value is where it ended, in bytes. Raises TocError."""
    header = parse_archive_header(data)
    reader = _Reader(data, header.end, header.integer_bytes)
    if not 0 <= header.entries <= 10_000_000:
        raise TocError(f"claims {header.entries} entries")
    version, entries = header.version, []
    for _ in range(header.entries):
        reader.integer()
        has_data = reader.integer() != 0
        reader.string()
        reader.string()
        tag, kind = reader.string(), reader.string()
        if version >= (1, 11):
            reader.integer()
        reader.string()
        reader.string()
        copied = reader.string()
        reader.string()
        reader.string()
        if version >= (1, 14):
            reader.string()
        if version >= (1, 16):
            reader.integer()
        reader.string()
        reader.string()
        while reader.string() is not None:
            pass
        file = ""
        if header.format == "custom":
            reader.take(1 + header.offset_bytes)
        else:
            file = reader.string() or ""
        entries.append(TocEntry(tag or "", kind or "", has_data, bool(copied), file))
    return header, tuple(entries), reader.position


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _unescape(data: bytes) -> str:
    return _text(re.sub(rb"\\(.)", rb"\1", data))
