"""Reads policies and function bodies: which column is compared with which part of the session's context.

Atoms are what an expression boils down to: ("col", OID, name), ("ctx", key) or ("lit", text). Keys of the context:
`app.tenant_id` (a setting), `request.jwt.claims#app_metadata/org_id` (a key in a JSON setting), `current_user`.
What can't be parsed is passed over: what a policy really does is found out by acting; this only says how to act.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from smos.rls.schema import Function, Relation, Schema

Atom = tuple[str, ...] | tuple[str, int, str]
Atoms = frozenset[Atom]
Scope = tuple[tuple[str, Relation], ...]

DEEPEST = 8
"""Functions that call functions are followed to this depth."""
_NOTHING: Atoms = frozenset()
FILLED, LOWEST, HIGHEST = "\0filled", "\0lowest", "\0highest"
"""Hints that are no literal: any value but NULL, and values at either end."""
EXTREMES: Atoms = frozenset({("lit", LOWEST), ("lit", HIGHEST)})
_WRAPPERS = (exp.Paren, exp.Cast, exp.TryCast, exp.Nullif, exp.Lower, exp.Upper, exp.Trim, exp.Alias, exp.Any,
             exp.StringToArray, exp.Initcap)  # fmt: skip
_JSON = (exp.JSONExtract, exp.JSONExtractScalar, exp.JSONBExtract, exp.JSONBExtractScalar)
_FRAGMENT = re.compile(
    r"(?is)\b(?:return\s+query\s+|return\s+|:=\s*|if\s+|elsif\s+|perform\s+)(?P<body>.+?)(?:\bthen\b|;|\Z)"
)
_QUERY = re.compile(r"(?is)(?<![\w.])(?:select|with|update|delete|insert|merge)\b.+?(?:;|\Z)")
_SETTING = re.compile(r"current_setting\(\s*'(?P<name>[\w.]+)'", re.IGNORECASE)
USER_CLAIM = re.compile(r"\b(?:raw_)?user_meta_?data\b")
"""What a user writes into his own token or profile."""
SESSION_READERS = re.compile(
    r"current_setting\s*\(|\bcurrent_user\b|\bsession_user\b|\bauth\s*\.\s*(?:uid|jwt|role|email)\s*\(",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Reading:
    """What was read so far, over all policies.

    links: pairs of atoms that are compared. hints: literals a column is compared with. scoping: OID of a table to the
    columns its own policies compare. sources: OIDs of tables that are asked in subqueries. functions: OIDs of followed
    functions. bypass: (context key, literal) comparisons. arrays: context keys that are cast to an array. strict: keys
    read without `missing_ok`.
    """

    links: list[tuple[Atom, Atom]] = field(default_factory=list)
    hints: dict[tuple[int, str], list[str]] = field(default_factory=dict)
    scoping: dict[int, set[str]] = field(default_factory=dict)
    sources: set[int] = field(default_factory=set)
    functions: set[int] = field(default_factory=set)
    bypass: set[tuple[str, str]] = field(default_factory=set)
    arrays: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    strict: set[str] = field(default_factory=set)


class Reader:
    """Reads the expressions of one schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.reading = Reading()
        self._relations: dict[str, list[Relation]] = {}
        for relation in schema.relations.values():
            self._relations.setdefault(relation.name, []).append(relation)
        self._functions: dict[str, list[Function]] = {}
        for function in schema.functions.values():
            self._functions.setdefault(function.name, []).append(function)
        self._columns = {oid: {c.name for c in item.columns} for oid, item in schema.relations.items()}
        self._home: int | None = None
        self._stack: list[int] = []
        self._followed: dict[tuple[int, tuple[Atoms, ...]], Atoms] = {}

    def policies(self) -> Reading:
        """Read every policy, and what the queries of views compare."""
        for relation in self.schema.relations.values():
            self._home = relation.oid
            for policy in relation.policies:
                for text in (policy.using, policy.check):
                    if text:
                        self.expression(text, relation)
        self._home = None
        return self.reading

    def expression(self, text: str, relation: Relation) -> None:
        """Read one expression over a table."""
        tree = _parse(text)
        if tree is None:
            for match in _SETTING.finditer(text):
                self.reading.keys.add(match["name"])
            return
        self._walk(tree, ((relation.name, relation),), {})

    def _walk(self, node: exp.Expression, scope: Scope, params: Mapping[str, Atoms]) -> None:
        """Collect the comparisons of a condition."""
        if isinstance(node, exp.Select | exp.SetOperation):
            self._query(node, scope, params)
            return
        if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
            self._hint(self._reduce(node.this, scope, params), frozenset({("lit", FILLED)}))
        if isinstance(node, exp.EQ | exp.NullSafeEQ | exp.Is):
            self._compare(
                self._reduce(node.this, scope, params), self._reduce(node.expression, scope, params)
            )
            return
        if isinstance(node, exp.In):
            left = self._reduce(node.this, scope, params)
            query = node.args.get("query")
            others = [query] if query is not None else node.expressions
            for other in others:
                self._compare(left, self._reduce(other, scope, params))
            return
        if isinstance(node, exp.JSONBContains | exp.JSONBContainsTopKey | exp.ArrayContainsAll):
            self._compare(
                self._reduce(node.this, scope, params), self._reduce(node.expression, scope, params)
            )
            return
        if isinstance(node, exp.NEQ | exp.GT | exp.LT | exp.GTE | exp.LTE):
            left, right = (self._reduce(item, scope, params) for item in (node.this, node.expression))
            self._hint(left, right or EXTREMES)
            self._hint(left or EXTREMES, right)
        if isinstance(node, exp.Column):  # a boolean column that stands alone
            self._hint(self._reduce(node, scope, params), frozenset({("lit", "true")}))
            return
        if (
            isinstance(node, exp.Dot | exp.Anonymous | exp.Func)
            and self._call(node, scope, params) is not None
        ):
            return
        for child in node.iter_expressions():
            self._walk(child, scope, params)

    def _query(self, node: exp.Expression, scope: Scope, params: Mapping[str, Atoms]) -> Atoms:
        """Read a query; return what its first column boils down to."""
        if isinstance(node, exp.SetOperation):
            return self._query(node.this, scope, params) | self._query(node.expression, scope, params)
        if not isinstance(node, exp.Select):
            return _NOTHING
        inner = list(scope)
        with_ = node.args.get("with_") or node.args.get("with")
        if with_ is not None:
            for cte in with_.expressions:
                self._query(cte.this, scope, params)
        conditions: list[exp.Expression] = []
        tables = [node.args.get("from_") or node.args.get("from"), *(node.args.get("joins") or [])]
        for item in tables:
            if item is None:
                continue
            source = item.this
            if isinstance(source, exp.Table):
                relation = self._relation(source)
                if relation is not None:
                    inner.insert(0, (source.alias or source.name, relation))
                    self.reading.sources.add(relation.oid)
                elif isinstance(source.this, exp.Anonymous):
                    self._call(source.this, tuple(inner), params, db=source.db)
            elif isinstance(source, exp.Subquery):
                self._query(source.this, tuple(inner), params)
            if item.args.get("on") is not None:
                conditions.append(item.args["on"])
        if node.args.get("where") is not None:
            conditions.append(node.args["where"].this)
        for condition in conditions:
            self._walk(condition, tuple(inner), params)
        result = _NOTHING
        for place, projection in enumerate(node.expressions):
            atoms = self._reduce(projection, tuple(inner), params)
            if place == 0:
                result = atoms
            if not atoms:
                self._walk(projection, tuple(inner), params)
        return result

    def _reduce(self, node: exp.Expression | None, scope: Scope, params: Mapping[str, Atoms]) -> Atoms:
        """Say what an operand boils down to."""
        if node is None:
            return _NOTHING
        if isinstance(node, exp.Cast | exp.TryCast):
            atoms = self._reduce(node.this, scope, params)
            if node.to.this == exp.DataType.Type.ARRAY:
                direct = node.this.unnest()
                if not isinstance(direct, exp.StringToArray | exp.Array):
                    self.reading.arrays.update(str(atom[1]) for atom in atoms if atom[0] == "ctx")
            return atoms
        if isinstance(node, _WRAPPERS):
            return self._reduce(node.this, scope, params)
        if isinstance(node, exp.Coalesce):
            parts = [node.this, *node.expressions]
            return frozenset().union(*(self._reduce(part, scope, params) for part in parts))
        if isinstance(node, exp.Subquery):
            return self._query(node.this, scope, params)
        if isinstance(node, exp.Select | exp.SetOperation):
            return self._query(node, scope, params)
        if isinstance(node, exp.Array):
            return frozenset().union(*(self._reduce(part, scope, params) for part in node.expressions))
        if isinstance(node, exp.Case):
            branches = [item.args.get("true") for item in node.args.get("ifs", [])] + [
                node.args.get("default")
            ]
            return frozenset().union(*(self._reduce(part, scope, params) for part in branches))
        if isinstance(node, exp.Literal):
            return frozenset({("lit", str(node.this))})
        if isinstance(node, exp.Boolean):
            return frozenset({("lit", "true" if node.this else "false")})
        if isinstance(node, exp.CurrentUser):
            return self._key("current_user")
        if isinstance(node, exp.SessionUser):
            return self._key("session_user")
        if isinstance(node, _JSON):
            return self._json(node, scope, params)
        if isinstance(node, exp.Parameter | exp.Placeholder):
            return params.get(f"${node.this}" if node.this is not None else "", _NOTHING)
        if isinstance(node, exp.Column):
            return self._column(node, scope, params)
        found = self._call(node, scope, params)
        return _NOTHING if found is None else found

    def _json(self, node: exp.Expression, scope: Scope, params: Mapping[str, Atoms]) -> Atoms:
        steps = _path(node.expression)
        result: set[Atom] = set()
        for atom in self._reduce(node.this, scope, params):
            if atom[0] == "ctx" and steps:
                key = str(atom[1])
                result.add(("ctx", f"{key}/{steps}" if "#" in key else f"{key}#{steps}"))
        return frozenset(result)

    def _column(self, node: exp.Column, scope: Scope, params: Mapping[str, Atoms]) -> Atoms:
        name, table = node.name, node.table
        if not table and name.lower() in {"current_user", "session_user"}:
            return self._key(name.lower())
        if not table and name in params:
            return params[name]
        if table and f"{table}.{name}" in params:
            return params[f"{table}.{name}"]
        for alias, relation in scope:
            if (not table or alias == table) and name in self._columns[relation.oid]:
                return frozenset({("col", relation.oid, name)})
        return _NOTHING

    def _call(
        self, node: exp.Expression, scope: Scope, params: Mapping[str, Atoms], db: str = ""
    ) -> Atoms | None:
        """Follow the call of a function; None where it is not one that can be followed."""
        schema = db
        if isinstance(node, exp.Dot):
            schema = node.this.name if isinstance(node.this, exp.Identifier) else ""
            node = node.expression
        if not isinstance(node, exp.Anonymous):
            return None
        name = str(node.this).strip('"')
        arguments = node.expressions
        if name.lower() == "current_setting" and arguments:
            first = arguments[0].unnest()
            while isinstance(first, exp.Cast):
                first = first.this
            if isinstance(first, exp.Literal):
                key = str(first.this)
                if len(arguments) < 2:
                    self.reading.strict.add(key)
                return self._key(key)
            return None
        if name.lower() in {"session_user", "current_user"}:
            return self._key(name.lower())
        given = tuple(self._reduce(item, scope, params) for item in arguments)
        if name.lower() in {"jsonb_extract_path_text", "json_extract_path_text"} and given:
            steps = "/".join(str(atom[1]) for part in given[1:] for atom in part if atom[0] == "lit")
            return frozenset(("ctx", f"{atom[1]}#{steps}") for atom in given[0] if atom[0] == "ctx")
        candidates = [
            item
            for item in self._functions.get(name, ())
            if (not schema or item.schema == schema) and len(item.arguments) >= len(arguments)
        ]
        if not candidates:
            return None
        return frozenset().union(*(self._follow(item, given) for item in candidates))

    def _follow(self, function: Function, given: tuple[Atoms, ...]) -> Atoms:
        self.reading.functions.add(function.oid)
        memo = (function.oid, given)
        if memo in self._followed:
            return self._followed[memo]
        if function.oid in self._stack or len(self._stack) >= DEEPEST:
            return _NOTHING
        params: dict[str, Atoms] = {}
        for place, (name, _) in enumerate(function.arguments):
            value = given[place] if place < len(given) else _NOTHING
            params[f"${place + 1}"] = value
            if name:
                params[name] = value
                params[f"{function.name}.{name}"] = value
        self._stack.append(function.oid)
        result = _NOTHING
        for tree in _bodies(function):
            if isinstance(tree, exp.Select | exp.SetOperation):
                found = self._query(tree, (), params)
            else:
                found = self._reduce(tree, (), params)
                if not found:
                    self._walk(tree, (), params)
            result |= frozenset(atom for atom in found if atom[0] != "lit")
        self._stack.pop()
        if not result and not function.returns.startswith("bool"):
            keys = {match["name"] for match in _SETTING.finditer(function.body)}
            result = frozenset().union(*(self._key(key) for key in keys)) if len(keys) == 1 else _NOTHING
        self._followed[memo] = result
        return result

    def _relation(self, table: exp.Table) -> Relation | None:
        found = [
            item for item in self._relations.get(table.name, ()) if not table.db or item.schema == table.db
        ]
        return next((item for item in found if item.schema == "public"), found[0] if found else None)

    def _key(self, key: str) -> Atoms:
        self.reading.keys.add(key)
        return frozenset({("ctx", key)})

    def _hint(self, left: Atoms, right: Atoms) -> None:
        for one, other in (
            (a, b) for pair in ((left, right), (right, left)) for a in pair[0] for b in pair[1]
        ):
            if one[0] == "col" and other[0] == "lit":
                known = self.reading.hints.setdefault((int(one[1]), str(one[2])), [])
                if other[1] not in known:
                    known.append(str(other[1]))

    def _compare(self, left: Atoms, right: Atoms) -> None:
        self._hint(left, right)
        for one in left:
            for other in right:
                kinds = {one[0], other[0]}
                if kinds <= {"col", "ctx"} and one != other:
                    self.reading.links.append((one, other))
                for atom, against in ((one, other), (other, one)):
                    if atom[0] == "ctx" and against[0] == "lit" and against[1] != "":
                        self.reading.bypass.add((str(atom[1]), str(against[1])))
                    if atom[0] == "col" and against[0] in {"col", "ctx"} and atom[1] == self._home:
                        self.reading.scoping.setdefault(int(atom[1]), set()).add(str(atom[2]))


