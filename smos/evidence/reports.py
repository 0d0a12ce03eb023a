"""Everything that a run leaves in its reports directory, in one place; docs/reports.md describes each.

What only renders verdict.json for other readers (evidence.html, JUnit, SARIF, OSCAL) is imported when a run ends.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smos.drill.phases import Timing
from smos.evidence import allure, history, origin, rto, summary, verdict_file
from smos.evidence.accounting import RunOutcome
from smos.evidence.ci import CiContext
from smos.evidence.redact import redact_json
from smos.evidence.run import RunInfo

LOCK_NAME = ".lock"
RENDERED = (
    "evidence.html",
    "junit.xml",
    "findings.sarif",
    "oscal-assessment-plan.json",
    "oscal-assessment-results.json",
)
"""What says the same as verdict.json, for other readers."""


def begin(reports: Path, info: RunInfo, required: tuple[str, ...]) -> None:
    """Take away what an earlier run concluded, so that nobody mistakes it for this one; the history stays.

    Raises OSError.
    """
    for name in (rto.JSON_NAME, rto.PROM_NAME, summary.FILE_NAME, origin.FILE_NAME, *RENDERED):
        (reports / name).unlink(missing_ok=True)
    verdict_file.write_unfinished(reports, info, required)


def finish(
    reports: Path,
    allure_folder: Path,
    *,
    info: RunInfo,
    outcome: RunOutcome,
    timing: Timing | None,
    ci: CiContext,
    run: Mapping[str, Any],
    language: str = "en",
) -> list[Path]:
    """Write every report of a run that had checks; the verdict comes last. Raises OSError, SmosError.

    run: see origin.run_json. language: of evidence.html. Returns the files and folders, for the person at the terminal.
    """
    from smos.evidence.junit import write_junit
    from smos.evidence.oscal import write_oscal
    from smos.evidence.page import write_page
    from smos.evidence.sarif import write_sarif

    run = redact_json(run)
    verdict = redact_json(verdict_file.verdict_json(info, outcome))
    origin.write_run(reports, run)
    rto.write_rto(reports, info, outcome, timing)
    summary.write_summary(reports, summary.summary_markdown(info, outcome, timing), ci.step_summary)
    allure.write_context(allure_folder, info, outcome, ci)
    allure.write_silent(allure_folder, outcome)
    history.append_history(reports, info, outcome, timing)
    write_page(reports, verdict, run, rto.rto_json(info, timing) if timing else None, language)
    write_junit(reports, verdict)
    write_sarif(reports, verdict, run)
    write_oscal(reports, verdict, run)
    verdict_file.write_verdict(reports, info, outcome)
    names = [verdict_file.FILE_NAME, "evidence.html", summary.FILE_NAME, rto.PROM_NAME, history.FILE_NAME]
    if timing is not None:
        names.insert(1, rto.JSON_NAME)
    return [*(reports / name for name in names), allure_folder]
