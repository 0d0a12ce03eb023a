"""Judge of VAULT-11: metrics are for who may see them, can be read, and count what happens."""

from collections.abc import Sequence

from smos.checks.vault.rules import Rule, accepted, judge_probes, refused
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement

OPEN = "leave `unauthenticated_metrics_access` off; give the scraper a token that may read sys/metrics alone"
OFF = "set `prometheus_retention_time` in the `telemetry` stanza, longer than the scraper's interval"

RULES: Sequence[Rule] = (
    refused("no-token", "metrics-open", "Vault's metrics are given out without a token", OPEN, 400, 401, 403),
    refused("wrong-token", "metrics-open", "Vault's metrics are given out for a false token", OPEN, 401, 403),
    accepted("readable", "metrics-off", "Vault gives out no metrics in Prometheus' format", OFF),
    accepted("parses", "metrics-unreadable", "What Vault gives out is not Prometheus' text format", OFF),
    accepted("needed", "metrics-missing", "Metrics that an alarm needs are missing", OFF),
    accepted("counters-rise", "metrics-do-not-count", "Requests are made and the counters stand still", OFF),
    accepted(
        "counters-keep", "metrics-do-not-count", "Counters fall", "is it one server that answers? " + OFF
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen."""
    return judge_probes(RULES, facts)