@lru_cache(maxsize=20_000)
def _parse(text: str) -> exp.Expression | None:
    try:
        tree = sqlglot.parse_one(text, read="postgres")
    except (SqlglotError, RecursionError):
        return None
    return tree if isinstance(tree, exp.Expression) else None


def _bodies(function: Function) -> Iterable[exp.Expression]:
    """Give the queries and expressions of a function's body, the way it is written in its language."""
    body = without_comments(function.body)
    if function.language == "sql":
        text = re.sub(r"(?is)^\s*(?:begin\s+atomic|return\s)|\bend\s*;?\s*$", " ", body).strip()
        parts = [part for part in text.split(";") if part.strip()]
        trees = [_parse(part.strip()) for part in parts]
    elif function.language == "plpgsql":
        texts = [match["body"] for match in _FRAGMENT.finditer(body)]
        texts += [
            re.sub(r"(?is)\binto\s+(?:strict\s+)?[\w.]+(?:\s*,\s*[\w.]+)*", " ", match[0]).rstrip(";")
            for match in _QUERY.finditer(body)
        ]
        trees = [_parse(text.strip().rstrip(";")) for text in texts if len(text) < 20_000]
    else:
        return []
    return [tree for tree in trees if tree is not None]


def without_comments(text: str) -> str:
    """Return SQL without its comments."""
    return re.sub(r"(?s)/\*.*?\*/", " ", re.sub(r"--[^\n]*", " ", text))


def _path(node: exp.Expression | None) -> str:
    if node is None:
        return ""
    if isinstance(node, exp.JSONPath):
        return "/".join(str(part.this) for part in node.expressions if isinstance(part, exp.JSONPathKey))
    while isinstance(node, exp.Cast | exp.Paren):
        node = node.this
    if isinstance(node, exp.Literal):
        return "/".join(part for part in str(node.this).strip("{}").split(",") if part)
    if isinstance(node, exp.Array):
        return "/".join(filter(None, (_path(part) for part in node.expressions)))
    return ""


def names_unqualified(function: Function, schema: Schema) -> bool:
    """Tell whether a body names tables of this database without their schema (a temporary table may stand before)."""
    known = {item.name for item in schema.relations.values()}
    for tree in _bodies(function):
        local = {cte.alias for cte in tree.find_all(exp.CTE)}
        for table in tree.find_all(exp.Table):
            if not table.db and table.name in known and table.name not in local:
                return True
    return False
