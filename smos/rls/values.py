"""Values for canary rows: valid for their types, domains and CHECK constraints, or an honest "can't"."""

import itertools
import re
from collections.abc import Sequence
from random import Random

import rstr

from smos.rls.context import fresh
from smos.rls.schema import Column, Condition

Value = str | None
"""Text of a value, None for NULL."""

MOST_COMBINATIONS = 96
"""Tries for one CHECK constraint over several columns."""
_QUOTED = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = re.compile(r"(?<![\w.'])-?\d+(?:\.\d+)?(?![\w.'])")
_PATTERN = re.compile(r"~\*?\s*'((?:[^']|'')*)'")
_SIMPLE = {
    "bool": ("false", "true"), "date": ("2020-01-15", "2031-05-17"), "timestamp": ("2020-01-15 12:00", "2031-05-17"),
    "timestamptz": ("2020-01-15 12:00+00", "2031-05-17 00:00+00"), "time": ("12:00", "13:00"),
    "timetz": ("12:00+00", "13:00+00"), "interval": ("1 day", "2 hours"), "money": ("1", "2"),
    "json": ("{}", "[]"), "jsonb": ("{}", "[]"), "bytea": ("\\x736d6f73", "\\x00"), "xml": ("<a/>", "<b/>"),
    "inet": ("192.0.2.1", "2001:db8::1"), "cidr": ("192.0.2.0/24", "2001:db8::/64"),
    "macaddr": ("00:00:5e:00:53:01",), "macaddr8": ("00:00:5e:ef:10:00:00:01",), "point": ("(0,0)",),
    "line": ("{1,1,0}",), "lseg": ("[(0,0),(1,1)]",), "box": ("(1,1),(0,0)",), "path": ("[(0,0),(1,1)]",),
    "polygon": ("((0,0),(1,1),(1,0))",), "circle": ("<(0,0),1>",), "tsvector": ("smos",), "tsquery": ("smos",),
    "hstore": ("",), "ltree": ("smos",), "oid": ("0",), "lo": ("0",), "regclass": ("pg_class",), "name": ("smos",),
    "int4range": ("[1,5)",), "int8range": ("[1,5)",), "numrange": ("[1,5)",), "daterange": ("[2020-01-01,2020-02-01)",),
    "tsrange": ("[2020-01-01,2020-02-01)",), "tstzrange": ("[2020-01-01,2020-02-01)",), "pg_lsn": ("0/0",),
    "char": ("a", "b"),
}  # fmt: skip
_DAYS = "[{year}-01-01,{year}-02-01)"
_RANGES = {
    "int4range": "[{low},{low}]", "int8range": "[{low},{low}]", "numrange": "[{low},{low}]", "daterange": _DAYS,
    "tsrange": _DAYS, "tstzrange": _DAYS,
}  # fmt: skip
"""Ranges that don't overlap between rows: exclusion constraints ask for that."""
_WORDS = (
    "smos-{w}@example.invalid", "https://example.invalid/{w}", "+5691234567{n}", "SMOS{n}", "SM-{n}00{n}", "AB",
    "CLP", "es", "en-US", "11111111-{n}", "12.345.67{n}-5", "12345{n}", "#aabbc{n}", "A", "2020-01-0{n}", "smos_{w}",
    "192.0.2.{n}", "smos {w} long enough for a minimum length of characters", "{n}",
)  # fmt: skip


def base_value(column: Column, number: int, world: int, variant: int) -> str:
    """Return the first guess for a column; unique per (number, world, variant) where the type has room for that."""
    if column.labels:
        return column.labels[(world + variant) % len(column.labels)]
    if column.base in {"int2", "int4", "int8", "numeric", "float4", "float8", "uuid"}:
        if column.category == "N" and not number:
            return "1"
        return _fit(column, fresh(column.base, number, world, variant))
    if column.base in {"bit", "varbit"}:
        return "1"
    if column.category == "A" or column.base.startswith("_"):
        return "{}"
    if column.base in _RANGES:
        start = 1 + world * 16 + variant
        return _RANGES[column.base].format(low=start, year=2001 + start)
    if column.category == "R" and column.base not in _SIMPLE:
        return "{}" if "multirange" in column.base else "empty"
    if column.base in _SIMPLE:
        return _SIMPLE[column.base][0]
    if column.category == "C":
        return "ROW()"
    return fresh("text", number, world, variant, column.length or 0)


