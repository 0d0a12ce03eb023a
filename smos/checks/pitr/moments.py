"""PITR-03 and PITR-04: the moment that was asked for, no less and no more; and moments that can't be reached."""

from datetime import datetime

from smos.physical.drill import BEFORE, BEYOND, END, MOMENT, POSITION
from smos.physical.facts import AttemptFacts, Outcome, PitrRecord
from smos.verdict import Finding, Judgement, fail, not_proven

COMMIT_S = 1.0
"""A heartbeat is taken before its commit: one that is younger than this at the moment need not be there."""
_LATE = "raise limits.restore_seconds, or take base backups more often: there is less log to replay then"
_STOP = "look at recovery_target settings and at the clock and zone in which the moment was given"


def judge_moment(record: PitrRecord) -> Judgement:
    """Judge the recoveries to a moment and (where one is known) to a position of the log."""
    findings: list[Finding] = []
    attempts = [item for item in (record.attempt(MOMENT), record.attempt(POSITION)) if item is not None]
    if not attempts:
        findings.append(not_proven("moment-not-tried", "No recovery to a moment was tried", "report this"))
    for item in attempts:
        if item.outcome is Outcome.RECOVERED:
            findings += _sandwich(record, item)
        else:
            findings.append(_not_there(item))
    return Judgement(tuple(findings), {"attempts": [_facts(item) for item in attempts]})


def judge_limits(record: PitrRecord) -> Judgement:
    """Judge what is said to a moment before the oldest backup and to one after the end of the log."""
    findings: list[Finding] = []
    beyond, before = record.attempt(BEYOND), record.attempt(BEFORE)
    for item, name in ((beyond, "after the end of the log"), (before, "before the oldest backup")):
        if item is None or item.outcome in {Outcome.NOT_TRIED, Outcome.LATE}:
            detail = item.detail if item else "nobody tried"
            message = f"A moment {name} was not asked for: {detail}"
            findings.append(not_proven("limit-not-tried", message, "mend what the other checks name"))
    if beyond is not None and beyond.outcome is Outcome.RECOVERED:
        findings.append(
            fail(
                "beyond-answered",
                f"Asked for {beyond.goal}, the server came up as if it had reached it (at {beyond.reached})",
                "let recovery fail where its target is not reached (PostgreSQL 13 and newer do)",
            )
        )
    elif beyond is not None and beyond.outcome is Outcome.FAILED and beyond.code != "target-not-reached":
        findings.append(
            not_proven(
                "beyond-unclear",
                f"Asked for {beyond.goal}, the server failed for another reason ({beyond.code}): {beyond.detail}",
                "mend what PITR-02 names, and drill again",
            )
        )
    if before is not None and before.outcome is Outcome.RECOVERED:
        findings.append(_answered_before(before))
    elif before is not None and before.outcome is Outcome.FAILED and before.code != "before-consistency":
        findings.append(
            not_proven(
                "before-unclear",
                f"Asked for {before.goal}, the server failed for another reason ({before.code}): {before.detail}",
                "mend what PITR-01 and PITR-02 name, and drill again",
            )
        )
    attempts = [item for item in (beyond, before) if item is not None]
    return Judgement(tuple(findings), {"attempts": [_facts(item) for item in attempts]})


def _answered_before(item: AttemptFacts) -> Finding:
    newest = item.heartbeats[-1] if item.heartbeats else None
    shown = (
        f"; its newest heartbeat is {(newest - item.time).total_seconds():.0f} s younger than what was asked for"
        if newest is not None and item.time is not None
        else ""
    )
    return fail(
        "before-answered",
        f"Asked for {item.goal}, a server came up with the state of {item.backup}{shown}",
        "choose a backup that began before the moment, and refuse where there is none: the server itself does not",
    )


def _not_there(item: AttemptFacts) -> Finding:
    words = f"Recovery to {item.goal}: {item.outcome.value} ({item.code}): {item.detail}"
    if item.outcome is Outcome.NOT_TRIED:
        remedy = (
            "install the heartbeat on the source (docs/heartbeat.md), or name physical.moment"
            if item.code == "no-moment"
            else "mend what PITR-01 names"
        )
        return not_proven("moment-not-tried", words, remedy)
    if item.outcome is Outcome.LATE:
        return not_proven("moment-late", words, _LATE)
    if item.outcome is Outcome.REFUSED:
        return fail(
            "moment-refused", words, "keep base backups and log for as long as moments must be reachable"
        )
    return fail("moment-not-reached", words, "read the server's words and what PITR-01 and PITR-02 say")


def _sandwich(record: PitrRecord, item: AttemptFacts) -> list[Finding]:
    known = record.known
    if known.before or known.after:
        findings = []
        missing = [name for name in known.before if name not in item.markers]
        extra = [name for name in known.after if name in item.markers]
        if missing:
            message = f"Recovered to {item.goal}: the marker committed before it is not there ({', '.join(missing)})"
            findings.append(fail("target-undershot", message, _STOP))
        if extra:
            message = f"Recovered to {item.goal}: a marker committed after it is there ({', '.join(extra)})"
            findings.append(fail("target-overshot", message, _STOP))
        return findings
    return _by_heartbeats(record, item, item.time) if item.time is not None else []


def _by_heartbeats(record: PitrRecord, item: AttemptFacts, moment: datetime) -> list[Finding]:
    end = record.attempt(END)
    beats = end.heartbeats if end is not None and end.outcome is Outcome.RECOVERED else ()
    started = next((one.started for one in record.survey.backups if one.id == item.backup), None)
    due = [
        beat
        for beat in beats
        if (moment - beat).total_seconds() > COMMIT_S and (started is None or beat > started)
    ]
    if not due or beats[-1] <= moment:
        where = "after it" if due else "between the backup's start and it"
        return [
            not_proven(
                "sandwich-open",
                f"Recovered to {item.goal}, but no heartbeat lies {where}: nothing in the content shows that the moment"
                " was met",
                "install the heartbeat on the source (docs/heartbeat.md); the drill then chooses a moment between two",
            )
        ]
    newest = item.heartbeats[-1] if item.heartbeats else None
    if newest is None or newest < due[-1]:
        message = f"Recovered to {item.goal}: heartbeat {due[-1].isoformat()} is not there (newest: {newest})"
        return [fail("target-undershot", message, _STOP)]
    if newest > moment:
        message = f"Recovered to {item.goal}: heartbeat {newest.isoformat()}, taken after it, is there"
        return [fail("target-overshot", message, _STOP)]
    return []


def _facts(item: AttemptFacts) -> dict[str, object]:
    return {
        "purpose": item.purpose,
        "goal": item.goal,
        "backup": item.backup,
        "outcome": item.outcome.value,
        "code": item.code,
        "detail": item.detail,
        "replay_s": round(item.replay_s, 3),
        "reached": item.reached,
        "timeline": item.timeline,
        "last_commit": item.last_commit.isoformat() if item.last_commit else None,
        "newest_heartbeat": item.heartbeats[-1].isoformat() if item.heartbeats else None,
    }
