"""Judge of OBS-11: a drill is a trace, its figures are metrics, people see them, and nothing of it harms a drill."""

from collections.abc import Sequence

from smos.checks.observability.rules import Rule, judge_probes
from smos.observability.verify.probe import ProbeFacts
from smos.verdict import Judgement

REPORT = "report this: smos/observability/drill.py sends it"

RULES: Sequence[Rule] = (
    Rule("handed-over", "drill-not-sent", "The drill's telemetry is not taken", "is the collector running?"),
    Rule("root", "drill-trace-wrong", "The drill is not one trace with the drill's own duration", REPORT),
    Rule("phases", "drill-phase-wrong", "A phase is not a span of the trace, or of another duration", REPORT),
    Rule("excluded", "drill-phase-invented", "A phase that did not take place has a span", REPORT),
    Rule(
        "metrics",
        "drill-metric-wrong",
        "A metric of the drill is missing, or another than in rto.prom",
        REPORT,
    ),
    Rule(
        "dashboard",
        "drill-not-shown",
        "The dashboard does not show the drill",
        "compare its SQL with the names in rto.prom",
    ),
    Rule(
        "harmless", "drill-held-up", "A dead endpoint holds the drill up, breaks it, or goes untold", REPORT
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen."""
    return judge_probes(RULES, facts)
