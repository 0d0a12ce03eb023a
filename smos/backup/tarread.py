"""Reads a tar member by member for extraction: names as bytes, attributes, holes; strict about damage.

Python's tarfile takes a damaged header in the middle for the end of the archive, and reads extended headers
of any size into memory; a restore that is to be *proven* can't rest on that. (`tarscan` looks at a tar
without extracting.) Formats: v7, ustar, pax, GNU (long names, base-256 numbers, sparse in all four
spellings).
"""

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from smos.backup.tarheaders import Extended, TarFault, attributes, cut
from smos.backup.tarscan import header_sum
from smos.backup.xattrs import acl_mode

BLOCK = 512
LONGEST_HEADER_BYTES = 4 << 20
"""Names and attributes of one member together; Linux allows 64 KiB per attribute."""
MOST_SEGMENTS = 200_000
LARGEST_NUMBER = (1 << 63) - 1
REGULAR, HARD_LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = "0", "1", "2", "3", "4", "5", "6"
_KINDS = {
    b"0": REGULAR, b"\0": REGULAR, b"7": REGULAR, b"S": REGULAR, b"1": HARD_LINK, b"2": SYMLINK, b"3": CHAR,
    b"4": BLOCK_DEVICE, b"5": DIRECTORY, b"D": DIRECTORY, b"6": FIFO,
}  # fmt: skip
_NO_CONTENT = frozenset(b"123456")
_EXTENDED = frozenset({b"x", b"g", b"L", b"K", b"V"})
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12s")
_LARGEST_MODE = 0xFFFFFFFF
_TIME = re.compile(rb"(?P<sign>-?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?")
_SPARSE = b"GNU.sparse."


class Member(NamedTuple):
    """One member: number from 1, offset of its first header, name and link as they stand in the archive.

    size: logical bytes of content, holes included. segments: (offset, length) of the parts that are stored,
    in order. mode: with an ACL, the one that it makes, as restoring it does. xattrs: attribute values, ACLs among
    them. texts: the text of each ACL that is not understood (it names users instead of numbers, for one), or is
    missing beside the attribute: what tools restore then differs.
    """

    number: int
    offset: int
    name: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: bytes
    xattrs: dict[str, bytes]
    segments: list[tuple[int, int]]
    texts: dict[str, bytes]


