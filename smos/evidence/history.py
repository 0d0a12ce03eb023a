"""`history.jsonl`: one line a run, appended and never rewritten: trends, and "when was it last proven?".

Each line names the digest of the one before, so that a line that is changed, dropped or moved breaks the chain; the
newest line is held by the signed statement of its run.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from smos.drill.phases import Timing
from smos.evidence.accounting import RunOutcome
from smos.evidence.files import append_line
from smos.evidence.redact import redact_json
from smos.evidence.run import RunInfo

FILE_NAME = "history.jsonl"


TAIL_BYTES = 2**20
"""The last line is looked for in the last MiB; a line is some kB."""


def history_json(
    info: RunInfo, outcome: RunOutcome, timing: Timing | None, previous: str | None = None
) -> dict[str, Any]:
    """Return the line of a run. `set` is the backup set that was restored; previous: digest of the line before."""
    return {
        "schema": 1,
        "previous": previous,
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
    path = reports / FILE_NAME
    line = json.dumps(redact_json(history_json(info, outcome, timing, last_digest(path))), ensure_ascii=False)
    append_line(path, line)


def last_digest(path: Path) -> str | None:
    """Return the SHA-256 of the last line that is not empty (without its newline); None where there is none."""
    try:
        with path.open("rb") as handle:
            end = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, end - TAIL_BYTES))
            lines = [line for line in handle.read().split(b"\n") if line.strip()]
    except FileNotFoundError:
        return None
    return hashlib.sha256(lines[-1]).hexdigest() if lines else None


def chain_problems(lines: Sequence[bytes]) -> list[str]:
    """Return a sentence for every place where the chain of a history is broken.

    Lines from before there was a chain have no `previous`; they may only stand at the beginning. A line that a killed
    run left half is held by the one after it.
    """
    kept = [line for line in lines if line.strip()]
    digests = [hashlib.sha256(line).hexdigest() for line in kept]
    problems = []
    chained = False
    for number, line in enumerate(kept, start=1):
        try:
            run = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(run, dict) or "previous" not in run:
            if chained:
                problems.append(f"line {number} names no predecessor, although earlier lines do")
            continue
        chained = True
        named = run["previous"]
        if named == (digests[number - 2] if number > 1 else None):
            continue
        name = f"line {number} (run {run.get('run_id')})"
        if named in digests:
            problems.append(f"{name} is out of order: it was written after line {digests.index(named) + 1}")
        elif number == 1:
            problems.append(f"{name} is the first, but it names a predecessor: earlier lines were dropped")
        elif named is None:
            problems.append(f"{name} was the first, but {number - 1} lines stand before it")
        else:
            problems.append(
                f"before {name} a line is missing or changed: line {number - 1} is not what it follows"
            )
    return problems


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
            except (ValueError, RecursionError):
                continue
            if isinstance(run, dict):
                yield run
