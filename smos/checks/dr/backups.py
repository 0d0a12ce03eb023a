"""DR-01: are the backups there, recent, and none missing? A pure judgement of the catalog. DR-02 is beside it."""

import statistics
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from smos.backup.model import Artifact, ArtifactKind, BackupSet, Catalog
from smos.backup.names import FROM_DATE, find_stamp
from smos.backup.state import OffsiteFacts
from smos.checks.dr.backup_rules import EXISTENCE, findings_of, listed
from smos.checks.dr.integrity import judge_integrity
from smos.target import Schedule, Target
from smos.verdict import Finding, Judgement, fail, not_proven, note

__all__ = ["FUTURE_TOLERANCE", "judge_existence", "judge_integrity"]

FUTURE_TOLERANCE = timedelta(minutes=10)
"""Clocks differ; a stamp further ahead than this is not believed."""
MEDIAN_OF = 7
MEDIAN_NEEDS = 3
COLLAPSE_FLOOR_BYTES = 64 << 10
"""A single artifact smaller than this says nothing about a collapse; the set as a whole always counts."""
MTIME_NOTE = timedelta(hours=12)
_CHECK_JOB = "see why the backup job did not run or did not finish, and take a backup now"
_UTC = ZoneInfo("UTC")
_HOLDS_DATABASES = {ArtifactKind.PG_DUMPALL, ArtifactKind.UNKNOWN}
_HOLDS_VOLUMES = {ArtifactKind.VOLUME_ARCHIVE, ArtifactKind.OTHER_ARCHIVE, ArtifactKind.UNKNOWN}


def judge_existence(
    target: Target, catalog: Catalog, now: datetime, offsite: OffsiteFacts | None = None
) -> Judgement:
    """Judge DR-01: backups of everything declared exist, are recent, and none is missing from the schedule.

    now: the moment of the drill, UTC. offsite: the second copy as compared, where the target names one.
    """
    findings = _presence(catalog)
    credible = [item for item in catalog.sets if item.stamp and item.stamp <= now + FUTURE_TOLERANCE]
    newest = credible[-1] if credible else None
    findings += _declared(target, newest)
    findings += _times(target.backups.schedule, catalog, credible, now)
    findings += _collapse(credible, target.backups.collapse_ratio)
    findings += findings_of("", catalog.problems, EXISTENCE)
    for item in catalog.sets:
        mine = [problem for problem in item.problems if problem.code in EXISTENCE]
        findings += findings_of(f"set {item.id}", mine, EXISTENCE)
    findings += _offsite(target, offsite)
    return Judgement(
        tuple(findings),
        {
            "directory": str(catalog.directory),
            "sets": [
                {
                    "id": item.id,
                    "stamp": item.stamp.isoformat() if item.stamp else None,
                    "stamp_source": item.stamp_source,
                    "stored_bytes": item.stored_bytes,
                    "artifacts": len(item.artifacts),
                    "databases": list(item.databases),
                    "volumes": list(item.volumes),
                    "vault": item.vault,
                }
                for item in catalog.sets
            ],
            "newest": newest.id if newest else None,
            "newest_age_s": (now - newest.stamp).total_seconds() if newest and newest.stamp else None,
            "period_hours": target.backups.schedule.period_hours,
            "slack_hours": target.backups.schedule.slack_hours,
        },
    )


def _presence(catalog: Catalog) -> list[Finding]:
    if not catalog.exists:
        return [
            not_proven(
                "backup-directory-missing",
                f"There is no backup directory {catalog.directory}",
                "mount it or correct `backups.directory`; without it nothing is known about the backups",
            )
        ]
    if catalog.sets:
        return []
    codes = [problem.code for problem in catalog.problems]
    if "unreadable" in codes:
        return []  # its own finding says so: what can't be read is not "nothing"
    files = len(codes)
    what = f"holds {files} other files and no backup" if files else "is empty"
    return [fail("no-backup", f"The backup directory {catalog.directory} {what}", _CHECK_JOB)]


