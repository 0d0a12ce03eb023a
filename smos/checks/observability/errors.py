"""Judge of OBS-09: an error is stored whole, without what it must not tell, and only with the right key."""

from collections.abc import Sequence

from smos.checks.observability.rules import Rule, judge_probes
from smos.observability.verify.probe import ProbeFacts
from smos.verdict import Judgement

RULES: Sequence[Rule] = (
    Rule("sent", "error-not-sent", "The SDK sends nothing", "give the application its DSN (SENTRY_DSN)"),
    Rule(
        "stored",
        "error-not-stored",
        "What the SDK sent can't be read back",
        "compare the DSN's key and project with the server's; read the server's log",
    ),
    Rule(
        "whole",
        "error-incomplete",
        "A part of the error did not come back",
        "look at what the SDK's options and the server take away",
    ),
    Rule(
        "private",
        "error-tells",
        "The stored error holds what must not leave the application",
        "leave send_default_pii off and the SDK's scrubber on; delete the event",
    ),
    Rule(
        "key",
        "sentry-open",
        "The server does not refuse a key that nobody issued",
        "anybody can fill it: check what stands before it",
    ),
    Rule("stranger", "sentry-open", "The server stores what a wrong key sent", "check what stands before it"),
    Rule(
        "api-closed", "sentry-api-open", "The server's API answers without a right token", "close it at once"
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen."""
    return judge_probes(RULES, facts)
