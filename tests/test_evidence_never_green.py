"""A failure is nowhere shown as a success: no format, no hostile name, no run that broke off, no part of a suite."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from smos.backup.signing import generate_keypair
from smos.clock import SystemClock
from smos.evidence import ci, history, oscal, reports
from smos.evidence.bundle import bundles
from smos.evidence.redact import visible
from smos.evidence.results import result_of
from smos.evidence.signers import load_public
from smos.evidence.verify import verify
from smos.notify.message import compose
from smos.verdict import Judgement, Verdict, fail
from tests._evidence_kit import run_into
from tests.test_conftest import ROOT, TARGET, Runs
from tests.test_evidence import ALL, info, outcome, run_document, timing

pytest_plugins = ["pytester"]


@pytest.fixture
def runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Give runs of pytest, and a key pair beside them."""
    made = Runs(pytester.path, monkeypatch)
    generate_keypair(made.path / "key.pem", made.path / "key.pub")
    return made


def unfinished(folder: Path) -> dict:
    """Leave all reports of a run that was interrupted when every check had passed; return verdict.json."""
    head, seen = info("production"), outcome(complete=False)
    (folder / "allure-results").mkdir(parents=True)
    reports.finish(
        folder,
        folder / "allure-results",
        info=head,
        outcome=seen,
        timing=timing(),
        ci=ci.read_ci({}),
        run=run_document(folder, "production"),
    )
    return json.loads((folder / "verdict.json").read_bytes())


def test_a_run_that_broke_off_after_all_checks_passed_is_green_in_no_format(tmp_path: Path) -> None:
    verdict = unfinished(tmp_path)
    assert verdict["verdict"] == "NOT_PROVEN"
    assert {item["verdict"] for item in verdict["checks"]} == {"PASS"}
    assert {row["state"] for row in verdict["coverage"]} == {"not proven"}
    suite = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314  (our own file)
    assert suite.get("failures") == "1"
    assert json.loads((tmp_path / "findings.sarif").read_bytes())["runs"][0]["results"][0]["ruleId"] == "RUN"
    document = json.loads((tmp_path / oscal.RESULTS_NAME).read_bytes())["assessment-results"]["results"][0]
    assert {item["target"]["status"]["state"] for item in document["findings"]} == {"not-satisfied"}
    assert "did not come to its end" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "did not come to its end" in (tmp_path / "evidence.html").read_text(encoding="utf-8")
    found = [json.loads(path.read_bytes()) for path in (tmp_path / "allure-results").glob("*-result.json")]
    assert [(one["name"], one["status"]) for one in found] == [("The run came to its end", "failed")]
    assert "NOT PROVEN" in compose(tmp_path).text


def test_a_part_of_a_suite_is_not_all_green_in_allure(runs: Runs) -> None:
    runs.checks()
    assert runs.run("-m", "dr", "-k", "test_03_03").ret == 10
    by_check = {one["name"][:5]: one["status"] for one in runs.allure()}
    assert by_check == {check_id: "passed" if check_id == "DR-03" else "failed" for check_id in ALL}


HOSTILE = "x\x1b[2J\x1b[1;32mPASS\x1b[0m\u202eSSAP\u202c <img src=x onerror=alert(1)> | `a` ]]> &amp; $x$ \udcff\n# ✅ PASS\u2028https://evil.example"


def test_hostile_names_act_in_no_report_and_break_none(tmp_path: Path) -> None:
    judged = result_of("DR-03", "n", Judgement((fail("x-y", HOSTILE, HOSTILE),), {HOSTILE: [HOSTILE]}), 1.0)
    text = json.dumps([judged.findings[0].message, judged.facts], ensure_ascii=False)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\ud800-\udfff]", text)
    assert "\\u202e" in judged.findings[0].message
    text.encode()
    assert visible("año ✅ 日本\n\t") == "año ✅ 日本\n\t"


