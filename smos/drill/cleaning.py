"""What a database's text clears away: the head of a `--clean` dump, or what the same text has made before.

`pg_dump --clean` writes all that it drops before anything that it makes. In an empty sandbox that head has nothing
to do, so it is left out. A DROP that comes later is another thing: psql would end without what was dropped, while
the sandbox, which drops nothing, keeps it and compares equal. Such a one is told. Several dumps may stand one after
another in a file, so a DROP of something that was not made so far is no reproach.
"""

import re

from smos.drill.ruling import Action, Ruling
from smos.drill.sqlevents import Statement
from smos.drill.sqlobjects import ID, QUALIFIED, head, object_kind, object_of
from smos.drill.sqltokens import Reader, TokenKind, tokenize

_UNDONE = re.compile(
    rb"\s*ALTER\s+(?:TABLE|FOREIGN\s+TABLE|VIEW|DOMAIN)\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?" + QUALIFIED
    + rb"\s+(?:ALTER\s+(?:COLUMN\s+)?" + ID + rb"\s+DROP\s+DEFAULT|DROP\s+CONSTRAINT\s+(?:IF\s+EXISTS\s+)?" + ID
    + rb"|DETACH\s+PARTITION\s+" + QUALIFIED + rb")\s*;\s*\Z",
    re.IGNORECASE,
)  # fmt: skip
_HOLLOW = re.compile(
    rb"\s*CREATE\s+OR\s+REPLACE\s+VIEW\s+(" + QUALIFIED + rb")\s+AS\s+SELECT\s+NULL::", re.IGNORECASE
)
"""A view that needs the primary key of its table loses its query before the key is dropped."""
_UNLINK = re.compile(rb"\s*SELECT\s+pg_catalog\.lo_unlink\s*\(\s*(?:''|[0-9]+)\s*\)\s*;\s*\Z", re.IGNORECASE)
_RENAMED = re.compile(rb"\sRENAME\s|\sSET\s+SCHEMA\s", re.IGNORECASE)
_SERIAL = re.compile(rb"\b(?:small|big)?serial[248]?\b", re.IGNORECASE)
SETTINGS = frozenset({
    "SET", "SELECT set_config", "SET SESSION AUTHORIZATION", "RESET SESSION AUTHORIZATION", "BEGIN", "COMMIT",
})  # fmt: skip
"""They make nothing."""
NAMED = frozenset({
    "TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "INDEX", "TYPE", "DOMAIN", "FUNCTION",
    "PROCEDURE", "AGGREGATE", "SCHEMA", "COLLATION", "CONVERSION", "STATISTICS", "EXTENSION", "PUBLICATION", "SERVER",
    "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY",
})  # fmt: skip
"""What is known by its name alone. Not so casts, operators, mappings of users; nor languages, which functions need."""
ON_TABLE = frozenset({"POLICY", "TRIGGER", "RULE"})
BUILT_IN = frozenset({"public", "plpgsql"})
"""They are there, and things of the dump's own depend on them, although no dump need create them."""


class Cleaning:
    """Follows one database's statements in their order."""

    def __init__(self) -> None:
        self._began = False
        self._unsure = False
        self._made: set[str] = set(BUILT_IN)
        self._schemas: set[str] = set()
        self._hollow: set[str] = set()

    def heads(self, statement: Statement, ruling: Ruling) -> bool:
        """Whether a statement only clears away, before anything was made: there is nothing to do."""
        if self._began:
            return False
        if (found := _HOLLOW.match(statement.skeleton)) is not None:
            self._hollow.add(_name(found[1])[-1])
            return True
        if ruling.kind == "DROP VIEW":
            self._hollow -= set(_dropped(statement) or ())
        return bool(
            ruling.kind.startswith("DROP ")
            or ruling.kind == "SELECT lo_unlink"
            or _UNDONE.match(statement.skeleton)
            or _UNLINK.match(statement.skeleton)
        )

    def drops(self, statement: Statement, ruling: Ruling) -> str:
        """Return why a DROP, which the sandbox leaves out, may not be left out; empty when it may."""
        if not ruling.kind.startswith("DROP "):
            return "it comes after something was made" if ruling.kind == "SELECT lo_unlink" else ""
        names = _dropped(statement)
        if names is None or self._unsure:
            return "what it takes away can't be told"
        gone = self._made | self._schemas if ruling.kind == "DROP SCHEMA" else self._made
        return "it takes away what the dump has made" if gone & set(names) else ""

    def note(self, statement: Statement, ruling: Ruling) -> str:
        """Remember what a statement makes; return what is wrong with what came before it, else nothing."""
        if ruling.kind in SETTINGS or ruling.action in {Action.SKIP, Action.DATABASE, Action.GLOBAL}:
            return ""
        self.begin()
        if _RENAMED.search(statement.skeleton) or _SERIAL.search(statement.skeleton):
            self._unsure = True
        if ruling.kind.startswith("CREATE "):
            self._create(statement, ruling.kind.removeprefix("CREATE "))
        hollow, self._hollow = self._hollow, set()
        return f"{len(hollow)} views without a query are made, and not dropped" if hollow else ""

    def begin(self) -> None:
        """Remember that something was made, or filled."""
        self._began = True

    def _create(self, statement: Statement, kind: str) -> None:
        if kind in ON_TABLE or kind not in NAMED:
            return
        name = object_of(statement.skeleton).removeprefix(kind).split("(")[0]
        try:
            *schema, last = _name(name.encode())
        except ValueError:
            self._unsure = True
            return
        self._made.add(last)
        self._schemas.update(schema)
        if not schema and kind not in {"SCHEMA", "EXTENSION", "PUBLICATION", "SERVER", "INDEX"}:
            self._unsure = True  # it lies wherever the search path says


def _name(text: bytes) -> tuple[str, ...]:
    """Return the parts of a qualified name. Raises ValueError."""
    reader = Reader(tokenize(text))
    parts = _qualified(reader)
    reader.end()
    return parts


def _qualified(reader: Reader) -> tuple[str, ...]:
    parts = [reader.name()]
    while reader.accept_sign("."):
        parts.append(reader.name())
    return tuple(parts)


def _dropped(statement: Statement) -> tuple[str, ...] | None:
    """Return the last parts of the names in a DROP (of a policy: of its table); None where they can't be told."""
    kind, used = object_kind(head(statement.skeleton)[1:])
    if kind not in NAMED | ON_TABLE:
        return None
    try:
        reader = Reader(tokenize(statement.skeleton))
        for _ in range(1 + used):
            reader.next()
        reader.accept("IF", "EXISTS")
        if kind in ON_TABLE:
            reader.name()
            reader.expect("ON")
        found: list[str] = []
        while True:
            found.append(_qualified(reader)[-1])
            _skip_arguments(reader)
            if not reader.accept_sign(","):
                break
        _ = reader.accept("CASCADE") or reader.accept("RESTRICT")
        reader.end()
    except ValueError:
        return None
    return tuple(found)


def _skip_arguments(reader: Reader) -> None:
    """Step over the arguments of a routine."""
    depth = int(reader.accept_sign("("))
    while depth:
        token = reader.next()
        if token.kind is TokenKind.SIGN:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
