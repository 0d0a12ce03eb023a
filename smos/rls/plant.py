"""Plants the canary rows of two worlds, A and B, that never refer to each other."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from smos.rls.context import Plan
from smos.rls.effects import draws
from smos.rls.expressions import FILLED, HIGHEST, LOWEST
from smos.rls.facts import Gap
from smos.rls.schema import Column, Condition, Relation, ident, literal
from smos.rls.session import Prober, Step
from smos.rls.values import Value, base_value, combinations

A, B, C = 0, 1, 2
WORLDS = (A, B, C)
Values = dict[str, Value]
MOST_VARIANTS = 4
MOST_PARTITIONS = 4
MOST_KEYS = 3
"""Different values of a key that has to satisfy a condition, for the rows of one world."""
FRESH_VARIANT = 9
"""Variant of the keys of rows that probes insert; planted rows have lower ones."""

_LATER = re.compile(r"(?i)expir|until|end|valid_to|due|deadline")
_PLATFORM = re.compile(r"(?i)super|platform|staff|support|global|root|system|internal|service|sysadmin")
_PRIVILEGE = re.compile(r"(?i)admin|role|level|staff|permission|scope|kind|type|plan|tier")
_BOUND_VALUE = re.compile(r"'((?:[^']|'')*)'")
_BLOCK = """DO $smos_block$
DECLARE s text; r text[] := '{{}}'; o int8; c text; st text; ms text; ct text;
BEGIN
    FOR s IN SELECT * FROM pg_catalog.jsonb_array_elements_text({steps}::jsonb) LOOP
        BEGIN
            EXECUTE s INTO o, c;
            r := r || pg_catalog.jsonb_build_object('o', o, 'c', c)::text;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS st = RETURNED_SQLSTATE, ms = MESSAGE_TEXT, ct = CONSTRAINT_NAME;
            r := r || pg_catalog.jsonb_build_object('e', st, 'm', ms, 'x', ct)::text;
        END;
    END LOOP;
    PERFORM pg_catalog.set_config('smos.out', pg_catalog.array_to_json(r)::text, true);
END $smos_block$"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A canary row: where it stands, and what makes it special. exposed: the condition of a policy that it meets."""

    world: int
    variant: int
    relation: int
    place: str
    exposed: str = ""
    null_tenant: bool = False


@dataclass(slots=True)
class Crop:
    """Everything planted. rows: by OID of the table that was planted (and, for partitions, that holds the row)."""

    rows: dict[int, list[Planted]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)

    def of(self, oid: int, world: int) -> list[Planted]:
        """Return the rows of one table and world."""
        return [row for row in self.rows.get(oid, ()) if row.world == world]


@dataclass(frozen=True, slots=True)
class _Solutions:
    """Values that satisfy a condition: of one row each, the first for planted rows. keyed: rows must not share them."""

    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]
    keyed: bool

    def of(self, variant: int) -> dict[str, Value]:
        """Return the values for a variant: for one with keys of its own, others than those of variant 0."""
        last = len(self.rows) - 1
        place = (
            0 if not self.keyed or variant == 0 else last if variant == FRESH_VARIANT else min(variant, last)
        )
        return dict(zip(self.columns, self.rows[place], strict=True))


