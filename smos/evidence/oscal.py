"""OSCAL assessment results, and the assessment plan that they need: for tools that collect evidence for audits.

One observation for each check, and one finding for each control that production was checked for: `satisfied` only when
all its checks of this run are proven. OSCAL knows nothing between: what is not proven, waived or broken is
`not-satisfied`, with the reason. Both are about controls: a self-test, which satisfies none, leaves neither. Controls
are named by IDs of our own, since most frameworks publish no OSCAL catalogue. Source: NIST OSCAL, assessment layer.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from smos.evidence.files import write_json
from smos.evidence.statement import excused

PLAN_NAME, RESULTS_NAME = "oscal-assessment-plan.json", "oscal-assessment-results.json"
OSCAL_VERSION = "1.1.3"
NAMESPACE = "https://smarterbot.cl/ns/oscal"
_REASON = {"proven": "pass", "failed": "fail"}

Json = Mapping[str, Any]


def plan(verdict: Json, run: Json) -> dict[str, Any]:
    """Return the assessment plan of a run: which checks, for which controls."""
    run_id = verdict["run_id"]
    no_plan = _uuid(run_id, "system-security-plan")
    return {
        "assessment-plan": {
            "uuid": _uuid(run_id, "plan"),
            "metadata": _metadata(f"Assessment plan of run {run_id}: {verdict['target']}", run),
            "import-ssp": {"href": f"#{no_plan}"},
            "local-definitions": {
                "activities": [
                    {
                        "uuid": _uuid(run_id, f"activity {item['id']}"),
                        "title": item["id"],
                        "description": item["title"],
                        "props": [_prop("method", "TEST")],
                    }
                    for item in verdict["checks"]
                ]
            },
            "reviewed-controls": _reviewed(verdict),
            "assessment-subjects": [
                {
                    "type": "component",
                    "description": f"{verdict['target']}, scope: {verdict['scope']}",
                    "include-all": {},
                }
            ],
            "back-matter": {
                "resources": [
                    {
                        "uuid": no_plan,
                        "title": "System security plan",
                        "description": "The assessed organisation's own; it is not part of this bundle.",
                    }
                ]
            },
        }
    }


def results(verdict: Json, run: Json) -> dict[str, Any]:
    """Return the assessment results of a run."""
    run_id = verdict["run_id"]
    one: dict[str, Any] = {
        "uuid": _uuid(run_id, "result"),
        "title": f"Run {run_id}",
        "description": f"Scope: {verdict['scope']}. Verdict: {verdict['verdict']}.",
        "start": run["started"],
        "end": run["finished"],
        "props": [_prop("scope", verdict["scope"]), _prop("verdict", verdict["verdict"])],
        "reviewed-controls": _reviewed(verdict),
        "observations": [_observation(verdict, run, item) for item in verdict["checks"]],
        "findings": [_finding(verdict, row) for row in verdict["coverage"]],
    }
    return {
        "assessment-results": {
            "uuid": _uuid(run_id, "results"),
            "metadata": _metadata(f"Assessment results of run {run_id}: {verdict['target']}", run),
            "import-ap": {"href": PLAN_NAME},
            "results": [one],
        }
    }


def write_oscal(reports: Path, verdict: Json, run: Json) -> None:
    """Write both documents by one rename each; nothing where the run is evidence for no control. Raises OSError."""
    if not verdict["coverage"]:
        return
    write_json(reports / PLAN_NAME, plan(verdict, run))
    write_json(reports / RESULTS_NAME, results(verdict, run))


def control_id(control: str) -> str:
    """Return a control's ID as OSCAL's token: "SOC 2 A1.2" becomes "soc-2-a1.2"."""
    return re.sub(r"[^a-z0-9.]+", "-", control.lower()).strip("-.")


def _observation(verdict: Json, run: Json, item: Json) -> dict[str, Any]:
    props = [_prop("check", item["id"]), _prop("verdict", item["verdict"])]
    remarks = [f"[{finding['code']}] {finding['message']}" for finding in item["findings"]]
    if item["waiver"]:
        waiver = item["waiver"]
        remarks.append(f"Waived until {waiver['expires']} by {waiver['approver']}: {waiver['reason']}")
        props.append(_prop("waived", "true" if excused(item) else "false"))
    found = {
        "uuid": _uuid(verdict["run_id"], f"observation {item['id']}"),
        "title": item["id"],
        "description": item["title"],
        "props": props,
        "methods": ["TEST"],
        "types": ["control-objective"],
        "relevant-evidence": [{"href": "verdict.json", "description": f"Check {item['id']}, with its facts"}],
        "collected": run["finished"],
        "expires": f"{verdict['valid_until']}T23:59:59+00:00",
    }
    return found | ({"remarks": "\n\n".join(remarks)} if remarks else {})


def _finding(verdict: Json, row: Json) -> dict[str, Any]:
    passed = row["state"] == "proven"
    reasons = [
        f"{word}: {', '.join(row[key])}"
        for key, word in (
            ("passed", "passed"),
            ("failed", "failed"),
            ("not_proven", "not proven"),
            ("waived", "waived"),
            ("harness_error", "harness error"),
            ("elsewhere", "not in this run"),
        )
        if row[key]
    ]
    status = {
        "state": "satisfied" if passed else "not-satisfied",
        "reason": _REASON.get(row["state"], "other"),
        "remarks": f"{row['state']} ({'; '.join(reasons)}). A check is evidence for a part of the control.",
    }
    return {
        "uuid": _uuid(verdict["run_id"], f"finding {row['control']}"),
        "title": f"{row['control']}: {row['title']}",
        "description": f"{row['framework']}: {row['state']}",
        "target": {
            "type": "objective-id",
            "target-id": f"{control_id(row['control'])}_obj",
            "status": status,
        },
        "related-observations": [
            {"observation-uuid": _uuid(verdict["run_id"], f"observation {check_id}")}
            for check_id in row["required"]
        ],
    }


def _reviewed(verdict: Json) -> dict[str, Any]:
    controls = [{"control-id": control_id(row["control"])} for row in verdict["coverage"]]
    text = (
        "Controls that the checks of this run are evidence for; IDs are those of smos/evidence/controls.yml."
    )
    return {"control-selections": [{"description": text, "include-controls": controls}]}


def _metadata(title: str, run: Json) -> dict[str, Any]:
    people = [("assessor", run["executed_by"]["user"])]
    if run["approved_by"]:
        people.append(("approver", run["approved_by"]))
    parties = {name: _uuid(run["run_id"], f"party {name}") for _, name in people}
    return {
        "title": title,
        "last-modified": run["finished"],
        "version": run["run_id"],
        "oscal-version": OSCAL_VERSION,
        "roles": [{"id": role, "title": role.capitalize()} for role, _ in people],
        "parties": [{"uuid": value, "type": "person", "name": name} for name, value in parties.items()],
        "responsible-parties": [{"role-id": role, "party-uuids": [parties[name]]} for role, name in people],
    }


def _prop(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": NAMESPACE, "value": value}


def _uuid(run_id: str, what: str) -> str:
    """Return an identity that follows from the run, so that a document rendered again is the same."""
    return str(uuid5(NAMESPACE_URL, f"{NAMESPACE}/{run_id}/{what}"))
