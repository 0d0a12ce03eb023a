"""Bytes as streams in constant memory: compression, encryption, full decompression, entropy.

Decompression here is stricter than the usual tools: a member that ends early, a checksum that does not fit
and bytes after the end are faults with a name. Output comes in pieces of at most about 32 MiB whatever the
input claims, so that an archive bomb can't fill the memory.
"""

import bz2
import importlib
import lzma
import math
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import zstandard

READ_BYTES = 1 << 18
OUTPUT_BYTES = 1 << 20
ZSTD_SLICE_BYTES = 1 << 10
"""zstd's Python binding can't bound its output per call; its input can: 1 KiB holds at most 256 run-length
blocks of 128 KiB, which is 32 MiB."""
MEMORY_BYTES = 128 << 20
"""Largest window or dictionary that a decompressor may allocate."""
HEAD_BYTES = 16 << 10


class StreamFault(Exception):  # noqa: N818  (a fault of the data, not an error of ours)
    """The stream is damaged, or can't be read here. `code`: see docs/findings-backups.md."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


_MAGICS: tuple[tuple[str, bytes], ...] = (
    ("gzip", b"\x1f\x8b"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\x00"),
    ("lz4", b"\x04\x22\x4d\x18"),
)


def detect_compression(head: bytes) -> str:
    """Return gzip, zstd, bzip2, xz, lz4 or none, from the first bytes."""
    for name, magic in _MAGICS:
        if head.startswith(magic):
            return name
    if _zstd_skippable(head):
        return "zstd"
    return "none"


def detect_encryption(head: bytes) -> str:
    """Return age, openssl or pgp, or an empty string, from the first bytes (at least 32 where there are any).

    PGP's binary packets have no magic: tag and version of the first packet are looked at (RFC 9580,
    sections 4 and 5.1, 5.3).
    """
    if head.startswith((b"age-encryption.org/v1", b"-----BEGIN AGE ENCRYPTED FILE-----")):
        return "age"
    if head.startswith(b"Salted__"):
        return "openssl"
    if head.startswith(b"-----BEGIN PGP MESSAGE-----"):
        return "pgp"
    if len(head) < 4 or not head[0] & 0x80:
        return ""
    if head[0] & 0x40:
        tag, version_at = head[0] & 0x3F, 2
    else:
        tag, version_at = (head[0] >> 2) & 0x0F, 2 + (head[0] & 0x03)
        if head[0] & 0x03 not in {0, 1}:
            return ""
    versions = {1: {3, 6}, 3: {4, 5, 6}}.get(tag, set())
    return "pgp" if head[version_at] in versions else ""


def _zstd_skippable(head: bytes) -> bool:
    return len(head) >= 4 and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18"


class _Decoder(Protocol):
    """Decodes one member (frame, stream) of a compressed file."""

    eof: bool
    unused: bytes

    def decode(self, data: bytes) -> Iterator[bytes]: ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(31)
        self.eof = False
        self.unused = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        while True:
            out = self._stream.decompress(data, OUTPUT_BYTES)
            if out:
                yield out
            self.eof, self.unused = self._stream.eof, self._stream.unused_data
            data = self._stream.unconsumed_tail
            if self.eof or (not data and len(out) < OUTPUT_BYTES):
                return


class _Standard:
    """Decoders with the interface of bz2 and lzma."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.eof = False
        self.unused = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        while True:
            out = self._stream.decompress(data, OUTPUT_BYTES)
            if out:
                yield out
            self.eof, self.unused = self._stream.eof, self._stream.unused_data
            if self.eof or self._stream.needs_input:
                return
            data = b""


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdDecompressor(max_window_size=MEMORY_BYTES).decompressobj()
        self.eof = False
        self.unused = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), ZSTD_SLICE_BYTES):
            out = self._stream.decompress(data[start : start + ZSTD_SLICE_BYTES])
            if out:
                yield out
            if self._stream.eof:
                self.eof = True
                self.unused = self._stream.unused_data + data[start + ZSTD_SLICE_BYTES :]
                return


def _lz4() -> _Decoder:
    try:
        module = importlib.import_module("lz4.frame")
    except ImportError as error:
        raise StreamFault(
            "decompressor-missing", "the stream is lz4, and the Python package `lz4` is not installed here"
        ) from error
    return _Standard(module.LZ4FrameDecompressor())


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "gzip": _Gzip,
    "zstd": _Zstd,
    "bzip2": lambda: _Standard(bz2.BZ2Decompressor()),
    "xz": lambda: _Standard(lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MEMORY_BYTES)),
    "lz4": _lz4,
}
_LONGEST_MAGIC = 6
_DECODING_ERRORS = (
    lzma.LZMAError,
    zstandard.ZstdError,
    zlib.error,
    OSError,  # bz2 says so when the stream is no bzip2
    EOFError,
    RuntimeError,  # lz4's
    ValueError,
)


