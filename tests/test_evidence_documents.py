"""What says the same as verdict.json for other readers: evidence.html, JUnit, SARIF, OSCAL. Read back by their libraries."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped
from sarif_pydantic import Sarif
from typer.testing import CliRunner

from smos.checks.registry import CHECKS
from smos.cli.app import app
from smos.evidence.controls import controls
from smos.evidence.junit import junit
from smos.evidence.oscal import control_id, results
from smos.evidence.page import page
from smos.evidence.sarif import sarif
from smos.evidence.texts import TEXTS, TITLES_ES
from smos.verdict import Verdict
from tests._evidence_kit import run_into
from tests.test_evidence import ALL

MIXED = {"DR-03": Verdict.FAIL, "DR-04": Verdict.ERROR, "DR-05": Verdict.NOT_PROVEN}
EVIL = "<script>alert(1)</script>\"'&]]>\x00\x1b{{ 7*7 }}"


def documents(folder: Path, **run: Any) -> tuple[dict, dict, dict]:
    """Return verdict.json, run.json and rto.json of a run."""
    run_into(folder, **({"verdicts": MIXED} | run))
    return tuple(
        json.loads((folder / name).read_bytes()) for name in ("verdict.json", "run.json", "rto.json")
    )  # type: ignore[return-value]


class Page(HTMLParser):
    """What a page would load, run, or send anywhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a tag and its attributes."""
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Remember a text."""
        self.text += data


# --- evidence.html ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_page_needs_no_script_and_no_other_file(tmp_path: Path, language: str) -> None:
    verdict, run, measured = documents(tmp_path)
    seen = Page(page(verdict, run, measured, [], language))
    assert seen.tags.isdisjoint(
        {"script", "iframe", "img", "object", "embed", "form", "base", "audio", "video", "link"}
    )
    for tag, name, value in seen.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in {"src", "srcset", "data", "action", "style", "background"}, (tag, name)
        if name == "href":
            assert value.startswith(("#", "https://")), value
        if name == "http-equiv":
            assert value == "Content-Security-Policy"
    policy = next(value for _, name, value in seen.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "url(" not in (Path(__file__).parent.parent / "smos/evidence/page.css").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            [
                "FAILED",
                "NOT PROVEN",
                "HARNESS BROKEN",
                "WAIVED",
                "Evidence for controls",
                "What it does not show",
            ],
        ),
        (
            "es",
            [
                "FALLIDO",
                "NO DEMOSTRADO",
                "ARNÉS AVERIADO",
                "EXCEPTUADO",
                "Evidencia para controles",
                "Qué no muestra",
            ],
        ),
    ],
)
def test_the_page_tells_the_story_in_both_languages(tmp_path: Path, language: str, words: list[str]) -> None:
    verdict, run, measured = documents(tmp_path)
    text = Page(page(verdict, run, measured, [], language)).text
    for word in [
        *words,
        "ana.perez",
        "storage is being migrated",
        "NIST CP-10",
        "3 min 20 s",
        "4 h 0 min",
        "2027-02-23",
    ]:
        assert word in text, word
    for check_id in ALL:
        assert (TITLES_ES[check_id] in text) == (language == "es")


def test_every_text_is_there_in_both_languages() -> None:
    for key, pair in TEXTS.items():
        assert len(pair) == 2, key
        assert all(pair), key
    assert {check.id for check in CHECKS} == set(TITLES_ES)


def test_names_from_a_backup_stay_text(tmp_path: Path) -> None:
    verdict, run, measured = documents(tmp_path)
    verdict["target"] = run["backups"]["set"] = EVIL
    verdict["checks"][2]["findings"][0]["message"] = EVIL
    verdict["checks"][2]["facts"] = {EVIL: [EVIL]}
    run["backups"]["artifacts"][0]["name"] = EVIL
    verdict["not_required"] = [{"check": EVIL, "why": EVIL}]
    seen = Page(page(verdict, run, measured, [], "en"))
    assert "script" not in seen.tags
    assert seen.text.count("<script>alert(1)</script>") >= 5
    assert "{{ 7*7 }}" in seen.text


def test_a_self_test_names_no_control_on_the_page(tmp_path: Path) -> None:
    verdict, run, measured = documents(tmp_path, scope="self-test", verdicts={})
    text = Page(page(verdict, run, measured, [], "en")).text
    assert "satisfies no control" in text
    assert "NIST" not in text


def test_the_trend_shows_the_runs_of_this_target_in_this_scope(tmp_path: Path) -> None:
    verdict, run, measured = documents(tmp_path)
    one = {
        "target": verdict["target"],
        "scope": "production",
        "rto_actual_s": 10,
        "verdict": "PASS",
        "started": "2026-01-01",
    }
    runs = [
        one,
        one | {"rto_actual_s": 20.0, "verdict": "FAIL"},
        one | {"target": "other"},
        one | {"scope": "self-test"},
    ]
    text = page(verdict, run, measured, [*runs, one | {"rto_actual_s": None}, {"target": 5}], "en")
    assert text.count("<circle") == 2
    assert "10.0 s \N{EN DASH} 20.0 s" in Page(text).text
    assert "<circle" not in page(verdict, run, measured, [one], "en")


def test_the_page_is_rendered_again_in_another_language(tmp_path: Path) -> None:
    run_into(tmp_path / "reports")
    done = CliRunner().invoke(app, ["evidence", "page", str(tmp_path / "reports"), "--lang", "es"])
    assert done.exit_code == 0
    text = (tmp_path / "reports" / "evidence.html").read_text(encoding="utf-8")
    assert '<html lang="es">' in text
    assert "DEMOSTRADO" in text
    missing = CliRunner().invoke(app, ["evidence", "page", str(tmp_path / "none")])
    assert "holds no run" in str(missing.exception)


