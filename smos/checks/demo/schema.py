"""DEMO-12: what isolation rests on, as the catalogue has it. Behaviour is judged apart; this names the cause."""

import re
from collections.abc import Iterator

from smos.demo.schema import LOGINS, TABLES
from smos.demo.verify.facts import PolicyFacts, SchemaFacts
from smos.verdict import Finding, Judgement, fail, not_proven

LOAD = "load compose/demo/init.sql and supabase.sql again, and take back what was granted beside them"
ROLES = (*LOGINS, "anon", "authenticated")
TENANTS_ROLES = ("demo_app", "demo_readonly", "authenticated")
"""Roles that speak for a tenant: their policies must compare it with the context."""
MEMBERSHIPS = {"demo_authenticator": {"anon", "authenticated"}}
OPEN_IF_NULL = re.compile(
    r"(current_setting|current_tenant|current_user_id|jwt_tenant|uid)\([^)]*\)[^A]* IS NULL", re.IGNORECASE
)
CONTEXT = re.compile(r"current_tenant|jwt_tenant|app\.tenant_id", re.IGNORECASE)


def judge_schema(facts: SchemaFacts) -> Judgement:
    """Judge the catalogue."""
    findings = [*_roles(facts), *_tables(facts), *_policies(facts), *_rights(facts), *_plans(facts)]
    return Judgement(
        tuple(findings),
        {
            "tables": len(facts.tables),
            "policies": len(facts.policies),
            "roles": [item.name for item in facts.roles],
            "plans": len(facts.plans),
        },
    )


def _roles(facts: SchemaFacts) -> Iterator[Finding]:
    known = {item.name: item for item in facts.roles}
    for name in ROLES:
        role = known.get(name)
        if role is None:
            yield not_proven("role-missing", f"there is no role {name}", LOAD)
            continue
        if role.elevated:
            yield fail(
                "role-elevated",
                f"{name} has {', '.join(role.elevated)}",
                f"ALTER ROLE {name} NO{role.elevated[0]}",
            )
        for other in role.memberships:
            if other not in MEMBERSHIPS.get(name, set()):
                yield fail("role-membership", f"{name} may become {other}", f"REVOKE {other} FROM {name}")
        if role.owns:
            yield fail(
                "role-owns",
                f"{name} owns {', '.join(role.owns)}: an owner can switch row security off",
                "ALTER … OWNER TO demo_owner",
            )
        if name in LOGINS and not role.can_login:
            yield fail("role-cannot-login", f"{name} can't log in", f"ALTER ROLE {name} LOGIN")
    owner = known.get("demo_owner")
    if owner is not None and (owner.can_login or owner.elevated):
        yield fail(
            "role-elevated",
            "demo_owner can log in or has more than an owner needs",
            "ALTER ROLE demo_owner NOLOGIN",
        )


def _tables(facts: SchemaFacts) -> Iterator[Finding]:
    known = {item.name for item in facts.tables}
    for name in TABLES:
        if f"demo.{name}" not in known:
            yield not_proven("table-missing", f"there is no table demo.{name}", LOAD)
    for item in facts.tables:
        if not item.row_security:
            yield fail(
                "row-security-off",
                f"{item.name} has no row security",
                f"ALTER TABLE {item.name} ENABLE ROW LEVEL SECURITY",
            )
        elif not item.forced:
            yield fail(
                "row-security-not-forced",
                f"{item.name}: its owner passes the policies",
                f"ALTER TABLE {item.name} FORCE ROW LEVEL SECURITY",
            )
        if not item.indexed and item.name != "demo.identity":
            yield fail(
                "tenant-not-indexed",
                f"{item.name}: no index starts with the column that every policy compares",
                f"CREATE INDEX ON {item.name} (tenant_id)",
            )


def _policies(facts: SchemaFacts) -> Iterator[Finding]:
    for policy in facts.policies:
        yield from _policy(policy)
    for table in TABLES:
        for role in TENANTS_ROLES:
            if not any(
                policy.table == f"demo.{table}"
                and role in policy.roles
                and policy.command in {"SELECT", "ALL"}
                for policy in facts.policies
            ):
                yield fail(
                    "policy-missing",
                    f"demo.{table}: no policy lets {role} read: it sees nothing, without an error",
                    LOAD,
                )


