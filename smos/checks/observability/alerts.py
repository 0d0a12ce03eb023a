"""Judge of OBS-08: alerts fire when they must and only then, reach somebody, and are taken back."""

from collections.abc import Sequence

from smos.checks.observability.rules import Rule, judge_probes
from smos.observability.verify.probe import ProbeFacts
from smos.verdict import Finding, Judgement, note

RULE = "correct the rule in prometheus-rules.yml; `promtool test rules prometheus-rules.test.yml` shows each case"
ROUTE = "look at alertmanager.yml and at the webhook's address (ALERT_WEBHOOK_URL)"
GRAFANA = "correct grafana-alerting.yaml"

RULES: Sequence[Rule] = (
    Rule("rules-tested", "alert-rules-wrong", "The rules don't do what their tests say", RULE),
    Rule("has-test", "alert-untested", "Alerts have no test in which they fire", RULE),
    Rule("has-quiet-test", "alert-untested", "Alerts have no test in which they are quiet", RULE),
    Rule("quiet", "alert-false", "Alerts fire while all is well", RULE),
    Rule("fires", "alert-silent", "The condition holds, and the alert does not fire", RULE),
    Rule("arrives", "alert-undelivered", "An alert fires, and the webhook is not told", ROUTE),
    Rule(
        "readable",
        "alert-unreadable",
        "What an alert says is empty, or holds a template that was not filled in",
        "correct its annotations",
    ),
    Rule("ends", "alert-sticks", "The condition is over, and the alert goes on firing", RULE),
    Rule(
        "resolves",
        "alert-unresolved",
        "An alert is over, and the webhook is not told",
        "set send_resolved: true on the receiver",
    ),
    Rule("grafana-tells", "grafana-untold", "Grafana's alerts go to nobody", GRAFANA),
    Rule("grafana-rules", "grafana-rule-missing", "Rules of Grafana are not there", GRAFANA),
    Rule(
        "grafana-fires", "grafana-rule-wrong", "A rule of Grafana would not fire for what it is for", GRAFANA
    ),
)
AS_DATA: Finding = note(
    "grafana-as-data",
    "Grafana's own rules are validated as data: their queries run on known telemetry, Grafana itself does not",
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen."""
    judgement = judge_probes(RULES, facts)
    return Judgement((*judgement.findings, AS_DATA), judgement.facts)
