"""VAULT-04: data keys open what they were made for; in a batch one bad item hides no other."""

from smos.checks.vault.rules import accepted, judge_probes, refused
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement

SERVER = "make no data keys with this server: compare its version and build with its publisher's"

RULES = (
    accepted(
        "wrapped-hidden",
        "datakey-plaintext-shown",
        "The answer for a wrapped data key shows its plaintext, or no ciphertext",
        SERVER,
    ),
    accepted(
        "wrapped-opens",
        "datakey-lost",
        "A wrapped data key does not open to 32 bytes: what it encrypted is lost",
        SERVER,
    ),
    accepted(
        "plaintext-opens",
        "datakey-lost",
        "A data key's ciphertext opens to another key than the one that was handed out",
        SERVER,
    ),
    accepted("datakeys-differ", "datakey-repeated", "Two data keys are the same", SERVER),
    accepted("datakey-size", "datakey-size", "A data key has another size than was asked for", SERVER),
    refused(
        "datakey-odd-size", "datakey-size", "A data key of a size that protects nothing was made", SERVER
    ),
    accepted(
        "batch-order",
        "batch-order",
        "The results of a batch are not those of its items, in their order",
        "send the items one by one; compare the server's version with its publisher's",
    ),
    accepted(
        "batch-bad-item",
        "batch-item-hidden",
        "One bad item of a batch hides the results of others, or is not reported",
        "send the items one by one; compare the server's version with its publisher's",
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was observed."""
    return judge_probes(RULES, facts)
