"""How observations of the Vault suite are judged: one rule for each sub-claim, one finding code for each rule.

Pure: from probes to findings. A sub-claim without a probe, without an answer, or answered for another reason than the
one that the rule is about, is not proven.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from smos.vault.verify import probe
from smos.vault.verify.probe import Probe, ProbeFacts
from smos.verdict import Finding, Judgement, fail, not_proven

ACCEPTED = frozenset({200})
REFUSED = frozenset({400})
NOT_ASKED = "vault-not-asked"
NO_ANSWER = "vault-no-answer"
OTHER_ANSWER = "vault-other-answer"
NO_RIGHT = "vault-no-right"
ASK = "run it on the embedded server, or give a token that may (docs/vault.md, “A Vault of yours”)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One sub-claim. sentence: what is wrong when it does not hold, as an auditor reads it.

    right: statuses that show it. wrong: statuses that refute it. All others leave it unproven.
    """

    claim: str
    code: str
    sentence: str
    remedy: str
    right: frozenset[int] = ACCEPTED
    wrong: frozenset[int] = frozenset({400, 404, 405, 412, 422})


def accepted(claim: str, code: str, sentence: str, remedy: str) -> Rule:
    """Return a rule whose request must succeed (and whose answer must hold, where one is compared)."""
    return Rule(claim=claim, code=code, sentence=sentence, remedy=remedy)


def refused(claim: str, code: str, sentence: str, remedy: str, *statuses: int) -> Rule:
    """Return a rule whose request must be refused. statuses: the refusals that count; none given: 400."""
    right = frozenset(statuses) or REFUSED
    return Rule(claim=claim, code=code, sentence=sentence, remedy=remedy, right=right, wrong=ACCEPTED)


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
    return Judgement(tuple(findings), shown(facts.probes) | dict(facts.details))


def shown(probes: Iterable[Probe]) -> dict[str, Any]:
    """Return the observations as facts of a report."""
    return {"observations": [asdict(item) for item in probes]}


def _of(rule: Rule, probes: list[Probe]) -> Iterator[Finding]:
    if not probes:
        yield not_proven(NOT_ASKED, f"It was not tried: {rule.claim}", ASK)
    for item in probes:
        seen = f" ({item.seen})" if item.seen else ""
        if item.status in rule.wrong or (item.status in rule.right and item.holds is False):
            yield fail(rule.code, f"{rule.sentence}{seen}", rule.remedy)
        elif item.status is None:
            text = item.seen or "nobody answered"
            code = NOT_ASKED if item.seen.startswith(probe.NOT_ASKED) else NO_ANSWER
            yield not_proven(code, f"{rule.claim}: {text}", ASK)
        elif item.status not in rule.right:
            code = NO_RIGHT if item.status in {401, 403} else OTHER_ANSWER
            yield not_proven(code, f"{rule.claim}: status {item.status}{seen}", ASK)
