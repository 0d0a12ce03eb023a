"""FAILOVER-09: whether a mode of replication meets the objectives, and what it costs."""

from smos.failover.facts import Campaign, Mode
from smos.failover.recommend import as_json, measure, recommend
from smos.verdict import Finding, Judgement, fail, not_proven, note


def judge(campaign: Campaign, rto_s: float, rpo_s: float) -> Judgement:
    """Judge what was measured against the objectives, in seconds. The facts are those of reports/failover.json."""
    measures = measure(campaign)
    found = recommend(measures, rto_s, rpo_s)
    findings: list[Finding] = []
    missing = sorted({mode.value for mode in Mode} - {item.mode.value for item in measures if item.latency})
    if missing:
        findings.append(
            not_proven(
                "mode-not-measured", f"nothing was measured of: {', '.join(missing)}", "run the drill again"
            )
        )
    if found.mode is None and measures:
        reasons = "; ".join(f"{item.measure.mode}: {', '.join(item.reasons)}" for item in found.options)
        findings.append(
            fail(
                "no-mode-fits",
                f"no mode meets RTO {rto_s:g} s and RPO {rpo_s:g} s ({reasons})",
                "make the slowest phase of the failover quicker, or agree on other objectives",
            )
        )
    findings += [note("recommendation", line) for line in found.lines]
    return Judgement(
        tuple(findings),
        as_json(found, campaign.version, campaign.load, rto_s, rpo_s) | {"scope": "the machine that ran it"},
    )
