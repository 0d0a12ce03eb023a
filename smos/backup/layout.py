"""Where volumes lie in an archive: at its root, or in a directory each, as Docker or plain tar have them."""

from enum import StrEnum

from smos.backup.safepath import Parts
from smos.errors import UnsafeInputError

DATA = b"_data"
"""The directory inside of Docker's directory of a volume that holds its content."""


class Layout(StrEnum):
    """How members are mapped to volumes.

    ROOT: the archive's root is the one volume. DATA: its `_data` directory is. NAMED: `<name>/…`,
    `<name>/_data/…` or `…/volumes/<name>/_data/…`.
    """

    ROOT = "root"
    DATA = "data"
    NAMED = "named"


class Mapper:
    """Maps the components of a member to (volume, components inside of it)."""

    def __init__(self, volumes: tuple[str, ...], layout: Layout) -> None:
        self.names = tuple(volume_bytes(name) for name in volumes)
        self.layout = layout
        self._wanted = frozenset(self.names)
        self._nested: dict[bytes, bool] = {}

    def map(self, parts: Parts) -> tuple[bytes, Parts] | None:
        """Return the volume and the place in it; None for what belongs to no wanted volume."""
        if self.layout is Layout.ROOT:
            return self.names[0], parts
        if self.layout is Layout.DATA:
            return (self.names[0], parts[1:]) if parts[:1] == (DATA,) else None
        found = named(parts, self._wanted)
        if found is None:
            return None
        volume, inside = found
        if inside and self._nested.setdefault(volume, inside[0] == DATA):
            return (volume, inside[1:]) if inside[0] == DATA else None
        return found


def named(parts: Parts, wanted: frozenset[bytes]) -> tuple[bytes, Parts] | None:
    """Map by the volume's name in the path."""
    if b"volumes" in parts:
        at = parts.index(b"volumes") + 1
        if len(parts) > at and parts[at] in wanted:
            return parts[at], parts[at + 1 :]
    if parts and parts[0] in wanted:
        return parts[0], parts[1:]
    return None


def volume_bytes(name: str) -> bytes:
    """Return a volume's name as a file name. Raises UnsafeInputError where it can't be one."""
    raw = name.encode("utf-8", "surrogateescape")
    if raw in {b"", b".", b".."} or b"/" in raw or b"\0" in raw:
        raise UnsafeInputError(
            "A volume's name is no plain file name", remedy="correct the target or the name of the archive"
        )
    return raw