def decompress(blocks: Iterable[bytes], compression: str) -> Iterator[bytes]:
    """Yield the content of `blocks`; "none" passes them through.

    Raises StreamFault: `compression-truncated`, `compression-corrupt` (checksum or structure),
    `trailing-bytes`, `memory-limit`, `decompressor-missing`. What could be decoded before the fault has
    been yielded by then.
    """
    if compression == "none":
        yield from blocks
        return
    decoder: _Decoder | None = None
    members = 0
    pending = b""
    for block in blocks:
        pending += block
        while pending:
            if decoder is None:
                if members:
                    pending = pending.lstrip(b"\0")  # padding, as tapes and xz have it
                    if not _next_member(pending, compression):
                        break
                decoder = _DECODERS[compression]()
            yield from _decode(decoder, pending, compression)
            pending = decoder.unused if decoder.eof else b""
            if decoder.eof:
                decoder, members = None, members + 1
    if decoder is not None or not members:
        raise StreamFault("compression-truncated", f"the {compression} stream ends before its end mark")
    if pending:
        raise StreamFault(
            "trailing-bytes", f"{len(pending)} stray bytes follow after the {compression} stream"
        )


def _next_member(pending: bytes, compression: str) -> bool:
    """Tell whether another member begins here; False also for too few bytes to tell."""
    if len(pending) < _LONGEST_MAGIC:
        return False
    if detect_compression(pending) != compression:
        raise StreamFault("trailing-bytes", f"bytes that are no {compression} follow after the stream's end")
    return True


def _decode(decoder: _Decoder, data: bytes, compression: str) -> Iterator[bytes]:
    try:
        yield from decoder.decode(data)
    except _DECODING_ERRORS as error:
        text = str(error)
        if "emory" in text:
            raise StreamFault(
                "memory-limit",
                f"the {compression} stream asks for more than {MEMORY_BYTES >> 20} MiB of memory",
            ) from error
        raise StreamFault("compression-corrupt", f"{compression}: {text}") from error


class EntropyMeter:
    """Shannon entropy in bits per byte, estimated from 4 KiB of every 64 KiB (of the first 64 KiB all).

    `peak` is the highest entropy of a single 4 KiB window: it shows encryption of only parts of a file.
    Random bytes give about 7.95 in such a window, text below 6.
    """

    WINDOW = 4096
    STRIDE = 16 * WINDOW

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._sampled = 0
        self._position = 0
        self._next = 0
        self.peak = 0.0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        end = self._position + len(data)
        while self._next < end:
            start = max(self._next - self._position, 0)
            window = data[start : start + self.WINDOW]
            counts = Counter(window)
            self._counts.update(counts)
            self._sampled += len(window)
            if len(window) == self.WINDOW:
                self.peak = max(self.peak, _entropy(counts, len(window)))
            self._next += self.WINDOW if self._next < self.STRIDE - self.WINDOW else self.STRIDE
        self._position = end

    @property
    def bits(self) -> float:
        """Bits per byte over all windows that were looked at; 0.0 for an empty stream."""
        return _entropy(self._counts, self._sampled)


def _entropy(counts: Counter[int], total: int) -> float:
    if not total:
        return 0.0
    return -sum(n / total * math.log2(n / total) for n in counts.values()) + 0.0


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a file. content: decompressed. complete: nothing follows. fault: why it stopped."""

    compression: str
    encryption: str
    content: bytes
    complete: bool
    fault: StreamFault | None = None


def read_head(path: Path, *, stored_bytes: int = HEAD_BYTES, content_bytes: int = 8 * HEAD_BYTES) -> Head:
    """Read at most `stored_bytes` of a regular file and decode at most about `content_bytes` of content.

    Raises OSError when it can't be read. Symbolic links are not followed.
    """
    with os.fdopen(
        os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb", 0
    ) as file:
        stored = file.read(stored_bytes)
        whole = len(stored) < stored_bytes or not file.read(1)
    return decode_head(stored, whole=whole, content_bytes=content_bytes)


def decode_head(stored: bytes, *, whole: bool, content_bytes: int) -> Head:
    """Decode the first bytes of a stream; `whole`: nothing follows after `stored`."""
    compression = detect_compression(stored)
    if compression == "none":
        return Head("none", detect_encryption(stored), stored, complete=whole)
    content = bytearray()
    fault: StreamFault | None = None
    complete = False
    try:
        for piece in decompress((stored,), compression):
            content += piece
            if len(content) >= content_bytes:
                break
        else:
            complete = whole
    except StreamFault as error:
        # A head that was cut by us ends early by nature: that is no fault of the file.
        fault = error if whole or error.code != "compression-truncated" else None
    return Head(compression, detect_encryption(bytes(content[:64])), bytes(content), complete, fault)
