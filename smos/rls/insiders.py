"""Users of one tenant: whether one reaches what is another's own, where the context names tenant and user.

A third world, C, is planted: A's tenant, another user. Whether colleagues share is a choice of the application, so that
seeing C's row alone is no finding. What contradicts itself is one: a row that is seen while the row it belongs to is
hidden, a row that is made or changed by somebody who may not see it, rows that open when no user is named.
"""

from collections.abc import Iterator, Sequence

from smos.rls.attack import Attacker, Try, _at, _Base, read_outcome
from smos.rls.context import Group, Plan
from smos.rls.facts import Act, Gap
from smos.rls.plant import FRESH_VARIANT, A, C, Crop, Planter, insert, typed
from smos.rls.schema import Relation, ident
from smos.rls.session import Prober

INSIDER, USERLESS = "insider", "userless"
"""Contexts of acts: A's own, on rows of a colleague; A's tenant without a user."""


def try_insiders(
    plan: Plan,
    prober: Prober,
    planter: Planter,
    crop: Crop,
    attackers: Sequence[Attacker],
    planting: Sequence[Relation],
) -> tuple[list[Act], list[Gap]]:
    """Plant the colleague's rows, act on them, and take them away again; nothing where no user is named."""
    users = plan.user_groups()
    if not users or not attackers:
        return [], []
    tables = [item for item in planting if user_columns(plan, item)]
    prober.execute("SAVEPOINT smos_insiders")
    theirs, gaps = planter.plant_colleague(planting, attackers[0].role)
    tries = [
        one
        for attacker in attackers
        for relation in tables
        for one in _tries(plan, planter, crop, theirs, relation, attacker, users)
    ]
    outcomes = prober.run([one.step for one in tries])
    acts = [read_outcome(one, outcome, frozenset()) for one, outcome in zip(tries, outcomes, strict=True)]
    prober.execute("ROLLBACK TO SAVEPOINT smos_insiders")
    names = {item.title for item in tables}
    return acts, [gap for gap in gaps if gap.target in names]


def user_columns(plan: Plan, relation: Relation) -> tuple[str, ...]:
    """Return the columns of a table that are compared with the session's user."""
    facts = plan.tables.get(relation.oid)
    return facts.users if facts is not None else ()


def _tries(
    plan: Plan,
    planter: Planter,
    crop: Crop,
    theirs: Crop,
    relation: Relation,
    attacker: Attacker,
    users: Sequence[Group],
) -> Iterator[Try]:
    own, others = crop.of(relation.oid, A), theirs.of(relation.oid, C)
    role = attacker.role
    rights = relation.rights.get(role, frozenset())
    partial = relation.column_rights.get(role, {})
    if not own or not others:
        return
    settings = plan.context(A, role)
    base = _Base(role, INSIDER, settings, relation, tuple(own), tuple(others))
    yield from _looks(base, planter, relation, rights, partial.get("SELECT", ()), plan)
    userless = _Base(
        role, USERLESS, plan.context(A, role, without=users), relation, tuple(own), tuple(others)
    )
    yield from _looks(userless, planter, relation, rights, partial.get("SELECT", ()), plan)
    if not attacker.blind and relation.oid in plan.effects:
        return
    columns = None if "INSERT" in rights else partial.get("INSERT")
    if "INSERT" in rights or columns:
        values = planter.row(relation, C, FRESH_VARIANT, role)
        marks = {name: values[name] for name in user_columns(plan, relation) if values.get(name)}
        if marks and (columns is None or set(marks) <= set(columns)):
            yield base.make("INSERT", insert(relation, values, columns=columns), relation, marks, "*")
    replica = planter.prober.replica
    updatable = attacker.updatable(relation)
    if updatable is not None:
        constant = attacker.constant(relation, updatable)
        yield base.touch("UPDATE", f"UPDATE {relation.sql} SET {ident(updatable)} = {constant}")
    if "DELETE" in rights:
        yield base.touch("DELETE", f"DELETE FROM {relation.sql}", replica=replica)


def _looks(
    base: _Base,
    planter: Planter,
    relation: Relation,
    rights: frozenset[str],
    columns: tuple[str, ...],
    plan: Plan,
) -> Iterator[Try]:
    if "SELECT" in rights:
        places = _at([*base.own, *base.others])
        yield base.see(
            "SELECT", f"SELECT tableoid::int8 || ctid::text AS r FROM {relation.sql} WHERE {places}"
        )
        return
    for name in user_columns(plan, relation):
        value, column = planter.row(relation, C, 0, base.role).get(name), relation.column(name)
        if name in columns and value is not None and column is not None:
            yield base.count(
                "SELECT",
                f"SELECT count({ident(name)})::text FROM {relation.sql}"
                f" WHERE {ident(name)} = {typed(value, column.type)}",
            )
            return
