"""Judge of VAULT-12: nothing is left open that the platform does not need."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from smos.checks.vault.partly import judge_partly
from smos.checks.vault.rules import Rule, accepted, refused
from smos.vault.verify.hardening import HASHICORP
from smos.vault.verify.probe import ProbeFacts
from smos.verdict import Finding, Judgement, fail, note

CLOSED = (400, 403, 404, 405)
BUILT_IN = frozenset({"generate-root", "rekey"})
"""Doors that HashiCorp Vault 1.15 has no switch for; whoever opens them still needs the key shares."""
SHORT_DAYS = 14.0
"""A certificate that ends sooner is renewed now, by hand if need be."""

RULES: Sequence[Rule] = (
    accepted(
        "no-root-token",
        "hardening-root-token",
        "A root token is left, or one whose policy grants as much",
        "revoke it; make one with a threshold of key shares for the minutes that need it",
    ),
    accepted("audit-on", "hardening-audit-off", "There is no audit device", "declare one (docs/vault.md)"),
    accepted(
        "lease-bound",
        "hardening-lease-unbound",
        "Tokens may live as long as the server's own default lets them, 32 days",
        "set `max_lease_ttl` in the server's configuration",
    ),
    accepted(
        "role-bound",
        "hardening-role-unbound",
        "A role's tokens live longer than declared",
        "set token_max_ttl on the role",
    ),
    accepted(
        "default-policy",
        "hardening-default-policy",
        "The policy `default`, which nearly every token has, grants more than a token's care for itself",
        "take the platform's paths out of the policy `default`",
    ),
    *(
        refused(claim, "hardening-door-open", f"Without a token, {what}", remedy, *CLOSED)
        for claim, what, remedy in (
            ("raw-storage", "the raw storage can be read", "set raw_storage_endpoint = false"),
            (
                "generate-root",
                "the making of a root token can be watched and begun",
                "leave disable_unauthed_generate_root_endpoints on (OpenBao); Vault 1.15 can't: limit the address",
            ),
            (
                "rekey",
                "a rekey can be watched and begun",
                "leave disable_unauthed_rekey_endpoints on (OpenBao); Vault 1.15 can't: limit the address",
            ),
            ("pprof", "the server's profiles can be read", "leave unauthenticated_pprof_access off"),
            ("ui", "the web interface is served", "set ui = false where nobody needs it"),
            (
                "metrics",
                "the metrics can be read",
                "leave unauthenticated_metrics_access off; give the scraper a token",
            ),
            (
                "in-flight",
                "the requests under way can be seen",
                "leave unauthenticated_in_flight_requests_access off",
            ),
            ("host-info", "facts on the host can be read", "take what rewrites requests out of the way"),
        )
    ),
    accepted(
        "raw-storage-off",
        "hardening-raw-storage",
        "Who has a strong token can read and write the raw storage",
        "set raw_storage_endpoint = false",
    ),
    accepted(
        "tls-verified",
        "hardening-tls",
        "The listener shows no certificate that verifies over TLS 1.2 or newer",
        "give it a certificate of an authority that clients trust, for the name they use, and renew it in time",
    ),
    accepted(
        "listeners",
        "hardening-no-tls",
        "Vault has a listener without TLS beyond loopback",
        "set tls_disable = false on it, or take it away",
    ),
    accepted(
        "listeners-shut",
        "hardening-door-open",
        "A listener gives out without a token what needs one",
        "take the setting off that listener",
    ),
    accepted(
        "cors",
        "hardening-cors",
        "Web pages of anybody's may speak to Vault from their visitors' browsers",
        "name the allowed origins in sys/config/cors, never `*`; or switch it off",
    ),
    accepted(
        "published",
        "hardening-published",
        "The container's port is published beyond loopback",
        "publish it on 127.0.0.1, behind what terminates for others",
    ),
    accepted(
        "tls-weak",
        "hardening-tls-weak",
        "Cipher suites are taken that hide or authenticate nothing, or are broken (RC4, 3DES)",
        "leave tls_cipher_suites out of the configuration: the server's own choice is sound",
    ),
    accepted("tls-old", "hardening-tls-old", "TLS 1.0 or 1.1 is taken", 'set tls_min_version = "tls12"'),
    accepted(
        "tls-plain",
        "hardening-no-tls",
        "Vault answers without TLS",
        "set tls_disable = false on the listener",
    ),
    accepted(
        "no-superuser",
        "hardening-superuser",
        "The server runs as root or with capabilities",
        "run it as a user of its own, with every capability dropped",
    ),
    accepted(
        "no-core-dumps",
        "hardening-core-dumps",
        "A crash would leave a core dump, with keys in it",
        "set the limit of core files to 0 (compose: ulimits.core, systemd: LimitCORE=0)",
    ),
    accepted(
        "not-swapped",
        "hardening-swapped",
        "Parts of the server's memory, where keys are, lie in swap",
        "switch swap off for it (compose: memswap_limit, systemd: MemorySwapMax=0), or encrypt the swap",
    ),
    accepted(
        "private-files",
        "hardening-files-open",
        "Others may read or change what must be private",
        "chmod 0700 directories and 0600 files; the configuration and the key may be 0640, root and group",
    ),
)


def judge(facts: ProbeFacts) -> Judgement:
    """Judge what was seen; a certificate that ends soon fails, swap that could be used is a note."""
    built_in = [
        item.claim
        for item in facts.probes
        if item.claim in BUILT_IN and item.status == 200 and facts.details.get("product") == HASHICORP
    ]
    rules = [rule for rule in RULES if rule.claim not in built_in]
    probes = tuple(item for item in facts.probes if item.claim not in built_in)
    judged = judge_partly(rules, replace(facts, probes=probes))
    tls: Mapping[str, Any] = facts.details.get("tls") or {}
    process: Mapping[str, Any] = facts.details.get("process") or {}
    more = [*_ending(tls, facts), *_swap(process), *_built_in(built_in)]
    return Judgement((*judged.findings, *more), judged.facts)


def _built_in(claims: Sequence[str]) -> list[Finding]:
    if not claims:
        return []
    text = (
        f"{HASHICORP} answers {', '.join(claims)} to everybody and can't be told not to: limit who reaches it"
    )
    return [note("hardening-door-built-in", text)]


def _ending(tls: Mapping[str, Any], facts: ProbeFacts) -> list[Finding]:
    left = tls.get("days_left")
    if left is None or left >= SHORT_DAYS or not facts.details.get("live"):
        return []  # the harness' own certificate lives for a day
    text = f"The certificate of {tls['address']} ends in {left:g} days"
    return [fail("hardening-certificate-ends", text, "renew it, and let something renew it by itself")]


def _swap(process: Mapping[str, Any]) -> list[Finding]:
    swap = process.get("swap_bytes")
    if not swap:
        return []
    text = f"The machine has {swap} bytes of swap, and the storage can't be locked in memory (raft, OpenBao)"
    return [note("hardening-swap", text)]