class Planter:
    """Makes valid rows for one schema."""

    def __init__(self, plan: Plan, prober: Prober) -> None:
        self.plan = plan
        self.prober = prober
        self.solutions: dict[tuple[int, int], list[_Solutions]] = {}
        numbers: dict[tuple[int, str], int] = {}
        for relation in plan.schema.relations.values():
            for column in relation.columns:
                numbers[relation.oid, column.name] = 500 + len(numbers)
        self._numbers = numbers
        self._rows: dict[tuple[int, int, int, str], Values] = {}

    def row(self, relation: Relation, world: int, variant: int = 0, role: str = "") -> Values:
        """Return values for every column that needs one; the others are left to their defaults."""
        key = (relation.oid, world, variant, role if self.plan.by_role else "")
        if key not in self._rows:
            self._rows[key] = self._row(relation, world, variant, role)
        return dict(self._rows[key])

    def _row(self, relation: Relation, world: int, variant: int, role: str) -> Values:
        facts = self.plan.tables.get(relation.oid)
        referring = {name for key in relation.foreign_keys for name in key.columns}
        unique = _keyed(relation)
        values: Values = {}
        for column in relation.columns:
            if column.generated:
                continue
            group = self.plan.by_column.get((relation.oid, column.name))
            own_key = column.name in unique and column.name not in referring
            if group is not None:
                scoping = facts is not None and column.name in facts.scoping
                shift = variant if own_key and not (scoping and not (facts and facts.root)) else 0
                value = self.plan.value(group, world, shift, role)
                values[column.name] = f"{{{value}}}" if column.category == "A" else value
            elif (
                column.name in relation.partition_keys and (bound := self._bound(relation, world)) is not None
            ):
                values[column.name] = bound
            elif column.not_null and column.default is None:
                number = self._numbers[relation.oid, column.name]
                values[column.name] = base_value(column, number if own_key or column.category != "N" else 0,
                                                 world, variant)  # fmt: skip
            elif draws(self.plan.schema, column) or (
                own_key and (column.default is not None or column.not_null)
            ):
                values[column.name] = base_value(
                    column, self._numbers[relation.oid, column.name], world, variant
                )
        for solved in self.solutions.get((relation.oid, world), ()):
            values |= {
                name: value
                for name, value in solved.of(variant).items()
                if (relation.oid, name) not in self.plan.by_column
            }
        return values

    def solve(self, relations: Iterable[Relation]) -> None:
        """Find values that satisfy the CHECK constraints and domains, by asking the server."""
        problems = [
            (relation, condition, world)
            for relation in relations
            for condition in _merged(relation)
            for world in (WORLDS if self.plan.user_groups() else (A, B))
        ]
        tests = [
            self._test(relation, condition, self._current(relation, condition, world))
            for relation, condition, world in problems
        ]
        tested = self.prober.run(tests)
        hard = [problem for problem, outcome in zip(problems, tested, strict=True) if not _holds(outcome)]
        tries: list[tuple[int, tuple[Value, ...]]] = []
        for place, (relation, condition, world) in enumerate(hard):
            columns = [column for name in condition.columns if (column := relation.column(name))]
            if len(columns) != len(condition.columns):
                continue
            fixed = [
                (relation.oid, column.name) in self.plan.by_column or column.generated for column in columns
            ]
            current = self._current(relation, condition, world)
            tries += [(place, values) for values in combinations(condition, columns, current, world, fixed)]
        outcomes = self.prober.run([self._test(*hard[place][:2], values) for place, values in tries])
        self._rows.clear()  # what was made without the solutions
        found: dict[int, list[tuple[Value, ...]]] = {}
        for (place, values), outcome in zip(tries, outcomes, strict=True):
            if _holds(outcome):
                found.setdefault(place, []).append(values)
        used: dict[tuple[int, tuple[str, ...]], set[tuple[Value, ...]]] = {}
        for place, holding in found.items():
            rows = holding
            relation, condition, world = hard[place]
            unique = _keyed(relation)
            keys = [spot for spot, name in enumerate(condition.columns)
                    if name in unique and (relation.oid, name) not in self.plan.by_column]  # fmt: skip
            distinct = {tuple(row[spot] for spot in keys): row for row in reversed(rows)}
            if keys:  # what one world has, no other takes, where there is a choice
                taken = used.setdefault((relation.oid, condition.columns), set())
                free = {key: row for key, row in distinct.items() if key not in taken} or distinct
                rows = sorted(free.values(), key=holding.index)[:MOST_KEYS]
                taken.update(tuple(row[spot] for spot in keys) for row in rows)
            best = rows if keys else rows[:1]
            self.solutions.setdefault((relation.oid, world), []).append(
                _Solutions(condition.columns, best, bool(keys))
            )

    def plant(self, relations: Sequence[Relation], role: str) -> Crop:
        """Plant both worlds in every table; what can't be planted is a gap with the reason."""
        crop = Crop()
        jobs: list[tuple[Relation, int, int, Values, str, bool]] = []
        for relation in relations:
            jobs.append(
                (relation, A, 0, {**self.row(relation, A, 0, role), **self._hints_of_a(relation)}, "", False)
            )
            jobs.append((relation, B, 0, self.row(relation, B, 0, role), "", False))
            jobs += self._variants(relation, role)
        if self.prober.replica:
            self.prober.execute("SELECT pg_catalog.set_config('session_replication_role', 'replica', true)")
        answers = self._insert(
            [insert(relation, values, returning=True) for relation, _, _, values, _, _ in jobs]
        )
        if self.prober.replica:
            self.prober.execute("SELECT pg_catalog.set_config('session_replication_role', 'origin', true)")
        for (relation, world, variant, _, exposed, null_tenant), answer in zip(jobs, answers, strict=True):
            if "e" in answer:
                if variant == 0:
                    crop.gaps.append(
                        Gap(
                            code="not-planted",
                            target=relation.title,
                            reason=f"no valid canary row of tenant {'AB'[world]} could be made"
                            f" (SQLSTATE {answer['e']}{', ' + answer['x'] if answer.get('x') else ''}):"
                            f" {_shape(str(answer['m']))}",
                            remedy="probe a database in which this table can hold rows of two tenants",
                        )
                    )
                continue
            row = Planted(
                world=world,
                variant=variant,
                relation=answer["o"],
                place=answer["c"],
                exposed=exposed,
                null_tenant=null_tenant,
            )
            crop.rows.setdefault(relation.oid, []).append(row)
            if answer["o"] != relation.oid:
                crop.rows.setdefault(answer["o"], []).append(row)
        return crop

    def plant_colleague(self, relations: Sequence[Relation], role: str) -> tuple[Crop, list[Gap]]:
        """Plant a row of another user of A's tenant in every table that has room for one."""
        jobs = []
        for relation in relations:
            facts = self.plan.tables.get(relation.oid)
            row = self.row(relation, C, 0, role)
            if facts is not None and facts.root and row == self.row(relation, A, 0, role):
                continue
            jobs.append((relation, {**row, **self._hints_of_a(relation)}))
        if self.prober.replica:
            self.prober.execute("SELECT pg_catalog.set_config('session_replication_role', 'replica', true)")
        answers = self._insert([insert(relation, values, returning=True) for relation, values in jobs])
        if self.prober.replica:
            self.prober.execute("SELECT pg_catalog.set_config('session_replication_role', 'origin', true)")
        crop, gaps = Crop(), []
        for (relation, _), answer in zip(jobs, answers, strict=True):
            if "e" in answer:
                gaps.append(
                    Gap(
                        code="not-planted",
                        target=relation.title,
                        reason="no valid canary row of another user of the same tenant could be made"
                        f" (SQLSTATE {answer['e']}): {_shape(str(answer['m']))}",
                        remedy="probe a database in which this table can hold rows of two users of a tenant",
                    )
                )
                continue
            planted = Planted(world=C, variant=0, relation=answer["o"], place=answer["c"])
            crop.rows.setdefault(relation.oid, []).append(planted)
        return crop, gaps

    def _insert(self, statements: Sequence[str]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        for start in range(0, len(statements), 500):
            steps = "'" + json.dumps(list(statements[start : start + 500])).replace("'", "''") + "'"
            self.prober.execute(_BLOCK.format(steps=steps))
            ((text,),) = self.prober.execute("SELECT pg_catalog.current_setting('smos.out')")
            answers += [json.loads(item) for item in json.loads(text)]
        return answers

    def _hints_of_a(self, relation: Relation) -> Values:
        """Return what policies ask of an ordinary tenant's rows; never what makes somebody the platform's operator."""
        facts = self.plan.tables.get(relation.oid)
        values: Values = {}
        for column in relation.columns:
            hints = self.plan.reading.hints.get((relation.oid, column.name), [])
            if (relation.oid, column.name) in self.plan.by_column or column.generated:
                continue
            for hint in hints:
                if hint.startswith("\0"):
                    if column.category == "D" and hint in {LOWEST, HIGHEST} and column.default is None:
                        values[column.name] = "2199-01-01" if _LATER.search(column.name) else "now"
                    continue
                alone = facts is None or len(facts.discriminators) < 2
                if _PLATFORM.search(hint) or _PLATFORM.search(column.name):
                    continue
                if alone and _PRIVILEGE.search(column.name):
                    continue
                if column.base == "bool" and hint not in {"true", "false"}:
                    continue
                if column.labels and hint not in column.labels:
                    continue
                if column.base in {"timestamp", "timestamptz", "date"} or column.category in {"A", "U"}:
                    continue
                values[column.name] = hint
                break
        return values

    def _variants(self, relation: Relation, role: str) -> list[tuple[Relation, int, int, Values, str, bool]]:
        facts = self.plan.tables.get(relation.oid)
        if facts is None or not facts.owned or facts.root:
            return []
        found: list[tuple[Relation, int, int, Values, str, bool]] = []
        primary = {name for item in relation.uniques if item.primary for name in item.columns}
        keys = [name for name in relation.partition_keys if (relation.oid, name) not in self.plan.by_column]
        if len(keys) == 1:  # each partition may be read on its own: a row of B in each
            for bound in self._bounds(relation)[:MOST_PARTITIONS]:
                variant = len(found) + 1
                found.append(
                    (
                        relation,
                        B,
                        variant,
                        {**self.row(relation, B, variant, role), keys[0]: bound},
                        "",
                        False,
                    )
                )
        for name in facts.scoping:
            column = relation.column(name)
            if column is not None and not column.not_null and name not in primary:
                variant = len(found) + 1
                values = {**self.row(relation, B, variant, role), name: None}
                found.append((relation, B, variant, values, f"{name} IS NULL", True))
        for column in relation.columns:
            if column.generated or (relation.oid, column.name) in self.plan.by_column:
                continue
            for hint in self.plan.reading.hints.get((relation.oid, column.name), []):
                if len(found) < MOST_VARIANTS + MOST_PARTITIONS:
                    variant = len(found) + 1
                    value = _value_of(hint, column)
                    values = {**self.row(relation, B, variant, role), column.name: value}
                    found.append((relation, B, variant, values, f"{column.name} = {literal(value)}", False))
        return found

    def _bound(self, relation: Relation, world: int) -> Value:
        found = self._bounds(relation)
        return found[min(world, len(found) - 1)] if found else None

    def _bounds(self, relation: Relation) -> list[str]:
        """Return a value for each partition."""
        bounds = [
            item.bound
            for item in self.plan.schema.relations.values()
            if relation.oid in item.parents and item.bound and item.bound != "DEFAULT"
        ]
        return [
            text.replace("''", "'")
            for bound in bounds
            if " WITH (" not in bound
            for text in _BOUND_VALUE.findall(bound.partition(" TO ")[0])[:1] or _plain_bound(bound)
        ]

    def _current(self, relation: Relation, condition: Condition, world: int) -> tuple[Value, ...]:
        values = {**self.row(relation, world)}
        if world == A:
            values |= self._hints_of_a(relation)
        return tuple(
            values[name] if name in values else _default(relation.column(name)) for name in condition.columns
        )

    def _test(self, relation: Relation, condition: Condition, values: Sequence[Value]) -> Step:
        parts = []
        for name, value in zip(condition.columns, values, strict=True):
            column = relation.column(name)
            kind = column.type if column else "text"
            parts.append(f"{typed(value, kind)} AS {ident(name)}")
        return Step(statement=f"SELECT ({condition.expression})::text FROM (SELECT {', '.join(parts)}) AS q")


def _keyed(relation: Relation) -> set[str]:
    """Return the columns that rows must not share; of what an expression or a WHERE mentions, only texts."""
    return {
        name
        for item in relation.uniques
        for name in item.columns
        if not item.loose or ((column := relation.column(name)) is not None and column.category == "S")
    }


def insert(
    relation: Relation,
    values: Values,
    *,
    returning: bool = False,
    suffix: str = "",
    columns: Iterable[str] | None = None,
) -> str:
    """Return an INSERT of one row. columns: only these, where the role may give no others."""
    allowed = set(columns) if columns is not None else None
    given = {name: value for name, value in values.items() if allowed is None or name in allowed}
    tail = f" {suffix}" if suffix else ""
    tail += " RETURNING tableoid::int8, ctid::text" if returning else ""
    if not given:
        return f"INSERT INTO {relation.sql} DEFAULT VALUES{tail}"
    names = ", ".join(ident(name) for name in given)
    items = ", ".join(
        typed(value, column.type if (column := relation.column(name)) else "text")
        for name, value in given.items()
    )
    overriding = " OVERRIDING SYSTEM VALUE" if any(
        column.always for column in relation.columns if column.name in given
    ) else ""  # fmt: skip
    return f"INSERT INTO {relation.sql} ({names}){overriding} VALUES ({items}){tail}"


def typed(value: Value, kind: str) -> str:
    """Return a value for a statement, cast to its type."""
    return f"NULL::{kind}" if value is None else f"{literal(value)}::{kind}"


def _value_of(hint: str, column: Column) -> str:
    """Return the value that a hint stands for."""
    if hint == FILLED:
        return base_value(column, 499, B, 0)
    if hint in {LOWEST, HIGHEST}:
        if column.category == "D":
            return "1901-01-01" if hint == LOWEST else "2199-01-01"
        return "0" if hint == LOWEST else "9999" if column.category == "N" else "zzzz"
    return hint


def _merged(relation: Relation) -> list[Condition]:
    """CHECK constraints and domain conditions; those that share columns as one."""
    found = [item for item in relation.conditions if item.columns]
    for column in relation.columns:
        for text in column.domain_checks:
            expression = re.sub(r"\bVALUE\b", ident(column.name).replace("\\", r"\\"), text)
            found.append(Condition(name="domain", columns=(column.name,), expression=expression))
    merged: list[Condition] = []
    for condition in found:
        together = condition
        for item in [item for item in merged if set(item.columns) & set(condition.columns)]:
            merged.remove(item)
            together = Condition(
                name=condition.name,
                columns=tuple(dict.fromkeys((*item.columns, *together.columns))),
                expression=f"({item.expression}) AND ({together.expression})",
            )
        merged.append(together)
    return merged


def _holds(outcome: object) -> bool:
    state, text = getattr(outcome, "state", ""), getattr(outcome, "text", None)
    return not state and text in {None, "true", "t"}


def _default(column: Column | None) -> Value:
    """Return the value of a simple default; None where it is none or not simple."""
    if column is None or column.default is None:
        return None
    match = re.match(r"'((?:[^']|'')*)'|(-?\d+(?:\.\d+)?)|(true|false)\b", column.default)
    if match is None:
        return None
    return next(item for item in match.groups() if item is not None).replace("''", "'")


def _plain_bound(bound: str) -> list[str]:
    return re.findall(r"(?:FROM|IN) \((-?\d+|true|false)", bound)[:1]


def _shape(message: str) -> str:
    """Return an error's text without quoted values that are no names (they are canaries anyway)."""
    return message.splitlines()[0][:200] if message else ""
