"""Results while a run is under way: one JSON line per judgement, written at once: a crash loses none.

Every process that runs checks appends to a file of its own in the run's private directory; the controller
reads them all when the session ends (`smos.evidence.accounting`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from smos.evidence.files import append_line, write_atomic
from smos.evidence.redact import redact, redact_json, visible, visible_json
from smos.verdict import Check, Finding, Judgement, Verdict, not_proven


class CheckFailed(AssertionError):  # noqa: N818  (a verdict in words, as it stands in reports)
    """Something is definitely not as it must be. The text is the findings with their remedies."""


class NotProven(AssertionError):  # noqa: N818  (as above)
    """A check could not show what it must show. Never green, and never mixed up with a failure."""


class CheckBroken(Exception):  # noqa: N818  (as above)
    """The harness broke while it judged: nothing is known about the backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one test said about one check. facts: JSON. seconds: from the test's start to the judgement."""

    check: str
    nodeid: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    facts: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What one process selected to run.

    checks: node ID to check ID. names: node ID to Allure's full name, of every test that leaves evidence
    (checks, and whatever else lies under suites/). drill: something needs the record of a drill.
    """

    checks: dict[str, str]
    names: dict[str, str]
    drill: bool


@cache
def _results() -> TypeAdapter[Result]:
    return TypeAdapter(Result)


@cache
def _collected() -> TypeAdapter[Collected]:
    return TypeAdapter(Collected)


def result_of(check_id: str, nodeid: str, judgement: Judgement, seconds: float) -> Result:
    """Return the result of a judgement, as JSON-ready facts without secrets.

    A PASS that shows no fact at all proves nothing: it becomes NOT_PROVEN.
    """
    findings = tuple(
        replace(item, message=visible(redact(item.message)), remedy=visible(redact(item.remedy)))
        for item in judgement.findings
    )
    facts = redact_json(to_jsonable_python(visible_json(dict(judgement.facts)), fallback=str))
    if judgement.verdict is Verdict.PASS and not facts:
        findings += (
            not_proven(
                "no-facts",
                "The judgement names no fact, so there is nothing that an auditor could look at",
                "report this: every judge must record what it looked at",
            ),
        )
    verdict = Verdict.worst(item.verdict for item in findings)
    return Result(
        check=check_id, nodeid=nodeid, verdict=verdict, findings=findings, facts=facts, seconds=seconds
    )


def explain(check: Check, verdict: Verdict, findings: Sequence[Finding]) -> str:
    """Return the text of a failed check: title, then each finding that counts, with its remedy."""
    lines = [f"{check.id} {verdict}: {check.title}"]
    for finding in findings:
        if finding.verdict is Verdict.PASS:
            continue
        lines.append(f"  {finding.verdict} [{finding.code}] {finding.message}")
        if finding.remedy:
            lines.append(f"    What to do: {finding.remedy}")
    return "\n".join(lines)


def raise_for(check: Check, result: Result) -> None:
    """Raise CheckFailed, NotProven or CheckBroken unless the result is PASS."""
    if result.verdict is Verdict.PASS:
        return
    text = explain(check, result.verdict, result.findings)
    if result.verdict is Verdict.FAIL:
        raise CheckFailed(text)
    if result.verdict is Verdict.NOT_PROVEN:
        raise NotProven(text)
    raise CheckBroken(text)


def append_result(run_dir: Path, worker: str, result: Result) -> None:
    """Write one result, synced, to the worker's file. Raises OSError."""
    append_line(run_dir / f"results-{worker}.jsonl", _results().dump_json(result).decode(), mode=0o600)


def read_results(run_dir: Path) -> tuple[Result, ...]:
    """Read every whole line that the workers left; a half line (its writer was killed) is no result."""
    found: list[Result] = []
    for path in sorted(run_dir.glob("results-*.jsonl")):
        *whole, _half = path.read_bytes().split(b"\n")
        found.extend(_results().validate_json(line) for line in whole)
    return tuple(found)


def write_collected(run_dir: Path, worker: str, collected: Collected) -> None:
    """Write what this process selected, before anything runs. Raises OSError."""
    write_atomic(run_dir / f"collected-{worker}.json", _collected().dump_json(collected))


def read_collected(run_dir: Path) -> Collected:
    """Return the union of what all processes selected."""
    checks: dict[str, str] = {}
    names: dict[str, str] = {}
    drill = False
    for path in sorted(run_dir.glob("collected-*.json")):
        one = _collected().validate_json(path.read_bytes())
        checks |= one.checks
        names |= one.names
        drill = drill or one.drill
    return Collected(checks=checks, names=names, drill=drill)


def findings_json(findings: Sequence[Finding]) -> list[Mapping[str, str]]:
    """Return findings as they appear in reports."""
    return [
        {"code": f.code, "message": f.message, "remedy": f.remedy, "verdict": f.verdict.value}
        for f in findings
    ]
