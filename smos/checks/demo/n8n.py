"""DEMO-14: the demo's n8n. Only its own positive answer is healthy."""

from smos.demo.verify.facts import N8nFacts
from smos.verdict import Finding, Judgement, fail, not_proven


def judge_n8n(facts: N8nFacts) -> Judgement:
    """Judge what n8n said of itself."""
    findings: list[Finding] = []
    look = "docker logs demo-n8n; look for its encryption key and the room on its volume"
    for what, said in (("healthy", facts.healthy), ("ready", facts.ready)):
        if said is None:
            findings.append(
                not_proven("n8n-unknown", f"nobody knows whether n8n is {what}: {facts.detail}", look)
            )
        elif not said:
            findings.append(
                fail("n8n-unhealthy", f"n8n does not say that it is {what}: {facts.detail}", look)
            )
    return Judgement(tuple(findings), {"url": facts.url, "healthy": facts.healthy, "ready": facts.ready})
