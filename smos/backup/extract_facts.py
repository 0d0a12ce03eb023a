"""What is recorded while an archive is restored."""

from dataclasses import dataclass

from smos.verdict import Problem

MOST_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class AttributeGap:
    """Extended attributes that could not be set here: class or name, the reason, on how many entries."""

    attribute: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractFacts:
    """One extraction. Sizes in bytes, durations in seconds; names of entries are never among the facts.

    stored_bytes: the archive as it lies there; stream_bytes: decompressed; bytes: logical content of the
    files that were restored. complete: read to its end mark, nothing refused. volumes: those that were
    found in it. layout: how they lie in it. owners_restored: every owner was set on disk. attribute_gaps,
    modes_not_restored, times_not_restored, devices_not_restored: what this user or this file system could
    not set or is never given. links_outward: symbolic links, restored as data, whose target lies outside of
    their volume. unlisted_directories: made because something lies in them, though the archive does not
    list them. unmapped: members of no wanted volume. names_exact: the disk tells names apart by every byte.
    problem_counts: by code, also beyond the first MOST_PROBLEMS problems.
    """

    compression: str
    layout: str
    stored_bytes: int
    stream_bytes: int
    members: int
    files: int
    bytes: int
    seconds: float
    complete: bool
    volumes: tuple[str, ...]
    owners_restored: bool
    problems: tuple[Problem, ...]
    problem_counts: tuple[tuple[str, int], ...]
    attribute_gaps: tuple[AttributeGap, ...] = ()
    modes_not_restored: int = 0
    times_not_restored: int = 0
    devices_not_restored: int = 0
    links_outward: int = 0
    unlisted_directories: int = 0
    unmapped: int = 0
    names_exact: bool = True