# --- JUnit and SARIF ----------------------------------------------------------------------------------------


def test_junit_is_strict_and_names_the_reason(tmp_path: Path) -> None:
    verdict, _, _ = documents(tmp_path)
    (suite,) = JUnitXml.fromstring(junit(verdict))
    cases = {case.classname: case for case in suite}
    assert list(cases) == list(ALL)
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (8, 2, 1, 1)
    assert isinstance(cases["DR-05"].result[0], Failure)
    assert cases["DR-05"].result[0].type == "NOT_PROVEN"
    assert "DR-05 said NOT_PROVEN" in cases["DR-05"].result[0].message
    assert isinstance(cases["DR-04"].result[0], Error)
    assert isinstance(cases["DR-08"].result[0], Skipped)
    assert "by ana.perez: storage is being migrated" in cases["DR-08"].result[0].message
    assert cases["DR-01"].is_passed


def test_junit_holds_what_xml_can_not(tmp_path: Path) -> None:
    verdict, _, _ = documents(tmp_path)
    verdict["target"] = EVIL
    verdict["checks"][2]["findings"][0]["message"] = EVIL + "\ud800\uffff"
    (suite,) = JUnitXml.fromstring(junit(verdict))
    assert "<script>" in next(case for case in suite if case.classname == "DR-03").result[0].message


def test_sarif_has_every_finding_that_counts_and_suppresses_what_is_waived(tmp_path: Path) -> None:
    verdict, run, _ = documents(tmp_path)
    document = sarif(verdict, run)
    parsed = Sarif.model_validate(document)
    found = {result.rule_id: result for result in parsed.runs[0].results or []}
    assert set(found) == {"DR-03", "DR-04", "DR-05", "DR-08"}
    raw = {result["ruleId"]: result for result in document["runs"][0]["results"]}
    assert raw["DR-05"]["level"] == "error"
    assert raw["DR-05"]["properties"]["verdict"] == "NOT_PROVEN"
    assert "approved by ana.perez, until 2026-11-23" in raw["DR-08"]["suppressions"][0]["justification"]
    assert "suppressions" not in raw["DR-03"]
    rules = document["runs"][0]["tool"]["driver"]["rules"]
    assert rules[raw["DR-05"]["ruleIndex"]]["id"] == "DR-05"
    assert not document["runs"][0]["invocations"][0]["executionSuccessful"]


# --- OSCAL --------------------------------------------------------------------------------------------------

READ = """
import json, sys
from pathlib import Path
from trestle.oscal.assessment_plan import AssessmentPlan
from trestle.oscal.assessment_results import AssessmentResults
from trestle.core.validator_factory import validator_factory
folder = Path(sys.argv[1])
plan = AssessmentPlan.oscal_read(folder / "oscal-assessment-plan.json")
found = AssessmentResults.oscal_read(folder / "oscal-assessment-results.json")
class Arguments:
    mode = "all"
    quiet = True
validator = validator_factory.get(Arguments())
print(json.dumps({
    "plan": validator.model_is_valid(plan, True, folder),
    "results": validator.model_is_valid(found, True, folder),
    "findings": {item.title: item.target.status.state.value if hasattr(item.target.status.state, "value")
                 else item.target.status.state for item in found.results[0].findings or ()},
    "observations": [item.title for item in found.results[0].observations],
}))
"""


def by_trestle(folder: Path) -> dict:
    """Read both documents with compliance-trestle, in a process of its own: it configures logging and warnings."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_oscal_is_valid_and_strict(tmp_path: Path) -> None:
    documents(tmp_path)
    seen = by_trestle(tmp_path)
    assert seen["plan"]
    assert seen["results"]
    assert seen["observations"] == list(ALL)
    states = {title.partition(":")[0]: state for title, state in seen["findings"].items()}
    assert states["NIST CP-9(1)"] == "not-satisfied"
    assert states["NIST CP-9"] == "not-satisfied"  # waived is not satisfied
    assert states["ISO 27001 A.8.24"] == "satisfied"
    assert states["DORA Art. 12(1)"] == "satisfied"


def test_a_self_test_says_nothing_about_controls_in_oscal_either(tmp_path: Path) -> None:
    documents(tmp_path, scope="self-test", verdicts={})
    assert list(tmp_path.glob("oscal-*")) == []


def test_oscal_says_why_a_control_is_not_satisfied(tmp_path: Path) -> None:
    verdict, run, _ = documents(tmp_path)
    found = {
        item["title"].partition(":")[0]: item
        for item in results(verdict, run)["assessment-results"]["results"][0]["findings"]
    }
    status = found["SOC 2 A1.3"]["target"]["status"]
    assert (status["state"], status["reason"]) == ("not-satisfied", "fail")
    assert "failed: DR-03; not proven: DR-05; harness error: DR-04" in status["remarks"]
    assert "waived: DR-08" in found["NIST CP-9"]["target"]["status"]["remarks"]
    assert "DR-08" in json.dumps(
        [
            item
            for item in results(verdict, run)["assessment-results"]["results"][0]["observations"]
            if "Waived until" in item.get("remarks", "")
        ]
    )


def test_no_two_controls_share_an_oscal_name() -> None:
    names = [control_id(control) for control in controls().controls]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9.\-]*", name) for name in names)
