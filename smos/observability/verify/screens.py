"""Writes docs/dashboards.md: what every panel shows of the known telemetry, as OBS-07 compares it in every run.

python -m smos.observability.verify.screens > docs/dashboards.md
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from smos.observability import dashboards
from smos.observability.dashboards import Panel

EXPECTED = Path(__file__).with_name("panels.yml")
HEAD = """# What the dashboards show

Every panel of the shipped dashboards, for the known telemetry of `smos/observability/verify/known.py`: two services of
which one calls the other and a database, a Vault, two drills. There are no pictures, because Grafana is not run here;
these are the rows that each panel's shipped SQL gives, as OBS-07 compares them in every run. Times are seconds from the
telemetry's beginning. Written by `python -m smos.observability.verify.screens`.
"""


def page() -> str:
    """Return the document."""
    expected: Mapping[str, Any] = YAML(typ="safe").load(EXPECTED)["dashboards"]
    lines = [HEAD.rstrip("\n")]
    for board in dashboards.load_all():
        lines += ["", f"## {board.title}"]
        for panel in board.panels:
            lines += ["", *_panel(panel, expected[board.uid][f"{panel.id} {panel.title}"])]
    return "\n".join(lines) + "\n"


def _panel(panel: Panel, wanted: Mapping[str, Any]) -> Iterator[str]:
    unit = f", in {panel.unit}" if panel.unit else ""
    yield f"### {panel.title} ({panel.type}{unit})"
    yield ""
    rows = wanted["rows"]
    names = list(rows[0])
    units = wanted.get("columns", {})
    yield "| " + " | ".join(f"{name} ({units[name]})" if name in units else name for name in names) + " |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield "| " + " | ".join(_cell(row[name]) for name in names) + " |"


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, list):
        return "; ".join(_cell(one) for one in value) or "-"
    return str(value).replace("|", r"\|")


if __name__ == "__main__":
    sys.stdout.write(page())
