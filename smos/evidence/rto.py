"""The recovery metric: `rto.json` (shape: docs/rto.schema.json), `rto.prom` (Prometheus text format 0.0.4).

What was not measured is null in JSON and absent in Prometheus; never zero.
"""

from pathlib import Path
from typing import Any

from smos.drill.phases import Timing
from smos.evidence.accounting import RunOutcome
from smos.evidence.files import write_atomic, write_json
from smos.evidence.run import RunInfo
from smos.verdict import Verdict

JSON_NAME, PROM_NAME = "rto.json", "rto.prom"


def rto_json(info: RunInfo, timing: Timing) -> dict[str, Any]:
    """Return the document: durations in seconds, sizes in bytes."""
    return {
        "schema": 1,
        "run_id": info.run_id,
        "rto_actual_s": timing.rto_actual_s,
        "rto_objective_s": info.rto_objective_s,
        "rpo_actual_s": timing.rpo_actual_s,
        "rpo_objective_s": info.rpo_objective_s,
        "verify_s": timing.verify_s,
        "data_bytes": timing.data_bytes,
        **(
            {"fetched_bytes": timing.fetched_bytes, "fetch_bytes_per_s": timing.fetch_bytes_per_s}
            if timing.fetched_bytes is not None
            else {}
        ),
        "phases": [
            {"name": phase.name, "seconds": phase.seconds, "excluded": phase.excluded}
            for phase in timing.phases
        ],
    }


def prometheus_text(info: RunInfo, outcome: RunOutcome, timing: Timing | None) -> str:
    """Return the metrics, for a textfile collector or a push gateway; alert on the drill's age, too."""
    base = {"target": info.target, "scope": info.scope}
    started = info.started.timestamp()
    proven = float(outcome.verdict is Verdict.PASS)
    lines = [
        *_gauge(
            "smos_drill_timestamp_seconds", "When the newest drill started, Unix time.", [(base, started)]
        ),
        *_gauge("smos_proven", "1 when everything required is proven or waived, else 0.", [(base, proven)]),
        *_gauge(
            "smos_check_passed",
            "1 when the check is PASS, else 0; a waiver changes nothing here.",
            [
                ({**base, "check": item.check.id}, float(item.verdict is Verdict.PASS))
                for item in outcome.checks
            ],
        ),
    ]
    if timing is not None:
        single = (
            ("smos_rto_actual_seconds", "Disaster declared until ready.", timing.rto_actual_s),
            ("smos_rto_objective_seconds", "Objective for the recovery time.", info.rto_objective_s),
            ("smos_rpo_actual_seconds", "Newest surviving write until the disaster.", timing.rpo_actual_s),
            ("smos_rpo_objective_seconds", "Objective for the recovery point.", info.rpo_objective_s),
            ("smos_verify_seconds", "Part of the recovery time spent on verification.", timing.verify_s),
            ("smos_restored_bytes", "Bytes that were restored.", float(timing.data_bytes)),
            ("smos_fetch_bytes_per_second", "Bandwidth of the fetch phase.", timing.fetch_bytes_per_s),
        )
        for name, text, value in single:
            lines += _gauge(name, text, [] if value is None else [(base, value)])
        lines += _gauge(
            "smos_phase_seconds",
            "Duration of a phase; a phase that was not exercised is absent.",
            [({**base, "phase": p.name}, p.seconds) for p in timing.phases if p.seconds is not None],
        )
    return "\n".join(lines) + "\n"


def write_rto(reports: Path, info: RunInfo, outcome: RunOutcome, timing: Timing | None) -> None:
    """Write both files; without a drill there is no `rto.json`. Raises OSError."""
    if timing is not None:
        write_json(reports / JSON_NAME, rto_json(info, timing))
    write_atomic(reports / PROM_NAME, prometheus_text(info, outcome, timing).encode())


def _gauge(name: str, text: str, samples: list[tuple[dict[str, str], float]]) -> list[str]:
    if not samples:
        return []
    lines = [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escape(label)}"' for key, label in labels.items())
        lines.append(f"{name}{{{inside}}} {value!r}")
    return lines


def _escape(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