def _declared(target: Target, newest: BackupSet | None) -> list[Finding]:
    """F01: every declared database, volume and Vault against the newest set."""
    if target.derived or not (target.databases or target.volumes or target.vault):
        return [
            not_proven(
                "nothing-declared",
                "Nobody declared what must be backed up, so that nothing can be missing from these sets",
                "declare databases, volumes and Vault in a target file (docs/target.md)",
            )
        ]
    if newest is None:
        return []
    databases = [name for name in target.database_names if name not in newest.databases]
    volumes = [name for name in target.volumes if name not in newest.volumes]
    findings = []
    for code, names, holders in (
        ("missing-database", databases, _HOLDS_DATABASES),
        ("missing-volume", volumes, _HOLDS_VOLUMES),
        ("missing-vault", ["Vault"] if target.vault and not newest.vault else [], {ArtifactKind.UNKNOWN}),
    ):
        if not names:
            continue
        unread = [a.path for a in newest.artifacts if not a.names_complete and a.kind in holders]
        what = f"The newest set {newest.id} does not show a backup of {', '.join(names)}"
        if unread:
            findings.append(
                not_proven(
                    "names-not-read",
                    f"{what}; what {listed(unread)} holds was not read to the end",
                    "make these files readable to the drill, so that it can say what they hold",
                )
            )
        else:
            remedy = (
                "add it to the backup job, or remove it from the target if it needs no backup; files belong to"
                " one run when the times in their names lie within 30 minutes"
            )
            findings.append(fail(code, what.replace("does not show a", "holds no"), remedy))
    return findings


def _times(
    schedule: Schedule, catalog: Catalog, credible: Sequence[BackupSet], now: datetime
) -> list[Finding]:
    """F02 to F05: gaps, staleness, stamps in the future, copies."""
    findings = [
        fail(
            "future-stamp",
            f"Set {item.id} is dated {_when(item.stamp)}, {_hours(item.stamp - now)} h in the future"
            f" ({item.stamp_source})",
            "correct the clock of the host that makes the backups, or `schedule.timezone` of the target",
        )
        for item in catalog.sets
        if item.stamp and item.stamp > now + FUTURE_TOLERANCE
    ]
    if not credible:
        if catalog.sets:
            findings.append(
                fail("no-current-backup", "No set has a time stamp that can be believed", _CHECK_JOB)
            )
        return findings
    allowed = timedelta(hours=schedule.period_hours + schedule.slack_hours)
    zone = ZoneInfo(schedule.timezone)
    findings += _staleness(credible[-1], allowed, zone, now)
    findings += _gaps(credible, allowed, zone, now - timedelta(days=schedule.retention_days))
    findings += _mtimes(credible)
    return findings


def _staleness(newest: BackupSet, allowed: timedelta, zone: ZoneInfo, now: datetime) -> list[Finding]:
    assert newest.stamp is not None  # noqa: S101  (credible sets have a stamp; narrows the type)
    age = _interval(newest.stamp, now, zone)
    if age <= allowed:
        return []
    text = (
        f"The newest set {newest.id} is of {_when(newest.stamp)}, {_hours(age)} h before the drill;"
        f" allowed are {_hours(allowed)} h"
    )
    if newest.stamp_source == FROM_DATE and age - timedelta(days=1) <= allowed:
        return [
            not_proven(
                "stale-by-date",
                f"{text}. Its name gives only the date, so that it may be up to a day younger",
                "put the time of the backup into its name, too",
            )
        ]
    return [fail("stale-backup", text, _CHECK_JOB)]


def _gaps(
    credible: Sequence[BackupSet], allowed: timedelta, zone: ZoneInfo, window_start: datetime
) -> list[Finding]:
    """F02: intervals inside the retention window; an older set shows that runs were due from its start on."""
    findings = []
    for earlier, later in pairwise(credible):
        assert earlier.stamp is not None and later.stamp is not None  # noqa: S101, PT018  (narrows the types)
        if later.stamp < window_start:
            continue
        begin = max(earlier.stamp, window_start)
        gap = _interval(begin, later.stamp, zone)
        if gap > allowed:
            since = f"{earlier.id} ({_when(earlier.stamp)})"
            findings.append(
                fail(
                    "gap-in-sequence",
                    f"No backup between {since} and {later.id} ({_when(later.stamp)}):"
                    f" {_hours(gap)} h without one within the retention period, allowed are {_hours(allowed)} h",
                    "see why the backup job did not run in between; a lost set can't be made again",
                )
            )
    return findings


def _interval(start: datetime, end: datetime, zone: ZoneInfo) -> timedelta:
    """Return the shorter of the time that passed and the time on the wall clock of `zone`.

    A job at a fixed local hour runs 23 or 25 hours after the one before when the clock changes.
    """
    local = end.astimezone(zone).replace(tzinfo=None) - start.astimezone(zone).replace(tzinfo=None)
    return min(end - start, local)


