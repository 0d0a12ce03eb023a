"""Judge of OBS-10: metrics can be read, count what happens, and are fresh."""

from collections.abc import Sequence

from smos.checks.observability.rules import ASK, NOT_ASKED, Rule, judge_probes
from smos.observability.verify.probe import ProbeFacts
from smos.verdict import Judgement, not_proven

COLLECTOR = "look at service.telemetry.metrics in otel-collector-config.yaml"
SCRAPE = "look at VAULT_METRICS_TARGETS, VAULT_METRICS_TOKEN, and Vault's `telemetry` stanza"

OWN: Sequence[Rule] = (
    Rule("readable", "collector-metrics-unreadable", "The collector's metrics can't be read", COLLECTOR),
    Rule(
        "counts",
        "collector-metrics-do-not-count",
        "The collector's counters are not what was sent",
        COLLECTOR,
    ),
    Rule("none-lost", "collector-loses", "The collector refuses spans, or gives up on them", "read its log"),
    Rule(
        "drill", "drill-metrics-unreadable", "What a drill leaves for Prometheus can't be read", "report this"
    ),
)
VAULT: Sequence[Rule] = (
    Rule("scraped", "vault-not-scraped", "Vault's metrics are not scraped", SCRAPE),
    Rule("needed", "vault-metric-missing", "A metric that alarms need is not there", SCRAPE),
    Rule(
        "vault-counts",
        "vault-metrics-stand-still",
        "Requests are made, and the stored counters stand still",
        SCRAPE,
    ),
    Rule("fresh", "vault-metrics-stale", "Vault's newest sample is older than two intervals", SCRAPE),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen."""
    asked = {item.claim for item in facts.probes}
    judgement = judge_probes(
        [*OWN, *(rule for rule in VAULT if rule.claim in asked or "scraped" not in asked)], facts
    )
    failed_scrape = any(item.claim == "scraped" and item.holds is False for item in facts.probes)
    left = [rule.claim for rule in VAULT if rule.claim not in asked]
    if not left or "scraped" not in asked or failed_scrape:
        return judgement  # what builds on a scrape that failed is told with it
    rest = not_proven(NOT_ASKED, f"It was not tried: {', '.join(left)}", ASK)
    return Judgement((*judgement.findings, rest), judgement.facts)
