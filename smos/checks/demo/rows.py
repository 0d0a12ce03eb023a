"""DEMO-07 to DEMO-11: what roles tried, against what they may see. The judge only compares; the claims are data."""

from collections import Counter

from smos.demo.verify.facts import Observation, Trial
from smos.verdict import Finding, Judgement, fail, not_proven

REMEDIES = {
    "tenant-read-crossed": "compare tenant_id with the context in the USING of every policy of this table;"
    " look for a second permissive policy, a view without security_invoker, a role that bypasses row security",
    "tenant-write-crossed": "give the policy a WITH CHECK that compares tenant_id with the context",
    "user-read-crossed": "compare user_id with the context in the USING of every policy of this table",
    "user-write-crossed": "give the policy a WITH CHECK that compares user_id with the context",
    "own-rows-hidden": "a role that sees nothing proves nothing: look for a missing policy or right",
    "row-security-evaded": "take SUPERUSER, BYPASSRLS and ownership from the role; FORCE ROW LEVEL SECURITY",
    "truncate-granted": "REVOKE TRUNCATE: it ignores row security",
    "open-without-context": "let no policy hold without a context: NULLIF(current_setting(…, true), '')",
    "seed-writable": "give the role no right on the columns origin and created_at",
    "readonly-writes": "REVOKE INSERT, UPDATE, DELETE from the reports' role",
    "foreign-key-oracle": "let foreign keys carry tenant_id (and user_id), so that what is another's does not exist",
    "unique-oracle": "let unique constraints and primary keys start with tenant_id",
    "error-oracle": "take CREATE and TEMPORARY from the role, and LEAKPROOF from functions that raise or tell",
    "statistics-oracle": "row security keeps pg_stats closed: switch it on for this table",
    "large-object-shared": "REVOKE EXECUTE on lo_creat, lo_create and lo_from_bytea FROM PUBLIC",
    "context-leftover": "set the context with set_config(…, true) inside of the transaction, never for the session",
    "context-preset": "take the context out of ALTER ROLE … SET and ALTER DATABASE … SET",
    "context-cached": "declare the context functions STABLE, never IMMUTABLE",
    "claims-spoofed": "read the tenant from app_metadata; user_metadata can be written by the user",
    "anonymous-reads": "REVOKE from anon whatever is not the shop window",
}  # fmt: skip
"""Finding code to remedy: every code that a claim may carry."""
SHOWN = 8
"""Findings of one code that are spelled out; more of the same are counted."""


def judge_trial(trial: Trial) -> Judgement:
    """Judge everything that was tried for one check."""
    findings = [
        not_proven(
            "roles-not-tried",
            f"Nothing could be tried as a role of the demo: {why}",
            "load compose/demo/init.sql and supabase.sql, and give the roles their passwords",
        )
        for why in trial.unreachable
    ]
    if not trial.observations and not findings:
        findings.append(
            not_proven(
                "roles-not-tried",
                "Nothing was tried",
                "report this: a check without a statement proves nothing",
            )
        )
    broken = [item for item in trial.observations if not item.holds]
    said: Counter[str] = Counter()
    for item in broken:
        said[item.code] += 1
        if said[item.code] <= SHOWN:
            findings.append(_finding(item))
    for code, number in said.items():
        if number > SHOWN:
            findings.append(fail(code, f"… and {number - SHOWN} more of {code}", REMEDIES[code]))
    return Judgement(
        tuple(findings),
        {
            "statements": len(trial.observations),
            "held": len(trial.observations) - len(broken),
            "roles": sorted({item.role for item in trial.observations}),
            "by_claim": dict(sorted(Counter(item.code for item in trial.observations).items())),
        },
    )


def _finding(item: Observation) -> Finding:
    wanted = " or ".join(item.allowed)
    return fail(
        item.code,
        f"{item.role}: not so that {item.what}: {item.seen} instead of {wanted} ({item.statement})",
        REMEDIES[item.code],
    )
