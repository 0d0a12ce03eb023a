"""The client's own ledger: what it attempted, what was acknowledged, and what it never learned.

It lies outside of the servers, one file for each client, and an acknowledgement is on disk before the client goes on.
An unknown outcome (the connection broke before the answer) is neither acknowledged nor lost: Jepsen's `:info`.
"""

import contextlib
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from smos.errors import SmosError
from smos.failover.facts import Tally

EXAMPLES = 5
"""How many commits of a kind are named in the record."""
PROBE, STRAY, LOCAL = 0, 900, 901
"""Clients that are no part of the load: the first writer on the new primary, the attempts on the old one, the one that
goes on beside the primary while replication is cut."""
OUTSIDERS = frozenset({PROBE, STRAY, LOCAL})


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the database. place: the order in which the server numbered them."""

    client: int
    n: int
    token: str
    place: int


@dataclass(slots=True)
class Entry:
    """What the ledger knows of one commit. at: when it was acknowledged, seconds on the monotonic clock.

    refused: the server said that it did not take it.
    """

    client: int
    n: int
    token: str
    at: float | None = None
    refused: bool = False


class Journal:
    """The ledger of one client; used by one thread. A context manager."""

    def __init__(self, path: Path, client: int) -> None:
        self.client = client
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)

    def attempt(self, n: int) -> str:
        """Note that commit `n` is about to be sent; return the token that its row carries."""
        token = secrets.token_hex(8)
        self._write(f"? {n} {token}\n")
        return token

    def acknowledge(self, n: int, at: float) -> None:
        """Note that commit `n` was acknowledged, and have that on disk."""
        self._write(f"k {n} {at!r}\n")
        os.fsync(self._file)

    def refuse(self, n: int) -> None:
        """Note that the server refused commit `n`: it must never be seen."""
        self._write(f"x {n} -\n")

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, line: str) -> None:
        if os.write(self._file, line.encode()) != len(line):
            raise SmosError("The client's ledger could not be written", remedy="make room on the disk")


class Ledger:
    """The ledgers of all clients of one drill, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def journal(self, client: int) -> Iterator[Journal]:
        """Give the ledger of one client; what it held before stays."""
        journal = Journal(self._directory / f"{client}.ledger", client)
        try:
            yield journal
        finally:
            journal.close()

    def read(self) -> tuple[Entry, ...]:
        """Read everything back from the files. Raises SmosError for a line that no client wrote."""
        entries: dict[tuple[int, int], Entry] = {}
        for path in sorted(self._directory.glob("*.ledger")):
            client = int(path.stem)
            for line in path.read_text(encoding="ascii").splitlines():
                kind, number, value = line.split(" ")
                key = (client, int(number))
                if kind == "?":
                    if key in entries:
                        raise SmosError(f"The ledger holds {client}/{number} twice")
                    entries[key] = Entry(client, int(number), value)
                elif kind == "x":
                    entries[key].refused = True
                else:
                    entries[key].at = float(value)
        return tuple(entries.values())


def tally(entries: Iterable[Entry], rows: Iterable[Row], declared: float | None = None) -> Tally:
    """Hold the ledger against the rows: what is lost, what is there that should not be, what is out of order. Pure.

    declared: when the disaster was, on the monotonic clock.
    """
    known = {(entry.client, entry.n): entry for entry in entries}
    present: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        present[row.client, row.n].append(row)
    acknowledged = [entry for entry in known.values() if entry.at is not None]
    refused = [entry for entry in known.values() if entry.refused]
    unknown = [entry for entry in known.values() if entry.at is None and not entry.refused]
    lost = [entry for entry in acknowledged if (entry.client, entry.n) not in present]
    holes = list(_holes(known, present))
    strangers = [key for key in present if key not in known or known[key].refused]
    doubled = [key for key, found in present.items() if len(found) > 1]
    altered = [
        key
        for key, found in present.items()
        if key in known and any(row.token != known[key].token for row in found)
    ]
    disordered = list(_disordered(present))
    return Tally(
        attempted=len(known),
        acknowledged=len(acknowledged),
        refused=len(refused),
        unknown=len(unknown),
        unknown_present=sum((entry.client, entry.n) in present for entry in unknown),
        lost=len(lost),
        acknowledged_before=sum(
            entry.client not in OUTSIDERS and (declared is None or (entry.at or 0.0) <= declared)
            for entry in acknowledged
        ),
        acknowledged_after_cut=sum(entry.client == LOCAL for entry in acknowledged),
        lost_after_cut=sum(entry.client == LOCAL for entry in lost),
        holes=len(holes),
        strangers=len(strangers),
        duplicates=sum(len(found) - 1 for found in present.values()),
        altered=len(altered),
        disordered=len(disordered),
        examples={
            name: tuple(f"{client}/{n}" for client, n in sorted(keys)[:EXAMPLES])
            for name, keys in (
                ("lost", [(entry.client, entry.n) for entry in lost]),
                ("holes", holes),
                ("strangers", strangers),
                ("duplicates", doubled),
                ("altered", altered),
                ("disordered", disordered),
            )
            if keys
        },
    )


def newest_survivor(entries: Iterable[Entry], rows: Iterable[Row], before: float) -> float | None:
    """Return when the newest acknowledged commit that is still there was acknowledged, of those up to `before`."""
    present = {(row.client, row.n) for row in rows}
    times = [
        entry.at
        for entry in entries
        if entry.at is not None and entry.at <= before and (entry.client, entry.n) in present
    ]
    return max(times, default=None)


def _holes(
    known: dict[tuple[int, int], Entry], present: dict[tuple[int, int], list[Row]]
) -> Iterator[tuple[int, int]]:
    """Yield what is lost although a commit that began after its acknowledgement is there.

    Replication keeps the order of commits: what a standby lacks is the end of the log, never something before it.
    """
    began = [
        before.at
        for client, n in present
        if client not in {PROBE, STRAY}  # these two write on the new primary
        and (before := known.get((client, n - 1))) is not None
        and before.at is not None
    ]
    newest = max(began, default=None)
    for key, entry in known.items():
        lost = entry.at is not None and key not in present
        if lost and newest is not None and entry.at is not None and entry.at <= newest:
            yield key


def _disordered(present: dict[tuple[int, int], list[Row]]) -> Iterator[tuple[int, int]]:
    """Yield what stands before an earlier commit of the same client: one client's commits are sequential."""
    highest: dict[int, int] = {}
    for client, n in sorted(present):
        place = min(row.place for row in present[client, n])
        if place <= highest.get(client, -1):
            yield client, n
        highest[client] = max(place, highest.get(client, -1))
