"""Judges what users of one tenant reach of each other: only what contradicts itself is a finding."""

from collections.abc import Iterator

from smos.rls.facts import Act, ProbeFacts
from smos.rls.finding import IsolationFinding, Severity
from smos.rls.insiders import INSIDER, USERLESS
from smos.rls.schema import Relation, ident

_Seen = dict[tuple[str, str], int]


def judge_insiders(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    """Say where one user of a tenant reaches what is another's own."""
    acts = [act for act in facts.acts if act.context in {INSIDER, USERLESS}]
    looks = [act for act in acts if act.operation == "SELECT" and not act.state]
    seen: _Seen = {(act.role, act.target): act.seen_other for act in looks if act.context == INSIDER}
    titles = {item.title: item for item in facts.schema.relations.values()}
    shared = facts.options.shared_in_tenant
    for act in acts:
        relation = titles.get(act.target)
        visible = seen.get((act.role, act.target))
        if relation is None or act.target in shared or visible is None:
            continue  # where a role may not look, nothing tells what is meant to be hidden from it
        users = _users(facts, relation)
        if act.operation == "SELECT":
            if act.context == USERLESS and not visible and (act.seen_other or act.seen_own):
                yield _finding(
                    act, "leak-without-context",
                    "rows of users are seen where the context names a tenant and no user", _fix(relation, users),
                )  # fmt: skip
            parent = _hidden_parent(facts, relation, act.role, seen)
            if act.context == INSIDER and visible and parent is not None:
                yield _finding(
                    act, "cross-user-read",
                    f"rows of another user of the tenant are seen, while the rows of {parent.title} that they belong to"
                    " are hidden", _fix(relation, users),
                )  # fmt: skip
        elif act.crossed > 0 and not visible:
            made = act.operation == "INSERT"
            yield _finding(
                act, "cross-user-write",
                "a row can be made in the name of another user of the tenant, whose rows are hidden" if made
                else "hidden rows of another user of the tenant are changed or deleted",
                _fix(relation, users, "WITH CHECK" if made else "USING"), Severity.WRITE,
            )  # fmt: skip


def _users(facts: ProbeFacts, relation: Relation) -> tuple[str, ...]:
    return facts.tables[relation.oid].users


def _hidden_parent(facts: ProbeFacts, relation: Relation, role: str, seen: _Seen) -> Relation | None:
    """Return the table that the rows belong to where this role does not see the colleague's row in it."""
    for key in relation.foreign_keys:
        parent = facts.schema.relations.get(key.parent)
        about = facts.tables.get(key.parent)
        if parent is None or about is None or parent.oid == relation.oid:
            continue
        primary = next((item.columns for item in parent.uniques if item.primary), ())
        if set(primary) <= set(about.scoping):
            continue  # the list of users itself: colleagues' names may be hidden while their work is shared
        if seen.get((role, parent.title)) == 0:
            return parent
    return None


def _fix(relation: Relation, users: tuple[str, ...], clause: str = "USING") -> str:
    column = ident(users[0]) if users else "user_id"
    return (
        f"-- shared on purpose? --shared-in-tenant {relation.title}; else compare the user in every policy:\n"
        f"CREATE POLICY user_only ON {relation.sql} AS RESTRICTIVE {clause} ({column} = (SELECT current_user_id()));"
    )


def _finding(act: Act, code: str, why: str, fix: str, severity: Severity = Severity.LEAK) -> IsolationFinding:
    return IsolationFinding(
        code=code, severity=severity, target=act.target, role=act.role, operation=act.operation,
        context="tenant" if act.context == INSIDER else "no user", statement=act.statement, why=why, fix=fix,
    )  # fmt: skip
