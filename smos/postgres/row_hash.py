"""SQL of one 64-bit hash of a row's values, column by column: each hash is the seed of the next one.

So a value counts with its place in the row and with what stands before it, and two rows that exchange a value are no
longer the same two rows. (PostgreSQL's own `hash_record_extended` is linear in the columns' hashes: it misses that.)

Nothing is hashed by a type's own idea of equality where that is wider than "prints the same": a number of 64 bits
enters with all of them (`hashint8extended` folds them into 32), char(n) with its length and what stands before the
blanks, and everything that compares equal in more than one form (numeric, floats, times, jsonb) as the text that its
output function gives. What stands in for NULL can't be taken for a value, because which columns are NULL is hashed
first. The result is the same on every version since PostgreSQL 13.

A whole number is joined to the seed with XOR before the next column is hashed with that seed: two columns for the price
of one hash, and nothing is lost, for different numbers give different seeds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

DEPTH = 100
"""Columns of one expression; further ones are hashed as the text of a row, so that nesting has a bound."""
BITS = 30
"""Columns of one number that says which are NULL."""

_SHORT = {
    "bool": "coalesce(int4(@), 0)",
    "int2": "coalesce(int4(@), 0)",
    "int4": "coalesce(@, 0)",
}
"""Whole numbers that fit into an integer."""
_LONG = {"int8": "coalesce(@, 0::int8)", "oid": "coalesce(int8(@), 0::int8)"}
_HASHED = {
    "text": 'hashtextextended({value} COLLATE "C", {seed})',
    "bpchar": 'hashbpcharextended({value} COLLATE "C", {seed})',
    "uuid": "uuid_hash_extended({value}, {seed})",
    # An array of one element: the hash of bytea itself can be called since PostgreSQL 18 only.
    "bytea": "hash_array_extended(ARRAY[{value}], {seed})",
}
_VALUES = {
    "text": "coalesce(@, '')",
    "varchar": "coalesce(@, '')",
    "bpchar": "coalesce(@, '')",
    "uuid": "coalesce(@, '00000000-0000-0000-0000-000000000000')",
    "bytea": "coalesce(@, ''::bytea)",
}
_WHOLE = {
    "text": "textcat(coalesce(@, ''), '')",
    "varchar": "textcat(coalesce(@, ''), '')",
    "bytea": "byteacat(coalesce(@, ''::bytea), ''::bytea)",
}
"""A value that is read from several places of the file is put together once, for all the hashes of it."""
_OUTPUT = {
    "json": "json_out", "jsonb": "jsonb_out", "numeric": "numeric_out", "float4": "float4out", "float8": "float8out",
    "date": "date_out", "time": "time_out", "timetz": "timetz_out", "timestamp": "timestamp_out",
    "timestamptz": "timestamptz_out", "interval": "interval_out", "name": "nameout", "inet": "inet_out",
    "cidr": "cidr_out", "macaddr": "macaddr_out", "enum": "enum_out",
}  # fmt: skip
"""Built-in types whose output function is called directly; of every other type the server looks it up itself."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. type: its name where it is built in, "enum" for an enum, else empty."""

    name: str
    type: str

    @property
    def direct(self) -> bool:
        """Whether its values can be hashed without the text of a row."""
        return any(self.type in group for group in (_SHORT, _LONG, _VALUES, _OUTPUT))


@dataclass(frozen=True, slots=True)
class RowHash:
    """values: the items of the inner SELECT, over the row `r`. chain: how they are hashed, in order."""

    values: tuple[sql.Composable, ...]
    chain: tuple[str, ...]

    def with_seed(self, seed: int) -> sql.Composable:
        """Return the expression of the hash over the inner SELECT's items."""
        text = f"{int(seed)}::int8"
        for link in self.chain:
            text = link.replace("{seed}", text)
        return sql.SQL(text)


