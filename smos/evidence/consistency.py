"""Whether the reports of a run say the same, before they are signed: a signature lends truth to an edited one."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smos.errors import SmosError
from smos.evidence import detection, history, rto, summary, untrusted
from smos.verdict import Verdict

Json = Mapping[str, Any]
BAD = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


def require(reports: Path, verdict: Json, run: Json) -> None:
    """Raise SmosError, which names the file, when a report does not say what verdict.json says."""
    try:
        wrong = next(_wrong(reports, verdict, run), None)
    except BAD as error:
        raise SmosError(
            f"The reports in {reports} can't be held against verdict.json: {type(error).__name__}: {error}",
            remedy="they were changed after the run: run again, and sign at the end of the run (--signing-key)",
        ) from error
    if wrong is not None:
        raise SmosError(
            f"{wrong} and verdict.json contradict each other, so nothing is signed",
            remedy="one was changed after the run: run again, and sign at the end of the run (--signing-key)",
        )


def names_matrix(reports: Path, run: Json) -> bool:
    """Tell whether detection.json is the matrix that run.json names."""
    named = (run.get("faults") or {}).get("sha256")
    path = reports / detection.FILE_NAME
    return named is not None and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == named


def _wrong(reports: Path, verdict: Json, run: Json) -> Iterator[str]:
    """Yield the names of reports that are not those of this verdict."""
    from smos.evidence import junit, oscal, page, sarif
    from smos.evidence.texts import LANGUAGES

    runs = list(history.read_history(reports))
    told = {item["id"]: item["verdict"] for item in verdict["checks"]}
    line = runs[-1] if runs else {}
    if (line.get("run_id"), line.get("verdict"), line.get("checks")) != (
        verdict["run_id"],
        verdict["verdict"],
        told,
    ):
        yield history.FILE_NAME
    measured = None
    if (reports / rto.JSON_NAME).exists():
        measured = untrusted.read_object(reports / rto.JSON_NAME)
        if measured["run_id"] != verdict["run_id"]:
            yield rto.JSON_NAME
    if (reports / junit.FILE_NAME).read_bytes() != junit.junit(verdict):
        yield junit.FILE_NAME
    if json.loads((reports / sarif.FILE_NAME).read_bytes()) != sarif.sarif(verdict, run):
        yield sarif.FILE_NAME
    documents = {oscal.PLAN_NAME: oscal.plan, oscal.RESULTS_NAME: oscal.results}
    for name, make in documents.items():
        there, due = (reports / name).exists(), bool(verdict["coverage"])
        if there != due or (due and json.loads((reports / name).read_bytes()) != make(verdict, run)):
            yield name
    text = (reports / summary.FILE_NAME).read_text(encoding="utf-8")
    if (
        not text.startswith(f"{summary.heading(Verdict(verdict['verdict']))}: ")
        or verdict["run_id"] not in text
    ):
        yield summary.FILE_NAME
    shown = (reports / page.FILE_NAME).read_text(encoding="utf-8")
    if shown not in {page.page(verdict, run, measured, runs, language) for language in LANGUAGES}:
        yield page.FILE_NAME
