"""The Vault suite's judges say PASS only for what was seen, its rules are all seen to fail, its matrix is the table."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from smos.checks.vault import CHECKS, not_required
from smos.checks.vault.access import judge, page, table
from smos.checks.vault.exercise import AREAS
from smos.checks.vault.rules import Rule, accepted, judge_probes, refused
from smos.faults.registry import cases
from smos.target import Target, VaultTarget
from smos.vault.access import AccessFacts, Matrix, Verb, load_matrix
from smos.vault.grants import Grant, unexplained
from smos.vault.verify import datakeys, kv, lifecycle, signatures, tokens, transit
from smos.vault.verify.access import MatrixFacts
from smos.vault.verify.probe import NOT_ASKED, Probe, ProbeFacts
from smos.verdict import Verdict

MINE = ("transit", "lifecycle", "signatures", "datakeys", "kv", "tokens")
ROOT = Path(__file__).resolve().parent.parent
GOOD = accepted("good", "good-code", "It was refused", "mend it")
BAD = refused("bad", "bad-code", "It was taken", "mend it")


def rules() -> list[Rule]:
    return [rule for area in MINE for rule in import_module(f"smos.checks.vault.{area}").RULES]


@pytest.mark.parametrize(
    ("rule", "probes", "verdict", "code"),
    [
        (GOOD, [Probe(claim="good", status=200)], Verdict.PASS, ""),
        (GOOD, [Probe(claim="good", status=200, holds=True)], Verdict.PASS, ""),
        (GOOD, [Probe(claim="good", status=200, holds=False)], Verdict.FAIL, "good-code"),
        (GOOD, [Probe(claim="good", status=400)], Verdict.FAIL, "good-code"),
        (GOOD, [Probe(claim="good", status=403)], Verdict.NOT_PROVEN, "vault-no-right"),
        (GOOD, [Probe(claim="good", status=500)], Verdict.NOT_PROVEN, "vault-other-answer"),
        (GOOD, [Probe(claim="good", status=503)], Verdict.NOT_PROVEN, "vault-other-answer"),
        (GOOD, [Probe(claim="good")], Verdict.NOT_PROVEN, "vault-no-answer"),
        (GOOD, [Probe(claim="good", seen=f"{NOT_ASKED}: x")], Verdict.NOT_PROVEN, "vault-not-asked"),
        (GOOD, [], Verdict.NOT_PROVEN, "vault-not-asked"),
        (GOOD, [Probe(claim="good", status=200), Probe(claim="good", status=400)], Verdict.FAIL, "good-code"),
        (BAD, [Probe(claim="bad", status=400)], Verdict.PASS, ""),
        (BAD, [Probe(claim="bad", status=200)], Verdict.FAIL, "bad-code"),
        (BAD, [Probe(claim="bad", status=403)], Verdict.NOT_PROVEN, "vault-no-right"),
        (BAD, [Probe(claim="bad", status=404)], Verdict.NOT_PROVEN, "vault-other-answer"),
        (BAD, [Probe(claim="bad", status=500)], Verdict.NOT_PROVEN, "vault-other-answer"),
        (BAD, [], Verdict.NOT_PROVEN, "vault-not-asked"),
    ],
)
def test_a_rule_passes_only_what_was_seen(
    rule: Rule, probes: list[Probe], verdict: Verdict, code: str
) -> None:
    judgement = judge_probes([rule], ProbeFacts(probes=tuple(probes)))
    assert judgement.verdict is verdict
    assert [finding.code for finding in judgement.findings] == ([code] if code else [])


def test_an_observation_that_no_rule_speaks_of_is_never_green() -> None:
    judgement = judge_probes([GOOD], ProbeFacts(probes=(Probe(claim="good", status=200), Probe(claim="new"))))
    assert judgement.verdict is Verdict.NOT_PROVEN


@pytest.mark.parametrize("area", MINE)
def test_a_check_that_saw_nothing_is_not_proven(area: str) -> None:
    module = import_module(f"smos.checks.vault.{area}")
    judgement = module.judge(ProbeFacts(probes=()))
    assert judgement.verdict is Verdict.NOT_PROVEN
    assert len(judgement.findings) == len(module.RULES)


@pytest.mark.parametrize(
    ("area", "claims"),
    [
        ("transit", (*transit.PLATFORM, *transit.SCRATCH)),
        ("lifecycle", (*lifecycle.PLATFORM, *lifecycle.SCRATCH)),
        ("signatures", signatures.CLAIMS),
        ("datakeys", datakeys.CLAIMS),
        ("kv", (*kv.PLATFORM, *kv.SCRATCH)),
        ("tokens", (*tokens.ROLES, *tokens.CHAIN, *tokens.WRAPPING, *tokens.APPROLE)),
    ],
)
def test_driver_and_judge_speak_of_the_same_claims(area: str, claims: tuple[str, ...]) -> None:
    assert {rule.claim for rule in import_module(f"smos.checks.vault.{area}").RULES} == set(claims)
    assert len(set(claims)) == len(claims)


def test_every_code_of_a_rule_is_provoked_by_a_fault() -> None:
    provoked = {code for case in cases("vault") for code in case.expectation.codes}
    assert {rule.code for rule in rules()} - provoked == set()


def test_every_code_is_documented() -> None:
    text = (ROOT / "docs" / "findings-vault-suite.md").read_text(encoding="utf-8")
    codes = {rule.code for rule in rules()}
    codes |= {"vault-not-asked", "vault-no-answer", "vault-other-answer", "vault-no-right"}
    codes |= {
        "access-too-wide", "access-without-data", "access-refused", "access-disagrees", "access-no-answer",
        "access-not-told", "access-not-requested", "access-role-silent", "access-too-little",
        "access-unlisted", "access-not-listed", "access-login-unknown", "access-ways-unknown",
        "vault-no-operator", "vault-no-credential", "vault-login-failed", "vault-no-scratch", "vault-no-address",
        "vault-no-tls", "vault-credentials-exposed", "vault-credentials-unreadable", "vault-stopped", "vault-live",
        "vault-narrowed",
    }  # fmt: skip
    assert sorted(code for code in codes if f"`{code}`" not in text) == []


def test_every_check_has_an_area_and_is_required_where_a_vault_is_declared() -> None:
    assert list(AREAS) == [check.id for check in CHECKS]
    assert not_required(Target(name="x", vault=VaultTarget())) == ()
    assert [check_id for check_id, _ in not_required(Target(name="x"))] == list(AREAS)


SMALL = Matrix.model_validate(
    {
        "kv_mount": "smarteros",
        "roles": ["ci"],
        "paths": [{"path": "mcp/github", "read": ["ci"]}, {"path": "sys/mounts", "system": True}],
    }
)
ALLOWED = AccessFacts(
    role="ci", path="smarteros/data/mcp/github", verb=Verb.READ, expected=True, status=200, capable=True
)
LISTED = Grant(role="ci", pattern="smarteros/data/mcp/github", capabilities=("read",))
DENIED = AccessFacts(role="ci", path="sys/mounts", verb=Verb.READ, expected=False, status=403, capable=False)


@pytest.mark.parametrize(
    ("cell", "code", "letter"),
    [
        (ALLOWED, "", "r"),
        (replace(ALLOWED, status=404), "", "r"),
        (DENIED, "", ""),
        (replace(ALLOWED, status=403, capable=False), "access-refused", "-r"),
        (replace(ALLOWED, status=403, capable=False, without_data=True), "access-without-data", "-r"),
        (replace(DENIED, status=200, capable=True), "access-too-wide", "+r"),
        (replace(DENIED, status=404, capable=True), "access-too-wide", "+r"),
        (replace(DENIED, status=200), "access-disagrees", "+r"),
        (replace(DENIED, capable=True), "access-disagrees", ""),
        (replace(DENIED, capable=True), "access-too-wide", ""),
        (replace(ALLOWED, capable=False), "access-disagrees", "r"),
        (replace(DENIED, status=None), "access-no-answer", "?r"),
        (replace(DENIED, status=503), "access-no-answer", "?r"),
        (replace(DENIED, capable=None), "access-not-told", ""),
        (replace(DENIED, status=None, requested=False), "access-not-requested", ""),
    ],
)
def test_a_cell_agrees_only_when_request_and_account_are_as_expected(
    cell: AccessFacts, code: str, letter: str
) -> None:
    facts = MatrixFacts(matrix=SMALL, cells=(cell,), grants=(LISTED,))
    codes = {finding.code for finding in judge(facts).findings} - {"access-too-little"}
    assert (code in codes) if code else not codes
    row = "mcp/github" if cell.path == ALLOWED.path else "sys/mounts"
    assert table(facts)[row]["ci"] == letter


@pytest.mark.parametrize(
    ("role", "pattern", "capabilities", "unknown"),
    [
        ("ci", "smarteros/data/mcp/github", ("read",), ()),
        ("ci", "smarteros/data/mcp/github", ("patch", "read"), ("patch",)),
        ("ci", "smarteros/data/mcp/github/*", ("read",), ("read",)),
        ("ci", "smarteros/data/logs/ci/*", ("create", "patch", "read", "update"), ()),
        ("ci", "smarteros/data/logs/ci/*", ("delete",), ("delete",)),
        ("ci", "smarteros/metadata/app/*", ("list",), ()),
        ("ci", "sys/seal", ("sudo", "update"), ("sudo", "update")),
        ("ci", "secret/*", ("read",), ("read",)),
        ("ci", "+/data/mcp/github", ("read",), ()),  # the matrix tries it on every mount that it knows
        ("ci", "+/data/other", ("read",), ("read",)),
        ("ci", "*", ("root",), ("root",)),
        ("ci", "cubbyhole/*", ("create", "read"), ()),
        ("ci", "identity/entity/id/0f", ("read",), ()),
        ("ci", "identity/entity/id/*", ("read",), ("read",)),
        ("ci", "auth/token/lookup-self", ("read", "sudo"), ("sudo",)),
        ("backup", "sys/audit", ("read", "sudo"), ()),
        ("backup", "sys/storage/raft/snapshot", ("read",), ()),
        ("recovery", "sys/storage/raft/snapshot", ("read",), ("read",)),
        ("backup", "auth/+/users/", ("list",), ()),
        ("backup", "auth/+/role/+", ("read",), ()),
    ],
)
def test_a_rule_that_the_matrix_has_no_reason_for_is_named(
    role: str, pattern: str, capabilities: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    grant = Grant(role=role, pattern=pattern, capabilities=capabilities)
    assert unexplained(load_matrix(), grant) == unknown


def test_a_role_whose_rules_nobody_lists_is_not_proven() -> None:
    found = judge(MatrixFacts(matrix=SMALL, cells=(ALLOWED, DENIED)))
    assert {finding.code for finding in found.findings} == {"access-not-listed", "access-too-little"}


def test_an_unknown_login_fails_on_a_vault_of_ours_and_leaves_somebody_elses_unproven() -> None:
    facts = MatrixFacts(matrix=SMALL, cells=(ALLOWED,), grants=(LISTED,), strangers=("auth/oidc/",))
    assert judge(facts).verdict is Verdict.FAIL
    assert judge(replace(facts, live=True)).verdict is Verdict.NOT_PROVEN


def test_the_matrix_is_of_the_mount_and_key_that_the_target_names() -> None:
    paths = {rule.path for rule in load_matrix().of("secret", "main").paths if rule.system}
    assert {
        "secret/config",
        "secret/metadata/mcp/github",
        "transit/keys/main",
        "transit/decrypt/main",
    } <= paths
    assert not [
        path for path in paths if path.startswith("smarteros/") or path.endswith("/smarteros-secrets")
    ]


def test_a_matrix_that_shrank_is_not_proven_and_a_role_that_is_silent_neither() -> None:
    few = judge(MatrixFacts(matrix=SMALL, cells=(ALLOWED, DENIED), grants=(LISTED,)))
    assert [finding.code for finding in few.findings] == ["access-too-little"]
    silent = judge(MatrixFacts(matrix=SMALL, cells=(), silent={"ci": "no credential"}))
    assert silent.verdict is Verdict.NOT_PROVEN


def test_the_page_of_the_matrix_marks_what_differs_and_holds_no_markup_of_names() -> None:
    facts = MatrixFacts(matrix=SMALL, cells=(replace(DENIED, path="sys/<b>", status=200, capable=True),))
    text = page(dict(judge(facts).facts))
    assert "<td class=x>+r</td>" in text
    assert "<b>" not in text


READERS = {
    "director-gemini": {
        "mcp/github", "mcp/supabase", "mcp/shopify", "mcp/shopify/orders", "mcp/shopify/customers", "mcp/metabase",
        "mcp/odoo", "mcp/stripe", "mcp/openai", "mcp/anthropic", "mcp/google", "mcp/twilio", "mcp/whatsapp",
        "mcp/mailgun", "mcp/linear", "mcp/notion", "mcp/n8n", "mcp/slack", "mcp/smartermcp",
        "mcp/callcenter-conversation", "mcp/callcenter-speech", "ssh/read-only",
    },
    "writer-copilot": {"mcp/github", "mcp/supabase", "mcp/shopify", "mcp/smartermcp"},
    "executor-codex": {
        "mcp/github", "mcp/n8n", "mcp/slack", "mcp/docker", "mcp/hostinger", "mcp/cloudflare", "mcp/vercel",
        "mcp/aws", "mcp/smartermcp", "mcp/callcenter-conversation", "ssh/read-only", "ssh/deploy", "ssh/root",
    },
    "ci": {"mcp/github", "mcp/supabase", "mcp/slack", "ssh/deploy", "app/odoo", "app/n8n"},
}  # fmt: skip
"""The table of the platform's documentation, by column, without each one's own state and logs."""


@pytest.mark.parametrize("role", READERS)
def test_the_matrix_grants_an_agent_what_its_column_says_and_its_own_tree(role: str) -> None:
    rules = [rule for rule in load_matrix().paths if not rule.system]
    own = {f"agents/{role}-state", f"logs/{role}/first"} if role != "ci" else {"ci/scratch", "logs/ci/first"}
    assert {rule.path for rule in rules if role in rule.read} == READERS[role] | own
    assert {rule.path for rule in rules if role in rule.write} == own
    assert [rule.path for rule in rules if role in rule.delete] == []


def test_nobody_but_the_administrator_reads_policies_and_tenants_read_their_own_path_only() -> None:
    matrix = load_matrix()
    by_path = {rule.path: rule for rule in matrix.paths}
    agents = set(READERS)
    for path in ("sys/policies/acl", "sys/policies/acl/ci", "sys/mounts"):
        assert not agents & {role for verb in Verb for role in by_path[path].roles(verb)}
        assert "admin" in by_path[path].read
    for tenant in ("cl-0001", "cl-0002"):
        assert by_path[f"tenants/{tenant}"].read == (f"tenant-{tenant}", "admin")
        assert {rule.path for rule in matrix.paths if f"tenant-{tenant}" in rule.read} <= {
            f"tenants/{tenant}",
            f"tenants/{tenant}/settings",
        }