class _Chain:
    """Collects items and links. _waiting: a number that the next link takes along, and whether it is short."""

    def __init__(self) -> None:
        self.values: list[sql.Composable] = []
        self.links: list[str] = []
        self._waiting: tuple[str, bool] | None = None

    def _add(self, value: sql.Composable) -> str:
        name = f"v{len(self.values)}"
        self.values.append(sql.SQL("{} AS {}").format(value, sql.SQL(name)))
        return name

    def number(self, value: sql.Composable, *, short: bool) -> None:
        name = self._add(value)
        if self._waiting is None:
            self._waiting = name, short
            return
        other, other_short = self._waiting
        self._waiting = None
        if short:
            self._hash_number(name, joined=other, joined_short=other_short)
        elif other_short:
            self._hash_number(other, joined=name, joined_short=False)
        else:
            self._hash_number("0", joined=other, joined_short=False)
            self._waiting = name, False

    def hashed(self, value: sql.Composable, link: str) -> None:
        """Add a value; link: the call that hashes it, with places for the value and the seed."""
        name = self._add(value)
        seed = "{seed}"
        if self._waiting is not None:
            seed = _joined(*self._waiting)
            self._waiting = None
        self.links.append(link.replace("{value}", name).replace("{seed}", seed))

    def finish(self) -> RowHash:
        if self._waiting is not None:
            joined, short = self._waiting
            self._hash_number("0", joined=joined, joined_short=short)
        return RowHash(tuple(self.values), tuple(self.links))

    def _hash_number(self, name: str, *, joined: str, joined_short: bool) -> None:
        self.links.append(f"hashint4extended({name}, {_joined(joined, joined_short)})")


def _joined(name: str, short: bool) -> str:  # noqa: FBT001  (a pair that is kept together)
    return f"{{seed}} # {f'int8({name})' if short else name}"


def row_hash(columns: Sequence[Column], *, toasted: bool) -> RowHash:
    """Return how rows with these columns are hashed.

    toasted: some values lie outside of their rows. It changes how the hash is computed, never what it is.
    """
    direct = [item for item in columns if item.direct][:DEPTH]
    chosen = {item.name for item in direct}
    others = [item for item in columns if item.name not in chosen]
    chain = _Chain()
    for mask in _masks(direct):
        chain.number(mask, short=True)
    for column in direct:
        if column.type in _SHORT:
            chain.number(_of(_SHORT[column.type], column), short=True)
        elif column.type in _LONG:
            chain.number(_of(_LONG[column.type], column), short=False)
        elif column.type in _OUTPUT:
            text = f"coalesce(textin({_OUTPUT[column.type]}(@)), '')"
            chain.hashed(_of(text, column), _HASHED["text"])
        else:
            if column.type == "bpchar":
                chain.number(_of("coalesce(octet_length(@), 0)", column), short=True)
            form = (toasted and _WHOLE.get(column.type)) or _VALUES[column.type]
            chain.hashed(_of(form, column), _HASHED.get(column.type, _HASHED["text"]))
    if others:
        row = sql.SQL(", ").join(sql.SQL("r.{}").format(sql.Identifier(item.name)) for item in others)
        chain.hashed(sql.SQL("textin(record_out(ROW({})))").format(row), _HASHED["text"])
    return chain.finish()


def _of(form: str, column: Column) -> sql.Composable:
    """Put the column in its place in an expression."""
    before, _, after = form.partition("@")
    return sql.SQL("{}r.{}{}").format(sql.SQL(before), sql.Identifier(column.name), sql.SQL(after))


def _masks(columns: Sequence[Column]) -> Iterator[sql.Composable]:
    for start in range(0, len(columns), BITS):
        yield sql.SQL(" + ").join(
            sql.SQL("CASE WHEN r.{} IS NULL THEN {} ELSE 0 END").format(
                sql.Identifier(column.name), sql.Literal(1 << bit)
            )
            for bit, column in enumerate(columns[start : start + BITS])
        )
