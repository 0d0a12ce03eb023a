"""Steps on the rows of a database: deleted, added, changed, exchanged, put in another order, written again as they are.

Triggers and foreign keys stand still meanwhile, so that only what is meant is changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from smos.faults.dr.campaign.model import Dice, NothingToDo

Connection = psycopg.Connection[Any]
_TABLES = """SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema$)' ORDER BY 1, 2"""
_COLUMNS = """SELECT attname, format_type(atttypid, atttypmod), attgenerated <> '', NOT attnotnull, typcategory
    FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_KEY = """SELECT a.attname FROM pg_index AS i
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = %s::regclass AND i.indisprimary"""

CHANGES: dict[str, tuple[str, ...]] = {
    "S": (
        "{c} || 'x'", "{c} || ' '", "upper({c}::text)", "lower({c}::text)", "reverse({c}::text)", "''", "'\\N'",
        "normalize({c}::text, NFD)", "replace({c}::text, 'a', 'á')", "left({c}::text, -1)", "{c} || E'\\n'",
    ),
    "N": ("{c} + 1", "-{c}", "{c} * 10", "0", "'NaN'", "{c} + 1e-9", "trunc({c})"),
    "B": ("NOT {c}",),
    "D": ("{c} + interval '1 microsecond'", "{c} - interval '1 hour'", "'infinity'", "date_trunc('hour', {c})"),
    "E": ("enum_first({c})", "enum_last({c})"),
    "R": ("'empty'", "tstzrange(lower({c}), upper({c}), '[]')"),
    "U": (
        "jsonb_set({c}::jsonb, '{{x}}', '1')", "('[' || {c}::text || ']')::json", "('  ' || {c}::text)::json",
        "set_byte({c}::bytea, 0, 0)", "'\\x'", "reverse({c}::text)::uuid", "{c}::jsonb - 'tema'", "'{{}}'",
        "'a=>1'", "upper({c}::text)", "{c} || 'x'",
    ),
}  # fmt: skip
"""SQL that makes another value of a column, by the category of its type (pg_type.typcategory); `c` is the column."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. settable: not generated."""

    name: str
    type: str
    settable: bool
    nullable: bool
    category: str

    @property
    def quoted(self) -> sql.Identifier:
        """Its name, to be put into a statement."""
        return sql.Identifier(self.name)


@dataclass(frozen=True, slots=True)
class Table:
    """A table that holds rows itself."""

    schema: str
    name: str
    columns: tuple[Column, ...]

    @property
    def quoted(self) -> sql.Identifier:
        """Its name, to be put into a statement."""
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def settable(self) -> list[Column]:
        """The columns that take a value."""
        return [column for column in self.columns if column.settable]


def table(connection: Connection, dice: Dice) -> Table:
    """Pick a table. Raises NothingToDo."""
    schema, name = dice.pick(connection.execute(_TABLES).fetchall())
    rows = connection.execute(_COLUMNS, (sql.Identifier(schema, name).as_string(connection),)).fetchall()
    columns = [Column(n, kind, not generated, nullable, cat) for n, kind, generated, nullable, cat in rows]
    return Table(schema, name, tuple(columns))


def places(connection: Connection, found: Table) -> list[str]:
    """Return where the rows of a table lie, in an order that is the same for the same content."""
    query = sql.SQL("SELECT ctid::text FROM {} AS t ORDER BY t::text, ctid").format(found.quoted)
    return [str(row[0]) for row in connection.execute(query).fetchall()]


def _run(
    connection: Connection, statement: str, found: Table, *values: object, **names: sql.Composable
) -> int:
    query = sql.SQL(statement).format(t=found.quoted, **names)
    return connection.execute(query, values or None).rowcount


def deleted(connection: Connection, dice: Dice) -> str:
    """Delete one row, or several that lie together."""
    found = table(connection, dice)
    rows = places(connection, found)
    start, end = dice.span(len(rows), dice.pick((1, 1, 1, 50, len(rows) or 1)))
    count = _run(connection, "DELETE FROM {t} WHERE ctid = ANY (%s::tid[])", found, rows[start:end])
    return f"{found}: {count} rows deleted"


def added(connection: Connection, dice: Dice) -> str:
    """Copy a row under another key; where a unique column forbids it, nothing is added."""
    found = table(connection, dice)
    row = dice.pick(places(connection, found))
    key = connection.execute(_KEY, (found.quoted.as_string(connection),)).fetchone()
    values: list[sql.Composable] = []
    for column in found.settable:
        if key and column.name == key[0]:
            change = {"N": "{} + 100000", "D": "{} + interval '1 second'"}.get(column.category, "{} || 'x'")
            values.append(sql.SQL(change).format(column.quoted))
        else:
            values.append(column.quoted)
    count = _run(
        connection,
        "INSERT INTO {t} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {t} WHERE ctid = %s::tid"
        " ON CONFLICT DO NOTHING",
        found,
        row,
        names=_names(found.settable),
        values=sql.SQL(", ").join(values),
    )
    return f"{found}: {count} rows added"