def test_hostile_findings_leave_a_whole_run_that_failed(runs: Runs) -> None:
    runs.checks(
        DR_03=f"prove(Judgement((fail('a-b', {HOSTILE!r}, 'x'),), {{'n': {HOSTILE!r}}}))",
        DR_04=f"raise RuntimeError({HOSTILE!r})",
    )
    setup = runs.path / "suites" / "dr" / "test_03_03.py"
    setup.write_text(
        "from smos.verdict import Judgement, fail\n" + setup.read_text(encoding="utf-8"), encoding="utf-8"
    )
    (runs.path / "target.yml").write_text(TARGET + "evidence: {signing_key: key.pem}\n", encoding="utf-8")
    result = runs.run("-m", "dr", "-n2")
    assert result.ret == 1
    assert "\x1b[2J" not in result.stdout.str()
    assert runs.check("DR-03")["verdict"] == "FAIL"
    assert runs.check("DR-04")["verdict"] == "ERROR"
    page_text = (runs.reports / "evidence.html").read_text(encoding="utf-8")
    assert "<img" not in page_text
    assert "\u202e" not in page_text
    summary = (runs.reports / "summary.md").read_text(encoding="utf-8")
    assert "\n# ✅" not in summary
    assert "https://evil" not in summary
    (bundle,) = bundles(runs.reports / "evidence")
    (one,) = verify(bundle, key=load_public(runs.path / "key.pub"), today=SystemClock().now().date())
    assert one.result is not Verdict.FAIL
    assert one.verdict == "FAIL"


def test_a_channel_is_not_called_by_a_name_and_an_error_is_never_waived(tmp_path: Path) -> None:
    run_into(tmp_path)
    document = json.loads((tmp_path / "verdict.json").read_bytes())
    document["target"] = "<!channel> shop"
    waiver = {"reason": "r", "approver": "a", "expires": "2099-01-01"}
    document["checks"][0] |= {"verdict": "ERROR", "waiver": waiver}
    (tmp_path / "verdict.json").write_text(json.dumps(document), encoding="utf-8")
    message = compose(tmp_path)
    assert "<!channel>" not in json.dumps([message.text, *message.blocks])
    said = json.dumps(message.blocks)
    assert "DR-01* ERROR:" in said
    assert "DR-08* FAIL (waived)" in said
    assert "1 broken, 1 waived" in message.text


def test_a_history_with_numbers_that_are_none_breaks_no_report(tmp_path: Path) -> None:
    run_into(tmp_path)
    line = json.loads((tmp_path / "history.jsonl").read_bytes())
    with (tmp_path / history.FILE_NAME).open("a", encoding="utf-8") as file:
        for value in (float("nan"), float("inf"), True, 10**400):
            file.write(json.dumps(line | {"rto_actual_s": value}) + "\n")
        file.write("[" * 100_000 + "\n")
    run_into(tmp_path, "run2")
    assert "run2" in (tmp_path / "evidence.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("moment", ["drill", "test", "waiting"])
def test_ctrl_c_at_any_moment_leaves_no_green_and_no_green_bundle(runs: Runs, moment: str) -> None:
    runs.checks()
    key = str(runs.path / "key.pem")
    assert runs.run("-m", "dr", "--signing-key", key).ret == 0
    before = set(bundles(runs.reports / "evidence"))
    runs.monkeypatch.setenv("FAKE_RUN_ID", "second")
    bodies = {
        "drill": {},
        "test": {"DR_05": "raise KeyboardInterrupt"},
        "waiting": {"DR_08": "prove(passed())\nraise KeyboardInterrupt"},
    }
    if moment == "drill":
        runs.monkeypatch.setenv("FAKE_DRILL", "ctrl-c")
    runs.checks(**bodies[moment])
    assert runs.run("-m", "dr", "--signing-key", key).ret == 2
    assert runs.verdict["verdict"] != "PASS"
    assert "✅ PASS:" not in (runs.reports / "summary.md").read_text(encoding="utf-8")
    for path in set(bundles(runs.reports / "evidence")) - before:
        (one,) = verify(path, key=load_public(runs.path / "key.pub"), today=SystemClock().now().date())
        assert one.verdict != "PASS"


def test_a_second_run_with_the_same_id_is_not_signed_and_not_green(runs: Runs) -> None:
    runs.checks()
    key = str(runs.path / "key.pem")
    assert runs.run("-m", "dr", "--signing-key", key).ret == 0
    result = runs.run("-m", "dr", "--signing-key", key)
    assert result.ret == 11
    assert "sealed already" in result.stdout.str()
    assert len(bundles(runs.reports / "evidence")) == 1


def test_each_check_is_made_by_one_test_so_that_no_part_of_it_can_be_left_out() -> None:
    found: list[str] = []
    for path in (ROOT / "suites").glob("*/test_*.py"):
        found += re.findall(r'mark\.check\("([A-Z]+-\d+)"\)', path.read_text(encoding="utf-8"))
    assert found
    assert len(found) == len(set(found))