def _policy(policy: PolicyFacts) -> Iterator[Finding]:
    where = f"{policy.table}: policy {policy.name}"
    if "public" in policy.roles:
        yield fail(
            "policy-public", f"{where} is for every role", "CREATE POLICY … TO the roles it is meant for"
        )
    if any(OPEN_IF_NULL.search(text) for text in (policy.using, policy.check)):
        yield fail(
            "policy-open-if-null",
            f"{where} holds where no context is set",
            "let a missing context match nothing",
        )
    spoken = [role for role in policy.roles if role in TENANTS_ROLES or role == "public"]
    if not spoken or not policy.permissive or policy.table == "demo.identity":
        return
    reads = policy.command in {"SELECT", "UPDATE", "DELETE", "ALL"}
    writes = policy.command in {"INSERT", "UPDATE", "ALL"}
    if reads and not CONTEXT.search(policy.using):
        yield fail("policy-ignores-tenant", f"{where} (USING) does not compare the tenant", LOAD)
    effective = policy.check or policy.using
    if writes and not CONTEXT.search(effective):
        yield fail("policy-check-ignores-tenant", f"{where} (WITH CHECK) does not compare the tenant", LOAD)


def _rights(facts: SchemaFacts) -> Iterator[Finding]:
    for grantee, privilege, thing in facts.grants:
        yield fail(
            "grant-too-wide",
            f"{grantee} has {privilege} on {thing}",
            f"REVOKE {privilege} ON {thing} FROM {grantee}",
        )
    for role, column in facts.column_writes:
        yield fail(
            "column-writable",
            f"{role} may write {column}, which is the server's to say",
            f"REVOKE it and grant columns to {role}",
        )
    for code, names, words, remedy in (
        (
            "view-not-invoker",
            facts.open_views,
            "asks with its owner's rights",
            "ALTER VIEW … SET (security_invoker = true)",
        ),
        (
            "materialized-view-readable",
            facts.materialized,
            "holds rows past every policy",
            "REVOKE SELECT on it",
        ),
        (
            "definer-callable",
            facts.definers,
            "runs with its owner's rights",
            "REVOKE EXECUTE FROM PUBLIC and these roles",
        ),
        (
            "context-not-stable",
            facts.volatile_context,
            "is not STABLE",
            "CREATE OR REPLACE FUNCTION … STABLE",
        ),
        (
            "function-leakproof",
            facts.leakproof,
            "is LEAKPROOF: it runs before the policies",
            "ALTER FUNCTION … NOT LEAKPROOF",
        ),
        ("default-privileges", facts.defaults, "", "ALTER DEFAULT PRIVILEGES … REVOKE"),
        ("publication", facts.publications, "publishes rows past every policy", "DROP PUBLICATION"),
        (
            "sequence-shared",
            facts.sequences,
            "tells every tenant how much the others do",
            "use gen_random_uuid()",
        ),
    ):
        for name in names:
            yield fail(code, f"{name} {words}".rstrip(), remedy)
    for who, setting in facts.preset_context:
        yield fail(
            "context-preset",
            f"{who} starts every session with {setting} set",
            "ALTER ROLE … RESET, ALTER DATABASE … RESET",
        )
    if facts.large_objects:
        yield fail(
            "large-object-shared",
            f"{facts.large_objects} large objects, which know no tenant",
            "keep such data in tables",
        )


def _plans(facts: SchemaFacts) -> Iterator[Finding]:
    for role in ("demo_app", "authenticated"):
        if sum(plan.role == role for plan in facts.plans) < len(TABLES):
            yield not_proven("plan-unknown", f"no plan of {role} for every table could be read", LOAD)
    for plan in facts.plans:
        if not plan.init_plan:
            yield fail(
                "context-per-row",
                f"demo.{plan.table}, as {plan.role}: the context is worked out for every row",
                "write (SELECT demo.current_tenant()) in the policy: an InitPlan runs once",
            )
        if not plan.index:
            yield fail(
                "plan-without-index",
                f"demo.{plan.table}, as {plan.role}: no index serves the policy",
                "index tenant_id first",
            )
