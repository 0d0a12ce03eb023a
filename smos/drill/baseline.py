"""What the last verified drill of a target saw: the yardstick where no manifest is.

`reports/baseline/<target>.json` is written after a drill in which nothing failed, and read by the next one.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from smos.errors import BackupError
from smos.postgres.content import DatabaseContent

CANDIDATE_NAME = "baseline.json"


def baseline_path(reports: Path, target_name: str) -> Path:
    """Return where a target's baseline lies."""
    return reports / "baseline" / (re.sub(r"[^A-Za-z0-9._-]+", "-", target_name) + ".json")


class Baseline(BaseModel):
    """What a verified drill saw. first_backup_at: stamp of the oldest set that any drill of this target met."""

    model_config = ConfigDict(frozen=True)

    set_id: str
    first_backup_at: datetime | None
    databases: dict[str, dict[str, Any]]

    def content(self) -> dict[str, DatabaseContent]:
        """Return what each database held."""
        return {name: DatabaseContent.from_json(data) for name, data in self.databases.items()}


def read_baseline(reports: Path, target_name: str) -> Baseline | None:
    """Return the baseline of a target, None where no drill was verified yet. Raises BackupError when it is damaged."""
    path = baseline_path(reports, target_name)
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BackupError(
            f"{path} is not a baseline that this version understands",
            remedy="remove it; the next drill makes a new one",
        ) from error


def write_candidate(
    run_dir: Path, set_id: str, oldest: datetime | None, content: dict[str, DatabaseContent]
) -> None:
    """Leave what this drill saw; it becomes the baseline only after the verdict (`promote`)."""
    candidate = Baseline(
        set_id=set_id,
        first_backup_at=oldest,
        databases={name: item.to_json() for name, item in content.items()},
    )
    (run_dir / CANDIDATE_NAME).write_text(candidate.model_dump_json(), encoding="utf-8")


def promote(run_dir: Path, reports: Path, target_name: str) -> None:
    """Make the candidate the baseline, by one rename. Nothing happens where the drill left none."""
    try:
        candidate = Baseline.model_validate_json((run_dir / CANDIDATE_NAME).read_bytes())
    except FileNotFoundError:
        return
    before = read_baseline(reports, target_name)
    stamps = [item.first_backup_at for item in (before, candidate) if item and item.first_backup_at]
    path = baseline_path(reports, target_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(
        candidate.model_copy(update={"first_backup_at": min(stamps, default=None)}).model_dump_json(),
        encoding="utf-8",
    )
    partial.rename(path)
