"""Judge of OBS-12: what a collector declares holds; what it lacks is told; nobody else speaks for the shipped file."""

from collections.abc import Mapping, Sequence

from smos.checks.observability.rules import Rule, judge_probes
from smos.observability.verify.probe import ProbeFacts
from smos.verdict import Judgement, note

RULES: Sequence[Rule] = (
    Rule(
        "declared",
        "capability-false",
        "A collector can't do what it declares",
        "take the capability out of its declaration (CAPABILITIES beside its class), or mend the collector",
    ),
    Rule(
        "shipped",
        "shipped-not-proven",
        "A collector that does not run the shipped configuration declares that it proves it",
        "take shipped_configuration out of its declaration",
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen, and list what each collector lacks."""
    judgement = judge_probes(RULES, facts)
    notes = tuple(
        note("capability-absent", f"{name} lacks: {', '.join(found['lacks'])}")
        for name, found in facts.details.items()
        if isinstance(found, Mapping) and found.get("lacks")
    )
    return Judgement((*judgement.findings, *notes), judgement.facts)
