"""The coverage table: for every control, which checks are evidence for it, and what became of them in a run.

Pure. A self-test covers nothing. A control is only as covered as its worst check; a waived check is shown as waived and
never counts as passed. Whether a control is met is for the auditor to say.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from smos.evidence.accounting import CheckOutcome, RunOutcome
from smos.evidence.controls import Controls, controls
from smos.evidence.run import RunInfo
from smos.verdict import Verdict


class State(StrEnum):
    """What a run says about a control."""

    PROVEN = "proven"
    WAIVED = "waived"
    NOT_PROVEN = "not proven"
    HARNESS_ERROR = "harness error"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlCoverage:
    """One control in one run: check IDs by what became of them.

    required: in this run. executed: left a result. elsewhere: evidence for the control as well, but not part of this
    run. valid_until: last day (UTC) on which the run is evidence for the control; None where it is none.
    """

    control: str
    framework: str
    title: str
    state: State
    required: tuple[str, ...]
    executed: tuple[str, ...]
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    not_proven: tuple[str, ...]
    waived: tuple[str, ...]
    harness_error: tuple[str, ...]
    elsewhere: tuple[str, ...]
    valid_until: date | None


def coverage(
    info: RunInfo, outcome: RunOutcome, mapping: Controls | None = None
) -> tuple[ControlCoverage, ...]:
    """Return a row for every control that a check of this run is evidence for. A self-test has none."""
    if info.self_test:
        return ()
    mapping = mapping or controls()
    by_id = {item.check.id: item for item in outcome.checks}
    rows = []
    for control in mapping.controls:
        named = mapping.checks_of(control)
        own = [by_id[check_id] for check_id in by_id if check_id in named]
        if own:
            rows.append(_row(info, outcome, mapping, control, own))
    return tuple(rows)


def coverage_json(rows: tuple[ControlCoverage, ...]) -> list[dict[str, Any]]:
    """Return the rows as they stand in verdict.json."""
    return [
        {
            "control": row.control,
            "framework": row.framework,
            "title": row.title,
            "state": row.state.value,
            "required": list(row.required),
            "executed": list(row.executed),
            "passed": list(row.passed),
            "failed": list(row.failed),
            "not_proven": list(row.not_proven),
            "waived": list(row.waived),
            "harness_error": list(row.harness_error),
            "elsewhere": list(row.elsewhere),
            "valid_until": row.valid_until.isoformat() if row.valid_until else None,
        }
        for row in rows
    ]


def valid_until(info: RunInfo) -> date:
    """Return the last day (UTC) on which the run counts as evidence."""
    return info.started.date() + timedelta(days=info.valid_days)


def _row(
    info: RunInfo, outcome: RunOutcome, mapping: Controls, control: str, own: list[CheckOutcome]
) -> ControlCoverage:
    waived = [item for item in own if item.excused]
    rest = [item for item in own if not item.excused]

    def of(verdict: Verdict) -> tuple[str, ...]:
        return tuple(item.check.id for item in rest if item.verdict is verdict)

    worst = Verdict.worst(item.verdict for item in rest)
    if outcome.unsettled:
        worst = Verdict.worst((worst, Verdict.NOT_PROVEN))
    state = {
        Verdict.FAIL: State.FAILED,
        Verdict.ERROR: State.HARNESS_ERROR,
        Verdict.NOT_PROVEN: State.NOT_PROVEN,
        Verdict.PASS: State.WAIVED if waived else State.PROVEN,
    }[worst]
    ends = [valid_until(info), *(item.waiver.expires for item in waived if item.waiver is not None)]
    framework = mapping.framework(control)
    required = tuple(item.check.id for item in own)
    return ControlCoverage(
        control=control,
        framework=framework.title if framework else "",
        title=mapping.controls[control].en,
        state=state,
        required=required,
        executed=tuple(check_id for check_id in required if check_id not in outcome.missing),
        passed=of(Verdict.PASS),
        failed=of(Verdict.FAIL),
        not_proven=of(Verdict.NOT_PROVEN),
        waived=tuple(item.check.id for item in waived),
        harness_error=of(Verdict.ERROR),
        elsewhere=tuple(check_id for check_id in mapping.checks_of(control) if check_id not in required),
        valid_until=min(ends) if state in {State.PROVEN, State.WAIVED} else None,
    )
