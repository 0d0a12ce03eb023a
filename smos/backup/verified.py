"""Which backup sets have been shown to restore, by the history that drills leave. Pure, over what was read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PROOF = ("DR-02", "DR-03", "DR-04", "DR-06")
"""Whole and unaltered; databases, volumes and Vault came back with the content that was promised."""
CONTENT = ("DR-03", "DR-04")
"""One of these at least must have been shown: a set that holds nothing proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A drill that showed a set to restore. at: UTC. verdict: of the whole run, which may ask for more."""

    set_id: str
    run_id: str
    at: datetime
    verdict: str


def verifications(runs: Iterable[Mapping[str, Any]], target: str | None) -> dict[str, Verification]:
    """Return the newest proof of each set. target: only runs of it; None takes every target's.

    A run proves its set when none of the checks of PROOF that ran was anything but PASS, a waived one included: a
    waiver excuses a check, and proves nothing.
    """
    found: dict[str, Verification] = {}
    for run in runs:
        checks, set_id = run.get("checks"), run.get("set")
        if not isinstance(checks, Mapping) or not isinstance(set_id, str) or not set_id:
            continue
        if target is not None and run.get("target") != target:
            continue
        asked = [checks[name] for name in PROOF if name in checks]
        if "DR-02" not in checks or not any(name in checks for name in CONTENT):
            continue
        if any(verdict != "PASS" for verdict in asked):
            continue
        try:
            at = datetime.fromisoformat(str(run.get("started")))
        except ValueError:
            continue
        known = found.get(set_id)
        if known is None or at >= known.at:
            found[set_id] = Verification(
                set_id=set_id, run_id=str(run.get("run_id")), at=at, verdict=str(run.get("verdict"))
            )
    return found
