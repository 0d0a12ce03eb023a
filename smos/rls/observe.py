"""Views and functions that run with somebody else's rights: whether their answers depend on another tenant's rows.

The test is one of non-interference: a role asks once while the rows of B are there and once while they are not.
Whatever the query does (counts, aggregates, joins), an answer that differs tells A something about B.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from smos.rls.attack import OWN, TENANT, Attacker, Try, _at, _in, harmless_column, read_outcome
from smos.rls.context import Plan
from smos.rls.facts import Act
from smos.rls.plant import FRESH_VARIANT, A, B, Crop, Planter, insert, typed
from smos.rls.schema import Function, Relation, Schema, ident, literal
from smos.rls.session import Outcome, Prober, Step

UNCALLABLE = frozenset(
    {"trigger", "event_trigger", "language_handler", "fdw_handler", "index_am_handler", "internal"}
)
MOST_VERIFIED = 60
"""Tables whose rows of B are looked at after the call of a function whose body names none."""


def observe(
    plan: Plan, prober: Prober, planter: Planter, crop: Crop, roles: Sequence[str], *, volatile: bool
) -> list[Act]:
    """Ask every view and every SECURITY DEFINER function, with and without the rows of B.

    volatile: also functions that may have effects, and materialized views (which are filled first).
    """
    asked = [one for role in roles for one in _questions(plan, planter, crop, role, volatile=volatile)]
    if not asked:
        return []
    stored = [item for item in plan.schema.relations.values() if item.kind == "m"] if volatile else []
    _refresh(prober, stored)
    steps = [one.step for one in asked]
    first, second = prober.run(steps), prober.run(steps)
    prober.execute("SAVEPOINT smos_without")
    if prober.replica:
        prober.execute("SELECT pg_catalog.set_config('session_replication_role', 'replica', true)")
    for relation in plan.schema.tables():
        rows = [row for row in crop.of(relation.oid, B) if not relation.partition]
        if rows:
            prober.execute(f"DELETE FROM {relation.sql} AS t WHERE {_at(rows, 't')} AND {_in(rows, 't')}")
    if prober.replica:
        prober.execute("SELECT pg_catalog.set_config('session_replication_role', 'origin', true)")
    _refresh(prober, stored)
    without = prober.run(steps)
    prober.execute("ROLLBACK TO SAVEPOINT smos_without")
    acts = []
    for one, with_b, again, without_b in zip(asked, first, second, without, strict=True):
        seen, stable = (with_b.text, with_b.state), (with_b.text, with_b.state) == (again.text, again.state)
        if stable:
            differs = seen != (without_b.text, without_b.state)
        else:  # the number of rows tells as well
            many = [_many(item) for item in (with_b, again, without_b)]
            differs = many[0] == many[1] != many[2]
        crossed = 0
        if one.expected and with_b.verified is not None:
            crossed = max(0, one.expected - int(with_b.verified))
        acts.append(
            replace(one.act, state=with_b.state, differs=differs, crossed=crossed, unstable=not stable)
        )
    writes = [one for role in roles for one in _view_writes(plan, planter, crop, role, effects=volatile)]
    outcomes = prober.run([one.step for one in writes])
    acts += [read_outcome(one, outcome, frozenset()) for one, outcome in zip(writes, outcomes, strict=True)]
    return acts


def base_tables_of(schema: Schema, relation: Relation) -> list[Relation]:
    """Return the tables below a view, through other views."""
    found: dict[int, Relation] = {}
    todo, seen = list(relation.reads), set()
    while todo:
        oid = todo.pop()
        item = schema.relations.get(oid)
        if item is None or oid in seen:
            continue
        seen.add(oid)
        if item.kind in {"v", "m"}:
            todo.extend(item.reads)
        else:
            found[oid] = item
    return list(found.values())


def base_tables(plan: Plan, relation: Relation) -> list[Relation]:
    """Return the tables below a view of the plan's schema."""
    return base_tables_of(plan.schema, relation)


def _refresh(prober: Prober, views: Sequence[Relation]) -> None:
    for _ in range(3 if len(views) > 1 else 1):  # they may read each other
        for view in views:
            prober.execute(
                "DO $$ BEGIN EXECUTE " + literal(f"REFRESH MATERIALIZED VIEW {view.sql}")
                + "; EXCEPTION WHEN OTHERS THEN NULL; END $$"
            )  # fmt: skip


