"""F346 to F349: panels that ask for what is not there, show something else, or in another unit."""

import json
from collections.abc import Callable
from typing import Any

from smos.faults.observability.files import changed
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault
from smos.verdict import Verdict

CHECK = "OBS-07"
OVERVIEW, RECOVERY = "service-overview", "disaster-recovery"
Change = Callable[[dict[str, Any]], object]


def _board(work: ObservabilityWork, name: str, change: Change) -> None:
    from smos.observability.verify.panels import Options  # not everybody has what it imports

    def edited(text: str) -> str:
        board = json.loads(text)
        change(board)
        return json.dumps(board, indent=2)

    place = changed(work, f"observability/dashboards/{name}.json", edited) / "observability"
    options = Options(folder=place / "dashboards", sources=place / "grafana-datasources.yaml")
    work.lab = work.lab.but(options=options)


def _panel(work: ObservabilityWork, name: str, panel_id: int, change: Change) -> None:
    def edited(board: dict[str, Any]) -> None:
        (panel,) = (one for one in board["panels"] if one["id"] == panel_id)
        change(panel)

    _board(work, name, edited)


def _sql(work: ObservabilityWork, name: str, panel_id: int, old: str, new: str) -> None:
    def edited(panel: dict[str, Any]) -> None:
        before = panel["targets"][0]["rawSql"]
        if old not in before:
            raise ValueError(f"the panel's SQL holds no {old!r}")
        panel["targets"][0]["rawSql"] = before.replace(old, new)

    _panel(work, name, panel_id, edited)


@fault("F346a", "A panel asks for a misspelt column", "panel", caught(CHECK, "panel-broken", "Requests"))
def misspelt_column(work: ObservabilityWork) -> None:
    """Misspell it."""
    _sql(work, OVERVIEW, 1, "ServiceName IN", "ServicName IN")


@fault("F346b", "A key of a panel is misspelt", "dashboard", caught(CHECK, "dashboard-schema", "titel"))
def misspelt_key(work: ObservabilityWork) -> None:
    """Add a key that nobody knows."""
    _panel(work, OVERVIEW, 1, lambda panel: panel.update(titel=panel["title"]))


@fault("F346c", "A panel's width is a text", "dashboard", caught(CHECK, "dashboard-schema", "grid_pos.w"))
def wrong_type(work: ObservabilityWork) -> None:
    """Write it as a text."""
    _panel(work, OVERVIEW, 1, lambda panel: panel["gridPos"].update(w="6"))


@fault(
    "F346d",
    "A panel uses a macro that does not exist",
    "panel",
    caught(CHECK, "panel-broken", "$__timeRange"),
)
def unknown_macro(work: ObservabilityWork) -> None:
    """Use another one."""
    _sql(work, OVERVIEW, 1, "$__timeFilter(Timestamp)", "$__timeRange(Timestamp)")


@fault(
    "F347a",
    "Milliseconds are shown as seconds",
    "panel",
    caught(CHECK, "panel-unit", "Latency, 95th percentile", "s"),
)
def wrong_unit(work: ObservabilityWork) -> None:
    """Change the unit."""
    _panel(work, OVERVIEW, 3, lambda panel: panel["fieldConfig"]["defaults"].update(unit="s"))


@fault(
    "F347b", "Nanoseconds are divided by 1e9 and shown as ms", "panel", caught(CHECK, "panel-wrong", "p95")
)
def wrong_divisor(work: ObservabilityWork) -> None:
    """Divide by another number."""
    _sql(work, OVERVIEW, 3, "/ 1e6", "/ 1e9")


@fault("F347c", "Every span counts as a request", "panel", caught(CHECK, "panel-wrong", "Requests"))
def every_span(work: ObservabilityWork) -> None:
    """Let the filter on the kind go."""
    kinds = " AND SpanKind IN ('Server', 'Consumer', 'SPAN_KIND_SERVER', 'SPAN_KIND_CONSUMER')"
    _sql(work, OVERVIEW, 1, kinds, "")


@fault(
    "F347d",
    "The worst drill is shown as the newest",
    "panel",
    caught(CHECK, "panel-wrong", "RTO, actual", "52.25"),
)
def worst_drill(work: ObservabilityWork) -> None:
    """Take the largest value."""
    _sql(work, RECOVERY, 2, "argMax(Value, TimeUnix)", "max(Value)")


@fault("F347e", "The unit of one column is lost", "panel", caught(CHECK, "panel-unit", "Operations"))
def lost_column_unit(work: ObservabilityWork) -> None:
    """Take the overrides away."""
    _panel(work, OVERVIEW, 9, lambda panel: panel["fieldConfig"].update(overrides=[]))


@fault(
    "F348",
    "A panel names a data source that nobody provisions",
    "panel",
    caught(CHECK, "dashboard-source", "click-house"),
)
def wrong_source(work: ObservabilityWork) -> None:
    """Misspell its uid."""
    _panel(work, OVERVIEW, 1, lambda panel: panel["datasource"].update(uid="click-house"))


@fault("F349a", "A panel is gone", "dashboard", caught(CHECK, "panel-missing", "RTO, actual"))
def lost_panel(work: ObservabilityWork) -> None:
    """Take it out."""
    _board(
        work,
        RECOVERY,
        lambda board: board.update(panels=[one for one in board["panels"] if one["title"] != "RTO, actual"]),
    )


@fault("F349b", "A menu offers nothing", "dashboard", caught(CHECK, "menu-wrong", "service"))
def empty_menu(work: ObservabilityWork) -> None:
    """Let it ask for something that is not there."""

    def edited(board: dict[str, Any]) -> None:
        (menu,) = (one for one in board["templating"]["list"] if one["name"] == "service")
        menu["query"] = menu["query"].replace("WHERE", "WHERE SpanName = 'nobody' AND")

    _board(work, OVERVIEW, edited)


@fault(
    "F349c",
    "A panel is added of which nobody knows what it must show",
    "dashboard",
    caught(CHECK, "observability-not-seen", "Another one", verdict=Verdict.NOT_PROVEN),
)
def new_panel(work: ObservabilityWork) -> None:
    """Copy one under another name."""

    def edited(board: dict[str, Any]) -> None:
        board["panels"].append({**board["panels"][0], "id": 99, "title": "Another one"})

    _board(work, OVERVIEW, edited)
