"""Backups in a directory of a host: listed by `find`, read by `tail -c +N`, over whatever leads to the host."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from smos.errors import UnsafeInputError
from smos.live.errors import LiveError, live_error
from smos.live.host import Host
from smos.live.sources.base import Entry

LIST_STALL_S = 60.0
BYTES_PER_ENTRY = 4096
"""More than any path and link target of one entry take."""
LONGEST_RECORD = 1 << 16


class HostDirectory:
    """See the module."""

    def __init__(self, host: Host, directory: str) -> None:
        self._host, self._directory = host, directory.rstrip("/") or "/"
        self.shown = f"{host.transport.shown} {self._directory}"

    def entries(self, *, limit: int, deadline: float) -> Iterator[Entry]:
        """Yield what `find` sees; what it could not enter is raised at the end, as listing-incomplete."""
        found, size = 0, 0
        rest = b""
        try:
            with self._host.read(
                "list", stall_s=LIST_STALL_S, deadline=deadline, directory=self._directory
            ) as blocks:
                for block in blocks:
                    size += len(block)
                    *records, rest = self._split(rest + block)
                    for facts, path, link in records_of(records):
                        found += 1
                        if found > limit or size > limit * BYTES_PER_ENTRY:
                            raise live_error(
                                "listing-too-long", f"{self.shown} lists more than {limit} entries"
                            )
                        yield entry_of(facts, path, link, self.shown)
                    rest = b"\0".join([*records[len(records) // 3 * 3 :], rest])
                    if len(rest) > LONGEST_RECORD:
                        raise live_error("host-answer-unreadable", f"{self.shown}: a name without an end")
        except LiveError as error:
            raise self._explained(error, found) from None
        if rest:
            raise live_error(
                "host-answer-unreadable", f"{self.shown}: the listing ends in the middle of an entry"
            )

    @contextmanager
    def read(
        self, entry: Entry, offset: int, *, stall_s: float, deadline: float
    ) -> Iterator[Iterator[bytes]]:
        """Give the file's blocks."""
        try:
            with self._host.read(
                "read",
                stall_s=stall_s,
                deadline=deadline,
                path=f"{self._directory.rstrip('/')}/{entry.path}",
                first_byte=str(offset + 1),
            ) as blocks:
                yield blocks
        except LiveError as error:
            if error.code == "host-command-failed":
                raise live_error("file-unreadable", f"{entry.path!a}: {error.message}") from None
            raise
        except UnsafeInputError as error:
            raise live_error("unsafe-name", error.message) from None

    def reopen(self) -> None:
        """Connect again, after the connection was lost. Raises LiveError."""
        self._host.open()

    @staticmethod
    def _split(data: bytes) -> list[bytes]:
        return data.split(b"\0")

    def _explained(self, error: LiveError, found: int) -> LiveError:
        if error.code == "host-command-failed":
            code = "listing-incomplete" if found else "backup-directory-unreadable"
            return live_error(code, f"{self.shown}: {error.message}")
        if error.code == "fetch-stalled":
            return live_error("host-timed-out", f"{self.shown}: the listing stopped coming")
        if error.code == "fetch-timed-out":
            return live_error("listing-too-long", f"{self.shown}: the listing did not end in time")
        return error


def records_of(words: list[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield whole records: facts, path, link target."""
    for at in range(0, len(words) - 2, 3):
        yield words[at], words[at + 1], words[at + 2]


def entry_of(facts: bytes, path: bytes, link: bytes, shown: str) -> Entry:
    """Read one record of the listing. Raises LiveError when it is none."""
    try:
        kind, size, inode, modified, changed = facts.decode("ascii").split("\t")
        return Entry(
            path=os.fsdecode(path),
            kind=_letter(kind),
            size=int(size),
            modified=float(modified),
            mark=f"{inode} {size} {modified} {changed}",
            link=os.fsdecode(link),
        )
    except (ValueError, UnicodeDecodeError):
        raise live_error(
            "host-answer-unreadable", f"{shown}: the listing is not what `find` writes"
        ) from None


def _letter(kind: str) -> str:
    """Take one letter and nothing before it: what a .bashrc says stands before the first entry."""
    if len(kind) != 1:
        raise ValueError(kind)
    return kind
