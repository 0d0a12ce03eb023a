"""How observations of the observability suite are judged: one rule for each sub-claim, one code for each rule.

Pure: from probes to findings. A sub-claim without a probe, or that could not be seen, is not proven.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from smos.observability.verify.probe import Probe, ProbeFacts
from smos.verdict import Finding, Judgement, fail, not_proven

NOT_ASKED = "observability-not-asked"
NOT_SEEN = "observability-not-seen"
ASK = "run it with --provision embedded, with the real collector (make observability-deps)"


@dataclass(frozen=True, slots=True)
class Rule:
    """One sub-claim. sentence: what is wrong when it does not hold, as an auditor reads it."""

    claim: str
    code: str
    sentence: str
    remedy: str


def judge_probes(rules: Sequence[Rule], facts: ProbeFacts) -> Judgement:
    """Judge every rule. PASS needs an observation of each; several observations of one claim all count."""
    findings: list[Finding] = []
    for rule in rules:
        findings += _of(rule, [item for item in facts.probes if item.claim == rule.claim])
    unknown = {item.claim for item in facts.probes} - {rule.claim for rule in rules}
    findings += [
        not_proven(NOT_ASKED, f"Nobody judges the observation {claim!r}", "report this")
        for claim in sorted(unknown)
    ]
    shown = {"observations": [asdict(item) for item in facts.probes]}
    return Judgement(tuple(findings), shown | dict(facts.details))


def _of(rule: Rule, probes: list[Probe]) -> Iterator[Finding]:
    if not probes:
        yield not_proven(NOT_ASKED, f"It was not tried: {rule.claim}", ASK)
    for item in probes:
        seen = f" ({item.seen})" if item.seen else ""
        if item.holds is False:
            yield fail(rule.code, f"{rule.sentence}{seen}", rule.remedy)
        elif item.holds is None:
            yield not_proven(NOT_SEEN, f"{rule.claim}: {item.seen or 'nothing was seen'}", ASK)
