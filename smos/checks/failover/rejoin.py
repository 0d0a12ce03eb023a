"""FAILOVER-06: the old primary is a standby of the new one, with the same content."""

from collections.abc import Iterator

from smos.failover.facts import Campaign, Failover
from smos.verdict import Finding, Judgement, fail, not_proven

REWIND = (
    "stop it, run pg_rewind against the new primary (it needs data checksums or wal_log_hints), give it its own"
    " settings and standby.signal; where that fails, take a new base backup"
)


def judge(campaign: Campaign) -> Judgement:
    """Judge how every old primary came back."""
    findings = [finding for run in campaign.failovers for finding in _of(run)]
    rejoined = [run for run in campaign.failovers if run.rejoin]
    if not campaign.failovers:
        findings.append(not_proven("rejoin-not-tried", "no old primary was to rejoin", "see FAILOVER-04"))
    elif rejoined and not any(run.rejoin and run.rejoin.needed for run in rejoined):
        findings.append(
            not_proven(
                "nothing-to-rewind",
                "no old primary had written anything alone, so pg_rewind had nothing to take back",
                "run more failovers",
            )
        )
    return Judgement(
        tuple(findings),
        {
            "rejoins": [
                {
                    "mode": run.mode.value,
                    "disaster": run.disaster.value,
                    "old": run.old,
                    "rewound": run.rejoin.needed,
                    "seconds": round(run.rejoin.seconds, 3),
                }
                for run in rejoined
                if run.rejoin
            ]
        },
    )


def _of(run: Failover) -> Iterator[Finding]:
    found = run.rejoin
    name = f"{run.mode} failover {run.number} ({run.disaster})"
    if found is None:
        yield not_proven("rejoin-not-tried", f"{name}: {run.old} was not to rejoin", "see FAILOVER-04")
        return
    if found.error:
        yield fail("rejoin-failed", f"{name}: {run.old} did not rejoin: {found.error}", REWIND)
    elif found.diverged:
        yield fail(
            "rejoin-diverged",
            f"{name}: {run.old} holds what {run.new} never wrote, and can't follow it",
            REWIND,
        )
    elif not found.follows:
        yield fail("rejoin-not-following", f"{name}: {run.old} does not stream from {run.new}", REWIND)
    odd = sorted(node for node, digest in found.digests.items() if digest != found.digests.get(run.new))
    if odd:
        yield fail(
            "rejoin-content-differs",
            f"{name}: the content of {', '.join(odd)} differs from that of {run.new}",
            "take a new base backup of it; find out what wrote to it",
        )
    elif not found.error and not {run.old, run.new} < found.digests.keys():
        yield not_proven(
            "rejoin-not-compared",
            f"{name}: the contents of {run.old}, {run.new} and another standby were not compared",
            REWIND,
        )
    elif found.digests.get(run.new, "").startswith("0:"):
        yield not_proven("rejoin-not-compared", f"{name}: there was no row to compare", "run the drill again")
