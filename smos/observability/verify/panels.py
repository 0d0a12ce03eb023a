"""OBS-07: every panel of the shipped dashboards, run on telemetry of which everything is known.

What each panel must show, and in which unit, stands in panels.yml: a second, independent statement of what the SQL
in the dashboards says. Times there are relative to the known telemetry's base ("+70 s"), ages name the moment since
which they count ("since +90 s").
"""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from ruamel.yaml import YAML

from smos.observability import dashboards
from smos.observability.clickhouse import ClickHouse, ClickHouseError
from smos.observability.dashboards import Dashboard, DashboardError, Panel, View, expand
from smos.observability.verify.grafanalive import observe_live
from smos.observability.verify.known import LENGTH_S, VARIABLES
from smos.observability.verify.knowntables import KnownTables, known_tables
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.probe import Probe, ProbeFacts

EXPECTED = Path(__file__).with_name("panels.yml")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")
SINCE = re.compile(r"since \+(\d+) s")
AGE_SLACK_S = 5.0
"""An age grows while the query is on its way."""
EPOCH_MS = {"startTime"}
"""Columns that are Unix milliseconds, as the trace panel wants them."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """folder: where the dashboards are; provisioning: the file of the data sources."""

    folder: Path
    sources: Path
    narrowed: ClassVar[tuple[str, ...]] = ()


def shipped() -> Options:
    """Return the shipped files."""
    return Options(
        folder=dashboards.folder(), sources=dashboards.folder().parent / "grafana-datasources.yaml"
    )


@cache
def expected() -> Mapping[str, Any]:
    """Read panels.yml: dashboard to title of a panel to its unit, columns' units and rows; and the menus."""
    read: Mapping[str, Any] = YAML(typ="safe").load(EXPECTED)
    return read


def observe(lab: ObservabilityLab) -> ProbeFacts:
    """Validate every dashboard, and run every panel and every menu. Raises ObservabilityError."""
    if lab.live:
        return observe_live(lab)
    options: Options = lab.options or shipped()
    probes: list[Probe] = []
    boards: list[Dashboard] = []
    for path in sorted(options.folder.glob("*.json")):
        probes.append(_schema(path))
        try:
            boards.append(dashboards.load(path))
        except (DashboardError, ValueError, KeyError, TypeError) as error:
            probes.append(
                Probe(claim="runs", holds=False, seen=f"{path.name}: {type(error).__name__}: {error}")
            )
    probes += _sources(options)
    probes += _present(boards)
    with known_tables(lab) as (tables, client):
        for board in boards:
            for panel in board.panels:
                probes += _panel(panel, tables, client)
            probes += _menus(board, tables, client)
    details = {
        "panels": sum(len(board.panels) for board in boards),
        "tables made by": "the real collector"
        if tables.capabilities.shipped_configuration
        else "rotel's schema",
    }
    return ProbeFacts(probes=tuple(probes), details=details)


def normal(rows: Rows, base: int, now: float) -> Rows:
    """Return rows with every moment relative to `base`, as panels.yml has them; ages become moments."""

    def one(name: str, value: Any) -> Any:
        if isinstance(value, str) and MOMENT.fullmatch(value):
            return _offset(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp() - base)
        if name in EPOCH_MS:
            return _offset(float(value) / 1000 - base)
        if name == "age":
            return f"since +{round(now - base - float(value))} s"
        return value

    return [{name: one(name, value) for name, value in row.items()} for row in rows]


def differences(wanted: Rows, rows: Rows, *, ordered: bool) -> str:
    """Say how rows differ from what they should be, by column and number; empty: they don't."""
    if len(wanted) != len(rows):
        return f"{len(rows)} rows, {len(wanted)} are right"
    if not ordered:
        wanted, rows = sorted(wanted, key=sort_key), sorted(rows, key=sort_key)
    for number, (right, row) in enumerate(zip(wanted, rows, strict=True), 1):
        if list(right) != list(row):
            return f"the columns are {', '.join(row)}; {', '.join(right)} are right"
        for name, value in right.items():
            if not _same(value, row[name]):
                return f"row {number}, {name}: {row[name]!r}, {value!r} is right"
    return ""


def key(panel: Panel) -> str:
    """Return a panel's name in panels.yml."""
    return f"{panel.id} {panel.title}"


