"""DEMO-13: what the row-security prober says of the demo, in both variants."""

from dataclasses import replace
from typing import TYPE_CHECKING

from smos.rls.judge import judge_isolation
from smos.verdict import Judgement, not_proven

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smos.rls.facts import ProbeFacts


def judge_probes(variants: "Mapping[str, ProbeFacts]") -> Judgement:
    """Judge every variant by the prober's own judge; each finding says which variant it is of."""
    judged = {name: judge_isolation(facts) for name, facts in variants.items()}
    findings = [
        replace(finding, message=f"{name}: {finding.message}")
        for name, judgement in judged.items()
        for finding in judgement.findings
    ]
    if not judged:
        findings.append(not_proven("prober-not-run", "no variant was probed", "report this"))
    return Judgement(tuple(findings), {name: dict(judgement.facts) for name, judgement in judged.items()})
