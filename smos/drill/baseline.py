"""What the last verified drill of a target saw: the yardstick where no manifest is.

`reports/baseline/<target>.json` is written after a drill in which nothing failed, and read by the next one.
"""

import json
import re
from pathlib import Path
from typing import Any

from smos.postgres.fingerprint import DatabaseContent


def baseline_path(reports: Path, target_name: str) -> Path:
    """Return where a target's baseline lies."""
    return reports / "baseline" / (re.sub(r"[^A-Za-z0-9._-]+", "-", target_name) + ".json")


def read_baseline(reports: Path, target_name: str) -> dict[str, Any] | None:
    """Return {"set": id, "databases": {name: content as JSON}}, or None where no drill was verified yet."""
    try:
        data = json.loads(baseline_path(reports, target_name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return data if isinstance(data, dict) else None


def last_verified_set(reports: Path, target_name: str) -> str | None:
    """Return the id of the newest backup set that a drill has verified."""
    baseline = read_baseline(reports, target_name)
    return str(baseline["set"]) if baseline else None


def write_candidate(run_dir: Path, set_id: str, content: dict[str, DatabaseContent]) -> None:
    """Leave what this drill saw; it becomes the baseline only after the verdict (`promote`)."""
    data = {"set": set_id, "databases": {name: item.to_json() for name, item in content.items()}}
    (run_dir / "baseline.json").write_text(json.dumps(data), encoding="utf-8")


def promote(run_dir: Path, reports: Path, target_name: str) -> None:
    """Make the candidate the baseline, by one rename. Nothing happens where the drill left none."""
    candidate = run_dir / "baseline.json"
    if not candidate.exists():
        return
    path = baseline_path(reports, target_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(candidate.read_bytes())
    partial.rename(path)
