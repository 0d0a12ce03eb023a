"""Reads a tar as a stream, member by member to its end-of-archive blocks, and reports what is wrong with it.

Python's tarfile and many others stop silently at a damaged header or at a missing end; here both are faults.
Formats: v7, ustar, pax, GNU (long names, sparse). Nothing is written anywhere.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from zlib import adler32

BLOCK = 512
EMPTY_BLOCK = bytes(BLOCK)
EXAMPLES = 5
LONGEST_NAME_BYTES = 1 << 20
"""A long name or a pax header above this is an attack or damage."""
MOST_ROOTS = 1000
_NO_PAYLOAD = b"123456"
_DOCKER_VOLUME = re.compile(r"(?:^|/)volumes/([^/]+)(?:/|$)")

Sink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TarFacts:
    """What a tar holds.

    members: all entries. fault: what is wrong with its structure, empty when nothing is. complete: the end
    of the archive was seen. roots: names of the volumes (see `volume_of`), in order of appearance.
    dot_root: the first member is `.`. unsafe, outward: how many names are absolute or climb (`..`), how
    many links point outside; examples: the first few of both.
    """

    members: int
    fault: str
    complete: bool
    roots: tuple[str, ...]
    dot_root: bool
    unsafe: int
    outward: int
    examples: tuple[str, ...]


class TarScanner:
    """Push parser: `feed` the bytes, then ask for `facts`.

    on_member: called with (name, size in bytes) of each regular file; a sink that it returns is given the
    content.
    """

    def __init__(self, on_member: Callable[[str, int], Sink | None] | None = None) -> None:
        self._on_member = on_member
        self._header = bytearray()
        self._offset = 0
        self._content_left = 0
        self._payload_left = 0
        self._sink: Sink | None = None
        self._after: Callable[[], None] | None = None
        self._sparse_headers = False
        self._zero_blocks = 0
        self._ended = False
        self._pax: dict[str, str] = {}
        self._global_pax: dict[str, str] = {}
        self._roots: dict[str, None] = {}
        self._first = ""
        self._unsafe = 0
        self._outward = 0
        self._examples: list[str] = []
        self._pending_type = b""
        self._pending_size = 0
        self.members = 0
        self.fault = ""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the archive."""
        position, size = 0, len(data)
        while position < size and not self.fault:
            if self._payload_left:
                take = min(self._payload_left, size - position)
                content = min(take, self._content_left)
                if self._sink is not None and content:
                    self._sink(data[position : position + content])
                self._content_left -= content
                self._payload_left -= take
                position += take
                if not self._payload_left:
                    self._end_of_payload()
                continue
            take = min(BLOCK - len(self._header), size - position)
            self._header += data[position : position + take]
            position += take
            if len(self._header) == BLOCK:
                header = bytes(self._header)
                self._header.clear()
                self._take_header(header)
                self._offset += BLOCK

    def facts(self) -> TarFacts:
        """Return what was found; call it after the last byte."""
        fault = self.fault
        if not fault and (self._header or self._payload_left):
            fault = f"ends inside member {self.members} or its header"
        elif not fault and not self._ended:
            fault = f"ends after {self.members} members without the end-of-archive blocks"
        return TarFacts(
            members=self.members,
            fault=fault,
            complete=self._ended,
            roots=tuple(self._roots),
            dot_root=self._first in {".", "./"},
            unsafe=self._unsafe,
            outward=self._outward,
            examples=tuple(self._examples),
        )

    def _take_header(self, header: bytes) -> None:
        empty = header == EMPTY_BLOCK
        if self._ended:
            if not empty:
                self.fault = f"bytes follow after the end of the archive (at {self._offset})"
        elif self._sparse_headers:
            self._sparse_headers = bool(header[504])
            if not self._sparse_headers:
                self._expect(self._pending_size, None)
        elif empty:
            self._zero_blocks += 1
            self._ended = self._zero_blocks == 2
        elif self._zero_blocks:
            self.fault = f"a member follows after an end-of-archive block (at {self._offset})"
        elif not _checksum_fits(header):
            self.fault = f"the header at byte {self._offset}, after {self.members} members, is damaged"
        else:
            self._take_member(header)

    def _take_member(self, header: bytes) -> None:
        kind = header[156:157]
        size = _number(header[124:136])
        if size is None or size < 0:
            self.fault = f"the header at byte {self._offset} has no valid size"
            return
        if kind in b"LKxg" and kind:
            if size > LONGEST_NAME_BYTES:
                self.fault = f"the extended header at byte {self._offset} claims {size} bytes"
                return
            collected = bytearray()
            self._after = lambda: self._extended(kind, bytes(collected))
            self._expect(size, collected.extend)
            return
        pax = {**self._global_pax, **self._pax}
        self._pax = {}
        name = pax.get("GNU.sparse.name") or pax.get("path") or _name(header)
        link = pax.get("linkpath") or _text(header[157:257])
        if pax.get("size", "").isdigit():
            size = int(pax["size"])
        self.members += 1
        self._note(name, link, kind)
        if kind in _NO_PAYLOAD and kind:
            size = 0
        sink = None
        if kind in {b"0", b"\0", b"7"} and not name.endswith("/") and self._on_member:
            sink = self._on_member(name, size)
        if kind == b"S" and header[482]:
            self._sparse_headers, self._pending_size = True, size
            return
        self._expect(size, sink)

    def _note(self, name: str, link: str, kind: bytes) -> None:
        if self.members == 1:
            self._first = name
        problem = ""
        if name.startswith("/") or ".." in name.split("/"):
            self._unsafe += 1
            problem = name
        if (kind == b"2" and _leaves(name, link)) or (kind == b"1" and _climbs(link)):
            self._outward += 1
            problem = f"{name} -> {link}"
        if problem and len(self._examples) < EXAMPLES:
            self._examples.append(problem[:200])
        root = volume_of(name, directory=kind == b"5")
        if root and len(self._roots) < MOST_ROOTS:
            self._roots.setdefault(root)

    def _expect(self, size: int, sink: Sink | None) -> None:
        self._content_left = size
        self._payload_left = -(-size // BLOCK) * BLOCK
        self._offset += self._payload_left
        self._sink = sink
        if not self._payload_left:
            self._end_of_payload()

    def _end_of_payload(self) -> None:
        self._sink = None
        after, self._after = self._after, None
        if after:
            after()

    def _extended(self, kind: bytes, data: bytes) -> None:
        if kind == b"L":
            self._pax["path"] = _text(data)
        elif kind == b"K":
            self._pax["linkpath"] = _text(data)
        else:
            records = _pax_records(data)
            if records is None:
                self.fault = f"a pax header before byte {self._offset} is damaged"
            elif kind == b"g":
                self._global_pax.update(records)
            else:
                self._pax.update(records)


def volume_of(name: str, *, directory: bool = False) -> str:
    """Return the volume that a member belongs to: `…/volumes/<name>/…`, else the first part of its path.

    Empty for a file at the top level, which belongs to no named volume.
    """
    docker = _DOCKER_VOLUME.search(name)
    if docker:
        return docker[1]
    parts = [part for part in name.split("/") if part not in {"", ".", ".."}]
    if len(parts) > 1 or (parts and (directory or name.endswith("/"))):
        return parts[0]
    return ""


def looks_like_tar(head: bytes) -> bool:
    """Tell whether the first 512 bytes are a tar header (v7 has no magic: its checksum tells)."""
    return len(head) >= BLOCK and head[0] != 0 and _checksum_fits(head[:BLOCK])


def _checksum_fits(header: bytes) -> bool:
    declared = _number(header[148:156])
    if declared is None:
        return False
    return declared == header_sum(header)


def header_sum(header: bytes) -> int:
    """Return the sum of a header's bytes, with blanks in the place of the sum itself (POSIX.1-2017, ustar)."""
    return _sum(header[:148]) + 8 * 0x20 + _sum(header[156:404]) + _sum(header[404:])


def _sum(data: bytes) -> int:
    """Return the sum of up to 256 bytes: the lower half of Adler-32 (RFC 1950) is one more, modulo 65521."""
    return (adler32(data) & 0xFFFF) - 1


def _number(field: bytes) -> int | None:
    """Read a numeric field: octal, or GNU's base-256 for large values. None when it is neither."""
    if field and field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip()
    if not digits:
        return 0
    try:
        return int(digits, 8)
    except ValueError:
        return None


def _name(header: bytes) -> str:
    name = _text(header[0:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _pax_records(data: bytes) -> dict[str, str] | None:
    records: dict[str, str] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        if space < 0 or not data[position:space].isdigit():
            return None
        end = position + int(data[position:space])
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space or not equals or data[end - 1 : end] != b"\n":
            return None
        records[key.decode("utf-8", "backslashreplace")] = value.decode("utf-8", "backslashreplace")
        position = end
    return records


def _climbs(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


def _leaves(name: str, link: str) -> bool:
    """Tell whether a symbolic link's target lies outside the archive's root."""
    if link.startswith("/"):
        return True
    depth = 0
    for part in [*name.split("/")[:-1], *link.split("/")]:
        if part == "..":
            depth -= 1
        elif part not in {"", "."}:
            depth += 1
        if depth < 0:
            return True
    return False
