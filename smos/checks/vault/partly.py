"""A live Vault is asked what can be asked without breaking it; the rest of a check stays unproven, said once."""

from collections.abc import Sequence

from smos.checks.vault.rules import Rule, judge_probes
from smos.vault.verify.bare import LIVE
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement, not_proven


def judge_partly(rules: Sequence[Rule], facts: ProbeFacts) -> Judgement:
    """Judge every rule; of a live Vault those that were asked, and one finding for all others."""
    if not facts.details.get(LIVE):
        return judge_probes(rules, facts)
    asked = {item.claim for item in facts.probes}
    judged = judge_probes([rule for rule in rules if rule.claim in asked], facts)
    left = len([rule for rule in rules if rule.claim not in asked])
    if not left:
        return judged
    rest = not_proven(
        "vault-live",
        f"{left} claims of this check can only be shown by breaking a Vault, and a live one is never broken",
        "run this check with --provision embedded as well; it then speaks about the stack as shipped",
    )
    return Judgement((*judged.findings, rest), judged.facts)
