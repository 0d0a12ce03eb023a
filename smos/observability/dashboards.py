"""The shipped dashboards as data: their panels, and each panel's SQL as Grafana's ClickHouse plugin would send it.

Grafana can't be had everywhere, so the queries are expanded here and run on ClickHouse: macros and variables as
the plugin (grafana-clickhouse-datasource, 4.x) and Grafana replace them. An unknown macro or variable is an error,
not a query that happens to work.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smos.errors import SmosError
from smos.paths import compose_dir

TIME_COLUMN = re.compile(r"\$__(timeFilter|timeInterval)\(([^()]+)\)")
MACRO = re.compile(r"\$__(\w+)")
VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")


class DashboardError(SmosError):
    """A dashboard has no query, or one that can't be expanded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel with a query. unit: Grafana's unit of its values, by column where columns have their own.

    sql: as it stands in the file. kind: table, timeseries, logs or traces.
    """

    dashboard: str
    id: int
    title: str
    type: str
    kind: str
    unit: str
    column_units: Mapping[str, str]
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable of a dashboard: a query's rows, or a text with a default."""

    name: str
    type: str
    sql: str
    default: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One dashboard."""

    uid: str
    title: str
    path: Path
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a person looks at: a range of time (Unix seconds), the width of a point (seconds), and variables."""

    start: int
    end: int
    interval_s: int = 60
    variables: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


def folder() -> Path:
    """Return the folder of the shipped dashboards."""
    return compose_dir() / "observability" / "dashboards"


def load(path: Path) -> Dashboard:
    """Read one dashboard. Raises DashboardError, OSError, ValueError."""
    given = json.loads(path.read_text(encoding="utf-8"))
    panels = [
        _panel(given["uid"], panel) for panel in given["panels"] if panel["type"] not in {"text", "row"}
    ]
    if not panels:
        raise DashboardError(f"{path.name} has no panel with a query")
    variables = [
        Variable(
            name=item["name"],
            type=item["type"],
            sql=item["query"] if item["type"] == "query" else "",
            default=str(item["current"]["value"]) if item["type"] != "query" else "",
        )
        for item in given["templating"]["list"]
    ]
    return Dashboard(
        uid=given["uid"],
        title=given["title"],
        path=path,
        panels=tuple(panels),
        variables=tuple(variables),
    )


def load_all() -> tuple[Dashboard, ...]:
    """Read every shipped dashboard, by name. Raises DashboardError when there is none."""
    paths = sorted(folder().glob("*.json"))
    if not paths:
        raise DashboardError(f"There is no dashboard in {folder()}", remedy="reinstall the package")
    return tuple(load(path) for path in paths)


def expand(sql: str, view: View) -> str:
    """Return the SQL that the plugin would send for this view. Raises DashboardError."""

    def on_time(found: re.Match[str]) -> str:
        macro, column = found[1], found[2].strip()
        if macro == "timeFilter":
            return f"{column} >= toDateTime({view.start}) AND {column} <= toDateTime({view.end})"
        return f"toStartOfInterval(toDateTime({column}), INTERVAL {view.interval_s} second)"

    def other(found: re.Match[str]) -> str:
        values = {
            "interval_s": str(view.interval_s),
            "fromTime": f"toDateTime({view.start})",
            "toTime": f"toDateTime({view.end})",
        }
        if found[1] not in values:
            raise DashboardError(f"The macro $__{found[1]} is not known", remedy=f"in: {sql[:200]}")
        return values[found[1]]

    def variable(found: re.Match[str]) -> str:
        name, form = found[1] or found[3], found[2]
        if name not in view.variables:
            raise DashboardError(f"The variable ${name} has no value", remedy=f"in: {sql[:200]}")
        value = view.variables[name]
        if form == "singlequote":
            values = [value] if isinstance(value, str) else value
            return ",".join("'" + one.replace("'", "\\'") + "'" for one in values)
        if form is not None or not isinstance(value, str):
            raise DashboardError(
                f"${{{name}}} is used in a form that is not known", remedy=f"in: {sql[:200]}"
            )
        return value

    return VARIABLE.sub(variable, MACRO.sub(other, TIME_COLUMN.sub(on_time, sql)))


def _panel(dashboard: str, given: Mapping[str, Any]) -> Panel:
    targets = [target for target in given.get("targets", []) if target.get("rawSql")]
    if len(targets) != 1:
        raise DashboardError(f"{dashboard}: the panel {given['title']!r} has {len(targets)} queries, not one")
    units = {
        item["matcher"]["options"]: prop["value"]
        for item in given["fieldConfig"]["overrides"]
        for prop in item["properties"]
        if prop["id"] == "unit"
    }
    return Panel(
        dashboard=dashboard,
        id=given["id"],
        title=given["title"],
        type=given["type"],
        kind=targets[0]["queryType"],
        unit=given["fieldConfig"]["defaults"].get("unit", ""),
        column_units=units,
        sql=targets[0]["rawSql"],
    )
