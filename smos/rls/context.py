"""Works out, from what policies compare, whose a row is and how a session says who it is.

Columns that must agree (foreign keys, comparisons in policies, the same telling name) and the parts of the session's
context they are compared with form classes. Every class has one value per world: so two complete worlds, A and B,
can be planted whose rows never refer to each other, and the context of A is the values of its classes.
"""

import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from smos.rls.effects import relations_with_effects
from smos.rls.expressions import Atom, Reader, Reading
from smos.rls.facts import ProbeOptions, TableFacts
from smos.rls.schema import Relation, Schema

_NAMESPACE = uuid.UUID("6f1d7a52-2f4e-4a55-9d0a-5ad5b7c3b5a1")
_SET = re.compile(
    r"(?is)^\s*(?:set\s+(?:local\s+|session\s+)?(?P<name>[\w.\"]+)\s*(?:=|\bto\b)\s*(?P<value>.+?)"
    r"|select\s+(?:pg_catalog\.)?set_config\(\s*'(?P<name2>[\w.]+)'\s*,\s*(?P<value2>.+?)\s*,\s*\w+\s*\))\s*;?\s*$"
)
AUDIT_COLUMNS = frozenset(
    {"created_by", "updated_by", "modified_by", "deleted_by", "approved_by", "last_modified_by"}
)
"""Columns that say who touched a row, not whose it is."""
_TELLING = re.compile(
    r"(?i)(?:_id|_uuid|_uid|_key|_ref|^tenant\w*|^org\w*|^owner\w*|^account\w*|^company\w*)$"
)
COLLEAGUE = 2
"""The world of another user of A's tenant."""
_USER = re.compile(
    r"(?i)(?:^|[._/#-])(?:sub|user\w*|uid|member\w*|person\w*|employee\w*|actor\w*|login|email)$"
)
_IDENTITY = ("current_user", "session_user")
_INTEGERS = {
    "int2": (20_000, 12_000),
    "int4": (1_900_000_000, 200_000_000),
    "int8": (1_900_000_000, 200_000_000),
}


