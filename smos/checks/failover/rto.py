"""FAILOVER-04: how long it took until somebody could write again."""

from collections import defaultdict

from smos.checks.failover.commits import unseen
from smos.failover.facts import Campaign
from smos.failover.recommend import distribution
from smos.verdict import Finding, Judgement, fail, not_proven

QUICKER = (
    "look which phase took longest; a short wal_retrieve_retry_interval, restart_after_crash = off and a supervisor"
    " that fences without asking help"
)


def judge(campaign: Campaign, rto_s: float) -> Judgement:
    """Judge every failover against the objective, in seconds."""
    findings: list[Finding] = []
    by_mode: dict[str, list[float]] = defaultdict(list)
    if not campaign.failovers:
        findings.append(not_proven("failover-not-tried", "no failover took place", "run the drill again"))
    for run in campaign.failovers:
        name = f"{run.mode} failover {run.number} ({run.disaster})"
        findings += unseen(run)
        if run.rto_s is None:
            findings.append(
                fail(
                    "no-write-after-failover",
                    f"{name}: no write was acknowledged by {run.new}: {run.error}",
                    "look at the log of the new primary: was it promoted, does it wait for a standby that is gone?",
                )
            )
            continue
        by_mode[run.mode.value].append(run.rto_s)
        if run.rto_s > rto_s:
            phases = ", ".join(f"{phase} {seconds:.3f} s" for phase, seconds in run.phases.items())
            findings.append(
                fail(
                    "rto-exceeded",
                    f"{name}: {run.rto_s:.3f} s, the objective is {rto_s:g} s ({phases})",
                    QUICKER,
                )
            )
        if run.timeline_after is not None and run.timeline_after <= run.timeline_before:
            findings.append(
                fail(
                    "timeline-unchanged",
                    f"{name}: {run.new} writes on timeline {run.timeline_after}, as the old primary did",
                    "promote the standby; never start it as a primary by taking its standby.signal away",
                )
            )
    return Judgement(
        tuple(findings),
        {
            "excluded": ["detect"],
            "modes": {
                mode: {"n": found.n, "median_s": found.median, "p95_s": found.p95, "max_s": found.maximum}
                for mode, values in by_mode.items()
                if (found := distribution(values))
            },
            "failovers": [
                {
                    "mode": run.mode.value,
                    "disaster": run.disaster.value,
                    "rto_s": run.rto_s,
                    "phases": dict(run.phases),
                }
                for run in campaign.failovers
            ],
        },
    )
