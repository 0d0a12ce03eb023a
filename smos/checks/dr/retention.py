"""DR-08: are backups kept as long as was agreed, no shorter and no longer? A pure judgement."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from smos.backup.model import BackupSet, Catalog
from smos.backup.names import find_stamp, set_stamp
from smos.checks.dr.backups import FUTURE_TOLERANCE
from smos.target import Target
from smos.verdict import Finding, Judgement, fail, not_proven, note


def judge_retention(
    target: Target,
    catalog: Catalog,
    now: datetime,
    last_verified: str | None,
    first_backup_at: datetime | None = None,
) -> Judgement:
    """Judge that the sets reach back for the retention period, and not further.

    now: the moment of the drill, UTC. last_verified: ID of the set of the last drill that passed; it is
    kept however old it is. first_backup_at: when the earliest backup that anybody knows of was taken (UTC);
    besides it, the stamp of the last verified set and of the sets that are there count.

    A set is too old beyond `retention_days` plus `slack_hours`. The sets reach back far enough when the
    oldest lies `retention_days` minus one period before the newest run that is due (less the slack). Where
    they don't, a history that is longer than that proves a set was removed too early; without one the
    installation may just be young.
    """
    schedule = target.backups.schedule
    retention = timedelta(days=schedule.retention_days)
    period, slack = timedelta(hours=schedule.period_hours), timedelta(hours=schedule.slack_hours)
    dated = [
        (item.stamp, item) for item in catalog.sets if item.stamp and item.stamp <= now + FUTURE_TOLERANCE
    ]
    undated = [item.id for item in catalog.sets if item.stamp is None]
    findings: list[Finding] = []
    if not catalog.exists:
        text = f"There is no backup directory {catalog.directory}"
        findings.append(
            not_proven("backup-directory-missing", text, "mount it or correct `backups.directory`")
        )
    if undated:
        text = f"Sets without a time stamp, whose age nobody can tell: {', '.join(undated)}"
        findings.append(not_proven("no-stamp", text, "put the time of the backup into its name"))
    if catalog.exists and not dated:
        text = "There is no set whose age can be told, so nothing shows how long backups are kept"
        findings.append(not_proven("no-dated-backup", text, "see DR-01"))
    findings += _too_long(dated, now, retention, slack, last_verified)
    history = _history(dated, last_verified, first_backup_at)
    if dated:
        findings += _too_short(target, dated, history, now, retention - period - slack)
    findings += _last_verified(dated, last_verified, now, retention, catalog, target)
    return Judgement(
        tuple(findings),
        {
            "retention_days": schedule.retention_days,
            "slack_hours": schedule.slack_hours,
            "sets": len(catalog.sets),
            "oldest": dated[0][0].isoformat() if dated else None,
            "newest": dated[-1][0].isoformat() if dated else None,
            "last_verified": last_verified,
            "known_since": history.isoformat() if history else None,
        },
    )


def _too_long(
    dated: list[tuple[datetime, BackupSet]],
    now: datetime,
    retention: timedelta,
    slack: timedelta,
    last_verified: str | None,
) -> list[Finding]:
    """F08: what should have been pruned."""
    findings = []
    for stamp, item in dated:
        age = now - stamp
        if age <= retention + slack:
            continue
        text = f"Set {item.id} is {_days(age)} days old; the retention period is {retention.days} days"
        if item.id == last_verified:
            findings.append(
                note("last-verified-kept", f"{text}. It is kept: no younger set has been verified since")
            )
        else:
            remedy = "delete it (`smos backup prune`), and see why the job that prunes did not"
            findings.append(fail("kept-too-long", text, remedy))
    return findings


def _too_short(
    target: Target,
    dated: list[tuple[datetime, BackupSet]],
    history: datetime | None,
    now: datetime,
    wanted: timedelta,
) -> list[Finding]:
    """F08: what should still be there."""
    schedule = target.backups.schedule
    limit = timedelta(days=schedule.retention_days, hours=schedule.slack_hours)
    allowed = timedelta(hours=schedule.period_hours + schedule.slack_hours)
    newest = dated[-1][0]
    # Where the job has stopped, the sets go on ageing: then the period is measured from now (DR-01 fails for that).
    end = now if now - newest > allowed else newest
    first = min((stamp for stamp, _ in dated if now - stamp <= limit), default=now)
    if end - first >= wanted:
        return []
    text = (
        f"The oldest set within the retention period is of {first:%Y-%m-%d %H:%M} UTC,"
        f" {_days(now - first)} days ago; {schedule.retention_days} days are to be kept"
    )
    since = history or first
    if since < first - timedelta(hours=schedule.slack_hours):
        return [
            fail(
                "kept-too-short",
                f"{text}, and backups have been taken since {since:%Y-%m-%d %H:%M} UTC at the latest",
                "see what deleted the sets in between; keep them for the whole retention period",
            )
        ]
    ready = first + wanted
    return [
        not_proven(
            "retention-not-yet-provable",
            f"{text}. Nothing shows that older ones ever existed: the installation may be young",
            f"run the drill again from {ready:%Y-%m-%d %H:%M} UTC on, when the period can have been kept",
        )
    ]


def _history(
    dated: list[tuple[datetime, BackupSet]], last_verified: str | None, first_backup_at: datetime | None
) -> datetime | None:
    """Return the earliest moment at which a backup is known to have been taken."""
    known = [stamp for stamp, _ in dated]
    if first_backup_at is not None:
        known.append(first_backup_at)
    if last_verified and (stamp := _stamp_of(last_verified, "UTC")):
        known.append(stamp)
    return min(known, default=None)


def _last_verified(
    dated: list[tuple[datetime, BackupSet]],
    last_verified: str | None,
    now: datetime,
    retention: timedelta,
    catalog: Catalog,
    target: Target,
) -> list[Finding]:
    """Say what became of the set that the last drill verified."""
    if last_verified is None or not catalog.exists or any(item.id == last_verified for _, item in dated):
        return []
    stamp = _stamp_of(last_verified, target.backups.schedule.timezone)
    text = f"The last verified set {last_verified} is gone"
    if stamp and now - stamp <= retention:
        remedy = "keep every set for the whole retention period, and the last verified one longer"
        return [
            fail("last-verified-removed", f"{text} after {_days(now - stamp)} days, before its time", remedy)
        ]
    return [note("last-verified-pruned", f"{text}; its retention period was over")]


def _stamp_of(set_id: str, timezone: str) -> datetime | None:
    own = set_stamp(set_id) if set_id.startswith("smos-") else None
    if own:
        return own
    found = find_stamp(set_id, ZoneInfo(timezone))
    return found.at.astimezone(UTC) if found else None


def _days(span: timedelta) -> str:
    return f"{span.total_seconds() / 86400:.1f}"
