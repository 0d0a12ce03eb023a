"""Everything that a run leaves in its reports directory, in one place; docs/reports.md describes each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smos.drill.phases import Timing
from smos.evidence import allure, history, origin, rto, summary, verdict_file
from smos.evidence.accounting import RunOutcome
from smos.evidence.ci import CiContext
from smos.evidence.run import RunInfo

LOCK_NAME = ".lock"


def begin(reports: Path, info: RunInfo, required: tuple[str, ...]) -> None:
    """Take away what an earlier run concluded, so that nobody mistakes it for this one; the history stays.

    Raises OSError.
    """
    for name in (rto.JSON_NAME, rto.PROM_NAME, summary.FILE_NAME, origin.FILE_NAME):
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
) -> list[Path]:
    """Write every report of a run that had checks; the verdict comes last. Raises OSError.

    run: see origin.run_json. Returns the files and folders, for the person at the terminal.
    """
    origin.write_run(reports, run)
    rto.write_rto(reports, info, outcome, timing)
    summary.write_summary(reports, summary.summary_markdown(info, outcome, timing), ci.step_summary)
    allure.write_context(allure_folder, info, outcome, ci)
    history.append_history(reports, info, outcome, timing)
    verdict_file.write_verdict(reports, info, outcome)
    names = [verdict_file.FILE_NAME, summary.FILE_NAME, rto.PROM_NAME, history.FILE_NAME]
    if timing is not None:
        names.insert(1, rto.JSON_NAME)
    return [*(reports / name for name in names), allure_folder]
