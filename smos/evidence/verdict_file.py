"""`verdict.json`: the verdict of a run for machines. Its shape is docs/verdict.schema.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smos.evidence.accounting import CheckOutcome, RunOutcome
from smos.evidence.controls import controls
from smos.evidence.coverage import coverage, coverage_json, valid_until
from smos.evidence.files import write_json
from smos.evidence.redact import redact_json
from smos.evidence.results import findings_json
from smos.evidence.run import RunInfo
from smos.verdict import Verdict

FILE_NAME = "verdict.json"


def verdict_json(info: RunInfo, outcome: RunOutcome) -> dict[str, Any]:
    """Return the document. A self-test names no controls, since it satisfies none."""
    return {
        **_head(info),
        "verdict": outcome.verdict.value,
        "checks": [_check_json(info, item) for item in outcome.checks],
        "missing": list(outcome.missing),
        "coverage": coverage_json(coverage(info, outcome)),
        "valid_until": valid_until(info).isoformat(),
        "not_required": [{"check": check_id, "why": why} for check_id, why in info.not_required],
    }


def write_verdict(reports: Path, info: RunInfo, outcome: RunOutcome) -> None:
    """Write the file by one rename. Raises OSError."""
    write_json(reports / FILE_NAME, redact_json(verdict_json(info, outcome)))


def write_unfinished(reports: Path, info: RunInfo, required: Sequence[str]) -> None:
    """Replace what an earlier run left: until this run has ended, its verdict is ERROR with all missing.

    So a killed run is never mistaken for the one before it. Raises OSError.
    """
    document = {
        **_head(info),
        "verdict": Verdict.ERROR.value,
        "checks": [],
        "missing": list(required),
        "coverage": [],
        "valid_until": None,
        "not_required": [],
    }
    write_json(reports / FILE_NAME, document)


def _head(info: RunInfo) -> dict[str, Any]:
    return {
        "schema": 1,
        "run_id": info.run_id,
        "scope": info.scope,
        "target": info.target,
        "provision": info.provision,
        "sandbox": info.sandbox,
        "started": info.started.isoformat(),
    }


def _check_json(info: RunInfo, item: CheckOutcome) -> dict[str, Any]:
    waiver = item.waiver and {
        "reason": item.waiver.reason,
        "approver": item.waiver.approver,
        "expires": item.waiver.expires.isoformat(),
    }
    return {
        "id": item.check.id,
        "title": item.check.title,
        "verdict": item.verdict.value,
        "waiver": waiver,
        "findings": findings_json(item.findings),
        "facts": item.facts,
        "controls": [] if info.self_test else list(controls().of_check(item.check.id)),
        "seconds": round(item.seconds, 6),
    }