def _fit(column: Column, text: str) -> str:
    match = re.search(r"numeric\((\d+),?(\d*)\)", column.type)
    if match:
        digits = int(match[1]) - int(match[2] or 0)
        return str(int(text) % 10 ** max(digits, 0)) if digits < 5 else text
    return text


def candidates(
    column: Column, expressions: Sequence[str], world: int, hints: Sequence[str] = ()
) -> list[str]:
    """Return values to try, best first, drawn from the conditions that they must satisfy."""
    found: list[str] = list(column.labels) + list(hints)
    joined = " ".join(expressions)
    if column.category == "N":
        for text in _NUMBER.findall(joined):
            value = float(text)
            found += [_number(value), _number(value + 1), _number(value - 1)]
        found += ["1", "0", "10", "100", "0.5", "-1", "2020"]
    elif column.base in _SIMPLE:
        found += [item.replace("''", "'") for item in _QUOTED.findall(joined)]
        found += _SIMPLE[column.base]
    else:
        # A pattern of LIKE is no value, even where it happens to match itself.
        found += [item.replace("''", "'") for item in _QUOTED.findall(joined) if "%" not in item]
        for pattern in _PATTERN.findall(joined):
            found += _matching(pattern.replace("''", "'"), world)
        letter = "abcdefgh"[world]
        found += [word.format(w=letter, n=world + 1) for word in _WORDS]
        for text in _NUMBER.findall(joined):
            length = int(float(text))
            if 0 < length <= 200:
                found += [letter * length, str(world + 1) * length]
    if column.length:
        found = [item[: column.length] for item in found]
    return list(dict.fromkeys(found))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _matching(pattern: str, world: int) -> list[str]:
    python = (
        pattern.replace("[[:alpha:]]", "[a-z]").replace("[:alnum:]", "a-z0-9").replace("[:digit:]", "0-9")
    )
    python = python.replace("[:alpha:]", "a-z").replace("[:upper:]", "A-Z").replace("[:lower:]", "a-z")
    python = python.replace("[:space:]", " ").replace("\\m", "").replace("\\M", "")
    python = re.sub(r"\[\^[^\]]*\]", "[a-z]", python)
    found = []
    for seed in range(4):
        try:
            text = rstr.Rstr(Random(seed * 8 + world)).xeger(python)  # noqa: S311  (canaries, not secrets)
        except (re.error, ValueError, KeyError, OverflowError, NotImplementedError, RecursionError):
            return []
        if len(text) < 500 and text.isprintable():
            found.append(text)
    return found


def combinations(
    condition: Condition,
    columns: Sequence[Column],
    current: Sequence[Value],
    world: int,
    fixed: Sequence[bool],
) -> list[tuple[Value, ...]]:
    """Return assignments to try for one CHECK constraint; the present one first, fixed columns never changed."""
    pools: list[list[Value]] = []
    for column, value, stays in zip(columns, current, fixed, strict=True):
        pool: list[Value] = [value]
        if not stays:
            pool += candidates(column, (condition.expression, *column.domain_checks), world)
            if not column.not_null:
                pool.append(None)
        pools.append(list(dict.fromkeys(pool)))
    if len(pools) > 1:
        room = max(2, int(MOST_COMBINATIONS ** (1 / len(pools))))
        pools = [pool[: max(room, 2)] + ([None] if None in pool[room:] else []) for pool in pools]
    return list(itertools.islice(itertools.product(*pools), MOST_COMBINATIONS))
