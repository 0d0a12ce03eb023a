"""The random campaign in the report: how many cases, what was noticed, what survived and why that is harmless."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from smos.evidence.detection import FILE_NAME, SUMMARY_NAME, put_section
from smos.evidence.files import append_line, write_json

BEGIN, END = "<!-- campaign -->", "<!-- end of the campaign -->"
_LINES = "campaign-*.jsonl"
DETECTED, HARMLESS = "detected", "harmless"
CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One random case. level, title: where damage was done. case: to try it again. done: in words, without rows.

    effect: what an independent oracle says of the backup then (changed, same, either). outcome: detected, harmless,
    missed, false-alarm, broke. verdicts: of the checks. codes: of their findings. why: it is harmless. seed: of the
    run. seconds: of damage, oracle and checks.
    """

    level: str
    title: str
    case: str
    done: str
    effect: str
    outcome: str
    verdicts: Mapping[str, str]
    codes: tuple[str, ...]
    why: str
    seed: int
    seconds: float

    @property
    def defect(self) -> bool:
        """Whether the product was wrong."""
        return self.outcome not in {DETECTED, HARMLESS}


@cache
def _rows() -> TypeAdapter[Trial]:
    return TypeAdapter(Trial)


def append(run_dir: Path, worker: str, row: Trial) -> None:
    """Record a case at once, synced. Raises OSError."""
    append_line(run_dir / f"campaign-{worker}.jsonl", _rows().dump_json(row).decode())


def read(run_dir: Path) -> list[Trial]:
    """Return what the workers recorded."""
    return [
        _rows().validate_json(line)
        for path in sorted(run_dir.glob(_LINES))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    ]


def as_json(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the key `campaign` of `reports/detection.json`.

    damaged: the oracle says that what is restored (or a byte of the set) is another one; detected: of those.
    objected: cases without such a change to which a check objected, and may. survivors: cases that passed, by why.
    """
    levels = dict.fromkeys(trial.level for trial in trials)
    return {
        "seeds": sorted({trial.seed for trial in trials}),
        "cases": len(trials),
        **_counts(trials),
        "levels": {
            level: {"cases": len(mine), **_counts(mine), "title": mine[0].title}
            for level in levels
            if (mine := [trial for trial in trials if trial.level == level])
        },
        "survivors": dict(Counter(trial.why for trial in trials if trial.outcome == HARMLESS).most_common()),
        "defects": [asdict(trial) for trial in trials if trial.defect],
        "seconds": round(sum(trial.seconds for trial in trials), 1),
    }


def _counts(trials: Iterable[Trial]) -> dict[str, int]:
    rows = list(trials)
    damaged = [trial for trial in rows if trial.effect == CHANGED]
    return {
        "damaged": len(damaged),
        "detected": sum(trial.outcome == DETECTED for trial in damaged),
        "objected": sum(trial.outcome == DETECTED for trial in rows)
        - sum(t.outcome == DETECTED for t in damaged),
        "harmless": sum(trial.outcome == HARMLESS for trial in rows),
        "false_alarms": sum(trial.outcome == "false-alarm" for trial in rows),
        "broke": sum(trial.outcome == "broke" for trial in rows),
    }


def sentence(trials: Sequence[Trial]) -> str:
    """Say in one line how it went, and how to have the same again."""
    data = as_json(trials)
    seeds = ", ".join(str(seed) for seed in data["seeds"])
    return (
        f"{data['cases']} random cases: {data['detected']} of {data['damaged']} that changed something were noticed,"
        f" {data['false_alarms']} false alarms among {data['cases'] - data['damaged']} others,"
        f" {data['broke']} times a check broke. Seed {seeds}."
    )


def markdown(trials: Sequence[Trial]) -> str:
    """Return the part of the summary: numbers by level, survivors and why, and every defect with its case."""
    data = as_json(trials)
    wrong = data["defects"]
    lines = [
        BEGIN,
        f"## {'❌' if wrong else '✅'} Unlisted damage",
        "",
        sentence(trials),
        "",
        "| What was damaged | Cases | Changed something | Noticed | Harmless, passed | Harmless, objected to |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['title']} | {row['cases']} | {row['damaged']} | {row['detected']} | {row['harmless']}"
        f" | {row['objected']} |"
        for row in data["levels"].values()
    ]
    if data["survivors"]:
        lines += ["", "What passed, and why it is harmless:", ""]
        lines += [f"- {count} cases: {why}" for why, count in data["survivors"].items()]
    if wrong:
        lines += ["", "Not as it must be:", ""]
        lines += [
            f"- {item['outcome']}: {' '.join(item['done'].split())}: `{item['case']}`" for item in wrong
        ]
    return "\n".join([*lines, END]) + "\n"


def write(reports: Path, trials: Sequence[Trial], step_summary: Path | None) -> None:
    """Add the campaign to detection.json and to summary.md, beside what is there. Raises OSError."""
    path = reports / FILE_NAME
    before = json.loads(path.read_bytes()) if path.exists() else {"schema": 1}
    write_json(path, before | {"campaign": as_json(trials)})
    put_section(reports / SUMMARY_NAME, markdown(trials), BEGIN, END, step_summary)
