"""`findings.sarif`: the findings that count, as SARIF 2.1.0, for code-scanning dashboards.

Strict: NOT_PROVEN is an error like FAIL. What a waiver covers is suppressed, with its reason; SARIF's readers show it
as set aside. A run without such findings has an empty list of results.
Source: OASIS, Static Analysis Results Interchange Format 2.1.0.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smos.evidence.files import write_json
from smos.evidence.statement import concluded, excused

FILE_NAME = "findings.sarif"


def sarif(verdict: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of verdict.json and run.json."""
    checks = concluded(verdict)
    rules = [
        {
            "id": item["id"],
            "name": item["id"].replace("-", ""),
            "shortDescription": {"text": item["title"]},
            "defaultConfiguration": {"level": "error"},
            "properties": {"tags": item["controls"]},
        }
        for item in checks
    ]
    results = [
        _result(verdict, index, item, finding)
        for index, item in enumerate(checks)
        for finding in item["findings"]
        if finding["verdict"] != "PASS"
    ]
    driver = {
        "name": "smarteros-verify",
        "version": run["harness"]["version"],
        "rules": rules,
    }
    invocation = {
        "executionSuccessful": not any(item["verdict"] == "ERROR" for item in checks),
        "startTimeUtc": run["started"],
        "endTimeUtc": run["finished"],
    }
    properties = {key: verdict[key] for key in ("run_id", "scope", "target", "verdict", "valid_until")}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [invocation],
                "results": results,
                "properties": properties,
            }
        ],
    }


def write_sarif(reports: Path, verdict: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Write the file by one rename. Raises OSError."""
    write_json(reports / FILE_NAME, sarif(verdict, run))


def _result(
    verdict: Mapping[str, Any], index: int, item: Mapping[str, Any], finding: Mapping[str, str]
) -> Any:
    text = f"{finding['code']}: {finding['message']}"
    if finding["remedy"]:
        text += f"\nWhat to do: {finding['remedy']}"
    place = f"{verdict['target']}/{item['id']}"
    identity = hashlib.sha256(f"{place}/{finding['code']}/{finding['message']}".encode()).hexdigest()
    result: dict[str, Any] = {
        "ruleId": item["id"],
        "ruleIndex": index,
        "level": "error",
        "kind": "fail",
        "message": {"text": text},
        # Dashboards want a place in a file; a finding is about a target, so it points at the verdict.
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": "verdict.json"}, "region": {"startLine": 1}},
                "logicalLocations": [{"fullyQualifiedName": place, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"finding/v1": identity},
        "properties": {"verdict": finding["verdict"], "code": finding["code"]},
    }
    if excused(item):
        waiver = item["waiver"]
        reason = f"{waiver['reason']} (approved by {waiver['approver']}, until {waiver['expires']})"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return result
