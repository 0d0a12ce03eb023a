"""`evidence.html`: the whole story on one page that needs nothing: no script, no request, no other file.

A function of verdict.json, run.json, rto.json and history.jsonl, so that it can be rendered again in another language.
Everything in it is escaped; its Content-Security-Policy allows nothing but its own style sheet.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from smos.errors import SmosError
from smos.evidence import history, origin, rto, verdict_file
from smos.evidence.controls import controls
from smos.evidence.files import write_atomic
from smos.evidence.redact import redact
from smos.evidence.statement import excused, unsettled
from smos.evidence.texts import TITLES_ES, texts
from smos.evidence.words import duration, size

FILE_NAME = "evidence.html"
FOLDER = Path(__file__).parent
MOST_RUNS = 60
"""Runs in the trend."""
WIDTH, HEIGHT = 320.0, 80.0
"""Of a trend's picture, pixels."""
_BADGES = {
    "proven": "PASS",
    "failed": "FAIL",
    "not proven": "NOT_PROVEN",
    "harness error": "ERROR",
    "waived": "WAIVED",
}

Json = Mapping[str, Any]


def page(verdict: Json, run: Json, measured: Json | None, runs: Iterable[Json], language: str) -> str:
    """Return the page. measured: rto.json, None where there was no drill. runs: of the history, oldest first."""
    words = texts(language)
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    mapping = controls() if verdict["coverage"] else None
    coverage = []
    for row in verdict["coverage"]:
        framework = mapping.framework(row["control"]) if mapping else None
        title = mapping.controls.get(row["control"]) if mapping else None
        coverage.append(
            {
                **row,
                "url": framework.url if framework else "",
                "title": title.of(language) if title else row["title"],
                "badge": _BADGES[row["state"]],
            }
        )
    reasons = [
        {
            "check": row.check,
            "controls": row.controls,
            "why": row.why.of(language),
            "limits": row.limits.of(language),
        }
        for row in (mapping.mappings if mapping else ())
        if any(item["id"] == row.check for item in verdict["checks"])
    ]
    phases = measured["phases"] if measured else []
    exclusions = [{"what": item["check"], "why": item["why"]} for item in verdict["not_required"]]
    exclusions += [
        {"what": item["name"], "why": item["excluded"]} for item in phases if item["seconds"] is None
    ]
    text = template().render(
        language=language,
        t=words,
        titles=TITLES_ES if language == "es" else {},
        style=Markup(style),  # noqa: S704  (our own file, and CSS is no HTML)
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        verdict=verdict,
        run=run,
        rto=measured,
        longest=max((item["seconds"] or 0 for item in phases), default=0) or 1,
        trends=_trends(runs, verdict) if measured else [],
        counts=_counts(verdict, words),
        coverage=coverage,
        reasons=reasons,
        exclusions=exclusions,
    )
    return redact(text)


def write_page(reports: Path, verdict: Json, run: Json, measured: Json | None, language: str) -> None:
    """Write the page of a run. Raises OSError."""
    write_atomic(
        reports / FILE_NAME, page(verdict, run, measured, history.read_history(reports), language).encode()
    )


def rewrite_page(reports: Path, language: str) -> Path:
    """Render the page of the newest run again, from its files. Raises SmosError where there is none."""
    try:
        verdict = json.loads((reports / verdict_file.FILE_NAME).read_bytes())
        run = json.loads((reports / origin.FILE_NAME).read_bytes())
        path = reports / rto.JSON_NAME
        measured = json.loads(path.read_bytes()) if path.exists() else None
        write_page(reports, verdict, run, measured, language)
    except (OSError, ValueError, KeyError) as error:
        raise SmosError(
            f"{reports} holds no run that has ended", remedy="run a suite first, for example: make dr"
        ) from error
    return reports / FILE_NAME


@cache
def template() -> Template:
    """Return the page's template, compiled once per process."""
    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters |= {"duration": duration, "size": size, "pretty": _pretty, "moment": _moment}
    found.tests |= {"excused": excused, "unsettled": unsettled}
    return found.get_template("page.html.j2")


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


def _counts(verdict: Json, words: Mapping[str, str]) -> str:
    waived = sum(excused(item) for item in verdict["checks"])
    rest = [item["verdict"] for item in verdict["checks"] if not excused(item)]
    parts = [
        f"{rest.count(name)} {words[name].lower()}"
        for name in ("PASS", "FAIL", "NOT_PROVEN", "ERROR")
        if name in rest
    ]
    return ", ".join([*parts, *([f"{waived} {words['WAIVED'].lower()}"] if waived else [])])


def _trends(runs: Iterable[Json], verdict: Json) -> list[dict[str, Any]]:
    """Return the curves of RTO and RPO over the runs of this target in this scope; none for a single run."""
    own = [
        run for run in runs if (run.get("target"), run.get("scope")) == (verdict["target"], verdict["scope"])
    ]
    found = []
    for name in ("rto", "rpo"):
        key = f"{name}_actual_s"
        measured = [run for run in own if _is_number(run.get(key))][-MOST_RUNS:]
        if len(measured) > 1:
            found.append({"name": name, **_curve(measured, key)})
    return found


def _is_number(value: Any) -> bool:
    """Tell whether a value of a history, which anybody may have written to, can be drawn: JSON may hold NaN."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (
        number and abs(value) <= sys.float_info.max
    )  # which NaN is not, nor a whole number that no float holds


def _curve(runs: Sequence[Json], key: str) -> dict[str, Any]:
    values = [float(run[key]) for run in runs]
    low, high = min(values), max(values)
    points = []
    for index, (run, value) in enumerate(zip(runs, values, strict=True)):
        share = (value - low) / (high - low) if high > low else 0.5
        points.append(
            {
                "x": round(5 + index * (WIDTH - 10) / (len(runs) - 1), 1),
                "y": round(HEIGHT - 8 - share * (HEIGHT - 16), 1),
                "verdict": str(run.get("verdict", "")),
                "label": f"{str(run.get('started', ''))[:10]}: {duration(value)}, {run.get('verdict')}",
            }
        )
    return {
        "low": low,
        "high": high,
        "points": points,
        "line": " ".join(f"{point['x']},{point['y']}" for point in points),
    }