class TarReader:
    """Pulls members out of a stream of blocks.

    After `next`, take the content with `content` or `whole_content`, or let it be.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._data = b""
        self._position = 0
        self._base = 0
        self._left = 0
        self._padding = 0
        self._global: dict[bytes, bytes] = {}
        self.members = 0

    @property
    def offset(self) -> int:
        """Bytes of the tar that were taken so far."""
        return self._base + self._position

    def next(self) -> Member | None:
        """Return the next member, None at the end of the archive; all bytes have been read then.

        Raises TarFault, and whatever the stream of blocks raises.
        """
        self._skip_content()
        start = self.offset
        extended = Extended(self._global)
        while True:
            at = self.offset
            header = self._take(BLOCK, at)
            if header.count(0) == BLOCK:
                if extended.met:
                    raise TarFault("tar-corrupt", at, "an extended header is followed by no member")
                self._end(at)
                return None
            fields = _HEADER.unpack(header)
            if _number(fields[6], at) != header_sum(header):
                raise TarFault("tar-corrupt", at, f"the header after {self.members} members is damaged")
            if fields[7] not in _EXTENDED:
                return self._member(header, fields, start, extended)
            extended.take(fields[7], self._extended(fields, at), at)

    def content(self, count: int | None = None) -> Iterator[bytes]:
        """Yield the next `count` stored bytes of the member that `next` returned (None: all), in pieces."""
        left = self._left if count is None else count
        while left:
            piece = self._piece(left)
            left -= len(piece)
            self._left -= len(piece)
            yield piece

    def whole_content(self) -> bytes:
        """Return the stored bytes of a small member at once."""
        data = self._take(self._left, -1)
        self._left = 0
        return data

    def _member(
        self,
        header: bytes,
        fields: tuple[bytes, ...],
        start: int,
        extended: Extended,
    ) -> Member:
        at = self.offset - BLOCK
        pax = extended.all()
        kind = _KINDS.get(fields[7])
        if kind is None:
            raise TarFault("tar-unsupported", at, f"a member of the unknown type {fields[7]!r}")
        name, link, size, uid, gid, mtime_ns = _described(header, fields, pax, at)
        mode = _mode(fields[1], at)
        xattrs, texts, access = attributes(pax) if pax else ({}, {}, None)
        if access is not None:
            mode = mode & ~0o777 | acl_mode(access)
        if kind == REGULAR and name.endswith(b"/") and fields[7] != b"S":
            kind = DIRECTORY  # how v7 spells it
        if fields[7][0] in _NO_CONTENT:
            size = 0
        self._left, self._padding = size, -size % BLOCK
        logical, segments = size, [(0, size)]
        sparse = any(key.startswith(_SPARSE) for key in pax)
        if sparse and (kind != REGULAR or fields[7] == b"S" or pax.get(b"GNU.sparse.name") == b""):
            raise TarFault("tar-corrupt", at, "a sparse map where none can be, or for a file without a name")
        if fields[7] == b"S":
            logical, segments = self._old_sparse(header, at)
        elif sparse:
            name = pax.get(b"GNU.sparse.name", name)
            logical, segments = self._pax_sparse(pax, extended.pairs, size, at)
        if segments != [(0, size)]:
            _check_segments(segments, logical, self._left, at)
        self.members += 1
        return Member(
            self.members, start, name, kind, mode, uid, gid, logical, mtime_ns, link, xattrs, segments, texts,
        )  # fmt: skip

    def _old_sparse(self, header: bytes, at: int) -> tuple[int, list[tuple[int, int]]]:
        """GNU's own sparse type: the map stands in the header and in blocks after it."""
        size = _number(header[483:495], at)
        segments = _old_map(header[386:482], at)
        more = header[482]
        while more:
            block = self._take(BLOCK, -1)
            listed = _old_map(block[:504], at)
            if not listed:
                raise TarFault("tar-corrupt", at, "a sparse map that goes on with nothing")
            segments += listed
            if len(segments) > MOST_SEGMENTS:
                raise TarFault("header-too-large", at, "a sparse map with too many segments")
            more = block[504]
        return size, segments

    def _pax_sparse(
        self, pax: dict[bytes, bytes], pairs: list[bytes], size: int, at: int
    ) -> tuple[int, list[tuple[int, int]]]:
        """GNU's sparse formats 0.0 (pairs), 0.1 (map in the header) and 1.0 (map before the content)."""
        if pax.get(b"GNU.sparse.major") == b"1":
            numbers = self._leading_map(at)
            logical = _decimal(pax.get(b"GNU.sparse.realsize", b""), at)
        else:
            listed = pax.get(b"GNU.sparse.map")
            raw = listed.split(b",") if listed else pairs
            numbers = [_decimal(item, at) for item in raw]
            # Tools make room for so many segments: with too few of them they restore another file.
            if 2 * _decimal(pax.get(b"GNU.sparse.numblocks", b""), at) < len(numbers):
                raise TarFault("tar-corrupt", at, "a sparse map is longer than it says")
            logical = _decimal(pax.get(b"GNU.sparse.size") or pax.get(b"GNU.sparse.realsize", b""), at)
        if len(numbers) % 2 or len(numbers) > 2 * MOST_SEGMENTS:
            raise TarFault("tar-corrupt", at, "a sparse map that can't be read")
        if not numbers and size:
            raise TarFault("tar-corrupt", at, "a sparse member without a map")
        return logical, list(zip(numbers[::2], numbers[1::2], strict=True))

    def _leading_map(self, at: int) -> list[int]:
        blocks: list[bytes] = []
        lines, wanted = 0, -1
        while wanted < 0 or lines <= wanted:
            if self._left < BLOCK or len(blocks) > MOST_SEGMENTS:
                raise TarFault("tar-corrupt", at, "a sparse map that does not end")
            blocks.append(block := self._take(BLOCK, -1))
            self._left -= BLOCK
            lines += block.count(b"\n")
            if lines and wanted < 0:
                wanted = 2 * _decimal(b"".join(blocks).split(b"\n", 1)[0], at)
                if wanted > 2 * MOST_SEGMENTS:
                    raise TarFault("header-too-large", at, "a sparse map with too many segments")
        return [_decimal(line, at) for line in b"".join(blocks).split(b"\n")[1 : wanted + 1]]

    def _extended(self, fields: tuple[bytes, ...], at: int) -> bytes:
        size = _number(fields[4], at)
        if size > LONGEST_HEADER_BYTES:
            raise TarFault("header-too-large", at, f"an extended header claims {size} bytes")
        data = self._take(size, at)
        self._take(-size % BLOCK, at)
        return data

    def _end(self, at: int) -> None:
        """Two empty blocks end a tar; only padding may follow."""
        try:
            second = self._take(BLOCK, at)
        except TarFault as error:
            raise TarFault("tar-no-end", at, "only half of the end-of-archive mark is there") from error
        if second.count(0) != BLOCK:
            raise TarFault("tar-corrupt", at, "a member follows after half an end-of-archive mark")
        while True:
            rest = self._data[self._position :]
            if rest.count(0) != len(rest):
                raise TarFault("trailing-bytes", self.offset, "bytes follow after the end of the archive")
            self._base += len(self._data)
            self._data, self._position = next(self._blocks, b""), 0
            if not self._data:
                return

    def _skip_content(self) -> None:
        left = self._left + self._padding
        self._left = self._padding = 0
        while left:
            left -= len(self._piece(left))

    def _piece(self, most: int) -> bytes:
        """Return at least one and at most `most` bytes."""
        if self._position >= len(self._data):
            self._base += len(self._data)
            self._position = 0
            self._data = next(self._blocks, b"")
            if not self._data:
                raise TarFault(
                    "tar-truncated", self._base, f"the archive ends inside of member {self.members}"
                )
        position = self._position
        whole = not position and len(self._data) <= most
        piece = self._data if whole else self._data[position : position + most]
        self._position = position + len(piece)
        return piece

    def _take(self, count: int, at: int) -> bytes:
        end = self._position + count
        if end <= len(self._data):
            data = self._data[self._position : end]
            self._position = end
            return data
        pieces = []
        try:
            while count:
                pieces.append(piece := self._piece(count))
                count -= len(piece)
        except TarFault as error:
            if pieces or at != self.offset:
                raise
            raise TarFault(
                "tar-no-end", at, f"it ends after {self.members} members without its end mark"
            ) from error
        return b"".join(pieces)


