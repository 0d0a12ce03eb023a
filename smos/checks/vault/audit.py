"""Judge of VAULT-08: the audit log is whole and holds no secret; without a device nothing is served."""

from collections.abc import Sequence

from smos.checks.vault.partly import judge_partly
from smos.checks.vault.rules import Rule, accepted, refused
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Judgement, note

KEEP_HASHING = (
    "leave log_raw off, and keep the mount's audit_non_hmac_* lists empty of keys that hold secrets"
)
TWO_DEVICES = "declare two devices on different disks, and alarm on vault_audit_log_request_failure"
RELOAD = "let the rotation rename the file and send SIGHUP; never truncate or copy it"

RULES: Sequence[Rule] = (
    accepted(
        "declared",
        "audit-off",
        "The Vault has no audit device, or one that writes secrets or accessors in the clear",
        "declare one in the server's configuration (OpenBao), or enable one (Vault); leave log_raw off and"
        " hmac_accessor on",
    ),
    accepted("kept", "audit-nowhere", "Every audit device of the Vault writes to nowhere", TWO_DEVICES),
    accepted(
        "mounts-hashed",
        "audit-unhashed",
        "Mounts of the Vault keep fields that hold secrets out of the audit log's hashing",
        "take them off audit_non_hmac_request_keys and audit_non_hmac_response_keys of the mount",
    ),
    accepted(
        "platform-secret",
        "audit-secret-in-clear",
        "A secret of the platform's stands in its audit log",
        KEEP_HASHING,
    ),
    accepted(
        "platform-trail",
        "audit-request-missing",
        "A request to the platform's secrets left no trace",
        TWO_DEVICES,
    ),
    accepted("no-secret", "audit-secret-in-clear", "A secret stands in the audit log", KEEP_HASHING),
    accepted("no-token", "audit-token-in-clear", "A token stands in the audit log", KEEP_HASHING),
    accepted(
        "hashed",
        "audit-hash-missing",
        "The audit hash of a secret that was written and read is not in the log: its use can't be traced",
        "look at the log's format and filters; ask the hash of the same device (sys/audit-hash)",
    ),
    accepted("every-request", "audit-request-missing", "A request left no trace", TWO_DEVICES),
    accepted("every-response", "audit-response-missing", "An answer left no trace", TWO_DEVICES),
    accepted("private", "audit-mode", "Others may read the audit log", 'set mode = "0600" on the device'),
    accepted("rotation", "audit-rotation-lost", "Rotating the log loses entries", RELOAD),
    accepted("rotation-served", "audit-rotation-refused", "Requests fail while the log is rotated", RELOAD),
    accepted("rotation-private", "audit-mode", "A rotated audit log is open to others", 'set mode = "0600"'),
    refused(
        "fails-closed-read",
        "audit-fails-open",
        "A secret was read although no audit device could write",
        "use a server that refuses then: this is the promise of Vault's audit",
        500,
    ),
    refused(
        "fails-closed-write",
        "audit-fails-open",
        "A write was accepted although no audit device could write",
        "use a server that refuses then: this is the promise of Vault's audit",
        500,
    ),
    refused(
        "refused-write-undone",
        "audit-write-kept",
        "A write that was refused for want of an audit device took place all the same",
        "use a server that audits before it acts",
        404,
    ),
    Rule(
        claim="recovers",
        code="audit-no-recovery",
        sentence="Vault stays unusable after its audit device is back",
        remedy=RELOAD,
        wrong=frozenset({404, 500, 503}),
    ),
    accepted(
        "failure-counted",
        "audit-failure-not-counted",
        "An audit device that fails shows in no metric, so nobody is told",
        "switch telemetry on and alarm on vault_audit_log_request_failure",
    ),
    Rule(
        claim="one-of-two",
        code="audit-second-useless",
        sentence="With one of two audit devices broken, requests fail",
        remedy="declare the second device on another disk, and look why it does not write",
        wrong=frozenset({500}),
    ),
    accepted(
        "one-of-two-logged",
        "audit-second-silent",
        "With one of two audit devices broken, requests leave no trace in the other",
        "look at the second device's path and rights",
    ),
    refused("both-fail", "audit-fails-open", "Vault serves with both audit devices broken", TWO_DEVICES, 500),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen. What Vault never hashes is said as a note."""
    judged = judge_partly(RULES, facts)
    numbers = facts.details.get("numbers in clear", 0)
    if not numbers:
        return judged
    text = "Numbers and booleans stand in the audit log as they are: Vault hashes text only. Keep secrets as text."
    return Judgement((*judged.findings, note("audit-numbers-in-clear", text)), judged.facts)