def _questions(plan: Plan, planter: Planter, crop: Crop, role: str, *, volatile: bool) -> Iterator[Try]:
    settings = plan.context(0, role)
    for view in plan.schema.relations.values():
        some = view.column_rights.get(role, {}).get("SELECT", ())
        if view.kind not in {"v", "m"} or ("SELECT" not in view.rights.get(role, frozenset()) and not some):
            continue
        shown = f"SELECT {', '.join(map(ident, some)) or '*'} FROM {view.sql}"
        if view.kind == "m" and not volatile:
            continue
        if not any(
            plan.tables[item.oid].owned for item in base_tables(plan, view) if item.oid in plan.tables
        ):
            continue
        yield Try(
            step=Step(statement=_digest(f"({shown})" if some else view.sql), role=role, settings=settings),
            act=Act(role=role, context=TENANT, operation="SELECT", target=view.title, statement=shown),
        )  # fmt: skip
    for function in plan.schema.functions.values():
        if not function.definer or role not in function.executable or function.returns in UNCALLABLE:
            continue
        if not volatile and function.volatility == "v":
            continue
        if function.oid in plan.reading.functions and function.returns == "boolean":
            continue  # what a policy asks about B's rows it must be able to answer
        tables = _named(plan, function)
        rows = [row for item in tables for row in crop.of(item.oid, B)]
        verify = " + ".join(
            f"(SELECT count(*) FROM {item.sql} AS t WHERE {_at(theirs, 't')} AND {_in(theirs, 't')})"
            for item in tables
            if (theirs := crop.of(item.oid, B))
        )
        for world, call in _calls(plan, planter, function, role):
            statement = f"CALL {call}" if function.kind == "p" else f"SELECT * FROM {call}"
            kind = "q" if function.kind != "p" else "c" if function.returns == "record" else "w"
            yield Try(
                step=Step(
                    statement=statement if function.kind == "p" else _digest(call),
                    kind=kind,
                    role=role,
                    settings=settings,
                    verify=f"SELECT ({verify})::text" if verify else None,
                ),
                act=Act(
                    role=role,
                    context=TENANT,
                    operation="EXECUTE",
                    target=function.title,
                    statement=statement,
                    column=OWN if world == A else "",
                ),
                expected=len(rows),
            )


def _digest(source: str) -> str:
    return (
        "SELECT count(*)::text || ':' || coalesce(pg_catalog.md5(pg_catalog.string_agg(q::text, '|' ORDER BY q::text)),"
        f" '') FROM {source} AS q"
    )


def _named(plan: Plan, function: Function) -> list[Relation]:
    owned = [item for item in plan.schema.tables() if plan.tables[item.oid].owned and not item.partition]
    words = set(re.findall(r"\w+", function.body))
    named = [item for item in owned if item.name in words]
    return named or (owned if len(owned) <= MOST_VERIFIED else [])


def _many(outcome: Outcome) -> tuple[str, str]:
    """Return how many rows there were, and the error's state."""
    return (outcome.text or "").partition(":")[0], outcome.state


def _calls(plan: Plan, planter: Planter, function: Function, role: str) -> Iterator[tuple[int, str]]:
    """Give the call with the keys of B; and, where any is given, one with A's own, as a control."""
    calls = []
    for world in (B, A):
        arguments = [
            typed(_argument(plan, planter, function, name, kind, role, world), kind)
            if kind != "anyelement"
            else "NULL"
            for name, kind in function.arguments
        ]
        calls.append((world, f"{function.sql}({', '.join(arguments)})"))
    yield from calls[:1] if calls[0][1] == calls[1][1] else calls


def _argument(
    plan: Plan, planter: Planter, function: Function, name: str, kind: str, role: str, world: int
) -> str | None:
    """Return what to call a function with: the tenant's key where its name or its type says so."""
    bare = re.sub(r"^(?:p|v|in|arg|a|par|param)?_+", "", name.lower())
    if bare in {"limit", "lim", "page_size", "max_rows", "count", "n"}:
        return "1000"
    if bare in {"offset", "page", "skip"}:
        return "0"
    groups = [*plan.by_key.values()]
    for (_, column), group in plan.by_column.items():
        if column in {bare, f"{bare}_id"}:
            groups.insert(0, group)
            break
    else:
        words = set(re.findall(r"\w+", function.body))
        for relation in plan.schema.tables():
            single = next(
                (item for item in relation.uniques if item.primary and len(item.columns) == 1), None
            )
            if single is None or not plan.tables[relation.oid].owned:
                continue
            column_ = relation.column(single.columns[0])
            stem = relation.name.rstrip("s")
            if column_ is not None and column_.type == kind and (
                bare in {stem, f"{stem}_id"} or (bare == single.columns[0] and relation.name in words)
            ):  # fmt: skip
                return planter.row(relation, world, 0, role).get(column_.name)
    for group in groups:
        if _fits(group.base, kind):
            return group.value(world, 0, role)
    if kind in {"text", "character varying", "name", "citext"}:
        return ""
    if kind in {"integer", "bigint", "smallint", "numeric", "real", "double precision"}:
        return "1"
    if kind == "boolean":
        return "true"
    if kind in {"date", "timestamp with time zone", "timestamp without time zone"}:
        return "2100-01-01" if re.search(r"to|until|end|before|max", bare) else "1900-01-01"
    if kind in {"json", "jsonb"}:
        return "{}"
    return None


