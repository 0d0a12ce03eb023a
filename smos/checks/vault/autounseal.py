"""Judge of VAULT-10: another Vault's key opens this one, nothing else does, and a whole loss can be undone."""

from collections.abc import Sequence

from smos.checks.vault.partly import judge_partly
from smos.checks.vault.rules import Rule, accepted
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement

SEAL = "look at the `seal` stanza, at the unsealer's state, and at the rights of the token (docs/vault.md)"
DEPENDS = "let the seal's key live in the unsealer (or a KMS) alone, never beside the storage that it opens"
DRILL = "back the unsealer up by itself: its snapshot and its shares, kept apart from the main Vault's"

RULES: Sequence[Rule] = (
    accepted(
        "kind", "autounseal-shamir", "The Vault is sealed by key shares: nothing unseals it by itself", SEAL
    ),
    Rule(
        claim="initialised",
        code="autounseal-not-open",
        sentence="A new Vault does not unseal itself",
        remedy=SEAL,
        wrong=frozenset({500, 503}),
    ),
    accepted("restart", "autounseal-not-open", "After a restart Vault does not unseal itself", SEAL),
    accepted("restart-kept", "autounseal-lost-data", "A secret did not survive the restart", SEAL),
    accepted(
        "recovery-keys",
        "autounseal-recovery-keys-open",
        "Recovery keys unseal Vault without its unsealer",
        DEPENDS,
    ),
    Rule(
        claim="recovery-keys-health",
        code="autounseal-opens-alone",
        sentence="Vault is open although its unsealer is gone and it was sealed",
        remedy=DEPENDS,
        right=frozenset({503}),
        wrong=frozenset({200, 429}),
    ),
    accepted("down-restart", "autounseal-opens-alone", "Vault opens while its unsealer is gone", DEPENDS),
    accepted(
        "drill-unsealer",
        "autounseal-unsealer-lost",
        "The unsealer does not come back from its snapshot",
        DRILL,
    ),
    accepted(
        "drill-threshold",
        "autounseal-unsealer-open",
        "The unsealer that came back opens below its threshold",
        "initialise the unsealer with a threshold of at least 2",
    ),
    accepted(
        "drill-main",
        "autounseal-main-lost",
        "The main Vault does not unseal itself by the unsealer that came back",
        DRILL,
    ),
    accepted("drill-kept", "autounseal-main-lost", "A secret did not survive the drill", DRILL),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen."""
    return judge_partly(RULES, facts)
