"""DR-06: Vault comes back from its snapshot, with its rules, its logins and its keys."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from smos.checks.dr.vault_health import judge_health
from smos.checks.dr.vault_problems import OTHER_COPY, PROBLEMS, SANDBOX
from smos.target import VaultTarget
from smos.vault.facts import LoginFacts, VaultFacts
from smos.verdict import Finding, Judgement, Problem, Verdict, fail, not_proven, note

__all__ = ["judge_health", "judge_vault"]

_MAYBE_VERSION = frozenset(
    {
        "snapshot-refused",
        "sandbox-refused",
        "restore-failed",
        "unseal-failed",
        "not-active",
        "recovery-stopped",
    }
)


def judge_vault(target: VaultTarget, facts: VaultFacts | None) -> Judgement:
    """Judge what a recovery of Vault showed. PASS needs positive evidence of every part of the claim."""
    if facts is None:
        missing = fail(
            "vault-snapshot-missing",
            "The set that was restored holds no snapshot of Vault",
            "take a raft snapshot with every backup",
        )
        return Judgement((missing,))
    findings = [*_problems(facts)]
    if facts.unsealed:
        findings += _seal(facts)
        findings += _logins(target, facts)
        findings += _rules(facts)
        findings += _canaries(facts, findings)
    elif not findings:
        findings.append(not_proven("vault-unreachable", "The recovery ended before Vault was open", SANDBOX))
    if facts.isolation != "network-namespace":
        findings.append(
            note("vault-isolation", f"The restored Vault's network was cut by {facts.isolation} only")
        )
    return Judgement(tuple(findings), _shown(facts))


def _shown(facts: VaultFacts) -> dict[str, Any]:
    shown = asdict(facts)
    shown["timings"] = dict(facts.timings)
    return shown


def _problems(facts: VaultFacts) -> Iterator[Finding]:
    gap = _version_gap(facts)
    for problem in facts.problems:
        if gap and problem.code in _MAYBE_VERSION:
            yield not_proven(
                "vault-version-gap",
                f"The sandbox is {facts.version}, the source was {facts.expected_version}: {problem.detail}",
                "run the drill with a server of the source's version",
            )
            continue
        verdict, code, sentence, remedy = PROBLEMS.get(problem.code) or _unlisted(problem)
        yield Finding(code, f"{sentence}: {problem.detail}", remedy, verdict)
    if gap and facts.unsealed:
        yield note(
            "vault-version-differs", f"The source ran {facts.expected_version}, the sandbox {facts.version}"
        )


def _unlisted(problem: Problem) -> tuple[Verdict, str, str, str]:
    if problem.code.startswith("snapshot-"):
        return Verdict.FAIL, "vault-snapshot-corrupt", "Vault's snapshot is not whole", OTHER_COPY
    return Verdict.NOT_PROVEN, "vault-unreachable", "The recovery stopped", SANDBOX


def _version_gap(facts: VaultFacts) -> bool:
    if not facts.version or not facts.expected_version:
        return False
    return facts.version.split(".")[:2] != facts.expected_version.split(".")[:2]


def _seal(facts: VaultFacts) -> Iterator[Finding]:
    if facts.sealed_below_threshold is not True:
        yield fail(
            "vault-unsealed-below-threshold",
            f"Vault opened with fewer than the {facts.escrow_threshold} key shares that the escrow names",
            "re-key with the threshold that was agreed, and write the new shares to the escrow",
        )
    if facts.threshold != facts.escrow_threshold:
        yield fail(
            "vault-threshold-differs",
            f"The seal asks for {facts.threshold} key shares, the escrow says {facts.escrow_threshold}",
            "write the escrow anew after every re-key",
        )
    if facts.wrong_shares:
        yield fail(
            "vault-share-wrong",
            f"{facts.wrong_shares} of {facts.escrow_shares} escrowed key shares do not belong to the others",
            "replace the damaged shares while there are enough good ones: re-key",
        )
    if facts.expected_cluster_id is None:
        pass  # no canary file: said elsewhere
    elif facts.cluster_id != facts.expected_cluster_id:
        yield fail(
            "vault-wrong-cluster",
            f"The snapshot is of cluster {facts.cluster_id}, the backup was of {facts.expected_cluster_id}",
            "find where snapshots of different clusters get mixed up",
        )


def _logins(target: VaultTarget, facts: VaultFacts) -> Iterator[Finding]:
    if not target.roles:
        yield not_proven(
            "vault-no-roles",
            "The target declares no role, so nothing shows that logins and policies came back",
            "declare `vault.roles`: for each role a path that it may read and one that it may not",
        )
    seen = {login.role: login for login in facts.logins}
    for role in target.roles:
        login = seen.get(role.name)
        if login is None:
            yield not_proven("vault-login-not-tried", f"{role.name} was never logged in", SANDBOX)
        elif not login.logged_in:
            yield fail(
                "vault-login-failed",
                f"{role.name} can't log in: {login.detail}",
                "its AppRole did not come back, or the escrow's credential is not the newest: renew both",
            )
        else:
            yield from _reads(login)


def _reads(login: LoginFacts) -> Iterator[Finding]:
    if login.allowed_status == 403:
        yield fail(
            "vault-allowed-read-refused",
            f"{login.role} is refused {login.allowed}, which it may read",
            "the policy did not come back, or names the path without `data/` (KV v2)",
        )
    elif login.allowed_status == 404:
        yield fail(
            "vault-secret-missing",
            f"There is nothing at {login.allowed}, which {login.role} reads",
            "the secret did not come back, or was deleted before the backup",
        )
    elif login.allowed_status != 200:
        yield _no_answer(login.role, login.allowed, login.allowed_status)
    if login.denied_status in {200, 204, 404}:
        # 404: the policy let the request through, there only was nothing to read.
        yield fail(
            "vault-denied-read-granted",
            f"{login.role} may read {login.denied}, which must be refused",
            "a policy is wider than agreed: compare it with compose/vault/policies",
        )
    elif login.denied_status != 403:
        yield _no_answer(login.role, login.denied, login.denied_status)


def _no_answer(role: str, path: str, status: int | None) -> Finding:
    seen = f"status {status}" if status else "no answer"
    return not_proven("vault-unreachable", f"{role} reading {path}: {seen}", SANDBOX)


def _rules(facts: VaultFacts) -> Iterator[Finding]:
    if not facts.canary_present:
        yield not_proven(
            "vault-canary-missing",
            "There is no canary file beside the snapshot: nothing says what must have come back",
            "take the backup with this tool: it writes canary.json beside the snapshot",
        )
        return
    if not facts.compared:
        yield not_proven(
            "vault-not-compared", "What came back was not compared with the catalogue of the backup", SANDBOX
        )
        return
    back = "find why the snapshot does not hold what the source had; take it again"
    for code, names, what in (
        ("vault-policies-missing", facts.policies_missing, "policies are missing"),
        ("vault-policies-changed", facts.policies_changed, "policies have another text"),
        ("vault-auth-missing", facts.auth_missing, "auth methods or roles are missing"),
        ("vault-auth-changed", facts.auth_changed, "auth methods or roles have other settings"),
        ("vault-mounts-missing", facts.mounts_missing, "mounts are missing or of another type"),
        ("vault-audit-missing", facts.audit_missing, "audit devices are missing or differ"),
    ):
        if names:
            listed = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
            yield fail(code, f"{len(names)} {what}: {listed}", back)
    if facts.secrets_missing:
        yield fail(
            "vault-secret-missing",
            f"{facts.secrets_missing} of {facts.secrets_expected} secrets did not come back",
            back,
        )


def _canaries(facts: VaultFacts, so_far: list[Finding]) -> Iterator[Finding]:
    told = {finding.code for finding in so_far}
    for opened, whose in (
        (facts.canary_decrypts if facts.canary_present else True, "the ciphertext made before the snapshot"),
        (facts.escrow_canary_decrypts, "the ciphertext of the first day, kept in the escrow"),
    ):
        if opened is False and "vault-canary-undecryptable" not in told:
            yield fail(
                "vault-canary-undecryptable",
                f"{whose.capitalize()} opens to another text",
                "this is not the transit key that made it: find the snapshot that holds it",
            )
    if facts.canary_present and facts.canary_decrypts is None and "vault-unreachable" not in told:
        yield not_proven(
            "vault-canary-not-tried",
            "It was not tried whether old ciphertext decrypts",
            "see the other findings: the role `recovery` must log in and may decrypt",
        )
