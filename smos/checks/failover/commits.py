"""FAILOVER-01 to FAILOVER-03: the client's ledger held against what the new primary has."""

from collections.abc import Iterator, Sequence

from smos.failover.facts import Campaign, Disaster, Failover, Mode, Tally
from smos.failover.recommend import distribution
from smos.failover.strike import EXPECTED
from smos.verdict import Finding, Judgement, fail, not_proven, note

STRONG = ("on", "remote_apply")
"""Values of `synchronous_commit` with which an acknowledgement means: flushed by a standby."""
BEFALLS = (Disaster.KILL, Disaster.FREEZE, Disaster.CUT)
"""What FAILOVER-02 must have seen besides what the campaign was to try. A cut of replication has its own finding."""
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
        if run.rto_s is None:
            continue  # a standby that was not promoted may have more than it shows yet
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
    wanted = dict.fromkeys((*BEFALLS, *campaign.kinds))
    untried = [kind.value for kind in wanted if not any(run.disaster is kind for run in runs)]
    if runs and mode is Mode.SYNCHRONOUS and untried:
        findings.append(
            not_proven(
                "disaster-not-tried",
                f"no failover took place after: {', '.join(untried)}",
                "run the drill again",
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


def unseen(run: Failover) -> Iterator[Finding]:
    """Judge whether the primary was lost at all."""
    if run.befell != EXPECTED[run.disaster]:
        yield not_proven(
            "disaster-not-seen",
            f"{_name(run)}: right after it {run.befell or 'server and network run'}, expected"
            f" {EXPECTED[run.disaster]}",
            "look how the drill kills, freezes or cuts off the primary, then run it again",
        )


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
        yield from unseen(run)
        if run.rto_s is None:
            yield not_proven(
                "failover-unfinished",
                f"{_name(run)}: no write was acknowledged afterwards, so nothing is known of what was lost",
                "see FAILOVER-04",
            )
            continue
        if not tally.acknowledged_before or not run.latencies:
            yield not_proven(
                "nothing-acknowledged", f"{_name(run)}: no commit was acknowledged before the disaster", LOOK
            )
        elif not run.writing:
            yield not_proven(
                "load-ended", f"{_name(run)}: no client wrote any more when the disaster came", LOOK
            )
        if tally.acknowledged_before < len(run.latencies):
            yield not_proven(
                "ledger-incomplete",
                f"{_name(run)}: the clients had {len(run.latencies)} acknowledgements before the disaster, and the"
                f" ledger holds {tally.acknowledged_before}",
                "keep the ledger on a disk of the client's that is not full",
            )
        for code, number, kind, text in (
            (
                "acknowledged-missing-between",
                tally.holes,
                "holes",
                "acknowledged commits are not there although later ones are: no replication lag does that",
            ),
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
                "seen": run.befell,
                "clients": run.writing,
                "acknowledged_before": run.tally.acknowledged_before,
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
