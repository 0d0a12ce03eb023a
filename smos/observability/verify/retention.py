"""OBS-05: how long each table keeps its rows, by its definition and by what a forced clean-up really removes.

Of a live stack definitions and the oldest day are read; rows of the past are put into a private one alone.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from smos.observability.clickhouse import ClickHouse, ClickHouseError
from smos.observability.verify.lab import ObservabilityLab

UNITS: Mapping[str, int] = {
    "Second": 1,
    "Minute": 60,
    "Hour": 3600,
    "Day": 86_400,
    "Week": 7 * 86_400,
}
TTL = re.compile(
    r"\bTTL (?:toDateTime\()?`?(?P<column>\w+)`?\)? \+ toInterval(?P<unit>\w+)\((?P<number>\d+)\)(?P<rest>[^\n]*)"
)
TIMES = ("Timestamp", "TimeUnix", "Start")
"""The column that says when a row's item happened; each table has one of them."""
OTHER_TTL = "30h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is left out where a fault breaks one thing; what is not looked at is unproven.

    only: read the definitions alone, age rows as well, or make a stack with another setting as well.
    """

    only: Literal["definitions", "rows", "setting"] | None = None

    @property
    def narrowed(self) -> tuple[str, ...]:
        """The part that alone is looked at."""
        return (self.only,) if self.only else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table. ttl_s: seconds that rows are kept by definition; None: for ever, or nobody could read it.

    definition: what follows TTL. oldest: the oldest day in it (YYYY-MM-DD), "" where it is empty.
    """

    name: str
    ttl_s: int | None
    definition: str = ""
    oldest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aged:
    """What a clean-up left of rows that were put in with the ages of `ages_s`. error: why it could not be tried."""

    table: str
    left: tuple[int, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionFacts:
    """declared_s: how long telemetry is to be kept. other: tables of a stack that was set to other_s.

    now_s: epoch seconds. live: nothing was put in, and no other stack was made.
    """

    declared_s: int
    tables: tuple[Table, ...]
    aged: tuple[Aged, ...]
    other_s: int
    other: tuple[Table, ...]
    now_s: float
    live: bool
    details: Mapping[str, Any] = field(default_factory=dict)


def ages_s(declared_s: int) -> tuple[int, int, int, int]:
    """Return the ages, in seconds, of the rows that are put in: of 72 hours, 1, 71, 73 and 100 hours."""
    step = declared_s // 72
    return step, declared_s - step, declared_s + step, declared_s + 28 * step


def observe(lab: ObservabilityLab) -> RetentionFacts:
    """Read the definitions; age rows; make a stack with another setting. Raises SmosError, httpx.HTTPError."""
    declared_s = int(lab.target.retention_hours * 3600)
    options = lab.options if isinstance(lab.options, Options) else Options()
    with lab.clickhouse() as client:
        found = tables(client)
        aged = (
            ()
            if lab.live or options.only not in {None, "rows"}
            else tuple(_age(client, lab.run_id(), item.name, ages_s(declared_s)) for item in found)
        )
    other: tuple[Table, ...] = ()
    if not lab.live and options.only in {None, "setting"}:
        with lab.private_stand("other-retention", beside=lab.own(), ttl=OTHER_TTL) as stand:
            subject = stand.subject
            with ClickHouse(subject.clickhouse) as client:
                other = tables(client)
    return RetentionFacts(
        declared_s=declared_s,
        tables=found,
        aged=aged,
        other_s=int(OTHER_TTL.removesuffix("h")) * 3600,
        other=other,
        now_s=time.time(),
        live=lab.live,
    )


def tables(client: ClickHouse) -> tuple[Table, ...]:
    """Return every table that holds rows of its own. Raises ClickHouseError."""
    rows = client.rows(
        "SELECT name, create_table_query AS definition FROM system.tables"
        " WHERE database = {d:String} AND engine LIKE '%MergeTree%' ORDER BY name",
        d=client.endpoint.database,
    )
    return tuple(_table(client, row["name"], row["definition"]) for row in rows)


def ttl_of(definition: str) -> tuple[int | None, str]:
    """Return the seconds that rows are kept, and the words that say so; None where there is no time to live.

    A rule that keeps some rows longer (`WHERE`, moves to another disk) is none that removes all.
    """
    found = TTL.search(definition)
    if found is None:
        return None, ""
    words = found.group(0).partition(" SETTINGS ")[0].strip()
    only = found["rest"].partition(" SETTINGS ")[0].strip()
    if found["unit"] not in UNITS or only not in {"", "DELETE"}:
        return None, words
    return int(found["number"]) * UNITS[found["unit"]], words


def _table(client: ClickHouse, name: str, definition: str) -> Table:
    seconds, words = ttl_of(definition)
    at = _time(client, name)
    # Names of tables and columns come from the server's own catalogue; the whole days are its partitions.
    oldest = (
        client.value(f"SELECT if(count() = 0, '', toString(min(toDate({at})))) FROM `{name}`")  # noqa: S608
        if at
        else ""
    )
    return Table(name=name, ttl_s=seconds, definition=words, oldest=str(oldest))


def _time(client: ClickHouse, table: str) -> str:
    columns = client.rows(
        "SELECT name FROM system.columns WHERE database = {d:String} AND table = {t:String}",
        d=client.endpoint.database,
        t=table,
    )
    names = {row["name"] for row in columns}
    return next((item for item in TIMES if item in names), "")


def _age(client: ClickHouse, run: str, table: str, ages: tuple[int, ...]) -> Aged:
    """Put rows of the past into a table of a private stack, force the clean-up, look at what is left."""
    at = _time(client, table)
    if not at:
        return Aged(table=table, error="it has no column of time that is known")
    # The table that finds a trace's time has no resource; its rows are known by the trace.
    key = "TraceId" if at == "Start" else "ServiceName"
    try:
        client.execute(f"SYSTEM STOP TTL MERGES `{table}`")
        try:
            client.execute(
                f"INSERT INTO `{table}` ({at}, {key}) SELECT now() - toIntervalSecond(age),"  # noqa: S608  (the catalogue's names)
                " concat({r:String}, '-', toString(age)) FROM (SELECT arrayJoin({a:Array(UInt32)}) AS age)",
                r=run,
                a=json.dumps(ages),
            )
        finally:
            client.execute(f"SYSTEM START TTL MERGES `{table}`")
        client.execute(f"OPTIMIZE TABLE `{table}` FINAL")
        rows = client.rows(
            f"SELECT DISTINCT {key} AS name FROM `{table}` WHERE startsWith({key}, {{r:String}})",  # noqa: S608
            r=run,
        )
    except ClickHouseError as error:
        return Aged(table=table, error=f"ClickHouse's error {error.code}")
    return Aged(table=table, left=tuple(sorted(int(str(row["name"]).rsplit("-", 1)[1]) for row in rows)))
