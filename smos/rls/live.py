"""Reads the rows that exist, as each role, in a read-only transaction: counts only, never a value in a report."""

import json
from typing import TYPE_CHECKING, Any

from smos.rls.attack import NO_CONTEXT, TENANT
from smos.rls.context import Group, Plan
from smos.rls.facts import Act, Gap, ProbeOptions
from smos.rls.schema import Relation, ident, literal
from smos.rls.session import Prober, Step, able, always_rolled_back

if TYPE_CHECKING:
    import psycopg

MOST_ROWS = 2_000_000
"""Tables above this estimate are read with a LIMIT: the first rows of somebody else's prove the same."""
LIMIT = 1_000


def read_live(
    connection: "psycopg.Connection[Any]", plan: Plan, roles: tuple[str, ...], options: ProbeOptions
) -> tuple[list[Act], list[Gap]]:
    """Ask every table with a tenant's column for rows of others; nothing where fewer than two tenants have rows."""
    groups = _tenant_groups(plan)
    if not groups:
        return [], []
    acts: list[Act] = []
    connection.rollback()
    with always_rolled_back(
        connection,
        lock_timeout_s=options.lock_timeout_s,
        statement_timeout_s=options.statement_timeout_s,
        read_only=True,
    ):
        prober = Prober(connection, superuser=plan.schema.superuser, paths={"": '"$user", public'})
        able_roles, gaps = able(prober, roles, "existing rows were not read as them")
        for group, tables in groups:
            values = list(options.tenants) or _existing(prober, group, tables)
            if len(values) < 2 and not options.tenants:
                continue
            mine = values[0]
            settings = _settings(plan, group, mine)
            steps, expected = [], []
            for role in able_roles:
                for relation, column in tables:
                    if "SELECT" not in relation.rights.get(role, frozenset()):
                        continue
                    name = f"{ident(column)}::text"
                    source = relation.sql if relation.rows < MOST_ROWS else f"{relation.sql} LIMIT {LIMIT}"
                    for context, given in ((NO_CONTEXT, {}), (TENANT, settings)):
                        condition = f"WHERE q.c <> {literal(mine)}" if context == TENANT else ""
                        shown = f"SELECT count(*) FROM {relation.sql}" + (
                            f" WHERE {ident(column)} <> <tenant>" if context == TENANT else ""
                        )
                        steps.append(
                            Step(
                                statement=f"SELECT count(*)::text FROM (SELECT {name} AS c FROM {source}) AS q"
                                f" {condition}",
                                role=role,
                                settings=given,
                            )
                        )
                        expected.append(Act(role=role, context=context, operation="SELECT", target=relation.title,
                                            statement=shown, column="existing rows"))  # fmt: skip
            order = sorted(range(len(steps)), key=lambda place: expected[place].context != NO_CONTEXT)
            outcomes = prober.run([steps[place] for place in order])
            for place, outcome in zip(order, outcomes, strict=True):
                act = expected[place]
                seen = int(outcome.text or 0)
                acts.append(
                    Act(role=act.role, context=act.context, operation=act.operation, target=act.target,
                        statement=act.statement, column=act.column, seen_other=seen, state=outcome.state)
                )  # fmt: skip
    return acts, gaps


def _tenant_groups(plan: Plan) -> list[tuple[Group, list[tuple[Relation, str]]]]:
    """Give each context value with the tables that have its column."""
    found = []
    seen = set()
    for group in plan.by_key.values():
        if id(group) in seen or group.by_role:
            continue
        seen.add(id(group))
        tables = []
        for oid, column in group.columns:
            relation = plan.schema.relations.get(oid)
            facts = plan.tables.get(oid)
            if relation is not None and facts is not None and facts.owned and column in facts.scoping:
                kind = relation.column(column)
                if kind is None or kind.category == "A" or kind.base in {"json", "jsonb", "hstore"}:
                    continue  # a set of tenants is compared in another way than by equality
                others = [name for name in facts.scoping if name != column]
                if not others and relation.kind in {"r", "p"}:
                    tables.append((relation, column))
        if tables:
            found.append((group, tables))
    return found


def _existing(prober: Prober, group: Group, tables: list[tuple[Relation, str]]) -> list[str]:
    """Return two values of tenants that have rows, read by the administrator."""
    del group
    values: list[str] = []
    for relation, column in sorted(tables, key=lambda item: -item[0].rows):
        query = (
            f"SELECT json_agg(q.c)::text FROM (SELECT DISTINCT c FROM (SELECT {ident(column)}::text AS c"
            f" FROM {relation.sql} WHERE {ident(column)} IS NOT NULL LIMIT 10000) AS s LIMIT 2) AS q"
        )
        outcome = prober.run([Step(statement=query)])[0]
        values = json.loads(outcome.text) if outcome.text else []
        if len(values) > 1:
            break
    return values


def _settings(plan: Plan, group: Group, value: str) -> dict[str, str]:
    """Return the context of an existing tenant."""
    kept = group.preferred
    group.preferred = [value]
    settings = plan.context(0, "authenticated")
    group.preferred = kept
    return settings
