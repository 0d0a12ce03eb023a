"""Answers in the Native format for clients that name a protocol version (`client_protocol_version`).

Such a client (clickhouse-go) expects a block's information before each block and a byte after each column's
type; the engine in process writes neither. Blocks of plain types are written anew here, which is what such
drivers read: their greeting and `DESCRIBE TABLE`. Source: NativeWriter.cpp of ClickHouse.
"""

CUSTOM_SERIALIZATION = 54454
"""The first protocol version with the byte; below it clients get the old form (clickhouse-connect does well
with that)."""
BLOCK_INFO = bytes([1, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0])
"""is_overflows = 0, bucket_num = -1, end."""
WIDTHS = {
    "UInt8": 1, "Int8": 1, "Bool": 1, "UInt16": 2, "Int16": 2, "Date": 2, "UInt32": 4, "Int32": 4, "Float32": 4,
    "Date32": 4, "DateTime": 4, "UInt64": 8, "Int64": 8, "Float64": 8, "UUID": 16, "UInt128": 16, "Int128": 16,
}  # fmt: skip


class UnsupportedTypeError(ValueError):
    """A column of a type that is not written anew here."""


def for_protocol(data: bytes, version: int) -> bytes:
    """Return Native blocks as a client of this protocol version reads them. Raises UnsupportedTypeError."""
    if version < CUSTOM_SERIALIZATION:
        return data
    out = bytearray()
    at = 0
    while at < len(data):
        start = at
        columns, at = _number(data, at)
        rows, at = _number(data, at)
        out += BLOCK_INFO + data[start:at]
        for _ in range(columns):
            start = at
            at = _skip_text(data, at)
            before = at
            at = _skip_text(data, at)
            length, after = _number(data, before)
            kind = data[after : after + length].decode()
            out += data[start:at] + b"\0"
            start = at
            at = _skip_column(data, at, kind, rows)
            out += data[start:at]
    return bytes(out)


def _skip_column(data: bytes, at: int, kind: str, rows: int) -> int:
    if kind.startswith("Nullable("):
        return _skip_column(data, at + rows, kind[len("Nullable(") : -1], rows)
    if kind == "String":
        for _ in range(rows):
            at = _skip_text(data, at)
        return at
    width = WIDTHS.get(kind.split("(", maxsplit=1)[0])
    if width is None:
        raise UnsupportedTypeError(
            f"a column of type {kind} can't be given to this client by the embedded ClickHouse; "
            "ask for another format, or without client_protocol_version"
        )
    return at + width * rows


def _skip_text(data: bytes, at: int) -> int:
    length, at = _number(data, at)
    return at + length


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a LEB128 number."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