def _fits(base: str, kind: str) -> bool:
    integers = {"int2", "int4", "int8"}
    return (base == "uuid" and kind == "uuid") or (base in integers and kind in {"integer", "bigint"}) or (
        base in {"text", "varchar"} and kind in {"text", "character varying"}
    )  # fmt: skip


def _view_writes(plan: Plan, planter: Planter, crop: Crop, role: str, *, effects: bool) -> Iterator[Try]:
    settings = plan.context(0, role)
    for view in plan.schema.relations.values():
        some = view.column_rights.get(role, {})
        rights = view.rights.get(role, frozenset()) | some.keys()
        if view.kind != "v" or not view.updatable:
            continue
        tables = [
            item
            for item in base_tables(plan, view)
            if item.oid in plan.tables and plan.tables[item.oid].owned
        ]
        # Without a trigger, PostgreSQL itself only passes writes on to a single table.
        if not tables or (len(tables) > 1 and not view.triggers) or not crop.of(tables[0].oid, B):
            continue
        table = tables[0]
        if not effects and {view.oid, table.oid} & plan.effects:
            continue
        every = {item.sql: rows for item in tables if (rows := crop.of(item.oid, B))}
        counts = " + ".join(
            f"(SELECT count(*) FROM {name} AS t WHERE {_at(rows, 't')} AND {_in(rows, 't')})"
            for name, rows in every.items()
        )
        verify = f"SELECT ({counts})::text"
        expected = sum(len(rows) for rows in every.values())
        column = harmless_column(
            table,
            [
                c.name
                for c in view.columns
                if (own := table.column(c.name))
                and not own.generated
                and not own.always
                and ("UPDATE" not in some or c.name in some["UPDATE"])
            ],
        )

        def touch(operation: str, statement: str, view: Relation = view) -> Try:
            return Try(
                step=Step(statement=statement, kind="w", role=role, settings=settings, verify=verify),  # noqa: B023  (used at once)
                act=Act(
                    role=role, context=TENANT, operation=operation, target=view.title, statement=statement
                ),
                meaning="touch",
                expected=expected,  # noqa: B023  (used at once)
            )

        if "UPDATE" in rights and column is not None:
            yield touch(
                "UPDATE", f"UPDATE {view.sql} SET {ident(column)} = {constant(planter, table, column, role)}"
            )
        if "DELETE" in rights:
            one = touch("DELETE", f"DELETE FROM {view.sql}")
            if prober_replica(planter):
                one = replace(
                    one, step=replace(one.step, settings={**settings, "session_replication_role": "replica"})
                )
            yield one
        if "INSERT" in rights and not plan.tables[table.oid].root and len(tables) == 1:
            values = planter.row(table, B, FRESH_VARIANT, role)
            names = {item.name for item in view.columns} & set(values) & set(some.get("INSERT", values))
            marks = [
                name for name in plan.tables[table.oid].discriminators if values.get(name) and name in names
            ]
            if marks:
                attacker = Attacker(plan, planter, crop, role, blind=True)
                yield attacker.through_view(
                    view,
                    table,
                    insert(replace(table, schema=view.schema, name=view.name), values, columns=names),
                    {name: values[name] for name in marks},
                    settings,
                )


def constant(planter: Planter, table: Relation, name: str, role: str) -> str:
    """Return a value for a column, so that an UPDATE reads nothing."""
    column = table.column(name)
    value = planter.row(table, B, 0, role).get(name)
    return typed(value, column.type) if column is not None and value is not None else "NULL"


def prober_replica(planter: Planter) -> bool:
    """Whether triggers and foreign keys can be switched off."""
    return planter.prober.replica
