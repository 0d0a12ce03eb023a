"""One entry of a volume's list, and its line of JSON. What were read leniently would be compared leniently."""

import base64
import hashlib
from enum import StrEnum
from typing import Any, NamedTuple

from smos.backup.safepath import PathError, split_path


class EntryType(StrEnum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "dir"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"  # listed, but never archived: it has no content and its owner makes it again
    CHAR = "char"
    BLOCK = "block"
    VANISHED = "vanished"  # listed in its directory and gone when it was to be read


DEVICES = frozenset({EntryType.CHAR, EntryType.BLOCK})
NOT_ARCHIVED = frozenset({EntryType.SOCKET, EntryType.VANISHED})
_TYPES = {kind.value: kind for kind in EntryType}
_MODES = {f"{mode:04o}": mode for mode in range(0o10000)}
_ALWAYS = frozenset({"id", "type", "uid", "gid", "mode", "size", "mtime_ns"})
_TEXTS = frozenset({"path", "path_b64", "link", "link_b64", "hardlink", "hardlink_b64"})
_KNOWN = _ALWAYS | _TEXTS | {"sha256", "xattrs", "device", "torn"}
_NUMBER_BITS = 96
"""More than any file system keeps: times are nanoseconds, of 64 bits of seconds."""


class Entry(NamedTuple):
    """One entry. A tuple, not a dataclass: there are millions of them.

    path: relative to the volume's root, which is b"". mode: the 12 permission bits. size: bytes of a
    regular file. sha256: of a regular file's content. link: a symbolic link's target. hardlink: path of the
    first entry (in the order of the list) with the same inode, None for that first one and for everything
    else; all other fields of the inode are repeated. xattrs: (name, `xattrs.show_value`). torn: it changed
    while it was read.
    """

    path: bytes
    type: EntryType
    uid: int
    gid: int
    mode: int
    size: int
    mtime_ns: int
    sha256: str = ""
    link: bytes = b""
    hardlink: bytes | None = None
    xattrs: tuple[tuple[str, str], ...] = ()
    device: str = ""
    torn: bool = False


def entry_id(path: bytes) -> str:
    """Return an entry's name in reports: the first 12 hex digits of its path's SHA-256."""
    return hashlib.sha256(path).hexdigest()[:12]


def sort_key(path: bytes) -> bytes:
    """Return the key of the list's order: component by component, as a depth-first walk meets them."""
    return path.replace(b"/", b"\0")


def to_json(entry: Entry) -> dict[str, Any]:
    """Return the plain JSON values of an entry's line."""
    data: dict[str, Any] = {
        **_text("path", entry.path),
        "id": entry_id(entry.path),
        "type": entry.type.value,
        "uid": entry.uid,
        "gid": entry.gid,
        "mode": f"{entry.mode:04o}",
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
    }
    if entry.sha256:
        data["sha256"] = entry.sha256
    if entry.link:
        data.update(_text("link", entry.link))
    if entry.hardlink is not None:
        data.update(_text("hardlink", entry.hardlink))
    if entry.xattrs:
        data["xattrs"] = dict(entry.xattrs)
    if entry.device:
        data["device"] = entry.device
    if entry.torn:
        data["torn"] = True
    return data


def _text(key: str, value: bytes) -> dict[str, str]:
    """File names are bytes; those that are no UTF-8 go in as base64 under another key."""
    try:
        return {key: value.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{key}_b64": base64.b64encode(value).decode("ascii")}


def _bytes(data: dict[str, Any], key: str) -> bytes | None:
    encoded = f"{key}_b64"
    if key in data:
        if encoded in data:
            raise ValueError(f"two values of {key}")
        text: str = data[key]
        return text.encode("utf-8")
    return base64.b64decode(_string(data[encoded]), validate=True) if encoded in data else None


def _number(value: object) -> int:
    if type(value) is not int or value.bit_length() > _NUMBER_BITS:
        raise ValueError("not a number that a file system keeps")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _torn(data: dict[str, Any]) -> bool:
    if "torn" in data and data["torn"] is not True:
        raise ValueError("torn, or not")
    return "torn" in data


def from_json(data: dict[str, Any]) -> Entry:
    """Read what `to_json` gave. Raises ValueError for anything else, with what is wrong (no name, no content)."""
    if not data.keys() <= _KNOWN:
        raise ValueError("an entry has a field that this version does not know")
    try:
        path = _bytes(data, "path")
        if path is None or b"/".join(split_path(path)) != path:
            raise PathError("name-invalid", "no path")  # noqa: TRY301  (as split_path itself says)
        _string(data["id"])
        entry = Entry(
            path,
            _TYPES[data["type"]],
            _number(data["uid"]),
            _number(data["gid"]),
            _MODES[data["mode"]],
            _number(data["size"]),
            _number(data["mtime_ns"]),
            _string(data.get("sha256", "")),
            _bytes(data, "link") or b"",
            _bytes(data, "hardlink"),
            tuple(sorted((k, _string(v)) for k, v in data["xattrs"].items())) if "xattrs" in data else (),
            _string(data.get("device", "")),
            _torn(data),
        )
    except PathError as error:
        raise ValueError("an entry has no valid path") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # of base64: a ValueError
        raise ValueError("an entry lacks a field or has one of the wrong kind") from error
    if not _fits_its_type(entry):
        raise ValueError("an entry says what its type does not have, or not what it has")
    return entry


def _fits_its_type(entry: Entry) -> bool:
    """Tell whether an entry says nothing that its type does not have: no comparison looks at that."""
    kind = entry.type
    if kind is EntryType.FILE:
        return entry.size >= 0 and not (entry.link or entry.device)
    return (
        not (entry.sha256 or entry.size)
        and (entry.torn or kind is not EntryType.VANISHED)
        and bool(entry.link) is (kind is EntryType.SYMLINK)
        and bool(entry.device) is (kind in DEVICES)
    )
