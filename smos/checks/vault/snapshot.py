"""Judge of VAULT-13: what a snapshot and the shares bring back. The recovery itself is judged as in a drill (DR-06)."""

from collections.abc import Sequence
from dataclasses import asdict

from smos.checks.dr.vault import judge_vault
from smos.checks.vault.rules import NO_RIGHT, Rule, accepted, judge_probes
from smos.vault.verify.probe import ProbeFacts
from smos.vault.verify.snapshot import RecoveredFacts
from smos.verdict import Finding, Judgement, fail

LOGIN = "compare the roles and policies of the Vault that came back with the source's"
RULES: Sequence[Rule] = (
    accepted("old-secret", "vault-secret-missing", "A secret from before the snapshot is not back", LOGIN),
    Rule(
        claim="later-secret",
        code="vault-not-the-snapshot",
        sentence="A secret from after the snapshot is there: what answers is not what was restored",
        remedy="look which server answers at the address of the recovery",
        right=frozenset({404}),
        wrong=frozenset({200}),
    ),
    accepted(
        "old-ciphertext",
        "vault-canary-undecryptable",
        "Ciphertext from before the snapshot does not open to its text",
        "restore a snapshot that holds the transit key's older versions",
    ),
)


def judge(facts: RecoveredFacts) -> Judgement:
    """Judge the recovery, then what was asked of it. A login that is refused on the new server fails."""
    recovery = judge_vault(facts.target, facts.recovery)
    if not facts.recovery.unsealed:
        return recovery
    asked = judge_probes(RULES, ProbeFacts(probes=facts.probes))
    more = [_refusal(item) for item in asked.findings]
    probes = {"observations": [asdict(item) for item in facts.probes]}
    return Judgement((*recovery.findings, *more), dict(recovery.facts) | probes)


def _refusal(finding: Finding) -> Finding:
    """Turn a refusal into a failure: a role that wrote a moment ago has the right to ask."""
    if finding.code != NO_RIGHT:
        return finding
    return fail("vault-login-failed", f"On the Vault that came back: {finding.message}", LOGIN)
