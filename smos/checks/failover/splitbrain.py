"""FAILOVER-05: after a promotion there is one server that takes writes, and clients find that one."""

from collections.abc import Iterator

from smos.failover.facts import Campaign, Failover, Outcome
from smos.verdict import Finding, Judgement, fail, not_proven

FENCE = (
    "fence the old primary before anybody is promoted: power off, and standby.signal in its data directory so that it"
    " never starts as a primary by itself"
)
TAKES = (Outcome.ACCEPTED, Outcome.WAITS)
"""A commit that waits for standbys was taken: it is in the old primary's tables."""


def judge(campaign: Campaign) -> Judgement:
    """Judge what became of the old primaries."""
    findings = [finding for run in campaign.failovers for finding in _of(run)]
    if not campaign.failovers:
        findings.append(not_proven("return-not-tried", "no old primary was brought back", "see FAILOVER-04"))
    answered = any(
        item.outcome is Outcome.REFUSED and item.node == run.old
        for run in campaign.failovers
        if run.returned
        for item in run.returned.attempts
    )
    if not findings and not answered:
        findings.append(
            not_proven(
                "old-never-answered",
                "no old primary could be reached after its return, so none was seen to refuse a write",
                "look at the old primaries' logs: why did none start?",
            )
        )
    return Judgement(
        tuple(findings),
        {
            "returns": [
                {
                    "mode": run.mode.value,
                    "disaster": run.disaster.value,
                    "old": run.old,
                    "attempts": {item.through: item.outcome.value for item in run.returned.attempts},
                }
                for run in campaign.failovers
                if run.returned
            ]
        },
    )


def _of(run: Failover) -> Iterator[Finding]:
    found = run.returned
    name = f"{run.mode} failover {run.number} ({run.disaster})"
    if found is None:
        yield not_proven("return-not-tried", f"{name}: {run.old} was not brought back", "see FAILOVER-04")
        return
    if not found.fenced_before_promotion:
        yield fail("fence-missing", f"{name}: {run.old} was not fenced when {run.new} was promoted", FENCE)
    taken = [
        item for item in found.attempts if item.outcome in TAKES and item.through.startswith("old primary")
    ]
    if taken:
        ways = ", ".join(item.through.removeprefix("old primary").lstrip(", ") or "plainly" for item in taken)
        yield fail(
            "split-brain", f"{name}: {run.old} still takes writes after {run.new} was promoted: {ways}", FENCE
        )
    vague = [
        item
        for item in found.attempts
        if item.outcome is Outcome.UNREACHABLE and item.node and item.through.startswith("old primary")
    ]
    if vague:
        yield not_proven(
            "attempt-inconclusive",
            f"{name}: {run.old} answered, and neither took nor refused a write: {vague[0].detail or 'no reason'}",
            "look at the old primary's log",
        )
    service = [item for item in found.attempts if item.through == "service"]
    if any(item.outcome in TAKES and item.node != run.new for item in service):
        yield fail(
            "client-misled",
            f"{name}: a client that asked the service wrote to {run.old}; {run.new} is the primary",
            "let clients compare the server's timeline with the published one: target_session_attrs=read-write"
            " alone takes an old primary for the new one",
        )
    elif not any(item.outcome is Outcome.ACCEPTED and item.node == run.new for item in service):
        seen = "; ".join(f"{item.outcome} {item.detail}".strip() for item in service) or "no attempt"
        yield fail(
            "routed-to-old",
            f"{name}: the service leads no client to {run.new} ({seen})",
            "publish the new primary (address, proxy, DNS) as part of the failover",
        )
