"""Runs the demo's clean-up: the procedure demo.cleanup (compose/demo/cleanup.sql), as demo_maintenance."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

DAYS = 7
BATCH = 1000
MAX_BATCHES = 100_000


@dataclass(frozen=True, slots=True)
class CleanupResult:
    """rows: removed. finished: False where `max_batches` was reached or rows were in use: run it again."""

    rows: int
    finished: bool


def clean_up(
    connection: "psycopg.Connection[Any]",
    *,
    days: int = DAYS,
    now: datetime | None = None,
    batch: int = BATCH,
    max_batches: int = MAX_BATCHES,
) -> CleanupResult:
    """Remove what was made more than `days` times 24 hours before `now` (None: the server's present moment).

    connection: autocommit, as demo_maintenance; each batch of at most `batch` rows is a transaction of its own, so it
    may be interrupted and run again. Raises psycopg.Error; ValueError for a moment without a time zone.
    """
    if now is not None and now.tzinfo is None:
        raise ValueError("the moment needs a time zone, for instance 2026-12-01T00:00:00Z")
    row = connection.execute(
        "CALL demo.cleanup(days => %s, at => %s, batch => %s, max_batches => %s)",
        (days, now, batch, max_batches),
        prepare=False,
    ).fetchone()
    if row is None:
        raise psycopg.DataError("demo.cleanup gave no answer")
    return CleanupResult(int(row[0]), bool(row[1]))
