"""The record of one drill of physical backups: what was observed, nothing that was concluded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import TypeAdapter

from smos.postgres.difference import Difference
from smos.verdict import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFacts:
    """One base backup as it lies there. started: None where nothing tells. start: position in the log, as text.

    parent: start of the backup that it builds on; empty for a full one. covered_to: last file of the stretch of log
    that it can be rolled forward over, empty: not even its first. missing: files that the stretch lacks.
    """

    id: str
    form: str
    major: int
    started: datetime | None
    start: str
    timeline: int
    parent: str
    manifest: bool
    system_identifier: int | None
    covered_to: str
    missing: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """The archive of the write-ahead log. foreign, misnamed, torn: descriptions of files that do not belong there."""

    directory: str
    there: bool
    segments: int
    bytes: int
    segment_bytes: int
    timelines: tuple[int, ...]
    newest_timeline: int
    strangers: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncovered:
    """A stretch of time to which nothing can be recovered. Either end is None where it can't be told."""

    since: datetime | None
    until: datetime | None
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyFacts:
    """What is there before anything is restored. backups: oldest first. tool: what another tool says of its store."""

    kind: str
    place: str
    backups: tuple[BackupFacts, ...]
    archive: ArchiveFacts
    uncovered: tuple[Uncovered, ...]
    problems: tuple[Problem, ...]
    tool: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFacts:
    """A base backup that was brought into the sandbox. chain: its links, oldest first. Times in seconds.

    verified_with: the tool that compared every file with what the backup says it should be; empty: nothing could.
    brought: names of settings in the backup's postgresql.auto.conf, which the sandbox does not read.
    level: "full", or how the sandbox's view of the backup itself is kept apart from it; refused: why not instant.
    """

    backup: str
    chain: tuple[str, ...]
    major: int
    verified_with: str
    checksums: bool | None
    system_identifier: int | None
    files: int
    bytes: int
    fetch_s: float
    verify_s: float
    combine_s: float
    brought: tuple[str, ...]
    problems: tuple[Problem, ...]
    usable: bool
    level: str = "full"
    refused: str = ""


class Outcome(StrEnum):
    """How an attempt to recover ended."""

    RECOVERED = "recovered"
    REFUSED = "refused"
    FAILED = "failed"
    LATE = "timed-out"
    NOT_TRIED = "not-tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """One recovered database. heartbeats: newest last, bounded; markers: those of the built-in source.

    problems: of its integrity. differences: from what the source held; None: nobody recorded what it held.
    """

    name: str
    heartbeats: tuple[datetime, ...] = ()
    markers: tuple[str, ...] = ()
    tables: int = 0
    rows: int = 0
    problems: tuple[Problem, ...] = ()
    differences: tuple[Difference, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """One recovery. goal: in words; time: the moment asked for, where it is one.

    code: why it did not recover, in a word; detail: the planner's or the server's own words, without rows.
    reached: position in the log; last_commit: the server's word on the last transaction that it replayed.
    inspected: files, indexes and references were looked at.
    settings: what the sandbox ran with, read back. destroyed: its files are gone. isolation: how its network was to be
    cut; ways_out: the devices with a route, as the kernel said while it ran, None where it does not tell.
    """

    purpose: str
    goal: str
    time: datetime | None
    backup: str
    outcome: Outcome
    code: str = ""
    detail: str = ""
    replay_s: float = 0.0
    reached: str = ""
    reached_file: str = ""
    timeline: int = 0
    last_commit: datetime | None = None
    databases: tuple[DatabaseFacts, ...] = ()
    pages: tuple[Problem, ...] = ()
    pages_checked: bool = False
    inspected: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    isolation: str = ""
    ways_out: tuple[str, ...] | None = None
    destroyed: bool = True

    @property
    def heartbeats(self) -> tuple[datetime, ...]:
        """The heartbeats of the database that has most of them."""
        return max((item.heartbeats for item in self.databases), key=len, default=())

    @property
    def markers(self) -> frozenset[str]:
        """Markers of all databases."""
        return frozenset(name for item in self.databases for name in item.markers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of the source apart from its backups; the built-in source knows it all.

    before, after: markers that were committed before and after the moment. databases: that must come back.
    disaster: the moment from which the recovery point is counted. live: others go on writing to archive and store.
    """

    disaster: datetime
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    content_known: bool = False
    live: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PitrRecord:
    """All that one drill observed. changed, gone, added: entries of store and archive (paths), afterwards."""

    survey: SurveyFacts
    known: Known
    prepared: tuple[PreparedFacts, ...] = ()
    attempts: tuple[AttemptFacts, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    compared_entries: int = 0

    def attempt(self, purpose: str) -> AttemptFacts | None:
        """Return the attempt that was made for this purpose."""
        return next((item for item in self.attempts if item.purpose == purpose), None)


ADAPTER = TypeAdapter(PitrRecord)
"""The record as JSON, for workers that did not make it."""
