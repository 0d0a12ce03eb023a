"""FAILOVER-01 to FAILOVER-03: the client's ledger held against what the new primary has."""

from collections.abc import Iterator, Sequence

from smos.failover.facts import Campaign, Disaster, Failover, Mode, Tally
from smos.failover.recommend import distribution
from smos.verdict import Finding, Judgement, fail, not_proven, note

STRONG = ("on", "remote_apply")
"""Values of `synchronous_commit` with which an acknowledgement means: flushed by a standby."""
LOOK = "find out what wrote to the table besides the drill, then run it again"
SYNC = (
    "set synchronous_standby_names on every node that may become the primary, and synchronous_commit = on for every"
    " role, database and session whose commits count"
)


def judge_asynchronous(campaign: Campaign, rpo_s: float) -> Judgement:
    """Judge FAILOVER-01. rpo_s: the objective, seconds."""
    runs = campaign.of(Mode.ASYNCHRONOUS)
    findings = [*_whole(runs, Mode.ASYNCHRONOUS)]
    findings += [
        fail(
            "rpo-exceeded",
            f"{_name(run)}: {run.tally.lost} acknowledged commits of {run.rpo_s:.3f} s were lost,"
            f" the objective is {rpo_s:g} s",
            "shorten the replication lag (and alert on it), or let commits wait for a standby",
        )
        for run in runs
        if run.rpo_s > rpo_s
    ]
    findings += _counted([run for run in runs if run.disaster is Disaster.LAG])
    if not findings:
        lost = sum(run.tally.lost for run in runs)
        total = sum(run.tally.acknowledged for run in runs)
        findings.append(
            note("loss-counted", f"{lost} of {total} acknowledged commits were lost in {len(runs)} failovers")
        )
    return Judgement(tuple(findings), _facts(runs))


def judge_lossless(campaign: Campaign, mode: Mode) -> Judgement:
    """Judge FAILOVER-02 (synchronous) or FAILOVER-03 (quorum)."""
    runs = campaign.of(mode)
    findings = [*_whole(runs, mode)]
    for run in runs:
        findings += _waited(run)
        if run.tally.lost:
            findings.append(
                fail(
                    "acknowledged-lost",
                    f"{_name(run)}: {run.tally.lost} of {run.tally.acknowledged} acknowledged commits are not on the"
                    f" new primary {run.new}{_examples(run.tally, 'lost')}",
                    f"promote only the standby that has received most; {SYNC}",
                )
            )
        if run.tally.acknowledged_after_cut:
            findings.append(
                fail(
                    "acknowledged-without-standby",
                    f"{_name(run)}: {run.tally.acknowledged_after_cut} commits were acknowledged while no standby could"
                    " receive anything",
                    SYNC,
                )
            )
    if runs and not any(run.disaster is Disaster.LAG for run in runs):
        findings.append(
            not_proven(
                "cut-not-tried", "no failover took place after replication was cut", "run the drill again"
            )
        )
    if runs and mode is Mode.QUORUM and not any(run.behind for run in runs):
        findings.append(
            not_proven(
                "laggard-not-tried",
                "in no failover a standby had been left behind, so nothing shows that the right one is chosen",
                "run the drill again",
            )
        )
    return Judgement(tuple(findings), _facts(runs))


def _counted(cut: Sequence[Failover]) -> Iterator[Finding]:
    """Judge whether the counter counts: after replication was cut, just what was acknowledged since must be lost."""
    if not cut:
        yield not_proven(
            "cut-not-tried", "no failover took place after replication was cut", "run the drill again"
        )
    for run in cut:
        acknowledged, lost = run.tally.acknowledged_after_cut, run.tally.lost_after_cut
        if not acknowledged or lost != acknowledged:
            yield fail(
                "loss-not-counted",
                f"{_name(run)}: {acknowledged} commits were acknowledged by the ledger after replication was cut, and"
                f" {lost} of them count as lost; all of them must be, and at least one",
                "keep the ledger with the client, outside of the servers, and on disk before it goes on",
            )


def _whole(runs: Sequence[Failover], mode: Mode) -> Iterator[Finding]:
    """Judge what holds in every mode: something was tried, and the rows are those that were sent, once, in order."""
    if not runs:
        yield not_proven(
            "failover-not-tried", f"no failover took place in {mode} mode", "run the drill again"
        )
    for run in runs:
        tally = run.tally
        if run.rto_s is None:
            yield not_proven(
                "failover-unfinished",
                f"{_name(run)}: no write was acknowledged afterwards, so nothing is known of what was lost",
                "see FAILOVER-04",
            )
        if not tally.acknowledged:
            yield not_proven("nothing-acknowledged", f"{_name(run)}: no commit was acknowledged", LOOK)
        for code, number, kind, text in (
            (
                "row-never-attempted",
                tally.strangers,
                "strangers",
                "rows that no client was told of are there",
            ),
            ("row-duplicated", tally.duplicates, "duplicates", "rows are there more than once"),
            ("row-altered", tally.altered, "altered", "rows differ from what was sent"),
            (
                "row-disordered",
                tally.disordered,
                "disordered",
                "rows stand before an earlier one of their client",
            ),
        ):
            if number:
                yield fail(code, f"{_name(run)}: {number} {text}{_examples(tally, kind)}", LOOK)


def _waited(run: Failover) -> Iterator[Finding]:
    """Judge what commits waited for, as the session and the servers said it while the load ran."""
    found = run.durability
    weak = [value for value in found.synchronous_commit.split(", ") if value not in STRONG]
    if weak:
        where = f" ({'; '.join(found.overrides)})" if found.overrides else ""
        yield fail(
            "sync-commit-weak",
            f"{_name(run)}: synchronous_commit is {', '.join(weak)} in the client's session{where}, so an"
            " acknowledgement does not mean that a standby has flushed the commit",
            SYNC,
        )
    if found.unsafe:
        yield fail(
            "disk-forgets",
            f"{_name(run)}: {'; '.join(found.unsafe)}: what was acknowledged may not be on disk",
            "switch it on again; if data were written meanwhile, rebuild that node",
        )
    wanted = "sync" if run.mode is Mode.SYNCHRONOUS else "quorum"
    if not found.names or wanted not in dict(found.states).values():
        states = ", ".join(f"{name} {state}" for name, state in found.states) or "no standby"
        yield fail(
            "no-synchronous-standby",
            f"{_name(run)}: synchronous_standby_names is {found.names or 'empty'!r} on {run.old} ({states})",
            SYNC,
        )


def _name(run: Failover) -> str:
    return f"{run.mode} failover {run.number} ({run.disaster})"


def _examples(tally: Tally, kind: str) -> str:
    found = tally.examples.get(kind, ())
    return f", for instance {', '.join(found)} (client/number)" if found else ""


def _facts(runs: Sequence[Failover]) -> dict[str, object]:
    latency = distribution(value for run in runs for value in run.latencies)
    return {
        "failovers": [
            {
                "number": run.number,
                "disaster": run.disaster.value,
                "acknowledged": run.tally.acknowledged,
                "unknown": run.tally.unknown,
                "unknown_present": run.tally.unknown_present,
                "refused": run.tally.refused,
                "behind": run.behind,
                "lost": run.tally.lost,
                "acknowledged_after_cut": run.tally.acknowledged_after_cut,
                "rpo_s": round(run.rpo_s, 3),
                "synchronous_commit": run.durability.synchronous_commit,
                "states": dict(run.durability.states),
            }
            for run in runs
        ],
        "commit_latency_median_s": round(latency.median, 6) if latency else None,
    }
