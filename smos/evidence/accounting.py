"""Reconciling what is required with what was proven, and the exit code that follows. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from smos.checks import registry
from smos.evidence.results import Result
from smos.evidence.waivers import Waiver
from smos.verdict import Check, Finding, Verdict, fail, not_proven, note

EXIT_PROVEN, EXIT_FAILED, EXIT_NOT_PROVEN, EXIT_BROKEN = 0, 1, 10, 11
"""pytest itself uses 0 to 6; ours start at 10. docs/exit-codes.md explains each."""

PYTEST_OK, PYTEST_TESTS_FAILED = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOutcome:
    """What is known of one check after a run. verdict: the real one; `excused` when a waiver covers it."""

    check: Check
    verdict: Verdict
    findings: tuple[Finding, ...]
    facts: dict[str, Any]
    seconds: float
    waiver: Waiver | None
    excused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """All checks of a run, in the registry's order. missing: required ones of which nothing is known."""

    checks: tuple[CheckOutcome, ...]
    missing: tuple[str, ...]
    verdict: Verdict

    @property
    def unsettled(self) -> bool:
        """Whether the run is not PASS although none of its checks says why: it was interrupted, or broke off."""
        settled = all(item.verdict is Verdict.PASS or item.excused for item in self.checks)
        return settled and self.verdict is not Verdict.PASS

    @property
    def verified(self) -> bool:
        """Whether everything was really judged and nothing failed: what was restored may be a yardstick.

        Wider than PASS (the first drill of a target has nothing to compare with, so it is not proven), and
        narrower: a waiver changes nothing here, and a check that was skipped has judged nothing.
        """
        settled = {Verdict.PASS, Verdict.NOT_PROVEN}
        return bool(self.checks) and all(item.verdict in settled and item.facts for item in self.checks)


def reconcile(
    *,
    collected: Mapping[str, str],
    results: Iterable[Result],
    required: Sequence[str],
    waivers: Sequence[Waiver],
    today: date,
    complete: bool = True,
) -> RunOutcome:
    """Return the outcome of a run.

    collected: node ID to check ID of what was selected; when it names a check of a suite, every required
    check of that suite must have a result. complete: False when the run was interrupted; it is then never
    PASS.
    """
    by_check: dict[str, list[Result]] = {}
    for result in results:
        by_check.setdefault(result.check, []).append(result)
    suites = {registry.suite_of(check_id) for check_id in collected.values()}
    wanted = {check_id for check_id in required if registry.suite_of(check_id) in suites}
    wanted |= set(collected.values()) | set(by_check)
    by_waiver = {waiver.check: waiver for waiver in waivers}

    nodes: dict[str, list[str]] = {}
    for node, check_id in collected.items():
        nodes.setdefault(check_id, []).append(node)

    checks = []
    missing = []
    for check_id in sorted(wanted, key=_order):
        own = by_check.get(check_id, [])
        heard = {result.nodeid for result in own}
        silent = sorted(node for node in nodes.get(check_id, ()) if node not in heard)
        if not own:
            missing.append(check_id)
        checks.append(_outcome(check_id, own, silent, by_waiver.get(check_id), today))
    verdict = Verdict.worst(item.verdict for item in checks if not item.excused)
    if verdict is Verdict.PASS and (not complete or not checks):
        verdict = Verdict.NOT_PROVEN
    return RunOutcome(checks=tuple(checks), missing=tuple(missing), verdict=verdict)


def exit_code(
    pytest_code: int, outcome: RunOutcome | None, *, ordinary_failed: bool, harness_broken: bool
) -> int:
    """Return the exit code of the session.

    outcome: None when no check was selected; pytest's own code then stays. pytest's codes for an
    interrupted run, an internal error and misuse stay as well. ordinary_failed: a test that is no check
    failed. harness_broken: something else than a check broke, for example the collection of a suite.
    """
    if outcome is None or pytest_code not in {PYTEST_OK, PYTEST_TESTS_FAILED}:
        return pytest_code
    if outcome.verdict is Verdict.FAIL or ordinary_failed:
        return EXIT_FAILED
    if outcome.verdict is Verdict.ERROR or harness_broken:
        return EXIT_BROKEN
    if outcome.verdict is Verdict.NOT_PROVEN:
        return EXIT_NOT_PROVEN
    return pytest_code


def active_waiver(waivers: Sequence[Waiver], check_id: str, today: date) -> Waiver | None:
    """Return the waiver that covers this check today, if there is one."""
    return next((w for w in waivers if w.check == check_id and not w.expired(today)), None)


def expired_finding(waiver: Waiver, verdict: Verdict) -> Finding:
    """Return what an expired waiver adds: a failure, or a note where the check has become PASS meanwhile."""
    text = f"The waiver by {waiver.approver} expired on {waiver.expires.isoformat()}"
    if verdict is Verdict.PASS:
        return note("waiver-expired", f"{text}; the check passes without it, so the waiver can be removed")
    if verdict is Verdict.ERROR:
        return note("waiver-expired", text)
    return fail("waiver-expired", text, "mend what the check reports, or have the waiver renewed")


def _outcome(
    check_id: str, results: list[Result], silent: list[str], waiver: Waiver | None, today: date
) -> CheckOutcome:
    findings = [finding for result in results for finding in result.findings]
    if not results:
        findings.append(
            not_proven(
                "check-missing",
                "The target requires this check, but it left no result in this run",
                f"run the whole suite (pytest -m {registry.suite_of(check_id)});"
                " look above for why its test did not run",
            )
        )
    elif silent:
        findings.append(
            not_proven(
                "check-incomplete",
                f"{len(silent)} of its tests left no result: {', '.join(silent[:3])}",
                "look above for why they did not run, and run the whole suite",
            )
        )
    verdict = Verdict.worst(
        [*(result.verdict for result in results), *(finding.verdict for finding in findings)]
    )
    if waiver is not None and waiver.expired(today):
        finding = expired_finding(waiver, verdict)
        findings.append(finding)
        verdict = Verdict.worst((verdict, finding.verdict))
        waiver = None
    facts: dict[str, Any] = {}
    if len(results) == 1:
        facts = results[0].facts
    elif results:
        facts = {result.nodeid: result.facts for result in results if result.facts}
    return CheckOutcome(
        check=registry.check(check_id)
        if registry.is_known(check_id)
        else Check(check_id, "A check that the registry does not know"),
        verdict=verdict,
        findings=tuple(findings),
        facts=facts,
        seconds=sum(result.seconds for result in results),
        waiver=waiver,
        excused=waiver is not None and verdict in {Verdict.FAIL, Verdict.NOT_PROVEN},
    )


def _order(check_id: str) -> tuple[int, str]:
    ids = [item.id for item in registry.CHECKS]
    return (ids.index(check_id) if check_id in ids else len(ids), check_id)
