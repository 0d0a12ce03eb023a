"""What is signed: two in-toto Statements (v1) about the same subjects, each in a DSSE envelope. Pure functions.

`test-result`: in-toto's own predicate, for tools that know no other; it is strict: what is not proven has failed.
`run`: ours (docs/run-predicate.schema.json): objectives, measurements, checks, faults, what was excluded, who ran and
approved. Both follow from the files of the bundle alone, so that a verifier can say which field was altered.
Sources: in-toto Attestation Framework v1, predicate test-result v0.1; DSSE v1.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
RUN = "https://smarterbot.cl/attestations/smos-verify/run/v1"
BACKUP_PREFIX = "backup:"
"""Subjects that are backups; all others are files of the bundle."""

RUN_CHECK = "RUN"
"""Stands for the run itself where formats know only checks."""

Json = Mapping[str, Any]


def statements(
    files: Mapping[str, str], *, verdict: Json, run: Json, rto: Json | None, signing: Json
) -> dict[str, dict[str, Any]]:
    """Return both statements by the name of their file. files: path in the bundle to SHA-256."""
    subject = subjects(files, run)
    return {
        "test-result.dsse.json": _statement(subject, TEST_RESULT, test_result(verdict, run)),
        "run.dsse.json": _statement(subject, RUN, run_predicate(verdict, run, rto, signing)),
    }


def encode(statement: Json) -> bytes:
    """Return the bytes that are signed."""
    return (json.dumps(statement, indent=1, ensure_ascii=False) + "\n").encode()


def subjects(files: Mapping[str, str], run: Json) -> list[dict[str, Any]]:
    """Return ResourceDescriptors: every evidence file, then every backup artifact that was inspected."""
    found: list[dict[str, Any]] = [
        {"name": name, "digest": {"sha256": files[name]}} for name in sorted(files)
    ]
    for artifact in run["backups"]["artifacts"]:
        digest = {key: artifact[key] for key in ("sha256", "sha256_list") if key in artifact}
        found.append({"name": BACKUP_PREFIX + artifact["name"], "digest": digest})
    return found


def test_result(verdict: Json, run: Json) -> dict[str, Any]:
    """Return in-toto's predicate. A waived check is a warning; what is not proven or broke has failed."""
    checks = concluded(verdict)
    passed = [item["id"] for item in checks if item["verdict"] == "PASS"]
    warned = [item["id"] for item in checks if item["verdict"] != "PASS" and excused(item)]
    failed = [item["id"] for item in checks if item["verdict"] != "PASS" and not excused(item)]
    result = "FAILED" if verdict["verdict"] != "PASS" else "WARNED" if warned else "PASSED"
    harness = run["harness"]
    configuration: list[dict[str, Any]] = [{"name": "target", "digest": {"sha256": run["target_sha256"]}}]
    if harness["commit"]:
        configuration.append({"name": "smarteros-verify", "digest": {"gitCommit": harness["commit"]}})
    predicate: dict[str, Any] = {"result": result, "configuration": configuration}
    if run["executed_by"]["url"]:
        predicate["url"] = run["executed_by"]["url"]
    return predicate | {"passedTests": passed, "warnedTests": warned, "failedTests": failed}


def concluded(verdict: Json) -> list[Json]:
    """Return the checks of verdict.json, and a failed one for the run itself where it never came to its end.

    Then each check may have passed and the run has still proven nothing as a whole: formats that know checks only would
    be all green.
    """
    checks = list(verdict["checks"])
    if not unsettled(verdict):
        return checks
    finding = {
        "code": "run-incomplete",
        "message": "The run was interrupted or broke off, so as a whole it proves nothing",
        "remedy": "run it again, to its end",
        "verdict": verdict["verdict"],
    }
    run = {
        "id": RUN_CHECK,
        "title": "The run came to its end",
        "verdict": verdict["verdict"],
        "waiver": None,
        "findings": [finding],
        "facts": {},
        "controls": [],
        "seconds": 0.0,
    }
    return [*checks, run]


def unsettled(verdict: Json) -> bool:
    """Tell whether a run is not PASS although none of its checks says why."""
    settled = all(item["verdict"] == "PASS" or excused(item) for item in verdict["checks"])
    return settled and verdict["verdict"] != "PASS"


def excused(check: Json) -> bool:
    """Tell whether a check of verdict.json is set aside by its waiver: an error never is."""
    return check["waiver"] is not None and check["verdict"] in {"FAIL", "NOT_PROVEN"}


def run_predicate(verdict: Json, run: Json, rto: Json | None, signing: Json) -> dict[str, Any]:
    """Return our predicate. Durations in seconds, sizes in bytes; null where nothing was measured."""
    measured = None
    exclusions = [{"what": item["check"], "why": item["why"]} for item in verdict["not_required"]]
    if rto is not None:
        keys = (
            "rto_actual_s",
            "rto_objective_s",
            "rpo_actual_s",
            "rpo_objective_s",
            "verify_s",
            "data_bytes",
        )
        measured = {key: rto[key] for key in keys}
        exclusions += [
            {"what": f"phase {phase['name']}", "why": phase["excluded"]}
            for phase in rto["phases"]
            if phase["seconds"] is None
        ]
    return {
        "schema": 1,
        "runId": verdict["run_id"],
        "scope": verdict["scope"],
        "target": verdict["target"],
        "verdict": verdict["verdict"],
        "started": run["started"],
        "finished": run["finished"],
        "validUntil": verdict["valid_until"],
        "executedBy": run["executed_by"],
        "approvedBy": run["approved_by"],
        "harness": run["harness"],
        "isolation": {"provision": run["provision"], "sandbox": run["sandbox"]},
        "backupSet": run["backups"]["set"],
        "recovery": measured,
        "phases": {phase["name"]: phase["seconds"] for phase in rto["phases"]} if rto else {},
        "required": run["required"],
        "missing": verdict["missing"],
        "checks": [
            {
                "id": item["id"],
                "title": item["title"],
                "verdict": item["verdict"],
                "findings": [finding["code"] for finding in item["findings"]],
                "waiver": item["waiver"],
                "controls": item["controls"],
            }
            for item in verdict["checks"]
        ],
        "coverage": [
            {"control": row["control"], "state": row["state"], "validUntil": row["valid_until"]}
            for row in verdict["coverage"]
        ],
        "exclusions": exclusions,
        "faults": run["faults"],
        "signing": signing,
    }


def differences(signed: Any, expected: Any, path: str = "") -> Iterable[str]:
    """Yield the places at which a signed document differs from what the files of the bundle say."""
    if isinstance(signed, Mapping) and isinstance(expected, Mapping):
        for key in sorted({*signed, *expected}, key=str):
            place = f"{path}.{key}" if path else str(key)
            if key not in signed:
                yield f"{place} was removed"
            elif key not in expected:
                yield f"{place} was added"
            else:
                yield from differences(signed[key], expected[key], place)
    elif isinstance(signed, list) and isinstance(expected, list):
        if len(signed) != len(expected):
            yield f"{path} has {len(signed)} entries, the files give {len(expected)}"
        for index, (one, other) in enumerate(zip(signed, expected, strict=False)):
            yield from differences(one, other, f"{path}[{index}]")
    elif signed != expected:
        yield f"{path} is {_short(signed)}, the files say {_short(expected)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _statement(subject: list[dict[str, Any]], kind: str, predicate: dict[str, Any]) -> dict[str, Any]:
    return {"_type": STATEMENT_TYPE, "subject": subject, "predicateType": kind, "predicate": predicate}
