"""What an archive says of its entries and the disk can't hold (yet): a temporary database outside of memory.

Three needs: attributes of directories wait until their content is there; owners, modes and attributes that
this user may not set are still compared, as the archive has them; device nodes are known although they are
never made.
"""

import json
import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self

from smos.backup.entries import Entry
from smos.backup.xattrs import show_value

BATCH = 2000


class Attributes(NamedTuple):
    """Owner, mode (12 bits), time and attributes of an entry, as the archive has them; texts: see `Member`."""

    uid: int
    gid: int
    mode: int
    mtime_ns: int
    xattrs: dict[str, bytes]
    texts: dict[str, bytes]


class Ledger:
    """One ledger per restored archive; a context manager. Paths have the volume's name in front."""

    def __init__(self) -> None:
        # "": an unnamed temporary file. One thread may restore and another compare, one after the other.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-8192;"
            "CREATE TABLE directories (path BLOB PRIMARY KEY, uid, gid, mode, mtime TEXT, xattrs, texts) WITHOUT ROWID;"
            "CREATE TABLE overlays (path BLOB PRIMARY KEY, uid, gid, mode, xattrs) WITHOUT ROWID;"
            "CREATE TABLE devices (path BLOB PRIMARY KEY, listed) WITHOUT ROWID;"
            "BEGIN"
        )
        self._overlays: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def directory(self, path: bytes, attributes: Attributes | None) -> None:
        """Note a directory; None: the archive did not list it (yet), it was made for what lies in it."""
        if attributes is None:
            self._db.execute(
                "INSERT OR IGNORE INTO directories VALUES (?,NULL,NULL,NULL,NULL,NULL,NULL)", (path,)
            )
            return
        self._db.execute(
            "INSERT OR REPLACE INTO directories VALUES (?,?,?,?,?,?,?)",
            (
                path,
                *attributes[:3],
                str(attributes.mtime_ns),
                _pack(attributes.xattrs),
                _pack(attributes.texts),
            ),
        )

    def directories(self) -> Iterator[tuple[bytes, Attributes]]:
        """Yield the listed directories, what lies deeper before what it lies in."""
        for path, uid, gid, mode, mtime, xattrs, texts in self._db.execute(
            "SELECT * FROM directories WHERE mode IS NOT NULL ORDER BY path DESC"
        ):
            yield path, Attributes(uid, gid, mode, int(mtime), _unpack(xattrs), _unpack(texts))

    def unlisted_directories(self) -> int:
        """Return how many directories exist that the archive does not list."""
        row = self._db.execute("SELECT count(*) FROM directories WHERE mode IS NULL").fetchone()
        return int(row[0])

    def overlay(
        self, path: bytes, *, owner: tuple[int, int] | None, mode: int | None, xattrs: dict[str, bytes] | None
    ) -> None:
        """Note what could not be set on disk; None: it could."""
        uid, gid = owner or (None, None)
        self._overlays.append((path, uid, gid, mode, None if xattrs is None else _pack(xattrs)))
        if len(self._overlays) >= BATCH:
            self._flush()

    def device(self, path: bytes) -> None:
        """Note a device node that was not made."""
        self._db.execute("INSERT OR IGNORE INTO devices VALUES (?, 0)", (path,))

    def is_device(self, path: bytes) -> bool:
        """Tell whether the archive has a device node of this path, which the list of entries has as well."""
        return self._db.execute("UPDATE devices SET listed = 1 WHERE path = ?", (path,)).rowcount > 0

    def unlisted_devices(self, prefix: bytes) -> Iterator[bytes]:
        """Yield the device nodes below `prefix` that `is_device` was never asked for, without the prefix."""
        query = "SELECT path FROM devices WHERE listed = 0 AND substr(path, 1, ?) = ? ORDER BY path"
        for (path,) in self._db.execute(query, (len(prefix), prefix)):
            yield path[len(prefix) :]

    def has_overlays(self) -> bool:
        """Tell whether anything could not be set on disk."""
        self._flush()
        return self._db.execute("SELECT 1 FROM overlays").fetchone() is not None

    def apply(self, prefix: bytes, entry: Entry) -> Entry:
        """Return the entry that was read from disk, with what the disk could not hold put in its place.

        prefix: the volume's name and a slash.
        """
        key = (prefix + (entry.path if entry.hardlink is None else entry.hardlink)).rstrip(b"/")
        query = "SELECT uid, gid, mode, xattrs FROM overlays WHERE path = ?"
        row = self._db.execute(query, (key,)).fetchone()
        if row is None:
            return entry
        uid, gid, mode, xattrs = row
        if uid is not None:
            entry = entry._replace(uid=uid, gid=gid)
        if mode is not None:
            entry = entry._replace(mode=mode)
        if xattrs is not None:
            shown = tuple((name, show_value(value)) for name, value in sorted(_unpack(xattrs).items()))
            entry = entry._replace(xattrs=shown)
        return entry

    def _flush(self) -> None:
        self._db.executemany("INSERT OR REPLACE INTO overlays VALUES (?,?,?,?,?)", self._overlays)
        self._overlays.clear()


def _pack(xattrs: dict[str, bytes]) -> str:
    return json.dumps({name: value.hex() for name, value in xattrs.items()}) if xattrs else ""


def _unpack(text: str) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in json.loads(text).items()} if text else {}
