"""Which stretch of the log an archive lets a base backup be rolled forward over. Pure functions on listings.

As the server does: the newest timeline is found by counting up from the backup's own while the next history file is
there; its history says which timeline each position belongs to; of a segment in which a switch lies, the newer
timeline's file is asked for first, then the older one's.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from smos.physical.archive import Archive
from smos.physical.wal import lsn_text, segment_name
from smos.verdict import Problem

LISTED = 10
"""Missing segments that are named; what follows them is told by the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """From one base backup on. timeline: the one that recovery follows to its end.

    first, last: numbers of the first segment needed and of the last one without a gap (None: not even the first).
    missing: names of absent segments that others follow, the first ones. last_name: file that the stretch ends with.
    """

    timeline: int
    chain: tuple[tuple[int, int], ...]
    first: int
    last: int | None
    last_name: str
    missing: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


def newest_timeline(archive: Archive, timeline: int) -> int:
    """Return the timeline that "latest" leads to."""
    while timeline + 1 in archive.histories:
        timeline += 1
    return timeline


def chain_to(archive: Archive, timeline: int) -> tuple[tuple[int, int], ...]:
    """Return (timeline, position where it begins) from the first ancestor to `timeline` itself."""
    steps = archive.histories.get(timeline, ())
    begins = [0, *(switch for _, switch in steps)]
    return tuple(zip([*(parent for parent, _ in steps), timeline], begins, strict=True))


def cover(archive: Archive, *, start_lsn: int, timeline: int, own_segments: Collection[str] = ()) -> Coverage:
    """Follow the log from a backup's start. own_segments: names that the backup brings in its pg_wal."""
    size = archive.segment_bytes
    newest = newest_timeline(archive, timeline)
    chain = chain_to(archive, newest)
    problems: list[Problem] = []
    ours = dict(chain)
    if timeline not in ours:
        detail = (
            f"timeline {newest} does not descend from the backup's timeline {timeline}:"
            f" {newest:08X}.history names {', '.join(str(item) for item, _ in chain[:-1]) or 'none'}"
        )
        problems.append(Problem("timeline-not-ours", detail))
        newest, chain = timeline, chain_to(archive, timeline)
        if timeline not in dict(chain):
            chain = ((timeline, 0),)
    after = [begin for item, begin in chain if item > timeline]
    if after and after[0] < start_lsn:
        detail = f"the log leaves timeline {timeline} at {lsn_text(after[0])}, before the backup began"
        problems.append(Problem("timeline-not-ours", f"{detail} ({lsn_text(start_lsn)})"))
    names = {item.name for item in archive.segments} | set(own_segments)
    first = start_lsn // size

    def file_of(number: int) -> str | None:
        """Return the file that the server would take for this segment."""
        for item, begin in reversed(chain):
            name = segment_name(item, number, size)
            if number >= begin // size and name in names:
                return name
        return None

    def expected(number: int) -> str:
        owner = next(item for item, begin in reversed(chain) if number >= begin // size)
        return segment_name(owner, number, size)

    on_chain = {item for item, _ in chain}
    highest = max((item.number for item in archive.segments if item.timeline in on_chain), default=first - 1)
    last: int | None = None
    last_name = ""
    number = first
    while (name := file_of(number)) is not None:
        last, last_name = number, name
        number += 1
    # What lies behind the end is not missing. Bounded: a name alone may claim a place far away.
    absent = (item for item in range(max(first, number), highest + 1) if file_of(item) is None)
    missing = tuple(expected(item) for item in islice(absent, LISTED))
    if last is None and not missing:
        missing = (expected(first),)
    return Coverage(
        timeline=newest,
        chain=chain,
        first=first,
        last=last,
        last_name=last_name,
        missing=missing,
        problems=tuple(problems),
    )
