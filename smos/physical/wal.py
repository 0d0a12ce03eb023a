"""Names and first pages of write-ahead log files: pure reading, no server needed.

A segment's first page has a long header: magic, flags, timeline, address, then the cluster's system identifier and the
size of a segment. Source: src/include/access/xlog_internal.h; native byte order.
"""

import re
import struct
from dataclasses import dataclass
from itertools import pairwise

SEGMENT = re.compile(r"(?P<timeline>[0-9A-F]{8})(?P<log>[0-9A-F]{8})(?P<segment>[0-9A-F]{8})")
HISTORY = re.compile(r"(?P<timeline>[0-9A-F]{8})\.history")
BACKUP_HISTORY = re.compile(r"[0-9A-F]{24}\.[0-9A-F]{8}\.backup")
_LSN = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})")
_HISTORY_LINE = re.compile(r"\s*(\d+)\s+([0-9A-F]{1,8}/[0-9A-F]{1,8})\b")
_HEADER = struct.Struct("=HHIQIxxxxQII")
HEADER_BYTES = _HEADER.size
LONG_HEADER = 0x0002
SIZES = frozenset(1 << power for power in range(20, 31))
"""Sizes that a segment can have: powers of two from 1 MiB to 1 GiB."""
FOUR_GIB = 1 << 32


def lsn_number(text: str) -> int:
    """Return a position in the log as a number: "0/2000028". Raises ValueError."""
    found = _LSN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:40]!r} is no position in the log")
    return int(found[1], 16) << 32 | int(found[2], 16)


def lsn_text(number: int) -> str:
    """Return a position as PostgreSQL writes it."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def segment_name(timeline: int, number: int, size: int) -> str:
    """Return the file name of the segment with this number (counted from 0) on this timeline."""
    per_log = FOUR_GIB // size
    return f"{timeline:08X}{number // per_log:08X}{number % per_log:08X}"


def split_name(name: str, size: int) -> tuple[int, int]:
    """Return (timeline, number) of a segment's file name. Raises ValueError."""
    found = SEGMENT.fullmatch(name)
    if found is None:
        raise ValueError(f"{name[:60]!r} is no segment")
    low = int(found["segment"], 16)
    if low >= FOUR_GIB // size:
        raise ValueError(f"{name} is no segment of {size} bytes")
    return int(found["timeline"], 16), int(found["log"], 16) * (FOUR_GIB // size) + low


@dataclass(frozen=True, slots=True)
class PageHeader:
    """The long header of a segment's first page. address: its first byte's position; sizes in bytes."""

    magic: int
    timeline: int
    address: int
    system_identifier: int
    segment_bytes: int


def read_header(data: bytes) -> PageHeader | None:
    """Return the long header at the start of a segment; None where there is none."""
    if len(data) < HEADER_BYTES:
        return None
    magic, info, timeline, address, _rest, system, size, block = _HEADER.unpack_from(data)
    if not info & LONG_HEADER or size not in SIZES or block == 0 or magic >> 8 != 0xD1:
        return None
    return PageHeader(magic, timeline, address, system, size)


def read_history(text: str) -> tuple[tuple[int, int], ...]:
    """Return (parent timeline, position of the switch) of each line of a timeline history. Raises ValueError."""
    steps = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _HISTORY_LINE.match(line)
        if found is None:
            raise ValueError("a line is no `timeline position reason`")
        steps.append((int(found[1]), lsn_number(found[2])))
    if not steps:
        raise ValueError("it is empty")
    if any(later[0] <= earlier[0] or later[1] < earlier[1] for earlier, later in pairwise(steps)):
        raise ValueError("its timelines or positions do not rise")
    return tuple(steps)
