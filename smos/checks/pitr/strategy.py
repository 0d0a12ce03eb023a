"""Which way of keeping backups meets the objectives, and what it costs: words made of what one drill measured."""

from collections.abc import Iterator
from itertools import pairwise

from smos.physical.facts import AttemptFacts, PitrRecord, PreparedFacts
from smos.target import Objectives

DAY_S = 86400.0


def recommendation(
    record: PitrRecord,
    objectives: Objectives,
    end: AttemptFacts,
    rpo_s: float | None,
    recovery_s: float | None,
) -> Iterator[str]:
    """Yield one line for each strategy, and one that chooses. rpo_s, recovery_s: None where not measured."""
    prepared = next((item for item in record.prepared if item.backup == end.backup), None)
    starts = sorted(item.started for item in record.survey.backups if item.started)
    spans = [
        (later - earlier).total_seconds() for earlier, later in pairwise([*starts, record.known.disaster])
    ]
    alone_s = max(spans, default=None)
    alone = alone_s is not None and alone_s <= objectives.rpo_s
    log = rpo_s is not None and rpo_s <= objectives.rpo_s
    if alone_s is not None:
        yield f"Base backups alone: up to {_span(alone_s)} would be lost, from one to the next; {_fits(alone)}"
    if rpo_s is not None:
        yield f"Base backups and archived log: {_span(rpo_s)} lost; {_fits(log)}{_cost(record)}"
    if recovery_s is not None and prepared is not None:
        yield _time(objectives, end, prepared, recovery_s)
    timed = "" if recovery_s is not None else ", which was not measured,"
    wanted = f"RPO {_span(objectives.rpo_s)} and RTO {_span(objectives.rto_s)}{timed}"
    slow = recovery_s is not None and recovery_s > objectives.rto_s
    if slow:
        yield f"Nothing measured here meets {wanted}: the recovery itself takes too long; {_shorten(end, prepared)}"
    elif alone:
        more = (
            f", and the log loses up to {_span(alone_s - rpo_s)} less"
            if alone_s and rpo_s is not None
            else ""
        )
        yield f"Recommended for {wanted}: base backups as often as now are enough{more}; PITR needs the log"
    elif log:
        yield f"Recommended for {wanted}: base backups with the archived log, as it is"
    elif rpo_s is not None:
        yield (
            f"Nothing measured here meets {wanted}: receive the log while it is written (pg_receivewal), or set"
            " archive_timeout below the objective (each forced switch costs a segment)"
        )


def _fits(fits: bool) -> str:  # noqa: FBT001  (the only thing that is asked)
    return "meets the RPO" if fits else "does not meet the RPO"


def _cost(record: PitrRecord) -> str:
    """Return what the log takes, a day where the oldest backup tells since when."""
    archive = record.survey.archive
    since = min((item.started for item in record.survey.backups if item.started), default=None)
    seconds = (record.known.disaster - since).total_seconds() if since else 0.0
    if seconds < DAY_S:
        return f"; the log takes {_size(archive.bytes)} in {archive.segments} segments"
    return f"; the log takes {_size(archive.bytes / seconds * DAY_S)} a day"


def _time(objectives: Objectives, end: AttemptFacts, prepared: PreparedFacts, recovery_s: float) -> str:
    parts = f"fetched in {_span(prepared.fetch_s)}"
    parts += (
        f", {len(prepared.chain)} links combined in {_span(prepared.combine_s)}" if prepared.combine_s else ""
    )
    fits = "meets" if recovery_s <= objectives.rto_s else "does not meet"
    return (
        f"Recovery took {_span(recovery_s)} ({parts}, log replayed in {_span(end.replay_s)}); {fits} the RTO"
    )


def _shorten(end: AttemptFacts, prepared: PreparedFacts | None) -> str:
    if prepared is not None and end.replay_s < prepared.fetch_s + prepared.combine_s:
        return "keep the backups nearer, or on faster storage, or keep a standby"
    return "take base backups more often (less log to replay), or keep a standby"


def _span(seconds: float) -> str:
    for unit, size in (("days", DAY_S), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2f} s"


def _size(size: float) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"
