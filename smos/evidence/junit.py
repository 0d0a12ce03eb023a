"""`junit.xml`: one test case for each check, for tools that read nothing else.

Strict: NOT_PROVEN is a failure, with the reason; a broken harness is an error; a waived check is skipped, with reason,
approver and end. pytest's own `--junitxml` knows tests, not checks: not those that are missing, and no waivers.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from smos.evidence.files import write_atomic
from smos.evidence.statement import concluded, excused

FILE_NAME = "junit.xml"
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 can't hold."""


def junit(verdict: Mapping[str, Any]) -> bytes:
    """Return the document of verdict.json."""
    suite = TestSuite(_clean(f"smarteros-verify: {verdict['target']}"))
    for name in ("run_id", "scope", "verdict", "valid_until"):
        suite.add_property(name, str(verdict[name]))
    suite.timestamp = verdict["started"]
    for item in concluded(verdict):
        case = TestCase(_clean(f"{item['id']} {item['title']}"), classname=item["id"], time=item["seconds"])
        counting = [finding for finding in item["findings"] if finding["verdict"] != "PASS"]
        message = _clean("; ".join(f"[{finding['code']}] {finding['message']}" for finding in counting))
        if excused(item):
            waiver = item["waiver"]
            text = f"Waived until {waiver['expires']} by {waiver['approver']}: {waiver['reason']} ({message})"
            case.result = [Skipped(_clean(text))]
        elif item["verdict"] == "ERROR":
            case.result = [_with_text(Error(message, "ERROR"), counting)]
        elif item["verdict"] != "PASS":
            case.result = [_with_text(Failure(message, item["verdict"]), counting)]
        suite.add_testcase(case)
    document = JUnitXml("smarteros-verify")
    document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]  # upstream leaves it untyped
    return bytes(document.tostring())  # type: ignore[no-untyped-call]  # likewise


def write_junit(reports: Path, verdict: Mapping[str, Any]) -> None:
    """Write the file by one rename. Raises OSError."""
    write_atomic(reports / FILE_NAME, junit(verdict))


def _with_text(result: Any, findings: list[dict[str, str]]) -> Any:
    lines = [
        f"{finding['verdict']} [{finding['code']}] {finding['message']}\nWhat to do: {finding['remedy']}"
        for finding in findings
    ]
    result.text = _clean("\n".join(lines))
    return result


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
