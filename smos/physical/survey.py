"""The survey as facts: what backups and archive are, whose they are, and which stretches of time they do not cover."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from smos.errors import ProvisionError
from smos.physical import staging
from smos.physical.archive import Archive, Segment
from smos.physical.coverage import Coverage, newest_timeline
from smos.physical.facts import ArchiveFacts, BackupFacts, SurveyFacts, Uncovered
from smos.physical.plain import StoreSurvey, installation_for
from smos.physical.store import BaseBackup
from smos.physical.tools import ENGLISH
from smos.physical.wal import lsn_text
from smos.provision.owner import Owner
from smos.verdict import Problem

LISTED = 10
DUMP_S = 600
_COMMIT = re.compile(r"desc: COMMIT.*?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def describe_survey(
    owner: Owner, kind: str, place: Path, survey: StoreSurvey, log_problems: Iterable[Problem]
) -> SurveyFacts:
    """Return the facts of a survey. log_problems: what staging the log for a recovery brought to light."""
    archive = survey.archive
    identifiers = {item.system_identifier for item in survey.backups if item.system_identifier}
    newest = survey.backups[-1] if survey.backups else None
    timeline = newest.label.timeline if newest and newest.label else 1
    problems = [
        *archive.problems,
        *_headers(archive, identifiers),
        *_histories(archive, survey.coverages.values()),
        *log_problems,
    ]
    return SurveyFacts(
        kind=kind,
        place=str(place),
        backups=tuple(_backup(item, survey.coverages.get(item.id)) for item in survey.backups),
        archive=ArchiveFacts(
            directory=archive.directory,
            there=archive.there,
            segments=len(archive.segments),
            bytes=sum(item.bytes for item in archive.segments),
            segment_bytes=archive.segment_bytes,
            timelines=tuple(sorted({item.timeline for item in archive.segments} | set(archive.histories))),
            newest_timeline=newest_timeline(archive, timeline),
            strangers=archive.strangers[:LISTED],
            problems=tuple(dict.fromkeys(problems)),
        ),
        uncovered=tuple(_uncovered(owner, survey)),
        problems=survey.problems,
        tool=survey.tool,
    )


def _backup(item: BaseBackup, coverage: Coverage | None) -> BackupFacts:
    label = item.label
    return BackupFacts(
        id=item.id,
        form=item.form.value,
        major=item.major,
        started=item.started,
        start=lsn_text(label.start_lsn) if label else "",
        timeline=label.timeline if label else 0,
        parent=lsn_text(label.parent_lsn) if label and label.parent_lsn is not None else "",
        manifest=item.manifest is not None,
        system_identifier=item.system_identifier,
        covered_to=coverage.last_name if coverage else "",
        missing=coverage.missing[:LISTED] if coverage else (),
        problems=item.problems,
    )


def _headers(archive: Archive, identifiers: set[int]) -> Iterator[Problem]:
    """Say which segments are not this cluster's, or are not what their name says."""
    whose = identifiers
    if not whose:
        seen = [item.system_identifier for item in archive.segments if item.system_identifier]
        whose = {max(set(seen), key=seen.count)} if seen else set()
    for item in archive.segments:
        if item.system_identifier is None:
            continue
        if item.system_identifier not in whose:
            yield Problem(
                "wal-foreign", f"{item.path} was written by another cluster ({item.system_identifier})"
            )
        elif item.header_address != item.number * archive.segment_bytes:
            yield Problem(
                "wal-misnamed", f"{item.path} holds the log of {lsn_text(item.header_address or 0)}"
            )
        elif item.header_timeline is not None and item.header_timeline > item.timeline:
            yield Problem("wal-misnamed", f"{item.path} was written on timeline {item.header_timeline}")


def _histories(archive: Archive, coverages: Iterable[Coverage]) -> Iterator[Problem]:
    """Say which timelines have no history, which histories disagree, and which lead away from the backups."""
    for timeline in sorted({item.timeline for item in archive.segments}):
        if timeline > 1 and timeline not in archive.histories:
            detail = f"there are segments of timeline {timeline} and no {timeline:08X}.history"
            yield Problem("timeline-history-missing", detail)
    for timeline, steps in archive.histories.items():
        if steps[-1][0] >= timeline:
            yield Problem(
                "timeline-history-damaged", f"{timeline:08X}.history names itself or a later one as ancestor"
            )
        parent = archive.histories.get(steps[-1][0])
        if parent is not None and steps[: len(parent)] != parent:
            detail = f"{timeline:08X}.history and {steps[-1][0]:08X}.history tell different pasts"
            yield Problem("timeline-history-damaged", detail)
        yield from _switch(archive, timeline, steps[-1][1])
    for coverage in coverages:
        yield from coverage.problems


def _switch(archive: Archive, timeline: int, position: int) -> Iterator[Problem]:
    """Say whether the segments of a timeline begin where its history says that it begins."""
    numbers = archive.numbers(timeline)
    begins = position // archive.segment_bytes
    if numbers and min(numbers) < begins:
        detail = (
            f"timeline {timeline} has {numbers[min(numbers)].name}, before the switch at {lsn_text(position)}"
        )
        yield Problem("timeline-history-damaged", detail)
    elif numbers and min(numbers) > begins:
        detail = f"timeline {timeline} begins at {lsn_text(position)}, and it starts with {numbers[min(numbers)].name}"
        yield Problem("timeline-history-damaged", detail)


def _uncovered(owner: Owner, survey: StoreSurvey) -> Iterator[Uncovered]:
    """Yield the stretches of time between the oldest backup and the end of the log that nothing leads to."""
    labelled = [item for item in survey.backups if item.label is not None]
    for item, following in zip(labelled, [*labelled[1:], None], strict=False):
        coverage = survey.coverages[item.id]
        if not coverage.missing:
            continue
        if following is not None and coverage.last is not None:
            number = following.start_lsn // survey.archive.segment_bytes
            if coverage.last >= number:
                continue  # the gap lies behind the next backup's start: that one's to tell
        since = item.started
        if coverage.last is not None:
            since = _last_commit(owner, survey.archive, coverage, item) or since
        yield Uncovered(
            since=since,
            until=following.started if following else None,
            because=f"{coverage.missing[0]} is missing"
            if coverage.last is not None
            else f"{item.id} lacks its own log",
        )


def _last_commit(owner: Owner, archive: Archive, coverage: Coverage, backup: BaseBackup) -> datetime | None:
    """Return when the last transaction before a gap was committed, as its record says."""
    installation, _ = installation_for(owner, backup)
    if installation is None or coverage.last is None:
        return None
    place = owner.directory("gap")
    found: Sequence[Segment] = [item for item in archive.segments if item.name == coverage.last_name]
    if not found:
        return None
    only = Coverage(
        timeline=found[0].timeline, chain=((found[0].timeline, 0),), first=coverage.last, last=coverage.last,
        last_name=coverage.last_name, missing=(),
    )  # fmt: skip
    staging.stage(archive, only, place, owner.user, owner.give)
    try:
        done = owner.run(
            [installation.tool("pg_waldump"), "--rmgr=Transaction", place / coverage.last_name],
            timeout_s=DUMP_S,
            env=ENGLISH,
            check=False,
        )
    except ProvisionError:
        return None
    moments = _COMMIT.findall(done.stdout.decode("utf-8", "replace"))
    if not moments:
        return None
    return datetime.fromisoformat(moments[-1]).replace(tzinfo=UTC)
