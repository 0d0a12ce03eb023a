"""`history.jsonl`: one line a run, appended and never rewritten: trends, and "when was it last proven?"."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smos.drill.phases import Timing
from smos.evidence.accounting import RunOutcome
from smos.evidence.files import append_line
from smos.evidence.redact import redact_json
from smos.evidence.run import RunInfo

FILE_NAME = "history.jsonl"


def history_json(info: RunInfo, outcome: RunOutcome, timing: Timing | None) -> dict[str, Any]:
    """Return the line of a run. `set` is the backup set that was restored."""
    return {
        "schema": 1,
        "run_id": info.run_id,
        "started": info.started.isoformat(),
        "scope": info.scope,
        "target": info.target,
        "provision": info.provision,
        "sandbox": info.sandbox,
        "set": info.backup_set,
        "verdict": outcome.verdict.value,
        "checks": {item.check.id: item.verdict.value for item in outcome.checks},
        "waived": [item.check.id for item in outcome.checks if item.excused],
        "missing": list(outcome.missing),
        "rto_actual_s": timing and timing.rto_actual_s,
        "rto_objective_s": info.rto_objective_s,
        "rpo_actual_s": timing and timing.rpo_actual_s,
        "rpo_objective_s": info.rpo_objective_s,
        "verify_s": timing and timing.verify_s,
        "data_bytes": timing and timing.data_bytes,
        "phases": {p.name: p.seconds for p in timing.phases if p.seconds is not None} if timing else {},
    }


def append_history(reports: Path, info: RunInfo, outcome: RunOutcome, timing: Timing | None) -> None:
    """Append the line of this run. Raises OSError."""
    line = json.dumps(redact_json(history_json(info, outcome, timing)), ensure_ascii=False)
    append_line(reports / FILE_NAME, line)


def read_history(reports: Path) -> Iterator[dict[str, Any]]:
    """Yield the runs, oldest first; lines that are no JSON object (a run was killed there) are passed over.

    Yields nothing when there is no history. Raises OSError when there is one that can't be read.
    """
    path = reports / FILE_NAME
    if not path.exists():
        return
    with path.open("rb") as handle:
        for line in handle:
            try:
                run = json.loads(line)
            except ValueError:
                continue
            if isinstance(run, dict):
                yield run
