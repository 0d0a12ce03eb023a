"""The detection matrix: which faults were injected, which checks noticed, how many of how many.

Workers append a line for each case at once; the controller puts them together when the session ends.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from pydantic import TypeAdapter

from smos.checks.registry import suite_of
from smos.evidence.files import append_line, write_atomic, write_json

FILE_NAME = "detection.json"
SUMMARY_NAME = "summary.md"
BEGIN, END = "<!-- detection matrix -->", "<!-- end of the detection matrix -->"
_LEGEND = "Each cell: detected of cases (as it is, with hashes made to fit, without a manifest)."
_LINES = "detection-*.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One case: a check that ran against one variant of one fault.

    expected: "VERDICT code|code". detected: the check said it, for the right reason. verdict: what it said, empty
    where it said nothing (the driver broke off). codes: of its findings that are no information. reason: why it does
    not count as detected. seconds: injection and check.
    """

    id: str
    title: str
    breaks: str
    variant: str
    check: str
    expected: str
    detected: bool
    verdict: str
    codes: tuple[str, ...]
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pristine:
    """One run of a check against a copy that nothing was done to. alarm: it did not pass."""

    check: str
    alarm: bool
    codes: tuple[str, ...]
    seconds: float


@cache
def _rows() -> TypeAdapter[Detection | Pristine]:
    return TypeAdapter(Detection | Pristine)


def append(run_dir: Path, worker: str, row: Detection | Pristine) -> None:
    """Record a row at once, synced: a worker that dies later loses nothing. Raises OSError."""
    append_line(run_dir / f"detection-{worker}.jsonl", _rows().dump_json(row).decode())


def read(run_dir: Path) -> tuple[list[Detection], list[Pristine]]:
    """Return what the workers recorded, in the matrix' order."""
    rows = [
        _rows().validate_json(line)
        for path in sorted(run_dir.glob(_LINES))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    ]
    found = [row for row in rows if isinstance(row, Detection)]
    pristine = [row for row in rows if isinstance(row, Pristine)]
    return (
        sorted(found, key=lambda row: (len(row.id.strip(ascii_lowercase)), row.id, row.check, row.variant)),
        sorted(pristine, key=lambda row: row.check),
    )


def as_json(found: Sequence[Detection], pristine: Sequence[Pristine], total: int) -> dict[str, Any]:
    """Return `reports/detection.json`. total: cases that were selected, also those that never came to an end."""
    return {
        "schema": 1,
        "faults": [json.loads(_rows().dump_json(row)) for row in found],
        "detected": sum(row.detected for row in found),
        "total": total,
        "per_suite": _per(found, lambda row: suite_of(row.check)),
        "per_check": _per(found, lambda row: row.check),
        "pristine": {"runs": len(pristine), "false_alarms": sum(row.alarm for row in pristine)},
    }


def _per(found: Iterable[Detection], key: Any) -> dict[str, dict[str, int]]:
    rows = list(found)
    total = Counter(key(row) for row in rows)
    seen = Counter(key(row) for row in rows if row.detected)
    return {name: {"detected": seen[name], "total": total[name]} for name in sorted(total)}


def matrix(found: Sequence[Detection]) -> tuple[list[str], list[tuple[str, str, dict[str, tuple[int, int]]]]]:
    """Return the checks, and for each fault its ID, title and by check (detected, cases)."""
    checks = sorted({row.check for row in found})
    titles = {row.id: row.title for row in found}
    table = []
    for id_, title in titles.items():
        mine = [row for row in found if row.id == id_]
        cells = {
            check: (
                sum(row.detected for row in mine if row.check == check),
                sum(row.check == check for row in mine),
            )
            for check in checks
            if any(row.check == check for row in mine)
        }
        table.append((id_, title, cells))
    return checks, table


def markdown(found: Sequence[Detection], pristine: Sequence[Pristine], total: int) -> str:
    """Return the section of the summary: n of N, and the table of faults against checks."""
    checks, table = matrix(found)
    detected = sum(row.detected for row in found)
    alarms = sum(row.alarm for row in pristine)
    sign = "✅" if detected == total and not alarms else "❌"
    lines = [
        BEGIN,
        f"## {sign} Every check is seen to fail: {detected} of {total} detected",
        "",
        f"{alarms} false alarms in {len(pristine)} runs against pristine copies. {_LEGEND}",
        "",
        "| Fault | " + " | ".join(checks) + " |",
        "|---|" + "---|" * len(checks),
    ]
    for id_, title, cells in table:
        row = " | ".join(_cell(cells.get(check)) for check in checks)
        lines.append(f"| {id_} {title} | {row} |")
    missed = [row for row in found if not row.detected]
    if missed:
        lines += ["", "Not detected:", ""]
        lines += [f"- {row.id}, {row.variant}, {row.check}: {' '.join(row.reason.split())}" for row in missed]
    return "\n".join([*lines, END]) + "\n"


def html(found: Sequence[Detection], pristine: Sequence[Pristine], total: int) -> str:
    """Return the matrix as a page of its own, for Allure. It loads nothing from anywhere."""
    checks, table = matrix(found)
    detected = sum(row.detected for row in found)
    head = "".join(f"<th>{escape(check)}</th>" for check in checks)
    rows = "".join(
        f"<tr><th>{escape(id_)}</th><td>{escape(title)}</td>"
        + "".join(f"<td{_colour(cells.get(check))}>{_cell(cells.get(check))}</td>" for check in checks)
        + "</tr>"
        for id_, title, cells in table
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Detection matrix</title>"
        "<style>body{font:14px system-ui}table{border-collapse:collapse}"
        "td,th{border:1px solid #ccc;padding:3px 8px;text-align:left}</style>"
        f"<h1>{detected} of {total} detected</h1>"
        f"<p>{sum(row.alarm for row in pristine)} false alarms in {len(pristine)} pristine runs</p>"
        f"<table><tr><th>Fault</th><th>What is broken</th>{head}</tr>{rows}</table>"
    )


def write(
    reports: Path,
    found: Sequence[Detection],
    pristine: Sequence[Pristine],
    total: int,
    step_summary: Path | None,
) -> None:
    """Write detection.json, and put the section into summary.md in the place of an older one. Raises OSError."""
    write_json(reports / FILE_NAME, as_json(found, pristine, total))
    put_section(reports / SUMMARY_NAME, markdown(found, pristine, total), BEGIN, END, step_summary)


def put_section(path: Path, section: str, begin: str, end: str, step_summary: Path | None) -> None:
    """Put a section, which starts with `begin` and ends with `end`, in the place of an older one. Raises OSError."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if begin in before and end in before:
        head, _, rest = before.partition(begin)
        before = head.rstrip("\n") + rest.partition(end)[2]
    text = f"{before.rstrip()}\n\n{section}" if before.strip() else section
    write_atomic(path, text.encode())
    if step_summary is not None:
        with step_summary.open("a", encoding="utf-8") as handle:
            handle.write(section)


def _cell(cell: tuple[int, int] | None) -> str:
    return "" if cell is None else f"{cell[0]}/{cell[1]}"


def _colour(cell: tuple[int, int] | None) -> str:
    if cell is None:
        return ""
    return ' style="background:#d8f5d8"' if cell[0] == cell[1] else ' style="background:#f8c8c8"'