def _mtimes(credible: Sequence[BackupSet]) -> list[Finding]:
    """F05: file times that differ from the time of the backup. Information only: copying changes them."""
    off = [
        f"{item.id} ({_when(max(artifact.mtime for artifact in item.artifacts))})"
        for item in credible
        if item.stamp and any(abs(artifact.mtime - item.stamp) > MTIME_NOTE for artifact in item.artifacts)
    ]
    if not off:
        return []
    text = f"Files were changed or copied at another time than the backup was taken: {listed(off)}"
    return [note("mtime-differs", f"{text}. What counts is the time in the manifest or in the name")]


def _collapse(credible: Sequence[BackupSet], ratio: float) -> list[Finding]:
    """F07: the newest set, and each artifact of it, against the median of up to seven earlier ones."""
    if not credible:
        return []
    newest, earlier = credible[-1], credible[-1 - MEDIAN_OF : -1]
    if len(earlier) < MEDIAN_NEEDS:
        return [
            note(
                "size-not-comparable",
                f"Only {len(earlier)} earlier sets: too few to tell whether the size of the newest is usual",
            )
        ]
    findings = []
    usual = statistics.median(item.stored_bytes for item in earlier)
    if newest.stored_bytes < ratio * usual:
        findings.append(_collapsed(newest, f"set {newest.id}", newest.stored_bytes, usual, len(earlier)))
    history: dict[str, list[int]] = {}
    for item in earlier:
        for artifact in item.artifacts:
            history.setdefault(_series(item, artifact), []).append(artifact.stored_bytes)
    for artifact in newest.artifacts:
        sizes = history.get(_series(newest, artifact), [])
        if len(sizes) < MEDIAN_NEEDS:
            continue
        usual = statistics.median(sizes)
        if usual >= COLLAPSE_FLOOR_BYTES and artifact.stored_bytes < ratio * usual:
            findings.append(_collapsed(newest, artifact.path, artifact.stored_bytes, usual, len(sizes)))
    return findings


def _collapsed(newest: BackupSet, what: str, size: int, usual: float, number: int) -> Finding:
    return fail(
        "size-collapse",
        f"{what} has {size} bytes, {size / usual:.0%} of the median of {number} earlier ones ({usual:.0f} bytes)",
        "see the backup job's log for what it left out; if data were really removed, it passes again after"
        f" {MEDIAN_NEEDS} sets of the new size" if newest else "",
    )  # fmt: skip


def _series(item: BackupSet, artifact: Artifact) -> str:
    """Return what an artifact is called in every run."""
    if artifact.path.startswith(f"{item.id}/"):
        return artifact.path.removeprefix(f"{item.id}/")
    stamp = find_stamp(artifact.path, _UTC)
    return artifact.path.replace(stamp.text, "") if stamp else artifact.path


def _offsite(target: Target, offsite: OffsiteFacts | None) -> list[Finding]:
    """F10: the second copy, where the target names one."""
    if target.backups.offsite is None:
        return []
    remedy = "see why the copy job did not run or did not finish, and copy again"
    if offsite is None:
        return [
            not_proven(
                "offsite-not-compared",
                f"The second copy {target.backups.offsite} was not compared",
                "run the drill where both copies can be read",
            )
        ]
    if not offsite.exists:
        return [
            not_proven(
                "offsite-missing", f"There is no directory {offsite.location}", "mount the second copy"
            )
        ]
    findings = []
    if offsite.missing:
        text = f"{len(offsite.missing)} files have no second copy: {listed(offsite.missing)}"
        findings.append(fail("offsite-incomplete", text, remedy))
    if offsite.different:
        text = f"{len(offsite.different)} files differ from their second copy: {listed(offsite.different)}"
        findings.append(
            fail(
                "offsite-different", text, "find out which copy is right (hash, manifest), and mend the other"
            )
        )
    if offsite.unreadable:
        text = f"The second copy could not be read: {listed(offsite.unreadable)}"
        findings.append(not_proven("offsite-unreadable", text, "let the drill's user read both copies"))
    if not findings and not offsite.compared:
        findings.append(not_proven("offsite-not-compared", "No file of the second copy was compared", remedy))
    return findings


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f}"
