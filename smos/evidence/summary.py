"""`summary.md`: one page for people; the same text is the step summary on GitHub."""

import re
from collections.abc import Sequence
from pathlib import Path

from smos.drill.phases import Timing
from smos.evidence.accounting import CheckOutcome, RunOutcome
from smos.evidence.coverage import ControlCoverage, State, coverage
from smos.evidence.files import write_atomic
from smos.evidence.redact import redact, visible
from smos.evidence.run import RunInfo
from smos.evidence.words import count_words, duration, size
from smos.verdict import Verdict

FILE_NAME = "summary.md"
MOST_FINDINGS = 20
"""Findings shown for one check; the rest is counted and lies in verdict.json."""
_SIGN = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.NOT_PROVEN: "❓", Verdict.ERROR: "💥"}
_STATE = {
    State.PROVEN: "✅",
    State.WAIVED: "⏸",
    State.NOT_PROVEN: "❓",
    State.HARNESS_ERROR: "💥",
    State.FAILED: "❌",
}


def summary_markdown(info: RunInfo, outcome: RunOutcome, timing: Timing | None) -> str:
    """Return the page: verdict, scope, checks, time against objectives, findings with their remedies."""
    parts = [
        f"{heading(outcome.verdict)}: {_cell(info.target)}",
        "  \n".join(
            (
                f"**Scope:** {_cell(info.scope_words)}",
                f"**Result:** {count_words(outcome)}"
                + ("; **the run did not come to its end**" if outcome.unsettled else ""),
                f"**Backup set:** {_cell(info.backup_set or 'none')}",
                f"**Sandbox:** {_cell(info.provision)}, isolation: {_cell(info.sandbox)}",
                f"**Run:** `{info.run_id}`, {info.started:%Y-%m-%d %H:%M:%S} UTC",
            )
        ),
        _checks_table(outcome),
    ]
    if timing is not None:
        parts.append(_timing_table(info, timing))
    rows = coverage(info, outcome)
    if rows:
        parts.append(_coverage_table(rows))
    if info.not_required:
        parts.append(
            "Not required of this target: "
            + "; ".join(f"{check_id} ({_cell(why)})" for check_id, why in info.not_required)
            + "."
        )
    parts += [_details(item) for item in outcome.checks if _speaks(item)]
    return redact("\n\n".join(parts) + "\n")


def heading(verdict: Verdict) -> str:
    """Return how the page begins."""
    return f"# {_SIGN[verdict]} {verdict.value.replace('_', ' ')}"


def write_summary(reports: Path, text: str, step_summary: Path | None) -> None:
    """Write the page, and append it to GitHub's step summary where there is one. Raises OSError."""
    write_atomic(reports / FILE_NAME, text.encode())
    if step_summary is not None:
        with step_summary.open("a", encoding="utf-8") as handle:
            handle.write(text + "\n")


def _checks_table(outcome: RunOutcome) -> str:
    rows = ["| Check | Verdict | Claim |", "|---|---|---|"]
    for item in outcome.checks:
        verdict = f"{_SIGN[item.verdict]} {item.verdict.value}" + (" (waived)" if item.excused else "")
        rows.append(f"| {item.check.id} | {verdict} | {_cell(item.check.title)} |")
    return "\n".join(rows)


def _coverage_table(rows: Sequence[ControlCoverage]) -> str:
    head = ["Control", "State", "Required", "Executed", "Passed", "Failed", "Not proven", "Waived"]
    head += ["Harness error", "Valid until"]
    lines = [
        "## Evidence for controls",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    for row in rows:
        counts = (
            row.required,
            row.executed,
            row.passed,
            row.failed,
            row.not_proven,
            row.waived,
            row.harness_error,
        )
        numbers = " | ".join(str(len(ids)) for ids in counts)
        end = row.valid_until.isoformat() if row.valid_until else ""
        lines.append(f"| {_cell(row.control)} | {_STATE[row.state]} {row.state} | {numbers} | {end} |")
    lines += ["", "A check is evidence for a part of a control; the reasons and limits are in evidence.html."]
    return "\n".join(lines)


def _timing_table(info: RunInfo, timing: Timing) -> str:
    basis = _cell(timing.rpo_basis)
    rows = [
        "| | Measured | Objective |",
        "|---|---|---|",
        f"| RTO | {duration(timing.rto_actual_s)} | {duration(info.rto_objective_s)} |",
        f"| RPO ({basis}) | {duration(timing.rpo_actual_s)} | {duration(info.rpo_objective_s)} |",
        f"| of it verification | {duration(timing.verify_s)} | |",
        f"| restored | {size(timing.data_bytes)} | |",
        "",
        "| Phase | Time |",
        "|---|---|",
    ]
    for phase in timing.phases:
        time = duration(phase.seconds) if phase.seconds is not None else _cell(f"excluded: {phase.excluded}")
        rows.append(f"| {phase.name} | {time} |")
    return "\n".join(rows)


def _speaks(item: CheckOutcome) -> bool:
    return item.verdict is not Verdict.PASS or bool(item.findings) or item.waiver is not None


def _details(item: CheckOutcome) -> str:
    lines = [f"### {item.check.id} {item.verdict.value}", ""]
    if item.waiver is not None:
        lines.append(
            f"- Waived until {item.waiver.expires.isoformat()} by {_cell(item.waiver.approver)}:"
            f" {_cell(item.waiver.reason)}" + ("" if item.excused else " (not needed: nothing to excuse)")
        )
    for finding in item.findings[:MOST_FINDINGS]:
        sign = "note:" if finding.verdict is Verdict.PASS else _SIGN[finding.verdict]
        remedy = f"  \n  What to do: {_cell(finding.remedy)}" if finding.remedy else ""
        lines.append(f"- {sign} `{finding.code}` {_cell(finding.message)}{remedy}")
    if len(item.findings) > MOST_FINDINGS:
        lines.append(f"- and {len(item.findings) - MOST_FINDINGS} more in verdict.json")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Make foreign text harmless in Markdown: names in backups are untrusted, and GitHub renders HTML."""
    safe = re.sub(r"([\\`*_\[\]|<>#~&$@])", r"\\\1", " ".join(visible(text).split()))
    return re.sub(r"(?i)\bwww\.", r"www\\.", safe.replace("://", r"\://"))  # no link that we did not make
