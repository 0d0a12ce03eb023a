"""What each role tries on each table: statements whose effect on the other tenant's rows is then looked at."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from smos.rls.context import Plan
from smos.rls.facts import Act, TableFacts
from smos.rls.plant import FRESH_VARIANT, A, B, Crop, Planted, Planter, Values, insert, typed
from smos.rls.schema import Relation, ident
from smos.rls.session import Outcome, Step

NO_CONTEXT, EMPTY, TENANT, BYPASS = "none", "empty", "tenant", "bypass"
COLLISIONS = frozenset({"23505", "23P01"})
"""A key that is taken."""
OWN = "own"
"""The column of acts that are controls: the same, for the role's own tenant."""
BLIND_ROWS = 10_000
"""In the user's own database, a statement without WHERE is only tried on smaller tables."""
_WORD = re.compile(r"[\w.@:+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """A step, and what its outcome means."""

    step: Step
    act: Act
    own: tuple[Planted, ...] = ()
    others: tuple[Planted, ...] = ()
    meaning: str = "see"
    expected: int = 0
    constraint: str = ""
    guarded: bool = False


class Attacker:
    """Writes down the tries for one role."""

    def __init__(self, plan: Plan, planter: Planter, crop: Crop, role: str, *, blind: bool) -> None:
        self.plan, self.planter, self.crop, self.role = plan, planter, crop, role
        self.blind = blind

    def tries(self, relation: Relation, context: str, settings: Mapping[str, str]) -> Iterator[Try]:
        """Give what this role tries on a table in a context."""
        rights = relation.rights.get(self.role, frozenset())
        partial = relation.column_rights.get(self.role, {})
        facts = self.plan.tables.get(relation.oid, TableFacts())
        own, others = self.crop.of(relation.oid, A), self.crop.of(relation.oid, B)
        if not others or not facts.owned:
            return
        base = _Base(self.role, context, dict(settings), relation, tuple(own), tuple(others))
        if "SELECT" in rights:
            yield base.see(
                "SELECT",
                f"SELECT tableoid::int8 || ctid::text AS r FROM {relation.sql} WHERE {_at(own + others)}",
            )
        elif partial.get("SELECT"):
            yield from self._by_columns(base, partial["SELECT"])
        updatable = self.updatable(relation)
        if not self.blind and relation.oid in self.plan.effects:
            return  # said as a gap: _effects in smos/rls/probe.py
        small = self.blind or relation.rows < BLIND_ROWS
        constant = self.constant(relation, updatable) if updatable is not None else ""
        if updatable is not None:
            # A constant: what reads a column, or has a WHERE, is held to the policies for SELECT as well.
            column = ident(updatable)
            if small:
                yield base.touch("UPDATE", f"UPDATE {relation.sql} SET {column} = {constant}")
            if "SELECT" in rights:
                yield base.touch(
                    "UPDATE", f"UPDATE {relation.sql} SET {column} = {column} WHERE {_at(others)}"
                )
        if "DELETE" in rights:
            if small:
                yield base.touch("DELETE", f"DELETE FROM {relation.sql}", replica=self.planter.prober.replica)
            if "SELECT" in rights:
                yield base.touch("DELETE", f"DELETE FROM {relation.sql} WHERE {_at(others)}",
                                 replica=self.planter.prober.replica)  # fmt: skip
        if context in {TENANT, NO_CONTEXT} and not relation.partition:
            yield from self._inserts(base, relation, facts, rights, partial)
        if context != TENANT:
            return
        if updatable is not None and "SELECT" in rights:
            column = ident(updatable)
            yield base.see(
                "FOR UPDATE",
                f"SELECT tableoid::int8 || ctid::text AS r FROM {relation.sql} WHERE {_at(own + others)} FOR UPDATE",
            )
            yield base.touch(
                "MERGE",
                f"MERGE INTO {relation.sql} AS t USING (SELECT 1) AS s ON {_at(others, 't')}"
                f" WHEN MATCHED THEN UPDATE SET {column} = t.{column}",
            )
        if not relation.partition:
            yield from self._moves(base, relation, facts, rights, partial)
            yield from self._conflicts(base, relation, facts, rights, partial, updatable)

    def _by_columns(self, base: "_Base", columns: tuple[str, ...]) -> Iterator[Try]:
        """Without a right on the whole table its system columns are closed: look for values of B instead."""
        theirs = self.planter.row(base.relation, B, 0, self.role)
        mine = self.planter.row(base.relation, A, 0, self.role)
        for name in columns:
            value, column = theirs.get(name), base.relation.column(name)
            if (
                value is not None
                and column is not None
                and mine.get(name) != value
                and column.category in "NSUE"
            ):
                yield base.count(
                    "SELECT",
                    f"SELECT count({ident(name)})::text FROM {base.relation.sql}"
                    f" WHERE {ident(name)} = {typed(value, column.type)}",
                )
                return

    def constant(self, relation: Relation, name: str) -> str:
        """Return a value for a column that reads nothing and is likely to be allowed."""
        column = relation.column(name)
        value = self.planter.row(relation, A, 0, self.role).get(name)
        if column is None or value is None:
            return "DEFAULT"
        return typed(value, column.type)

    def updatable(self, relation: Relation) -> str | None:
        """Return the column that this role may update with the least harm; None where it may update none."""
        rights = relation.rights.get(self.role, frozenset())
        partial = relation.column_rights.get(self.role, {})
        names = [item.name for item in relation.columns if not item.generated and not item.always]
        if "UPDATE" not in rights:
            names = [name for name in partial.get("UPDATE", ()) if name in names]
            names = (
                [] if "SELECT" not in rights and not set(partial.get("SELECT", ())) & set(names) else names
            )
        return harmless_column(relation, names)

    def _inserts(
        self,
        base: "_Base",
        relation: Relation,
        facts: TableFacts,
        rights: frozenset[str],
        partial: Mapping[str, tuple[str, ...]],
    ) -> Iterator[Try]:
        columns = None if "INSERT" in rights else partial.get("INSERT")
        if "INSERT" not in rights and not columns:
            return
        theirs = self.planter.row(relation, B, FRESH_VARIANT, self.role)
        allowed = set(columns) if columns is not None else {column.name for column in relation.columns}
        marks = [name for name in facts.discriminators if name in allowed]
        if not facts.root and marks:
            yield base.make(
                "INSERT", insert(relation, theirs, columns=columns), relation, self._marks(theirs, marks), "*"
            )
            if base.context == TENANT and columns is None:
                names = ", ".join(ident(name) for name in theirs)
                items = ", ".join(
                    typed(value, column.type if (column := relation.column(name)) else "text")
                    for name, value in theirs.items()
                )
                overriding = "OVERRIDING SYSTEM VALUE " if any(c.always for c in relation.columns) else ""
                yield base.make(
                    "MERGE",
                    f"MERGE INTO {relation.sql} AS t USING (SELECT 1) AS s ON false"
                    f" WHEN NOT MATCHED THEN INSERT ({names}) {overriding}VALUES ({items})",
                    relation,
                    self._marks(theirs, marks),
                    "*",
                )
        if base.context != TENANT or not base.own:
            return
        mine = self.planter.row(relation, A, FRESH_VARIANT, self.role)
        if marks and not facts.root:
            yield base.control("INSERT", insert(relation, mine, columns=columns))
        claimed = {
            name: theirs[name] for name in facts.scoping if name in allowed and theirs.get(name) is not None
        }
        if relation.guarded and claimed and not facts.root:
            # Where a trigger puts A's own tenant in, what else belongs to B would stop the row.
            yield base.make("INSERT", insert(relation, {**mine, **claimed}, columns=columns), relation,
                            {**claimed, **self._keys(relation, {**mine, **claimed})}, next(iter(claimed)))  # fmt: skip
        for name in marks:
            other = theirs.get(name)
            if (
                len(marks) == 1
                and not facts.root
                and name in facts.scoping
                and len(relation.foreign_keys) <= 1
            ):
                continue  # the row of B above was the same but for its keys
            if other is None or mine.get(name) == other or (facts.root and name in facts.scoping):
                continue
            together = self._together(relation, name)
            values = {
                **mine,
                **{item: theirs[item] for item in together if item in theirs and item not in facts.scoping},
                name: other,
            }
            yield base.make("INSERT", insert(relation, values, columns=columns), relation,
                            {**self._marks(values, [name]), **self._keys(relation, values)}, name)  # fmt: skip

    def _moves(
        self,
        base: "_Base",
        relation: Relation,
        facts: TableFacts,
        rights: frozenset[str],
        partial: Mapping[str, tuple[str, ...]],
    ) -> Iterator[Try]:
        if not base.own:
            return
        theirs = self.planter.row(relation, B, 0, self.role)
        mine = self.planter.row(relation, A, 0, self.role)
        for name in facts.discriminators:
            column, value = relation.column(name), theirs.get(name)
            if (
                column is None
                or value is None
                or value == mine.get(name)
                or column.always
                or column.generated
            ):
                continue
            if (facts.root and name in facts.scoping) or (
                "UPDATE" not in rights and name not in partial.get("UPDATE", ())
            ):
                continue
            yield base.make(
                "UPDATE",
                f"UPDATE {relation.sql} SET {ident(name)} = {typed(value, column.type)} WHERE {_at(base.own)}",
                relation,
                {name: value},
                name,
            )
            if self.blind or relation.rows < BLIND_ROWS:
                yield base.make(
                    "UPDATE",
                    f"UPDATE {relation.sql} SET {ident(name)} = {typed(value, column.type)}",
                    relation,
                    {name: value},
                    name,
                    # Rows that refer to A's would stop what the policies let through.
                    replica=name in facts.scoping and not relation.guarded and self.planter.prober.replica,
                )

    def _conflicts(
        self,
        base: "_Base",
        relation: Relation,
        facts: TableFacts,
        rights: frozenset[str],
        partial: Mapping[str, tuple[str, ...]],
        updatable: str | None,
    ) -> Iterator[Try]:
        """Keys that are unique over all tenants answer whether the other one has them."""
        if not base.own:
            return
        inserted = (
            {item.name for item in relation.columns} if "INSERT" in rights else set(partial.get("INSERT", ()))
        )
        updated = (
            {item.name for item in relation.columns} if "UPDATE" in rights else set(partial.get("UPDATE", ()))
        )
        mine = self.planter.row(relation, A, FRESH_VARIANT, self.role)
        theirs = self.planter.row(relation, B, 0, self.role)
        for unique in relation.uniques:
            known = {name: theirs[name] for name in unique.columns if theirs.get(name) is not None}
            if set(unique.columns) & set(facts.discriminators) or not known:
                continue
            if not unique.loose and len(known) < len(unique.columns):
                continue
            values = {**mine, **known}
            columns = ", ".join(unique.columns)
            telling = not unique.primary and not all(_unguessable(relation, name) for name in known)
            if telling and set(known) <= inserted:
                yield base.collide("UNIQUE", insert(relation, values, columns=inserted), columns, unique.name)
            elif telling and set(known) <= updated:
                pairs = ", ".join(
                    f"{ident(item.name)} = {typed(known[item.name], item.type)}"
                    for item in relation.columns
                    if item.name in known
                )
                yield base.collide("UNIQUE", f"UPDATE {relation.sql} SET {pairs} WHERE {_at(base.own)}", columns,
                                   unique.name)  # fmt: skip
            if updatable is not None and "INSERT" in rights and not unique.loose:
                names = ", ".join(ident(name) for name in unique.columns)
                column = ident(updatable)
                suffix = f"ON CONFLICT ({names}) DO UPDATE SET {column} = excluded.{column}"
                yield base.touch("ON CONFLICT", insert(relation, values, suffix=suffix), column=columns)

    def through_view(
        self, view: Relation, table: Relation, statement: str, marks: Values, settings: Mapping[str, str]
    ) -> Try:
        """Give the try of inserting a row of B into a table through a view."""
        base = _Base(self.role, TENANT, dict(settings), table, (), tuple(self.crop.of(table.oid, B)))
        one = base.make("INSERT", statement, table, marks, "*")
        return replace(one, act=replace(one.act, target=view.title))

    def _together(self, relation: Relation, name: str) -> set[str]:
        """Columns of the same composite foreign key, which only fit together."""
        return {item for key in relation.foreign_keys if name in key.columns for item in key.columns}

    def _marks(self, values: Values, names: list[str]) -> Values:
        return {name: values[name] for name in names if values.get(name) is not None}

    def _keys(self, relation: Relation, values: Values) -> Values:
        primary = next((item.columns for item in relation.uniques if item.primary), ())
        return {name: values[name] for name in primary if values.get(name) is not None}


@dataclass(frozen=True, slots=True)
class _Base:
    role: str
    context: str
    settings: dict[str, str]
    relation: Relation
    own: tuple[Planted, ...]
    others: tuple[Planted, ...]

    def _act(self, operation: str, statement: str, column: str = "") -> Act:
        return Act(
            role=self.role,
            context=self.context,
            operation=operation,
            target=self.relation.title,
            statement=statement,
            column=column,
        )

    def see(self, operation: str, statement: str) -> Try:
        query = f"SELECT pg_catalog.json_agg(q.r)::text FROM ({statement}) AS q"
        return Try(
            step=Step(statement=query, role=self.role, settings=self.settings),
            act=self._act(operation, statement),
            own=self.own,
            others=self.others,
        )

    def count(self, operation: str, statement: str) -> Try:
        return Try(
            step=Step(statement=statement, role=self.role, settings=self.settings),
            act=self._act(operation, statement),
            meaning="count",
        )

    def touch(self, operation: str, statement: str, *, replica: bool = False, column: str = "") -> Try:
        settings = {**self.settings, "session_replication_role": "replica"} if replica else self.settings
        those = f"{_at(self.others, 't')} AND {_in(self.others, 't')}"
        verify = f"SELECT count(*)::text FROM {self.relation.sql} AS t WHERE {those}"
        return Try(
            step=Step(statement=statement, kind="w", role=self.role, settings=settings, verify=verify),
            act=self._act(operation, statement, column),
            meaning="touch",
            expected=len(self.others),
        )

    def make(
        self,
        operation: str,
        statement: str,
        relation: Relation,
        marks: Values,
        column: str,
        *,
        replica: bool = False,
    ) -> Try:
        conditions = " AND ".join(
            f"t.{ident(name)} = {typed(value, item.type if (item := relation.column(name)) else 'text')}"
            for name, value in marks.items()
        )
        verify = (
            f"SELECT count(*)::text FROM {relation.sql} AS t WHERE {conditions or 'false'}"
            f" AND NOT ({_at(self.others, 't')} AND {_in(self.others, 't')})"
        )
        if operation == "UPDATE":
            verify += f" AND NOT ({_at(self.own, 't')} AND {_in(self.own, 't')})"
        settings = {**self.settings, "session_replication_role": "replica"} if replica else self.settings
        return Try(
            step=Step(statement=statement, kind="w", role=self.role, settings=settings, verify=verify),
            act=self._act(operation, statement, column),
            meaning="make",
            guarded=relation.guarded,
        )

    def control(self, operation: str, statement: str) -> Try:
        """Try the same for the role's own tenant: what fails here too says nothing about the other."""
        return Try(
            step=Step(statement=statement, kind="w", role=self.role, settings=self.settings),
            act=self._act(operation, statement, OWN),
            meaning="control",
        )

    def collide(self, operation: str, statement: str, column: str, constraint: str) -> Try:
        return Try(
            step=Step(statement=statement, kind="w", role=self.role, settings=self.settings),
            act=self._act(operation, statement, column),
            meaning="collide",
            constraint=constraint,
        )


def _unguessable(relation: Relation, name: str) -> bool:
    """Whether a value is random: nobody learns anything by hitting it."""
    column = relation.column(name)
    return column is not None and (
        column.base == "uuid" or bool(re.search(r"random|uuid|nanoid|token", column.default or ""))
    )


def harmless_column(relation: Relation, names: list[str]) -> str | None:
    """Return the column whose change is least likely to be stopped by anything but a policy."""
    keys = {name for item in relation.uniques for name in item.columns}
    keys |= {name for item in relation.foreign_keys for name in item.columns}
    checked = {name for item in relation.conditions for name in item.columns}
    nullable = {item.name for item in relation.columns if not item.not_null}
    return min(names, key=lambda name: (name in keys, name in checked, name not in nullable), default=None)


def read_outcome(one: Try, outcome: Outcome, secrets: frozenset[str]) -> Act:
    """Turn an outcome into a fact. secrets: values of B that no error may tell A."""
    act = replace(one.act, state=outcome.state)
    if outcome.state:
        words = set(_WORD.findall(f"{outcome.message} {outcome.detail}"))
        told = any(word not in act.statement for word in words & secrets)
        collided = one.meaning == "collide" and outcome.state in COLLISIONS
        # Another key than the one that was meant tells nothing of B.
        state = "" if collided and outcome.constraint != one.constraint else outcome.state
        # The policies are asked before any key: who gets as far as this was let through.
        stopped = (
            one.meaning == "make" and act.column == "*" and not one.guarded and outcome.state in COLLISIONS
        )
        return replace(act, detail=told, state=state, stopped=stopped)
    if one.meaning == "see":
        seen = set(json.loads(outcome.text)) if outcome.text else set()
        own = sum(f"{row.relation}{row.place}" in seen for row in one.own)
        plain = [row for row in one.others if f"{row.relation}{row.place}" in seen]
        conditional = bool(plain) and all(row.exposed for row in plain)
        return replace(
            act,
            seen_own=own,
            seen_other=len(plain),
            null_tenant=sum(row.null_tenant for row in plain),
            exposed="; ".join(sorted({row.exposed for row in plain})) if conditional else "",
        )
    if one.meaning == "count":
        return replace(act, seen_other=int(outcome.text or 0))
    if one.meaning == "touch":
        return replace(act, crossed=one.expected - int(outcome.verified or 0))
    if one.meaning == "make":
        return replace(act, crossed=int(outcome.verified or 0) if outcome.rows else 0)
    return act


def _at(rows: tuple[Planted, ...] | list[Planted], alias: str = "") -> str:
    places = ",".join(f'"{row.place}"' for row in rows)
    return f"{alias + '.' if alias else ''}ctid = ANY ('{{{places}}}'::tid[])"


def _in(rows: tuple[Planted, ...] | list[Planted], alias: str) -> str:
    """Exactly these rows: a place is only unique within one partition."""
    pairs = ", ".join(f"({row.relation}, '{row.place}'::tid)" for row in rows) or "(0, '(0,0)'::tid)"
    return f"({alias}.tableoid::int8, {alias}.ctid) IN ({pairs})"
