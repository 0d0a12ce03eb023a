"""Judge of OBS-07: every panel shows what is known to be there, in the right unit, from a data source that exists."""

from collections.abc import Sequence

from smos.checks.observability.rules import Rule, judge_probes
from smos.observability.verify.probe import ProbeFacts
from smos.verdict import Judgement, not_proven

SHIPPED = "take the shipped dashboards, or correct this one"

RULES: Sequence[Rule] = (
    Rule("schema", "dashboard-schema", "Grafana's schema does not allow what a dashboard holds", SHIPPED),
    Rule(
        "source",
        "dashboard-source",
        "A dashboard names a data source that nobody provisions",
        "use the uid in grafana-datasources.yaml",
    ),
    Rule("present", "panel-missing", "Panels are not there", SHIPPED),
    Rule("runs", "panel-broken", "A panel's query does not run", SHIPPED),
    Rule(
        "shows",
        "panel-wrong",
        "A panel does not show what is known to be there",
        "correct its SQL, or what panels.yml says that it must show",
    ),
    Rule(
        "unit",
        "panel-unit",
        "A panel's unit is not the one of its values",
        "span durations are nanoseconds in the tables: divide by 1e6 and show ms, or by 1e9 and show s",
    ),
    Rule("menu", "menu-wrong", "A menu of a dashboard does not offer what is there", SHIPPED),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen; of a live Grafana what its API tells, and the rest stays unproven."""
    if not facts.details.get("live"):
        return judge_probes(RULES, facts)
    judged = judge_probes([rule for rule in RULES if rule.claim in {"source", "present"}], facts)
    rest = not_proven(
        "observability-live",
        "What panels show of known telemetry can't be seen on a live stack: nothing is put into it",
        "run this check with --provision embedded as well; it then speaks about the dashboards as shipped",
    )
    return Judgement((*judged.findings, rest), judged.facts)