def _schema(path: Path) -> Probe:
    from smos.observability.grafana import problems

    try:
        found = problems(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        found = (f"no JSON: {error}",)
    return Probe(claim="schema", holds=not found, seen=f"{path.name}: {'; '.join(found[:3]) or 'valid'}")


def _sources(options: Options) -> Iterator[Probe]:
    """Look for every data source that a dashboard names among those that are provisioned."""
    given = YAML(typ="safe").load(options.sources)["datasources"]
    known = {(one["uid"], one["type"]) for one in given}
    for path in sorted(options.folder.glob("*.json")):
        named = set(_named(json.loads(path.read_text(encoding="utf-8"))))
        lost = sorted(named - known)
        seen = ", ".join(f"{uid} ({kind})" for uid, kind in lost or sorted(named))
        yield Probe(claim="source", holds=bool(named) and not lost, seen=f"{path.name}: {seen or 'none'}")


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """Give (uid, type) of every data source that is named anywhere."""
    if isinstance(value, dict):
        found = value.get("datasource")
        if isinstance(found, dict):
            yield str(found.get("uid")), str(found.get("type"))
        for one in value.values():
            yield from _named(one)
    elif isinstance(value, list):
        for one in value:
            yield from _named(one)


def _present(boards: Sequence[Dashboard]) -> Iterator[Probe]:
    there = {(panel.dashboard, key(panel)) for board in boards for panel in board.panels}
    wanted = {(uid, title) for uid, panels in expected()["dashboards"].items() for title in panels}
    lost = sorted(wanted - there)
    yield Probe(
        claim="present",
        holds=not lost,
        seen="missing: " + ", ".join(f"{uid} {title!r}" for uid, title in lost)
        if lost
        else f"{len(there)} panels",
    )


def _panel(panel: Panel, tables: KnownTables, client: ClickHouse) -> Iterator[Probe]:
    name = f"{panel.dashboard} {panel.title!r}"
    wanted = expected()["dashboards"].get(panel.dashboard, {}).get(key(panel))
    if wanted is None:
        yield Probe(claim="shows", seen=f"{name}: nobody has written down what it must show")
        return
    units = wanted.get("columns", {})
    same = (panel.unit, dict(panel.column_units)) == (wanted.get("unit", ""), units)
    shown = panel.unit or ", ".join(f"{key}: {value}" for key, value in panel.column_units.items()) or "none"
    yield Probe(claim="unit", holds=same, seen=f"{name}: {shown}")
    try:
        rows = client.rows(expand(panel.sql, _view(tables)))
    except (ClickHouseError, DashboardError) as error:
        yield Probe(claim="runs", holds=False, seen=f"{name}: {error.message[:300]}")
        return
    yield Probe(claim="runs", holds=True, seen=f"{name}: {len(rows)} rows")
    found = normal(rows, tables.base, time.time())
    wrong = differences(wanted["rows"], found, ordered=panel.kind != "timeseries")
    yield Probe(claim="shows", holds=not wrong, seen=f"{name}: {wrong or 'as known'}")


def _menus(board: Dashboard, tables: KnownTables, client: ClickHouse) -> Iterator[Probe]:
    for variable in board.variables:
        if not variable.sql:
            continue
        name = f"{board.uid} ${variable.name}"
        try:
            rows = client.rows(expand(variable.sql, _view(tables)))
        except (ClickHouseError, DashboardError) as error:
            yield Probe(claim="menu", holds=False, seen=f"{name}: {error.message[:300]}")
            continue
        values = [next(iter(row.values())) for row in rows]
        right = expected()["menus"].get(variable.name)
        yield Probe(claim="menu", holds=values == right, seen=f"{name}: {', '.join(values)}")


def _view(tables: KnownTables) -> View:
    return View(start=tables.base, end=tables.base + LENGTH_S, variables=VARIABLES)


def _offset(seconds: float) -> str:
    return f"+{round(seconds, 3):g} s"


def sort_key(row: Mapping[str, Any]) -> str:
    """Return what orders rows whose order says nothing: their texts, for numbers may differ a little."""
    return json.dumps([value if isinstance(value, str) else "" for value in row.values()])


def _same(right: Any, value: Any) -> bool:
    if isinstance(right, int | float) and isinstance(value, int | float):
        return math.isclose(right, value, rel_tol=1e-4, abs_tol=1e-9)
    if isinstance(right, str) and (since := SINCE.fullmatch(right)):
        found = SINCE.fullmatch(str(value))
        return found is not None and abs(int(found[1]) - int(since[1])) <= AGE_SLACK_S
    return bool(right == value)
