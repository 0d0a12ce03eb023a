"""PITR-06: up to when the content reaches, and which stretches of time nothing leads to."""

from itertools import pairwise

from smos.checks.pitr.strategy import recommendation
from smos.physical.drill import END
from smos.physical.facts import Outcome, PitrRecord
from smos.target import Objectives
from smos.verdict import Finding, Judgement, fail, not_proven, note

CLOCK_TOLERANCE_S = 600


def judge_objectives(record: PitrRecord, objectives: Objectives) -> Judgement:
    """Judge RPO actual (seconds, newest surviving heartbeat to disaster) and the largest uncovered stretch."""
    end = record.attempt(END)
    if end is None or end.outcome is not Outcome.RECOVERED:
        detail = end.detail if end else "nobody tried"
        message = (
            f"The end of the log was not recovered, so nothing tells up to when the content reaches: {detail}"
        )
        return Judgement((not_proven("rpo-not-measured", message, "mend what PITR-01 and PITR-02 name"),))
    findings: list[Finding] = []
    newest, basis = (end.heartbeats[-1], "heartbeat") if end.heartbeats else (end.last_commit, "last commit")
    rpo_s = (record.known.disaster - newest).total_seconds() if newest else None
    if rpo_s is None:
        remedy = "install the heartbeat on the source (docs/heartbeat.md)"
        findings.append(not_proven("rpo-not-measured", "No content tells up to when it reaches", remedy))
    elif rpo_s < -CLOCK_TOLERANCE_S:
        message = f"The recovered content reaches {-rpo_s:.0f} s beyond the moment of the disaster"
        findings.append(not_proven("rpo-implausible", message, "compare the clocks of source and harness"))
    elif rpo_s > objectives.rpo_s:
        findings.append(
            fail(
                "rpo-exceeded",
                f"RPO actual {rpo_s:.0f} s is above the objective {objectives.rpo_s:.0f} s (from: {basis})",
                "archive the log continuously (pg_receivewal), or set archive_timeout",
            )
        )
    if basis == "last commit" and rpo_s is not None:
        findings.append(
            note("rpo-upper-bound", "RPO actual is an upper bound: it comes from the last transaction")
        )
    gap_s, more = _largest_gap(record, objectives)
    findings += more
    apart = [(after - before).total_seconds() for before, after in pairwise(end.heartbeats)]
    if apart and max(apart) > objectives.rpo_s:
        findings.append(
            not_proven(
                "heartbeat-sparse",
                f"Heartbeats lie up to {max(apart):.0f} s apart, more than the objective: they can't show it met",
                "let the heartbeat be written more often than the objective asks for",
            )
        )
    prepared = next((item for item in record.prepared if item.backup == end.backup), None)
    recovery_s = (prepared.fetch_s + prepared.combine_s if prepared else 0.0) + end.replay_s
    if prepared is not None and prepared.level != "full":
        message = "Recovered on the backup itself: how long a real recovery takes was not measured"
        findings.append(note("rto-not-measured", f"{message} (restore_mode: instant, {prepared.level})"))
    elif prepared is not None and prepared.refused:
        findings.append(
            note("instant-refused", f"Restored in full; no instant mode here: {prepared.refused}")
        )
    measured_s = recovery_s if prepared is not None and prepared.level == "full" else None
    if measured_s is not None and measured_s > objectives.rto_s:
        took = f"The recovery took {measured_s:.0f} s, of which the log's replay {end.replay_s:.0f} s"
        message = f"{took}; the objective is {objectives.rto_s:.0f} s"
        remedy = "take base backups more often (less log to replay), or keep them on faster storage"
        findings.append(fail("rto-exceeded", message, remedy))
    findings += [
        note("recommendation", line) for line in recommendation(record, objectives, end, rpo_s, measured_s)
    ]
    return Judgement(
        tuple(findings),
        {
            "rpo_actual_s": None if rpo_s is None else round(rpo_s, 3),
            "rpo_objective_s": objectives.rpo_s,
            "rto_objective_s": objectives.rto_s,
            "rpo_basis": basis,
            "largest_gap_s": gap_s,
            "largest_interval_between_heartbeats_s": round(max(apart), 3) if apart else None,
            "recovery_s": round(recovery_s, 3),
            "replay_s": round(end.replay_s, 3),
            "restore_mode": prepared.level if prepared else None,
            "verify_s": round(prepared.verify_s, 3) if prepared else None,
            "heartbeats": len(end.heartbeats),
        },
    )


def _largest_gap(record: PitrRecord, objectives: Objectives) -> tuple[float | None, list[Finding]]:
    """Return the length of the largest stretch that nothing leads to (0: none), and what is to be said of each."""
    findings: list[Finding] = []
    largest: float | None = 0.0
    remedy = (
        "take a base backup after every gap in the archive, and find out why the segment was not archived"
    )
    for item in record.survey.uncovered:
        until = item.until or record.known.disaster
        if item.since is None:
            largest = None
            message = f"Nothing leads to some time before {until.isoformat()}: {item.because}; since when is unknown"
            findings.append(not_proven("uncovered-unclear", message, remedy))
            continue
        seconds = (until - item.since).total_seconds()
        largest = None if largest is None else max(largest, seconds)
        words = f"Nothing leads to the {seconds:.0f} s after {item.since.isoformat()}: {item.because}"
        if seconds > objectives.rpo_s:
            findings.append(fail("uncovered-stretch", words, remedy))
        else:
            findings.append(note("uncovered-stretch", words))
    return largest, findings
