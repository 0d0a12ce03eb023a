"""Whole runs that sign: the key is looked at before the drill, the bundle comes after the verdict."""

from pathlib import Path

import pytest

from smos.backup.signing import generate_keypair
from smos.clock import SystemClock
from smos.evidence.bundle import bundles
from smos.evidence.signers import load_public
from smos.evidence.verify import verify
from smos.verdict import Verdict
from tests.test_conftest import TARGET, Runs

pytest_plugins = ["pytester"]


@pytest.fixture
def runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Give runs of pytest, and a key pair beside them."""
    made = Runs(pytester.path, monkeypatch)
    generate_keypair(made.path / "key.pem", made.path / "key.pub")
    made.checks(DR_03="prove(unproven())")
    return made


def test_runs_sign_what_they_leave_when_a_key_is_named(runs: Runs) -> None:
    (runs.path / "target.yml").write_text(
        TARGET + "evidence: {signing_key: key.pem, approver: ana.perez, valid_days: 5}\n", encoding="utf-8"
    )
    for number in (1, 2):
        runs.monkeypatch.setenv("FAKE_RUN_ID", f"run{number}")
        assert runs.run("-n2", "-m", "dr").ret == 10
    first, second = verify(
        runs.reports, key=load_public(runs.path / "key.pub"), today=SystemClock().now().date()
    )
    assert {finding.code for finding in (*first.findings, *second.findings)} == {
        "evidence-expired",  # the drill is of 1 October
        "evidence-scope",  # a note
    }
    assert (second.run_id, second.verdict, second.scope) == ("run2", "NOT_PROVEN", "self-test")
    newest = bundles(runs.reports / "evidence")[-1]
    for name in ("verdict.json", "run.json", "evidence.html", "junit.xml", "findings.sarif", "history.jsonl"):
        assert (newest / name).read_bytes() == (runs.reports / name).read_bytes()
    assert list((newest / "allure-results").glob("*-result.json"))


@pytest.mark.parametrize("how", ["missing", "open", "in the reports"])
def test_a_key_that_can_not_sign_ends_the_run_before_the_drill(runs: Runs, how: str) -> None:
    key = runs.path / "key.pem"
    if how == "missing":
        key.unlink()
    elif how == "open":
        key.chmod(0o644)
    else:
        runs.reports.mkdir()
        key = key.rename(runs.reports / "key.pem")
    result = runs.run("-m", "dr", "--signing-key", str(key))
    assert result.ret == 4
    assert runs.drill_count() == 0
    assert not bundles(runs.reports / "evidence")


def test_a_run_that_could_not_be_time_stamped_is_not_green(runs: Runs) -> None:
    runs.checks()
    text = TARGET + 'evidence: {signing_key: key.pem, timestamp_url: "http://127.0.0.1:9/"}\n'
    (runs.path / "target.yml").write_text(text, encoding="utf-8")
    result = runs.run("-m", "dr")
    assert result.ret == 11
    assert "gave no stamp" in result.stdout.str()
    assert runs.verdict["verdict"] == "PASS"  # what was proven stays
    assert not bundles(runs.reports / "evidence")


def test_a_run_without_a_key_signs_nothing_and_says_the_rest(runs: Runs) -> None:
    assert runs.run("-m", "dr", "--approver", "ana.perez", "--lang", "es").ret == 10
    assert not (runs.reports / "evidence").exists()
    page = (runs.reports / "evidence.html").read_text(encoding="utf-8")
    assert "NO DEMOSTRADO" in page
    assert "ana.perez" in page


def test_the_wrong_language_ends_the_run_at_once(runs: Runs) -> None:
    result = runs.run("-m", "dr", "--lang", "fr")
    assert result.ret == 4
    assert "no report in the language 'fr'" in result.stderr.str() + result.stdout.str()


def test_what_an_earlier_run_left_is_taken_away_and_its_bundle_stays(runs: Runs) -> None:
    assert runs.run("-m", "dr", "--signing-key", str(runs.path / "key.pem")).ret == 10
    (bundle,) = bundles(runs.reports / "evidence")
    runs.monkeypatch.setenv("FAKE_DRILL", "ctrl-c")
    assert runs.run("-m", "dr").ret == 2
    left = {path.name for path in Path(runs.reports).iterdir()}
    assert "run.json" not in left or runs.verdict["verdict"] != "PASS"
    (one,) = verify(
        bundle, key=load_public(runs.path / "key.pub"), today=SystemClock().now().date(), authority=None
    )
    assert one.result is not Verdict.FAIL
