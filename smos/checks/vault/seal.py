"""Judge of VAULT-09: health tells the truth about the seal, and only a threshold of right shares opens it."""

from collections.abc import Sequence

from smos.checks.vault.partly import judge_partly
from smos.checks.vault.rules import Rule, accepted, refused
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement

SERVER = "look at the server's version and at what answers in its place (a proxy?)"
HEALTH = "let monitoring ask sys/health itself, with its own status codes, and no proxy rewrite them"
STATES = frozenset({200, 429, 472, 473, 501, 503})


def _health(claim: str, status: int, state: str) -> Rule:
    return Rule(
        claim=claim,
        code="seal-health-wrong",
        sentence=f"sys/health does not say {status} while Vault is {state}",
        remedy=HEALTH,
        right=frozenset({status}),
        wrong=STATES - {status},
    )


RULES: Sequence[Rule] = (
    Rule(
        claim="subject-active",
        code="seal-not-active",
        sentence="The Vault is not unsealed and active",
        remedy="unseal it, or give the address of the active node",
        wrong=STATES - {200, 429, 473},
    ),
    accepted(
        "subject-threshold",
        "seal-threshold-one",
        "One person alone can open the Vault, or make a root token of the recovery keys",
        "rekey it with a threshold of at least 2 (`operator rekey`), the shares given to different people",
    ),
    _health("uninitialised", 501, "not initialised"),
    _health("sealed", 503, "sealed"),
    _health("active", 200, "active"),
    _health("standby", 429, "a standby"),
    _health("sealed-again", 503, "sealed again"),
    accepted("progress", "seal-progress-wrong", "The number of shares given is not counted truly", SERVER),
    accepted(
        "nonce", "seal-nonce-wrong", "The shares of one attempt are not held together by a nonce", SERVER
    ),
    accepted("nonce-fresh", "seal-nonce-wrong", "A new attempt has the nonce of an old one", SERVER),
    accepted("reset", "seal-progress-wrong", "An attempt to unseal can't be started anew", SERVER),
    accepted(
        "below-threshold",
        "seal-opened-below-threshold",
        "Vault opened to fewer shares than agreed",
        "initialise it with a threshold of at least 2, and rekey what is there",
    ),
    Rule(
        claim="below-threshold-health",
        code="seal-opened-below-threshold",
        sentence="Vault says that it is open after fewer shares than agreed",
        remedy="initialise it with a threshold of at least 2, and rekey what is there",
        right=frozenset({503}),
        wrong=frozenset({200, 429}),
    ),
    refused("wrong-share", "seal-wrong-share-taken", "A wrong share was not refused", SERVER),
    Rule(
        claim="wrong-share-health",
        code="seal-wrong-share-taken",
        sentence="Vault is open after a wrong share",
        remedy=SERVER,
        right=frozenset({503}),
        wrong=frozenset({200, 429}),
    ),
    accepted(
        "threshold",
        "seal-stays-sealed",
        "A threshold of right shares does not open Vault",
        "are the shares those of this Vault, and its storage whole?",
    ),
    accepted("seals", "seal-not-sealed", "Vault can't be sealed", "look at the rights of the token"),
    *(
        refused(
            claim,
            "seal-serves-sealed",
            f"A sealed Vault serves {what}",
            "take it off the network; its answers don't come from its storage",
            503,
        )
        for claim, what in (("sealed-read", "reads"), ("sealed-write", "writes"), ("sealed-login", "logins"))
    ),
    accepted(
        "kept",
        "seal-lost-data",
        "A secret did not survive sealing and unsealing",
        "look at the storage; recover from the snapshot",
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen."""
    return judge_partly(RULES, facts)
