"""What makes a folder of Allure results readable: environment, categories, executor, and crashed tests.

Only the controller of a run writes these. Results themselves are written by allure-pytest where the tests
run.
"""

import hashlib
import platform
import re
import time
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

from smos.evidence.accounting import RunOutcome
from smos.evidence.ci import CiContext
from smos.evidence.files import write_atomic, write_json
from smos.evidence.run import RunInfo

RESULTS_NAME = "allure-results"
WAIVED_PREFIX = "Waived:"
_OWN = ("*-result.json", "*-container.json", "*-globals.json", "*-attachment.*", "*-attachment", "*.tmp")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PLAIN = ("environment.properties", "categories.json", "executor.json")


def categories() -> list[dict[str, Any]]:
    """Return how failures are grouped: a failed check is not the same as one that could not be proven."""
    return [
        {
            "name": "Failed checks",
            "matchedStatuses": ["failed"],
            "messageRegex": "(?s).*CheckFailed.*",
        },
        {
            "name": "Not proven",
            "matchedStatuses": ["failed", "skipped"],
            "messageRegex": rf"(?s)(?!{WAIVED_PREFIX}).*(NotProven|Skipped|Timeout).*",
        },
        {"name": "Harness broken", "matchedStatuses": ["broken"]},
        {"name": "Waived", "matchedStatuses": ["skipped"], "messageRegex": rf"(?s){WAIVED_PREFIX}.*"},
    ]


def clear_results(folder: Path) -> None:
    """Remove the results of an earlier run, and nothing else: the folder may be one that the user named.

    Raises OSError.
    """
    for pattern in (*_OWN, *_PLAIN):
        for path in folder.glob(pattern):
            if path.is_file():
                path.unlink()


def own_files(folder: Path) -> list[Path]:
    """Return the files that Allure or we write there, and nothing else that lies in the folder."""
    return sorted(
        path
        for pattern in (*_OWN[:-1], *_PLAIN)
        for path in folder.glob(pattern)
        if _SAFE.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    )


def is_of_run(folder: Path, run_id: str) -> bool:
    """Tell whether the results in a folder are those of this run."""
    try:
        lines = (folder / "environment.properties").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return f"run_id={_property(run_id)}" in lines


def write_context(folder: Path, info: RunInfo, outcome: RunOutcome | None, ci: CiContext) -> None:
    """Write environment.properties, categories.json and executor.json. Raises OSError."""
    environment = {
        "scope": info.scope_words,
        "target": info.target,
        "run_id": info.run_id,
        "verdict": outcome.verdict.value if outcome else "no check was selected",
        "provision": info.provision,
        "provision_reason": info.provision_reason,
        "sandbox": info.sandbox,
        "backup_set": info.backup_set or "none",
        "started": info.started.isoformat(),
        "smarteros_verify": version("smarteros-verify"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    text = "".join(f"{key}={_property(value)}\n" for key, value in environment.items())
    write_atomic(folder / "environment.properties", text.encode("utf-8"))
    write_json(folder / "categories.json", categories())
    report_name = f"{info.target} ({info.scope})"
    executor: dict[str, Any] = {"name": ci.name, "type": ci.kind, "reportName": report_name}
    if ci.build_name:
        executor |= {"buildName": ci.build_name, "buildUrl": ci.build_url, "buildOrder": ci.build_order}
    write_json(folder / "executor.json", executor)


def write_silent(folder: Path, outcome: RunOutcome) -> None:
    """Write a result for every check that left none or too few, and for a run that never came to its end.

    A report of what was executed alone would be all green. Raises OSError.
    """
    for item in outcome.checks:
        own = [finding for finding in item.findings if finding.code in {"check-missing", "check-incomplete"}]
        if not own:
            continue
        message = f"NotProven: {own[0].message}\nWhat to do: {own[0].remedy}"
        if item.excused and item.waiver is not None:
            waiver = item.waiver
            until = f"until {waiver.expires.isoformat()} by {waiver.approver}: {waiver.reason}"
            message = f"{WAIVED_PREFIX} {until}\n{message}"
        write_crashed(
            folder,
            full_name=f"smos.check.{item.check.id}",
            title=f"{item.check.id} {item.check.title}",
            message=message,
            labels={"check": item.check.id, "tag": item.check.id, "parentSuite": "suites"},
            status="skipped" if item.excused else "failed",
        )
    if outcome.unsettled:
        write_crashed(
            folder,
            full_name="smos.run",
            title="The run came to its end",
            message="NotProven: the run was interrupted or broke off, so as a whole it proves nothing",
            labels={"parentSuite": "suites"},
            status="failed",
        )


def write_crashed(
    folder: Path,
    *,
    full_name: str,
    title: str,
    message: str,
    labels: dict[str, str],
    status: str = "broken",
) -> None:
    """Write the result that a crashed worker could not write: `broken`, with the identity of the test's own.

    full_name: allure-pytest's name of the test; history follows from it. Raises OSError.
    """
    identity = hashlib.md5(full_name.encode(), usedforsecurity=False).hexdigest()
    moment = int(time.time() * 1000)  # Allure wants epoch milliseconds; nothing is measured with it
    result_id = str(uuid.uuid4())
    write_json(
        folder / f"{result_id}-result.json",
        {
            "uuid": result_id,
            "name": title,
            "fullName": full_name,
            "historyId": identity,
            "testCaseId": identity,
            "status": status,
            "statusDetails": {"message": message},
            "stage": "finished",
            "start": moment,
            "stop": moment,
            "labels": [{"name": name, "value": value} for name, value in labels.items()],
        },
    )


def _property(value: str) -> str:
    """Escape a value of a Java properties file."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "")
