"""Judges what was done: which statement reached a row of the other tenant."""

import re
from collections.abc import Iterator

from smos.rls.attack import COLLISIONS, OWN
from smos.rls.facts import Act, ProbeFacts, TableFacts
from smos.rls.finding import IsolationFinding, Severity
from smos.rls.insiders import INSIDER, USERLESS
from smos.rls.schema import Relation, ident

PUBLIC_WORDS = re.compile(
    r"(?i)public|shared|publish|visib|global|template|listed|everyone|open\b|featured|catalog|demo|announce"
)
"""A row that says so of itself may be meant for everybody."""
TIMED_OUT = frozenset({"57014", "55P03"})
SHOWN = frozenset({"", "42501"}) | TIMED_OUT
"""Ended well, or refused by a policy or a missing right; what timed out is said apart."""
BAD_VALUE = frozenset({"22P02", "22007", "22023", "22018", "22030", "22032"})
_SEEING = frozenset({"SELECT", "FOR UPDATE"})


def judge_acts(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    """Say what the acts show."""
    by_title = {item.title: item for item in facts.schema.relations.values()}
    functions = {item.title: item for item in facts.schema.functions.values()}
    timed_out: set[str] = set()
    for act in facts.acts:
        if act.context in {INSIDER, USERLESS}:
            continue  # judged apart: smos/rls/judge_insiders.py
        relation = by_title.get(act.target)
        if act.state in TIMED_OUT:
            timed_out.add(act.target)
        if act.detail:
            yield _finding(
                act, "error-detail-leak", Severity.LEAK, "an error message tells a value of another tenant",
                "-- don't put values of rows into RAISE messages of triggers and functions",
            )  # fmt: skip
        if relation is not None and relation.kind in {"r", "p", "f"}:
            yield from _table(facts, act, relation)
        elif relation is not None:
            yield from _view(act, relation)
        elif act.target in functions:
            yield from _function(act, functions[act.target].returns)
    yield from _empty_context(facts)
    yield from _own_rows(facts)
    yield from _not_shown(facts)
    for target in sorted(timed_out):
        yield IsolationFinding(
            code="timed-out", severity=Severity.UNPROVEN, target=target,
            why="a probe ran into its time limit or waited for a lock",
            fix="-- probe when the table is free, or with a larger --statement-timeout",
        )  # fmt: skip


def _table(facts: ProbeFacts, act: Act, relation: Relation) -> Iterator[IsolationFinding]:
    about = facts.tables.get(relation.oid, TableFacts())
    outside = act.context in {"none", "empty"}
    by_role = bool({"current_user", "session_user"} & set(facts.contexts))  # the role itself is the context
    if act.operation in _SEEING and (act.seen_other or (outside and act.seen_own and not by_role)):
        if act.exposed and PUBLIC_WORDS.search(act.exposed):
            return
        if act.context == "bypass":
            yield _opens(act)
        elif (cause := _cause(act, relation)) is not None:
            yield cause
        elif act.seen_other and act.null_tenant == act.seen_other and not act.seen_own * outside:
            column = act.exposed.partition(" ")[0]
            yield _finding(
                act, "null-tenant-visible", Severity.LEAK, "rows without a tenant are seen by every tenant",
                f"ALTER TABLE {relation.sql} ALTER COLUMN {ident(column)} SET NOT NULL;",
            )  # fmt: skip
        elif outside:
            yield _finding(
                act, "leak-without-context", Severity.LEAK,
                "rows are seen without any tenant's context" if act.context == "none"
                else "rows are seen with an empty context, as a pooled session has after SET LOCAL",
                _strict_fix(relation, about),
            )  # fmt: skip
        elif act.exposed:
            yield _finding(
                act, "conditional-leak", Severity.LEAK, f"rows of another tenant are seen where {act.exposed}",
                _restrict_fix(relation, about),
            )  # fmt: skip
        else:
            yield _finding(
                act, "cross-tenant-read", Severity.LEAK, "rows of another tenant are seen",
                _restrict_fix(relation, about),
            )  # fmt: skip
    if act.operation == "UNIQUE" and act.state in COLLISIONS and not about.root and relation.row_security:
        scope = ", ".join(ident(name) for name in about.scoping[:1])
        yield _finding(
            act, "unique-oracle", Severity.ORACLE,
            f"UNIQUE ({act.column}) spans all tenants: a duplicate-key error tells that another one has the value"
            if act.state == "23505"
            else f"EXCLUDE ({act.column}) spans all tenants: a conflict tells what another one has",
            f"-- drop the constraint, then:\n"
            f"ALTER TABLE {relation.sql} ADD UNIQUE ({scope or 'tenant'}, {act.column});",
        )  # fmt: skip
    if (act.crossed > 0 or act.stopped) and act.operation not in _SEEING:
        yield from _write(act, relation, about)


def _write(act: Act, relation: Relation, about: TableFacts) -> Iterator[IsolationFinding]:
    if act.context == "bypass":
        yield _opens(act)
        return
    if (cause := _cause(act, relation)) is not None:
        yield cause
        return
    if act.context in {"none", "empty"}:
        yield _finding(act, "write-without-context", Severity.WRITE,
                       "rows of a tenant are written without its context", _strict_fix(relation, about))  # fmt: skip
        return
    column = act.column
    if act.operation in {"INSERT", "UPDATE"} and column and column != "*":
        others = [name for name in about.discriminators if name != column and name not in about.principals]
        if about.membership and column in about.principals and others:
            return  # a member of A invites somebody: A's own decision
        if column not in about.scoping:
            key = next((item for item in relation.foreign_keys if column in item.columns), None)
            columns = ", ".join(ident(name) for name in (*about.scoping[:1], column))
            yield _finding(
                act, "fk-oracle", Severity.ORACLE,
                f"a row may refer to another tenant's row by {column}: foreign keys don't ask policies, so this also"
                " tells which keys exist",
                f"ALTER TABLE {relation.sql} DROP CONSTRAINT {ident(key.name) if key else '…'};\n"
                f"-- the parent needs UNIQUE over the tenant and its key:\n"
                f"ALTER TABLE {relation.sql} ADD FOREIGN KEY ({columns}) REFERENCES … (tenant, key);",
            )  # fmt: skip
            return
    made = act.operation in {"INSERT", "MERGE"} and column
    moved = act.operation == "UPDATE" and column
    yield _finding(
        act, "cross-tenant-write", Severity.WRITE,
        "a row can be made in another tenant's name" if made
        else f"a row can be given to another tenant by {column}" if moved
        else "rows of another tenant are changed or deleted",
        _restrict_fix(relation, about, check=bool(made or moved)),
    )  # fmt: skip


def _cause(act: Act, relation: Relation) -> IsolationFinding | None:
    """Name the cause where it is plain: no row security at all, or none for the owner."""
    severity = Severity.LEAK if act.operation in _SEEING else Severity.WRITE
    if relation.kind == "f":
        return None
    if not relation.row_security and relation.partition:
        return _finding(act, "partition-unprotected", severity,
                        "read directly, its parent's policies don't apply, and it has no row security of its own",
                        f"REVOKE ALL ON {relation.sql} FROM {ident(act.role)};\n"
                        f"ALTER TABLE {relation.sql} ENABLE ROW LEVEL SECURITY;")  # fmt: skip
    if not relation.row_security:
        return _finding(act, "rls-off", severity, "row security is off",
                        f"ALTER TABLE {relation.sql} ENABLE ROW LEVEL SECURITY;\n"
                        f"ALTER TABLE {relation.sql} FORCE ROW LEVEL SECURITY;")  # fmt: skip
    if relation.owner == act.role and not relation.forced:
        return _finding(act, "rls-not-forced", severity, "the role owns the table, and row security is not forced",
                        f"ALTER TABLE {relation.sql} FORCE ROW LEVEL SECURITY;")  # fmt: skip
    return None


def _view(act: Act, relation: Relation) -> Iterator[IsolationFinding]:
    if act.differs:
        stored = relation.kind == "m"
        yield _finding(
            act, "matview-leaks" if stored else "view-leaks", Severity.LEAK,
            "what it shows depends on the rows of another tenant",
            f"REVOKE ALL ON {relation.sql} FROM {ident(act.role)};" if stored
            else f"ALTER VIEW {relation.sql} SET (security_invoker = true);",
        )  # fmt: skip
    elif act.crossed > 0:
        yield _finding(act, "view-writes-cross", Severity.WRITE, "rows of another tenant are written through the view",
                       f"ALTER VIEW {relation.sql} SET (security_invoker = true);")  # fmt: skip


def _function(act: Act, returns: str) -> Iterator[IsolationFinding]:
    fix = (
        f"REVOKE EXECUTE ON FUNCTION {act.target} FROM PUBLIC, {ident(act.role)};\n"
        f"-- or: ALTER FUNCTION {act.target} SECURITY INVOKER;"
    )
    if act.differs:
        oracle = returns == "boolean"
        yield _finding(
            act, "definer-function-leaks", Severity.ORACLE if oracle else Severity.LEAK,
            "SECURITY DEFINER: its answer depends on the rows of another tenant", fix,
        )  # fmt: skip
    if act.crossed > 0:
        yield _finding(act, "definer-function-writes", Severity.WRITE,
                       "SECURITY DEFINER: a call changes rows of another tenant", fix)  # fmt: skip


def _empty_context(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    fine = {(act.role, act.target) for act in facts.acts
            if act.context == "none" and act.operation == "SELECT" and not act.state}  # fmt: skip
    done = set()
    for act in facts.acts:
        key = (act.role, act.target)
        if act.context == "empty" and act.state in BAD_VALUE and key in fine and act.target not in done:
            done.add(act.target)
            yield _finding(
                act, "context-empty-error", Severity.AVAILABILITY,
                f"an empty context, as a pooled session has after SET LOCAL, is an error (SQLSTATE {act.state}), while"
                " an absent one is none",
                "-- in the policy or its function:\nNULLIF(current_setting('app.tenant_id', true), '')",
            )  # fmt: skip


def _own_rows(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    """Say where no tenant sees its own row: then not seeing another's proves nothing."""
    seen: dict[str, bool] = {}
    states: dict[str, str] = {}
    for act in facts.acts:
        if (
            act.operation == "SELECT"
            and act.context in {"tenant", "bypass"}
            and act.column != "existing rows"
        ):
            seen[act.target] = seen.get(act.target, False) or bool(act.seen_own or act.seen_other)
            if act.state:
                states[act.target] = act.state
    for relation in facts.schema.tables():
        about = facts.tables.get(relation.oid, TableFacts())
        permissive = [policy for policy in relation.policies if policy.permissive]
        if not (relation.row_security and about.planted and permissive) or seen.get(relation.title, False):
            continue
        if not any(policy.command in {"ALL", "SELECT"} for policy in permissive):
            continue
        if not any("SELECT" in relation.rights.get(role, ()) for role in facts.probed):
            continue
        state = states.get(relation.title, "")
        yield IsolationFinding(
            code="own-row-invisible", severity=Severity.UNPROVEN, target=relation.title, operation="SELECT",
            context="tenant",
            why="no probed role sees the canary row of its own tenant, so that not seeing the other's proves nothing"
            + (f" (SQLSTATE {state})" if state else ""),
            fix="-- declare how a tenant's context is set: --context 'SET LOCAL app.tenant_id = {tenant}'",
        )  # fmt: skip


def _not_shown(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    """Say where a write was stopped by something else than a policy: then it is not shown that policies stop it."""
    controls = {(act.role, act.target): act.state for act in facts.acts if act.column == OWN}
    by_title = {item.title: item for item in facts.schema.relations.values()}
    failed: dict[tuple[str, str, str], list[Act]] = {}
    for act in facts.acts:
        relation = by_title.get(act.target)
        if act.context != "tenant" or relation is None or not relation.row_security or relation.kind == "v":
            continue
        about = facts.tables.get(relation.oid, TableFacts())
        # A trigger may put the own tenant in: then whatever else fails, that column was tried alone.
        stamped = relation.guarded and act.operation == "INSERT" and act.column in about.scoping
        if act.operation in {"INSERT", "UPDATE", "DELETE"} and (act.column in {"", "*"} or stamped):
            failed.setdefault((act.role, act.target, act.operation), []).append(act)
    for (role, target, operation), acts in failed.items():
        act = acts[0]
        if any(one.state in SHOWN or one.stopped for one in acts):
            continue
        if operation == "INSERT" and act.state[:2] != "23" and controls.get((role, target)) == "":
            continue  # the same went well for the role's own tenant: it was refused on purpose
        if operation != "INSERT" and act.state == "P0001":
            continue  # a trigger that lets nobody change rows
        yield _finding(
            act, "write-not-shown", Severity.UNPROVEN,
            f"it ended with SQLSTATE {act.state} before or after the policies were asked, so that it does not show that"
            " they refuse it",
            "-- probe a database in which this statement fails only by a policy",
        )  # fmt: skip


def _opens(act: Act) -> IsolationFinding:
    return _finding(
        act, "setting-opens", Severity.LEAK if act.operation in _SEEING else Severity.WRITE,
        f"with {act.column}, which any role may set, the policies let everything through",
        "-- give this right to a role of its own: CREATE POLICY … TO maintenance_role",
    )  # fmt: skip


def _strict_fix(relation: Relation, about: TableFacts) -> str:
    column = ident(about.scoping[0]) if about.scoping else "tenant_id"
    return (
        f"-- without a context the comparison must be NULL, so that no row fits:\n{_policy(relation, column)}"
    )


def _restrict_fix(relation: Relation, about: TableFacts, *, check: bool = False) -> str:
    column = ident(about.scoping[0]) if about.scoping else "tenant_id"
    return _policy(relation, column) if not check else _policy(relation, column, "WITH CHECK")


def _policy(relation: Relation, column: str, clause: str = "USING") -> str:
    context = "(SELECT NULLIF(current_setting('app.tenant_id', true), ''))"
    names = ", ".join(policy.name for policy in relation.policies if policy.permissive)
    return (
        f"-- permissive policies are ORed: {names or 'none'}; make the one that is too wide\n"
        f"CREATE POLICY tenant_only ON {relation.sql} AS RESTRICTIVE {clause} ({column}::text = {context});"
    )


def _finding(act: Act, code: str, severity: Severity, why: str, fix: str) -> IsolationFinding:
    return IsolationFinding(
        code=code,
        severity=severity,
        target=act.target,
        role=act.role,
        operation=act.operation,
        context=act.context,
        statement=act.statement,
        why=why,
        fix=fix,
    )
