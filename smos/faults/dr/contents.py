"""The table of contents of pg_dump's archives as something to be changed, one field of one entry at a time.

Reads and writes every byte of it, of the header as well (layout: ReadHead and ReadToc in
src/bin/pg_dump/pg_backup_archiver.c). Written apart from what the product reads with: it must not share its mistakes.
"""

from dataclasses import dataclass
from typing import Any

from smos.errors import BackupError

Text = bytes | None
MAGIC = b"PGDMP"
CUSTOM = 1
POSITION_SET = 2
"""A custom archive gives the place of an entry's data in bytes; other flags say that it is not known, or has none."""
DATE = ("second", "minute", "hour", "day", "month", "year", "dst")
NAMES = ("database", "server", "tool")
FIELDS: tuple[tuple[str, type, int], ...] = (
    ("id", int, 0), ("has_data", int, 0), ("catalogue", bytes, 0), ("oid", bytes, 0), ("tag", bytes, 0),
    ("kind", bytes, 0), ("section", int, 11), ("definition", bytes, 0), ("drop", bytes, 0), ("copy", bytes, 0),
    ("namespace", bytes, 0), ("tablespace", bytes, 0), ("method", bytes, 14), ("relkind", int, 16),
    ("owner", bytes, 0), ("with_oids", bytes, 0), ("needs", list, 0), ("place", tuple, 0),
)  # fmt: skip
"""Name, type, and since which minor version of the format (1.x) it is there. needs: IDs, as texts."""


@dataclass(slots=True)
class Contents:
    """Header and entries, and the data that follow them in a custom archive."""

    header: dict[str, Any]
    entries: list[dict[str, Any]]
    rest: bytes
    size: int
    """Bytes that header and entries took when they were read."""

    @classmethod
    def parse(cls, data: bytes) -> "Contents":
        """Read a `toc.dat` or a custom archive. Raises BackupError for anything else."""
        reader = _Reader(data)
        if reader.take(len(MAGIC)) != MAGIC:
            raise BackupError("no archive of pg_dump's")
        header: dict[str, Any] = {
            name: reader.byte() for name in ("major", "minor", "revision", "integer", "offset", "format")
        }
        reader.integer_bytes = header["integer"]
        header["compression"] = reader.byte() if header["minor"] >= 15 else reader.number()
        header |= {name: reader.number() for name in DATE}
        header |= {name: reader.text() for name in NAMES}
        entries = [cls._entry(reader, header) for _ in range(reader.number())]
        return cls(header, entries, data[reader.at :], reader.at)

    @staticmethod
    def _entry(reader: "_Reader", header: dict[str, Any]) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        for name, kind, since in FIELDS:
            if header["minor"] < since:
                continue
            if name == "needs":
                entry[name] = list(iter(reader.text, None))
            elif name == "place" and header["format"] == CUSTOM:
                entry[name] = (reader.byte(), int.from_bytes(reader.take(header["offset"]), "little"))
            else:
                entry[name] = reader.number() if kind is int else reader.text()
        return entry

    def to_bytes(self) -> bytes:
        """Write it; places of data in a custom archive move with the length of what stands before them."""
        first = self._written(0)
        return (
            self._written(len(first) - self.size) if self.header["format"] == CUSTOM else first
        ) + self.rest

    def _written(self, shift: int) -> bytes:
        header, size = self.header, self.header["integer"]
        out = [
            MAGIC,
            bytes(header[name] for name in ("major", "minor", "revision", "integer", "offset", "format")),
        ]
        out.append(
            bytes([header["compression"]]) if header["minor"] >= 15 else _number(header["compression"], size)
        )
        out += [_number(header[name], size) for name in DATE]
        out += [_text(header[name], size) for name in NAMES]
        out.append(_number(len(self.entries), size))
        for entry in self.entries:
            for name, value in entry.items():
                if name == "needs":
                    out += [_text(item, size) for item in (*value, None)]
                elif isinstance(value, tuple):
                    flag, place = value
                    place += shift if flag == POSITION_SET else 0
                    out += [bytes([flag]), place.to_bytes(header["offset"], "little")]
                else:
                    out.append(_number(value, size) if isinstance(value, int) else _text(value, size))
        return b"".join(out)

    def entry(self, kind: str, tag: str) -> dict[str, Any]:
        """Return the first entry of this kind and tag. Raises BackupError."""
        wanted = (kind.encode(), tag.encode())
        for entry in self.entries:
            if (entry["kind"], entry["tag"]) == wanted:
                return entry
        raise BackupError(f"the dump has no {kind} {tag}")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self.at, self.integer_bytes = data, 0, 4

    def take(self, size: int) -> bytes:
        piece = self._data[self.at : self.at + size]
        if size < 0 or len(piece) < size:
            raise BackupError("the table of contents ends early")
        self.at += size
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        negative = self.byte()
        value = int.from_bytes(self.take(self.integer_bytes), "little")
        return -value if negative else value

    def text(self) -> Text:
        length = self.number()
        return None if length < 0 else self.take(length)


def _number(value: int, size: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(size, "little")


def _text(value: Text, size: int) -> bytes:
    return _number(-1, size) if value is None else _number(len(value), size) + value
