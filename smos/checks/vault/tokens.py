"""VAULT-07: tokens end by their time, with their parent, and after the one use that they were made for."""

from dataclasses import replace

from smos.checks.vault.rules import Rule, accepted, judge_probes, refused
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement

SERVER = "revoke what was issued; compare the server's version and build with its publisher's"
ENDED = (403, 400, 404)
"""How a token that has ended is refused: 403 where it is used, 400 or 404 where it is asked about."""


def _works(claim: str, code: str, sentence: str) -> Rule:
    """Return a rule for a token that must work: here a 403 is the token's end and no lack of rights."""
    rule = accepted(claim, code, sentence, SERVER)
    return replace(rule, wrong=rule.wrong | set(ENDED))


RULES = (
    accepted(
        "role-token-ttl",
        "token-role-ttl",
        "A role's token lives longer than the target allows",
        "set token_ttl and token_max_ttl on the AppRole (or `vault.token_ttl_hours`, if that is what you want)",
    ),
    accepted(
        "role-token-policies",
        "token-role-root",
        "A role logs in with the policy root",
        "give the role its own policy; nobody but an emergency needs root",
    ),
    refused(
        "role-id-alone",
        "approle-no-secret",
        "A role logs in by its role_id alone, which is a name and no secret",
        "set bind_secret_id on the role, or bind its logins to addresses (secret_id_bound_cidrs) as well",
        *ENDED,
    ),
    _works("token-works", "token-refused", "A new token is refused"),
    refused("token-expires", "token-outlives", "A token works after its time", SERVER, *ENDED),
    accepted(
        "token-longest-life",
        "token-outlives",
        "A token can be renewed beyond its longest life",
        SERVER,
    ),
    refused("token-uses", "token-reused", "A token for one use works twice", SERVER, *ENDED),
    refused("revoked", "token-survives", "A revoked token works", SERVER, *ENDED),
    refused("child-dies", "token-survives", "A token outlives the revocation of its parent", SERVER, *ENDED),
    refused(
        "grandchild-dies",
        "token-survives",
        "A token outlives the revocation of its parent's parent",
        SERVER,
        *ENDED,
    ),
    _works("orphan-survives", "token-orphan-dies", "An orphan dies with the token that made it"),
    accepted("login", "approle-refused", "An AppRole's fresh credential is refused", SERVER),
    refused(
        "login-again",
        "approle-reused",
        "A secret_id that is for one login works twice",
        "set secret_id_num_uses to 1 on the role and read it back; revoke the secret_ids that are out",
        *ENDED,
    ),
    refused(
        "secret-id-foreign",
        "approle-foreign",
        "The secret_id of one role opens another",
        SERVER,
        *ENDED,
    ),
    refused("secret-id-guessed", "approle-foreign", "A secret_id that nobody issued works", SERVER, *ENDED),
    accepted("wrap-ttl", "wrap-ttl", "A wrapping does not live as long as was asked for", SERVER),
    accepted("wrap-hides", "wrap-shows", "The answer to a wrapping shows what it wraps", SERVER),
    refused(
        "wrap-powerless",
        "wrap-powerful",
        "A wrapping token may do more than unwrap",
        SERVER,
        *ENDED,
    ),
    accepted("unwrap", "wrap-lost", "What was wrapped does not come back", SERVER),
    refused(
        "unwrap-again",
        "wrap-reused",
        "A wrapping opens twice: nobody can notice that another has read it first",
        SERVER,
        *ENDED,
    ),
    refused("wrap-expires", "wrap-outlives", "A wrapping opens after its time", SERVER, *ENDED),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was observed."""
    return judge_probes(RULES, facts)