def _described(
    header: bytes, fields: tuple[bytes, ...], pax: dict[bytes, bytes], at: int
) -> tuple[bytes, bytes, int, int, int, int]:
    """Return name, link, size, uid, gid, mtime_ns; an extended header counts before the plain one."""
    name, link = cut(fields[0]), cut(fields[8])
    if header[257:263] == b"ustar\0" and fields[14][0]:
        name = cut(fields[14]) + b"/" + name
    size, uid, gid = _number(fields[4], at), _number(fields[2], at), _number(fields[3], at)
    if not fields[4].strip(b" ") or not fields[1].strip(b" "):
        raise TarFault("tar-corrupt", at, "a size or a mode that is blank")
    mtime_ns = _number(fields[5], at, negative=True) * 10**9
    if pax:
        name, link = pax.get(b"path", name), pax.get(b"linkpath", link)
        if not name or (not link and fields[7] in b"12"):  # tools differ in what that means
            raise TarFault("tar-corrupt", at, "a name in an extended header that is empty")
        size, uid, gid = (
            _decimal(pax[key], at) if pax.get(key) else value
            for key, value in ((b"size", size), (b"uid", uid), (b"gid", gid))
        )
        if pax.get(b"mtime"):
            mtime_ns = _nanoseconds(pax[b"mtime"], at)
    if max(size, uid, gid) > LARGEST_NUMBER:
        raise TarFault("tar-corrupt", at, "a size or an owner that no system has")
    return name, link, size, uid, gid, mtime_ns


def _mode(field: bytes, at: int) -> int:
    mode = _number(field, at)
    if mode > _LARGEST_MODE:
        raise TarFault("tar-corrupt", at, "a mode that no system has")
    return mode & 0o7777


def _number(field: bytes, at: int, *, negative: bool = False) -> int:
    """Read octal digits, or GNU's base-256 number (first byte 0x80, or 0xff for a negative one)."""
    value = _parse(field)
    if value is None:
        raise TarFault("tar-corrupt", at, "a number that is none")
    if value < 0 and not negative:
        raise TarFault("tar-corrupt", at, "a negative number where none can be")
    return value


@lru_cache(maxsize=4096)
def _parse(field: bytes) -> int | None:
    """Most members of an archive share owner, mode and times."""
    if field[0] == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if digits.strip(b"01234567"):
        return None
    return int(digits, 8) if digits else 0


def _decimal(text: bytes, at: int) -> int:
    if not text.isdigit() or len(text) > 20:
        raise TarFault("tar-corrupt", at, "a number in an extended header that is none")
    return int(text)


def _nanoseconds(text: bytes, at: int) -> int:
    """Read a time; what follows after it is let be, as GNU tar does: no service depends on times."""
    found = _TIME.match(text)
    if found is None or not (found["whole"] or found["fraction"]):
        raise TarFault("tar-corrupt", at, "a time in an extended header that is none")
    whole = _decimal(found["whole"], at) if found["whole"] else 0
    value = whole * 10**9 + int((found["fraction"] or b"")[:9].ljust(9, b"0"))
    return -value if found["sign"] else value


def _old_map(data: bytes, at: int) -> list[tuple[int, int]]:
    segments = []
    for start in range(0, len(data) - 23, 24):
        if not data[start]:
            break
        segments.append((_number(data[start : start + 12], at), _number(data[start + 12 : start + 24], at)))
    return segments


def _check_segments(segments: list[tuple[int, int]], logical: int, stored: int, at: int) -> None:
    position = total = 0
    for start, length in segments:
        if start < position or (total % BLOCK and length):
            raise TarFault("tar-corrupt", at, "the segments of a sparse member overlap")
        position, total = start + length, total + length
    if position > logical or total != stored:
        raise TarFault("tar-corrupt", at, "the map of a sparse member does not fit its content")