@dataclass(slots=True)
class Group:
    """One class of columns and context keys whose values agree.

    preferred: values to use, by world, where the schema only admits some (a list partition, an enumeration).
    """

    number: int
    columns: list[tuple[int, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    base: str = "text"
    length: int = 0
    preferred: list[str] = field(default_factory=list)

    @property
    def by_role(self) -> bool:
        """Whether the session's role itself is the value."""
        return any(key in _IDENTITY for key in self.keys)

    def value(self, world: int, variant: int = 0, role: str = "") -> str:
        """Return the value of a world, as text. variant: for keys that several rows of one world must not share."""
        if self.by_role and variant == 0:
            return role if world == 0 else f"smos_other_{world}"
        if len(self.preferred) > world + 2 * variant:
            return self.preferred[world + 2 * variant]
        return fresh(self.base, self.number, world, variant, self.length)


def fresh(base: str, number: int, world: int, variant: int, length: int = 0) -> str:
    """Return a value of this type that no other (number, world, variant) shares, and no user's row is likely to."""
    if base in _INTEGERS:
        start, room = _INTEGERS[base]
        return str(start + (number * 64 + world * 16 + variant) % room)
    if base in {"numeric", "float4", "float8"}:
        return str(9000 + (number * 64 + world * 16 + variant) % 900)
    if base == "uuid":
        return str(uuid.uuid5(_NAMESPACE, f"{number}/{world}/{variant}"))
    text = f"smos{'abcdefgh'[world]}{variant:x}{number:x}"
    if length and len(text) > length:
        digest = uuid.uuid5(_NAMESPACE, text).hex
        return digest[:length]
    return text


@dataclass(slots=True)
class Plan:
    """What to plant and whom to be. groups: by column and by context key; tables: what each table is.

    effects: OIDs of relations on which a write may do what no rollback takes back.
    """

    schema: Schema
    reading: Reading
    by_column: dict[tuple[int, str], Group]
    by_key: dict[str, Group]
    tables: dict[int, TableFacts]
    templates: dict[str, str]
    effects: frozenset[int] = frozenset()

    def user_groups(self) -> tuple[Group, ...]:
        """Return the classes that tell users apart, where others tell their tenants apart."""
        named: dict[int, Group] = {id(group): group for group in self.by_key.values()}
        users = [item for item in named.values() if any(_USER.search(key) for key in item.keys)]
        return tuple(users) if len(users) < len(named) and not self.by_role else ()

    def value(self, group: Group, world: int, variant: int = 0, role: str = "") -> str:
        """Return a class's value in a world. The third one is of a colleague: A's tenant, another user."""
        if world == COLLEAGUE and any(group is item for item in self.by_key.values()):
            users = self.user_groups()
            if not any(group is item for item in users):
                world = 0
        return group.value(world, variant, role)

    @property
    def known(self) -> bool:
        """Whether there is any way to say who a session is."""
        return bool(self.by_key or self.templates)

    @property
    def by_role(self) -> bool:
        """Whether the worlds depend on the role that acts."""
        return any(group.by_role for group in self.by_key.values())

    def context(self, world: int, role: str, *, without: Iterable[Group] = ()) -> dict[str, str]:
        """Return the settings that make a session one of `world`. without: classes that it does not name."""
        missing = {id(group) for group in without}
        settings: dict[str, str] = {}
        claims: dict[str, dict[str, object]] = {}
        for key, group in sorted(self.by_key.items()):
            value = group.value(world, role=role)
            name, _, path = key.partition("#")
            if name in _IDENTITY:
                continue
            if id(group) in missing:
                if not path:
                    settings[name] = ""
                continue
            if not path:
                settings[name] = "{" + value + "}" if key in self.reading.arrays else value
                continue
            inner: dict[str, object] = claims.setdefault(name, {})
            *outer, last = path.split("/")
            for step in outer:
                inner = inner.setdefault(step, {})  # type: ignore[assignment]  # objects all the way down
            inner[last] = value
        for name, content in claims.items():
            if "jwt" in name or "claim" in name:
                content.setdefault("role", role)
            settings[name] = json.dumps(content)
        for name, template in self.templates.items():
            of_template = self._of_template(name)
            if of_template is not None:
                settings[name] = template.replace("{tenant}", of_template.value(world, role=role))
        return settings

    def empty(self) -> dict[str, str]:
        """Return the settings as they are after a transaction with SET LOCAL has ended: there, and empty."""
        return dict.fromkeys(self.context(0, "nobody"), "")

    def titles(self) -> tuple[str, ...]:
        """Return how a tenant's context is set, in words."""
        return tuple(sorted({*self.by_key, *self.templates}))

    def _of_template(self, name: str) -> Group | None:
        found = [group for key, group in self.by_key.items() if key.partition("#")[0] == name]
        return found[0] if found else next(iter(self.by_key.values()), None)


class _Classes:
    """Union-find over atoms."""

    def __init__(self) -> None:
        self.parent: dict[Atom, Atom] = {}

    def find(self, atom: Atom) -> Atom:
        self.parent.setdefault(atom, atom)
        while self.parent[atom] != atom:
            self.parent[atom] = self.parent[self.parent[atom]]
            atom = self.parent[atom]
        return atom

    def join(self, one: Atom, other: Atom) -> None:
        self.parent[self.find(one)] = self.find(other)


def make_plan(schema: Schema, options: ProbeOptions) -> Plan:
    """Read the policies and say what is whose, and how a session says who it is."""
    reader = Reader(schema)
    reading = reader.policies()
    templates = dict(_template(text) for text in options.contexts)
    classes = _Classes()
    for relation in schema.tables():
        for key in relation.foreign_keys:
            for column, parent in zip(key.columns, key.parent_columns, strict=False):
                classes.join(("col", relation.oid, column), ("col", key.parent, parent))
    for one, other in reading.links:
        if _agree(schema, one, other):
            classes.join(one, other)
    linked = {str(atom[1]) for pair in reading.links for atom in pair if atom[0] == "ctx"}
    loose = {*reading.keys, *templates} - linked
    _join_names(schema, reading, classes)
    for name in sorted(loose):
        _join_key(schema, classes, name, declared=name in templates)
    _join_children(schema, classes)
    groups = _groups(schema, classes)
    by_column = {column: group for group in groups for column in group.columns}
    by_key = {key: group for group in groups for key in group.keys if group.columns}
    plan = Plan(schema, reading, by_column, by_key, {}, templates, relations_with_effects(schema))
    plan.tables = _ownership(plan, options)
    return plan


def _template(text: str) -> tuple[str, str]:
    match = _SET.match(text)
    if match is None or "{tenant}" not in text:
        from smos.errors import TargetError

        raise TargetError(
            "A context is declared in a way that can't be read",
            remedy="write it as: SET LOCAL app.tenant_id = {tenant}",
        )
    value = (match["value"] or match["value2"] or "").strip().strip("'")
    return (match["name"] or match["name2"]).replace('"', ""), value


def _agree(schema: Schema, one: Atom, other: Atom) -> bool:
    """Refuse to join columns whose types can't hold the same value."""
    if one[0] == "ctx" or other[0] == "ctx":
        return True
    kinds = []
    for atom in (one, other):
        relation = schema.relations.get(int(atom[1]))
        column = relation.column(str(atom[2])) if relation else None
        if column is None or column.category in {"B", "D", "A"} or column.base in {"json", "jsonb"}:
            return False
        kinds.append("number" if column.category == "N" else column.base if column.base == "uuid" else "text")
    return kinds[0] == kinds[1] or "text" in kinds


def _join_names(schema: Schema, reading: Reading, classes: _Classes) -> None:
    """Columns that are called like a discriminator elsewhere hold the same thing, also without a foreign key."""
    telling: dict[tuple[str, str], Atom] = {}
    compared = [atom for pair in reading.links for atom in pair if atom[0] == "col"]
    for atom in compared:
        relation = schema.relations.get(int(atom[1]))
        column = relation.column(str(atom[2])) if relation else None
        if column is not None and _TELLING.search(column.name) and column.name not in AUDIT_COLUMNS:
            telling.setdefault((column.name, column.base), atom)
    for relation in schema.relations.values():
        if relation.kind not in {"r", "p", "f"}:
            continue
        referring = {name for key in relation.foreign_keys for name in key.columns}
        for column in relation.columns:
            twin = telling.get((column.name, column.base))
            if twin is not None and column.name not in referring:
                classes.join(("col", relation.oid, column.name), twin)


def _join_children(schema: Schema, classes: _Classes) -> None:
    """Partitions and children of inheritance share those columns of their parents that mean something."""
    for _ in range(3):  # levels of partitions
        for relation in schema.tables():
            for parent in relation.parents:
                for column in relation.columns:
                    if ("col", parent, column.name) in classes.parent:
                        classes.join(("col", relation.oid, column.name), ("col", parent, column.name))


def _join_key(schema: Schema, classes: _Classes, key: str, *, declared: bool) -> None:
    """Join a part of the context that no policy compares in the open, by its name."""
    word = re.split(r"[.#/]", key)[-1].lower()
    word = re.sub(r"^(?:current_?|my_?|active_?)", "", word) or word
    stem = re.sub(r"(?:_?ids?|_?uuid)$", "", word)
    names = [word, f"{stem}_id", stem]
    if word in {"sub", "uid", "user", "user_id"}:
        names += ["user_id", "owner_id"]
        stem = "user"
    for relation in schema.tables():
        for column in relation.columns:
            if column.name in names and column.name != "id" and column.category in {"N", "S", "U"}:
                classes.join(("ctx", key), ("col", relation.oid, column.name))
                return
    for relation in schema.tables():
        primary = next((item for item in relation.uniques if item.primary), None)
        if relation.name in {stem, f"{stem}s", f"{stem}es"} and primary and len(primary.columns) == 1:
            classes.join(("ctx", key), ("col", relation.oid, primary.columns[0]))
            return
    if declared:
        for relation in schema.tables():
            for column in relation.columns:
                if column.name in {
                    "tenant_id",
                    "org_id",
                    "organization_id",
                    "account_id",
                    "company_id",
                    "user_id",
                }:
                    classes.join(("ctx", key), ("col", relation.oid, column.name))
                    return


def _groups(schema: Schema, classes: _Classes) -> list[Group]:
    members: dict[Atom, list[Atom]] = {}
    for atom in list(classes.parent):
        members.setdefault(classes.find(atom), []).append(atom)
    groups = []
    ordered = sorted(members.values(), key=lambda atoms: min(map(repr, atoms)))
    for number, atoms in enumerate(ordered):
        group = Group(number + 1)
        group.keys = sorted(str(atom[1]) for atom in atoms if atom[0] == "ctx")
        group.columns = sorted((int(atom[1]), str(atom[2])) for atom in atoms if atom[0] == "col")
        bases = []
        for oid, name in group.columns:
            relation = schema.relations.get(oid)
            column = relation.column(name) if relation else None
            if relation is None or column is None:
                continue
            bases.append(column.base.removeprefix("_") if column.category == "A" else column.base)
            if column.length:
                group.length = min(group.length or column.length, column.length)
            if column.labels:
                group.preferred = list(column.labels)
        group.base = next(
            (kind for kind in ("int2", "int4", "int8", "numeric", "uuid") if kind in bases),
            bases[0] if bases else "text",
        )
        groups.append(group)
    by_column = {column: group for group in groups for column in group.columns}
    for relation in schema.relations.values():
        if relation.bound and (owner := schema.relations.get(relation.parents[0] if relation.parents else 0)):
            for name in owner.partition_keys[:1]:
                group_ = by_column.get((owner.oid, name))
                found = re.findall(r"'((?:[^']|'')*)'", relation.bound.partition(" TO ")[0])
                if group_ is not None and re.search(r" (?:IN|FROM) \(", relation.bound):
                    group_.preferred += [item.replace("''", "'") for item in found]
    return groups


def _ownership(plan: Plan, options: ProbeOptions) -> dict[int, TableFacts]:
    schema, reading = plan.schema, plan.reading
    context = {id(group) for group in plan.by_key.values()}
    own: dict[int, set[str]] = {}
    relations = [item for item in schema.relations.values() if item.kind in {"r", "p", "f"}]
    for relation in relations:
        names = {
            column.name
            for column in relation.columns
            if id(plan.by_column.get((relation.oid, column.name))) in context
        }
        names |= reading.scoping.get(relation.oid, set())
        if relation.title in options.shared or f"{relation.schema}.{relation.name}" in options.shared:
            continue
        if names - AUDIT_COLUMNS or (names and relation.row_security):
            own[relation.oid] = names
    moved = True
    while moved:
        moved = False
        for relation in relations:
            if relation.title in options.shared:
                continue
            names = own.get(relation.oid, set())
            found = {
                name
                for key in relation.foreign_keys
                if key.parent in own and key.parent != relation.oid
                for name in key.columns
                if name not in AUDIT_COLUMNS or relation.row_security
            }
            if any(parent in own for parent in relation.parents) and relation.oid not in own:
                found |= {name for parent in relation.parents for name in own.get(parent, set())}
            if found - names:
                own[relation.oid] = names | found
                moved = True
    for relation in relations:
        if relation.oid in own:  # trees: a row may point at a row of its own table
            own[relation.oid] |= {
                name for key in relation.foreign_keys if key.parent == relation.oid for name in key.columns
            }
    facts = {}
    users = {id(group) for group in plan.user_groups()}
    referred = {key.parent for relation in relations for key in relation.foreign_keys}
    for relation in relations:
        mine = own.get(relation.oid)
        if mine is None:
            facts[relation.oid] = TableFacts()
            continue
        scoping = {
            name for name in mine
            if id(plan.by_column.get((relation.oid, name))) in context or name in reading.scoping.get(relation.oid, ())
        }  # fmt: skip
        primary = _primary(relation)
        root = len(primary) == 1 and primary[0] in scoping and (
            relation.oid in referred or primary == tuple(sorted(mine))
        )  # fmt: skip
        facts[relation.oid] = TableFacts(
            owned=True,
            discriminators=tuple(sorted(mine)),
            scoping=tuple(sorted(scoping)),
            principals=tuple(
                sorted(name for name in mine if id(plan.by_column.get((relation.oid, name))) in context)
            ),
            users=tuple(
                sorted(name for name in scoping if id(plan.by_column.get((relation.oid, name))) in users)
            ),
            root=root,
            membership=relation.oid in reading.sources and len(mine) > 1,
        )
    return facts


def _primary(relation: Relation) -> tuple[str, ...]:
    return next((item.columns for item in relation.uniques if item.primary), ())


def in_order(relations: Iterable[Relation]) -> list[Relation]:
    """Sort tables so that those that are referred to come first, as far as there are no cycles."""
    todo = {item.oid: item for item in relations}
    done: list[Relation] = []
    while todo:
        ready = [
            item
            for item in todo.values()
            if not any(key.parent in todo and key.parent != item.oid for key in item.foreign_keys)
        ] or [next(iter(todo.values()))]
        for item in ready:
            done.append(item)
            del todo[item.oid]
    return done
