"""The one protocol of a place that backups lie in: list what is there, read from a byte on. Nothing else is asked."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in the listing, as untrusted as its place.

    path: relative, with forward slashes. kind: f (file), d (directory), l (symbolic link), else something special.
    size: bytes. modified: seconds since the epoch. mark: changes whenever the content does. link: a link's target.
    """

    path: str
    kind: str
    size: int
    modified: float
    mark: str
    link: str = ""


class Remote(Protocol):
    """A place with backups in it, read only."""

    shown: str
    """Where it is, without secrets."""

    def entries(self, *, limit: int, deadline: float) -> Iterator[Entry]:
        """Yield everything that is there, in any order.

        limit: most entries; deadline: on the monotonic clock. Raises LiveError (listing-too-long and others).
        """

    def read(
        self, entry: Entry, offset: int, *, stall_s: float, deadline: float
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Give a file's blocks from `offset` on. Raises LiveError; a transient one: try again from where it broke."""