def changed(connection: Connection, dice: Dice) -> str:
    """Give one value of one row another value, by an expression that suits its type."""
    found = table(connection, dice)
    row, column = dice.pick(places(connection, found)), dice.pick(found.settable)
    expression = dice.pick(CHANGES.get(column.category, CHANGES["U"]))
    value = sql.SQL(expression).format(c=column.quoted)
    kind = sql.SQL(column.type)
    _run(
        connection,
        "UPDATE {t} SET {c} = CAST({value} AS {kind}) WHERE ctid = %s::tid",
        found, row, c=column.quoted, value=value, kind=kind,
    )  # fmt: skip
    return f"{found}.{column.name}: one value becomes {expression}"


def nulled(connection: Connection, dice: Dice) -> str:
    """Null one value."""
    found = table(connection, dice)
    row = dice.pick(places(connection, found))
    column = dice.pick([column for column in found.settable if column.nullable])
    _run(connection, "UPDATE {t} SET {c} = NULL WHERE ctid = %s::tid", found, row, c=column.quoted)
    return f"{found}.{column.name}: one value becomes NULL"


def column_nulled(connection: Connection, dice: Dice) -> str:
    """Null a column."""
    found = table(connection, dice)
    column = dice.pick([column for column in found.settable if column.nullable])
    _run(connection, "UPDATE {t} SET {c} = NULL", found, c=column.quoted)
    return f"{found}.{column.name}: every value becomes NULL"


def exchanged(connection: Connection, dice: Dice) -> str:
    """Exchange the values of one column between two rows: every count, sum and distribution stays."""
    found = table(connection, dice)
    one, other = dice.two(places(connection, found))
    column = dice.pick(found.settable)
    _exchange(connection, found, one, other, [column])
    return f"{found}.{column.name}: values of two rows exchanged"


def keys_exchanged(connection: Connection, dice: Dice) -> str:
    """Exchange the keys of two rows."""
    found = table(connection, dice)
    one, other = dice.two(places(connection, found))
    key = connection.execute(_KEY, (found.quoted.as_string(connection),)).fetchone()
    if key is None:
        raise NothingToDo("no primary key")
    _exchange(connection, found, one, other, [column for column in found.settable if column.name == key[0]])
    return f"{found}: keys of two rows exchanged"


def _exchange(connection: Connection, found: Table, one: str, other: str, columns: list[Column]) -> None:
    """Delete two rows and insert them again: no unique index is in the way then."""
    names = _names(found.settable)
    picked = {column.name for column in columns}
    values = sql.SQL(", ").join(
        sql.SQL("{}.{}").format(sql.Identifier("b" if column.name in picked else "a"), column.quoted)
        for column in found.settable
    )
    with connection.transaction():
        _run(connection, "CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM {t} WHERE ctid = ANY (%s::tid[])",
             found, [one, other])  # fmt: skip
        _run(connection, "DELETE FROM {t} WHERE ctid = ANY (%s::tid[])", found, [one, other])
        _run(
            connection,
            "INSERT INTO {t} ({names}) OVERRIDING SYSTEM VALUE"
            " SELECT {values} FROM kept AS a JOIN kept AS b ON a.ctid <> b.ctid",
            found, names=names, values=values,
        )  # fmt: skip


def reordered(connection: Connection, dice: Dice) -> str:
    """Write the rows of a table in another order. Harmless: a table has none."""
    found = table(connection, dice)
    seed = str(dice.below(1000))
    names = _names(found.settable)
    with connection.transaction():
        _run(connection, "CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM {t}", found)
        _run(connection, "DELETE FROM {t}", found)
        _run(
            connection,
            "INSERT INTO {t} ({names}) OVERRIDING SYSTEM VALUE"
            " SELECT {names} FROM kept AS k ORDER BY md5(k::text || %s)",
            found, seed, names=names,
        )  # fmt: skip
    return f"{found}: rows in another order"


def rewritten(connection: Connection, dice: Dice) -> str:
    """Write rows again as they are. Harmless."""
    found = table(connection, dice)
    what = dice.pick(("UPDATE {t} SET {c} = {c}", "VACUUM FULL {t}", "ANALYZE {t}", "REINDEX TABLE {t}"))
    _run(connection, what, found, c=dice.pick(found.settable).quoted)
    return f"{found}: {what.split('{')[0].strip()}, every value as it was"


def _names(columns: list[Column]) -> sql.Composed:
    return sql.SQL(", ").join(column.quoted for column in columns)


ROWS: dict[str, Callable[[Connection, Dice], str]] = {
    "delete rows": deleted,
    "add a row": added,
    "change a value": changed,
    "null a value": nulled,
    "null a column": column_nulled,
    "exchange values": exchanged,
    "exchange keys": keys_exchanged,
    "reorder rows": reordered,
    "rewrite rows": rewritten,
}
