"""ClickHouse's own compression framing (`compress=1`, `decompress=1`) and the encodings of HTTP bodies.

A frame is: CityHash128 of the rest (16 bytes), method (1), size with this header (4), size of the data (4),
compressed data. Source: https://clickhouse.com/docs/native-protocol/compression.
"""

import gzip
import io
import struct
import zlib

import lz4.block
import lz4.frame
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

LZ4, ZSTD, NONE = 0x82, 0x90, 0x02
CHECKSUM_BYTES = 16
HEADER = struct.Struct("<BII")
LARGEST_FRAME = 1 << 27
"""Bytes of data that one frame may announce; ClickHouse writes frames of 1 MiB, drivers one for a batch."""
FRAME_BYTES = 1 << 20
MASK = (1 << 64) - 1


class FrameError(ValueError):
    """The body is not what its header says."""


def unframe(body: bytes) -> bytes:
    """Return the data of all frames. Raises FrameError on a wrong checksum, size or method."""
    out = bytearray()
    view = memoryview(body)
    at = 0
    while at < len(view):
        start = at + CHECKSUM_BYTES
        if start + HEADER.size > len(view):
            raise FrameError("the last frame is cut")
        method, size, plain = HEADER.unpack_from(view, start)
        end = start + size
        if size < HEADER.size or end > len(view) or plain > LARGEST_FRAME:
            raise FrameError("the last frame is cut, or a size is wrong")
        if bytes(view[at:start]) != _checksum(bytes(view[start:end])):
            raise FrameError("checksum doesn't match")
        data = bytes(view[start + HEADER.size : end])
        out += _plain(method, data, plain)
        at = end
    return bytes(out)


def frame(data: bytes) -> bytes:
    """Return the data in LZ4 frames."""
    out = bytearray()
    for at in range(0, len(data), FRAME_BYTES):
        piece = data[at : at + FRAME_BYTES]
        packed = lz4.block.compress(piece, store_size=False)
        body = HEADER.pack(LZ4, HEADER.size + len(packed), len(piece)) + packed
        out += _checksum(body) + body
    return bytes(out)


def decode(body: bytes, encoding: str) -> bytes:
    """Undo a Content-Encoding. Raises FrameError for one that is unknown or does not fit."""
    try:
        match encoding:
            case "" | "identity":
                return body
            case "gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
            case "zstd":
                with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)) as reader:
                    return reader.read()
            case "lz4":
                plain: bytes = lz4.frame.decompress(body)
                return plain
    except (OSError, EOFError, RuntimeError, zlib.error, zstandard.ZstdError) as error:
        raise FrameError(f"the body is not {encoding}: {error}") from error
    raise FrameError(f"Content-Encoding {encoding} is not known here")


def _plain(method: int, data: bytes, size: int) -> bytes:
    try:
        if method == LZ4:
            plain: bytes = lz4.block.decompress(data, uncompressed_size=size)
        elif method == ZSTD:
            plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
        elif method == NONE:
            plain = data
        else:
            raise FrameError(f"compression method {method:#x} is not known here")
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise FrameError(f"a frame can't be decompressed: {error}") from error
    if len(plain) != size:
        raise FrameError("a frame holds another size than it says")
    return plain


def _checksum(data: bytes) -> bytes:
    number: int = CityHash128(data)
    return struct.pack("<QQ", number >> 64, number & MASK)
