"""Whole runs of pytest with the repository's own conftest.py: verdicts, exit codes, and what lies in reports/."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock
from jsonschema import Draft202012Validator, FormatChecker

from smos.wait import wait_for
from tests._forked import run_pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent
ALL = tuple(f"DR-{number:02d}" for number in range(1, 9))
TARGET = """
schema: 1
name: fake target
scope: self-test
databases: [{name: app}]
volumes: [files]
vault: {kv_mount: smarteros}
services: [{name: db, kind: postgres}]
"""
SETUP = """
import os, time, pytest
from smos.verdict import Judgement, fail, not_proven, note

def passed(): return Judgement((note("seen", "all there"),), {"rows": 3})
def failed(): return Judgement((fail("row-count", "3 rows are gone", "restore an older set"),), {"rows": 0})
def unproven(): return Judgement((not_proven("no-server", "no server 17", "install PostgreSQL 17"),), {"rows": 0})
"""


class Runs:
    """Runs pytest in a folder with copies of conftest.py and of the configuration."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.path = path
        self.reports = self.path / "reports"
        self.drills = self.path / "drills.log"
        conftest = (ROOT / "conftest.py").read_text(encoding="utf-8")
        conftest = conftest.replace(', "fixtures.faults"', "")  # the fault matrix needs the real drill
        (self.path / "conftest.py").write_text(conftest, encoding="utf-8")
        (self.path / "pyproject.toml").write_text(
            f"""
[tool.pytest.ini_options]
pythonpath = ["{ROOT}"]
addopts = [
  "-ra", "--strict-markers", "--strict-config", "--import-mode=importlib",
  "-p", "no:cacheprovider", "-p", "no:hypothesispytest",
  "-p", "no:pgrls", "-p", "no:anyio", "-p", "no:platformdirs", "-p", "no:pytest11.testinfra",
]
timeout = 120
timeout_method = "signal"
markers = ["dr: disaster recovery", "negative: negative controls"]
""",
            encoding="utf-8",
        )
        (self.path / "target.yml").write_text(TARGET, encoding="utf-8")
        (self.path / "suites" / "dr").mkdir(parents=True)
        (self.path / "tests").mkdir()
        for name in [name for name in os.environ if name.startswith(("SMOS_", "GITHUB_", "PYTEST_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("FAKE_DRILL_LOG", str(self.drills))
        monkeypatch.setenv("COLUMNS", "140")

    def checks(self, **bodies: str) -> None:
        """Write one test file per check: DR_03="prove(failed())". The others prove PASS; "" leaves one out."""
        for check_id in ALL:
            body = bodies.get(check_id.replace("-", "_"), "prove(passed())")
            number = check_id[-2:]
            path = self.path / "suites" / "dr" / f"test_{number}_{number}.py"
            path.unlink(missing_ok=True)
            if body:
                marks = "".join(f"{mark}\n" for mark in re.findall(r"^@.*$", body, re.MULTILINE))
                inside = re.sub(r"^@.*\n", "", body, flags=re.MULTILINE)
                path.write_text(
                    f'{SETUP}\n@pytest.mark.dr\n@pytest.mark.check("{check_id}")\n{marks}'
                    f"def test_check(drill, prove):\n{textwrap.indent(inside, '    ')}\n",
                    encoding="utf-8",
                )

    def ordinary(self, body: str) -> None:
        """Write an ordinary test of the harness."""
        (self.path / "tests" / "test_ordinary.py").write_text(body, encoding="utf-8")

    def leave_an_old_pass(self) -> None:
        """Leave what an earlier run concluded: everything was proven."""
        self.reports.mkdir()
        for name in ("verdict.json", "rto.json", "rto.prom", "summary.md"):
            (self.reports / name).write_text('{"verdict": "PASS", "missing": []}', encoding="utf-8")

    def arguments(self, *args: str) -> list[str]:
        """Return the arguments of a run."""
        return ["-p", "tests._fake_drill", "--target", "target.yml", *args]

    def run(self, *args: str) -> pytest.RunResult:
        """Run pytest in a process of its own."""
        base = f"--basetemp={self.path / 'temporary'}"
        done = run_pytest([base, *self.arguments(*args)], env=os.environ, cwd=self.path, timeout=240)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return pytest.RunResult(done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), 0.0)

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Start pytest and return at once."""
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *self.arguments(*args)],
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    @property
    def verdict(self) -> dict:
        """verdict.json, after it was validated against its schema."""
        document = json.loads((self.reports / "verdict.json").read_bytes())
        validate(document, "verdict.schema.json")
        return document

    def check(self, check_id: str) -> dict:
        """Return one check of verdict.json."""
        return next(item for item in self.verdict["checks"] if item["id"] == check_id)

    def allure(self) -> list[dict]:
        """Return the Allure results."""
        return [
            json.loads(path.read_bytes()) for path in (self.reports / "allure-results").glob("*-result.json")
        ]

    def drill_count(self) -> int:
        """Return how many drills took place."""
        return len(self.drills.read_text(encoding="utf-8").splitlines()) if self.drills.exists() else 0


def validate(document: dict, schema: str) -> None:
    """Validate against a schema in docs/."""
    _validator(schema).validate(document)


@cache
def _validator(schema: str) -> Draft202012Validator:
    """Return what validates against a schema in docs/, which was found to be one itself."""
    loaded = json.loads((ROOT / "docs" / schema).read_bytes())
    Draft202012Validator.check_schema(loaded)
    return Draft202012Validator(loaded, format_checker=FormatChecker())


@pytest.fixture
def runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(pytester.path, monkeypatch)


# --- exit codes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bodies", "code", "verdict"),
    [
        ({"DR_03": "prove(failed())"}, 1, "FAIL"),
        ({"DR_03": "prove(unproven())", "DR_05": "prove(failed())"}, 1, "FAIL"),
        ({"DR_03": "pytest.skip('no Docker here')"}, 10, "NOT_PROVEN"),
        ({"DR_03": "raise RuntimeError('boom')", "DR_05": "prove(unproven())"}, 11, "ERROR"),
    ],
    ids=["fail", "fail-and-not-proven", "skip", "broken-and-not-proven"],
)
def test_the_exit_code_says_what_is_known(runs: Runs, bodies: dict, code: int, verdict: str) -> None:
    runs.checks(**bodies)
    result = runs.run("-n0", "-m", "dr")
    assert result.ret == code, result.stdout.str()
    assert runs.verdict["verdict"] == verdict
    assert [item["id"] for item in runs.verdict["checks"]] == list(ALL)
    assert runs.drill_count() == 1


def test_every_way_to_end_without_proof_is_told_apart_with_and_without_workers(runs: Runs) -> None:
    runs.checks(
        DR_01="prove(unproven())",
        DR_02="assert 1 == 2",
        DR_03="pass",
        DR_04="prove(Judgement(()))",
        DR_05="@pytest.mark.timeout(3)\ntime.sleep(60)",  # a busy machine needs some of it for the set-up
        DR_06="@pytest.mark.skip(reason='later')\nprove(passed())",
        DR_07="",
        DR_08="@pytest.mark.xfail\nprove(unproven())",
    )
    documents = []
    for workers in ("-n0", "-n2"):
        assert runs.run(workers, "-m", "dr").ret == 11
        seen = {
            item["id"]: (item["verdict"], item["findings"][-1]["code"]) for item in runs.verdict["checks"]
        }
        assert seen == {
            "DR-01": ("NOT_PROVEN", "no-server"),
            "DR-02": ("ERROR", "check-broken"),
            "DR-03": ("NOT_PROVEN", "check-not-concluded"),
            "DR-04": ("NOT_PROVEN", "no-facts"),
            "DR-05": ("NOT_PROVEN", "check-timed-out"),
            "DR-06": ("NOT_PROVEN", "check-skipped"),
            "DR-07": ("NOT_PROVEN", "check-missing"),
            "DR-08": ("NOT_PROVEN", "no-server"),
        }
        assert runs.verdict["missing"] == ["DR-07"]
        document = runs.verdict
        for item in document["checks"]:
            item["seconds"] = 0
        documents.append(document)
    assert documents[0] == documents[1]
    assert runs.drill_count() == 2


def test_everything_skipped_is_not_green(runs: Runs) -> None:
    runs.checks(**{check_id.replace("-", "_"): "pytest.skip('no Docker')" for check_id in ALL})
    assert runs.run("-n2", "-m", "dr").ret == 10
    assert {item["verdict"] for item in runs.verdict["checks"]} == {"NOT_PROVEN"}


def test_nothing_selected_keeps_pytests_own_code_and_leaves_no_verdict(runs: Runs) -> None:
    runs.checks()
    assert runs.run("-n0", "-m", "dr", "-k", "nosuchtest").ret == 5
    assert runs.run("-n2", "-m", "dr", "-k", "nosuchtest").ret == 5
    assert not (runs.reports / "verdict.json").exists()
    assert runs.drill_count() == 0


def test_a_run_without_checks_keeps_pytests_own_codes_and_leaves_no_report(runs: Runs) -> None:
    runs.checks()
    runs.ordinary("def test_ok(): pass\n")
    assert runs.run("-n0", "tests").ret == 0
    runs.ordinary("def test_bad(): assert False\n")
    assert runs.run("-n2", "tests").ret == 1
    assert not runs.reports.exists()


def test_an_ordinary_failure_beside_proven_checks_is_a_failure(runs: Runs) -> None:
    runs.checks()
    runs.ordinary("def test_bad(): assert False\n")
    assert runs.run("-n2").ret == 1
    assert runs.verdict["verdict"] == "PASS"


def test_a_suite_that_can_not_be_collected_is_never_green_and_leaves_no_old_verdict(runs: Runs) -> None:
    runs.leave_an_old_pass()
    runs.checks()
    (runs.path / "suites" / "dr" / "test_03_03.py").write_text("import nosuchmodule\n", encoding="utf-8")
    assert runs.run("-n0", "-m", "dr").ret == 2
    assert runs.verdict["verdict"] == "NOT_PROVEN"
    assert runs.verdict["missing"] == list(ALL)
    assert runs.run("-n2", "-m", "dr").ret == 11
    assert runs.verdict["missing"] == ["DR-03"]


def test_a_part_of_a_suite_proves_only_that_part(runs: Runs) -> None:
    runs.checks()
    assert runs.run("suites/dr/test_03_03.py").ret == 10
    assert runs.verdict["missing"] == [check_id for check_id in ALL if check_id != "DR-03"]
    assert runs.check("DR-03")["verdict"] == "PASS"


# --- one drill ----------------------------------------------------------------------------------------------


def test_the_drill_runs_in_the_controller_before_any_test(runs: Runs) -> None:
    body = (
        "open('ran.log', 'a').write(f'{os.getpid()} {os.path.exists(os.environ[\"FAKE_DRILL_LOG\"])}\\n')\n"
    )
    runs.checks(**{check_id.replace("-", "_"): body + "prove(passed())" for check_id in ALL})
    assert runs.run("-n2", "-m", "dr").ret == 0
    lines = [line.split() for line in (runs.path / "ran.log").read_text(encoding="utf-8").splitlines()]
    assert {after for _, after in lines} == {"True"}
    assert len({pid for pid, _ in lines}) == 2
    assert runs.drills.read_text(encoding="utf-8").strip() not in {pid for pid, _ in lines}


def test_collect_only_runs_no_drill_and_writes_nothing(runs: Runs) -> None:
    runs.checks()
    result = runs.run("-n2", "-m", "dr", "--collect-only", "-q")
    assert result.ret == 0
    assert "test_03_03.py::test_check" in result.stdout.str()
    assert runs.drill_count() == 0
    assert not runs.reports.exists()


def test_a_drill_that_is_impossible_breaks_every_check_and_says_so_once(runs: Runs) -> None:
    runs.checks()
    runs.monkeypatch.setenv("FAKE_DRILL", "smos-error")
    result = runs.run("-n2", "-m", "dr")
    assert result.ret == 11
    assert {item["verdict"] for item in runs.verdict["checks"]} == {"ERROR"}
    assert {item["findings"][0]["code"] for item in runs.verdict["checks"]} == {"drill-broken"}
    text = result.stdout.str()
    assert text.count("What to do: free some memory") == 1
    assert text.count("FATAL: out of memory") == 1
    assert "hvs.CAES" not in text
    assert runs.drill_count() == 1
    assert {item["status"] for item in runs.allure()} == {"broken"}


def test_a_bug_in_the_drill_is_an_error_with_its_traceback(runs: Runs) -> None:
    runs.checks()
    runs.monkeypatch.setenv("FAKE_DRILL", "bug")
    result = runs.run("-m", "dr")
    assert result.ret == 11
    assert "RuntimeError: a bug in the drill" in result.stdout.str()
    assert not (runs.reports / "rto.json").exists()


# --- crashes and interruptions ------------------------------------------------------------------------------


def test_a_worker_that_dies_in_a_check_is_an_error_of_that_check(runs: Runs) -> None:
    runs.checks()
    assert runs.run("-n0", "-m", "dr").ret == 0
    identity = {item["name"]: (item["historyId"], item["fullName"]) for item in runs.allure()}
    runs.checks(DR_04="os._exit(3)")
    assert runs.run("-n2", "-m", "dr").ret == 11
    assert runs.check("DR-04")["verdict"] == "ERROR"
    assert runs.check("DR-04")["findings"][0]["code"] == "worker-crashed"
    assert {item["verdict"] for item in runs.verdict["checks"] if item["id"] != "DR-04"} == {"PASS"}
    assert runs.verdict["missing"] == []
    assert runs.drill_count() == 2
    results = runs.allure()
    assert {item["name"]: (item["historyId"], item["fullName"]) for item in results} == identity
    assert len(results) == 8
    (broken,) = [item for item in results if item["status"] == "broken"]
    assert broken["name"].startswith("DR-04 ")


def test_a_worker_that_dies_after_its_judgement_loses_neither(runs: Runs) -> None:
    runs.checks(DR_04="try:\n    prove(failed())\nfinally:\n    os._exit(3)")
    assert runs.run("-n2", "-m", "dr").ret == 1
    codes = [finding["code"] for finding in runs.check("DR-04")["findings"]]
    assert codes == ["row-count", "worker-crashed"]


def test_a_worker_that_dies_while_it_collects_does_not_leave_the_run_hanging(runs: Runs) -> None:
    runs.checks()
    (runs.path / "suites" / "dr" / "test_99.py").write_text(
        "import os\nif os.environ.get('PYTEST_XDIST_WORKER') == 'gw0': os._exit(3)\n", encoding="utf-8"
    )
    assert runs.run("-n2", "-m", "dr").ret == 0  # the replacement worker collected
    assert runs.drill_count() == 1
    (runs.path / "suites" / "dr" / "test_99.py").write_text("import os\nos._exit(3)\n", encoding="utf-8")
    assert runs.run("-n2", "-m", "dr", "--max-worker-restart=1").ret != 0


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_ctrl_c_keeps_code_2_and_leaves_no_old_pass(runs: Runs, workers: str) -> None:
    runs.leave_an_old_pass()
    runs.checks(DR_04="open('here', 'w').close()\ntime.sleep(200)")
    process = runs.start(workers, "-m", "dr")
    wait_for((runs.path / "here").exists, what="the check runs", deadline_s=120)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 2
    assert runs.verdict["verdict"] == "NOT_PROVEN"
    assert "DR-04" in runs.verdict["missing"]


def test_a_killed_run_leaves_an_unfinished_verdict_and_releases_its_lock(runs: Runs) -> None:
    runs.leave_an_old_pass()
    runs.checks(DR_04="open('here', 'w').close()\ntime.sleep(200)")
    process = runs.start("-m", "dr")
    wait_for((runs.path / "here").exists, what="the check runs", deadline_s=120)
    process.kill()
    process.communicate(timeout=120)
    assert runs.verdict["verdict"] == "ERROR"
    assert runs.verdict["missing"] == list(ALL)
    assert not (runs.reports / "rto.json").exists()
    runs.checks()
    assert runs.run("-m", "dr").ret == 0


def test_ctrl_c_in_the_drill_is_no_verdict_on_the_backups(runs: Runs) -> None:
    runs.checks()
    runs.monkeypatch.setenv("FAKE_DRILL", "ctrl-c")
    assert runs.run("-n2", "-m", "dr").ret == 2
    assert runs.verdict["verdict"] == "NOT_PROVEN"
    assert runs.verdict["missing"] == list(ALL)


def test_two_runs_do_not_write_to_the_same_reports(runs: Runs) -> None:
    runs.checks()
    runs.reports.mkdir()
    (runs.reports / "verdict.json").write_text("of the other run", encoding="utf-8")
    with FileLock(runs.reports / ".lock"):
        for workers in ("-n0", "-n2"):
            result = runs.run(workers, "-m", "dr")
            assert result.ret == 4
            assert "Another run is writing to" in result.stderr.str() + result.stdout.str()
    assert (runs.reports / "verdict.json").read_text(encoding="utf-8") == "of the other run"
    assert runs.drill_count() == 0


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("-n0", "--target", "nosuch.yml"), "nosuch.yml"),
        (("-n2", "--provision", "magic"), "Unknown provisioner 'magic'"),
        (
            ("-n2", "--provision", "live"),
            "--provision live needs a target that says where production's backups",
        ),
        (("-n0", "--backups", "nosuchdir"), "no directory nosuchdir"),
        (("-n2", "--waivers", "nosuch.yml"), "waivers file nosuch.yml"),
    ],
    ids=["target", "provision", "nowhere", "backups", "waivers"],
)
def test_a_wrong_option_ends_the_run_before_anything_starts(
    runs: Runs, args: tuple[str, ...], text: str
) -> None:
    runs.checks()
    result = runs.run("-m", "dr", *args)
    assert result.ret == 4
    everything = result.stderr.str() + result.stdout.str()
    assert text in everything
    assert "Traceback" not in everything
    assert runs.drill_count() == 0


# --- what is required, and what is waived -------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["-n2"])
def test_what_the_target_does_not_declare_is_deselected_with_the_reason(runs: Runs, workers: str) -> None:
    (runs.path / "target.yml").write_text(
        "schema: 1\nname: small\ndatabases: [{name: app}]\n", encoding="utf-8"
    )
    runs.checks(DR_06="raise RuntimeError('must not run')")
    result = runs.run(workers, "-m", "dr")
    assert result.ret == 0
    assert "DR-06 is not required: the target declares no Vault" in result.stdout.str()
    assert [item["id"] for item in runs.verdict["checks"]] == ["DR-01", "DR-02", "DR-03", "DR-07", "DR-08"]
    assert "DR-04" in (runs.reports / "summary.md").read_text(encoding="utf-8")


def waive(runs: Runs, check_id: str, expires: str) -> None:
    """Write waivers.yml beside the target."""
    (runs.path / "waivers.yml").write_text(
        f"schema: 1\nwaivers:\n  - check: {check_id}\n    reason: storage is being migrated\n"
        f"    approver: ana.perez\n    expires: {expires}\n",
        encoding="utf-8",
    )


@pytest.mark.parametrize(
    ("workers", "body", "real"),
    [
        ("-n0", "prove(failed())", "FAIL"),
        ("-n2", "prove(unproven())", "NOT_PROVEN"),
        ("-n0", "pytest.skip('x')", "NOT_PROVEN"),
    ],
    ids=["fail", "not-proven", "skip"],
)
def test_a_waiver_excuses_and_every_report_shows_it(runs: Runs, workers: str, body: str, real: str) -> None:
    runs.checks(DR_08=body)
    waive(runs, "DR-08", "2999-12-31")
    result = runs.run(workers, "-m", "dr")
    assert result.ret == 0
    assert runs.verdict["verdict"] == "PASS"
    assert runs.check("DR-08")["verdict"] == real
    assert runs.check("DR-08")["waiver"] == {
        "reason": "storage is being migrated",
        "approver": "ana.perez",
        "expires": "2999-12-31",
    }
    assert f"{real} (waived)" in result.stdout.str()
    assert "storage is being migrated" in (runs.reports / "summary.md").read_text(encoding="utf-8")
    history = json.loads((runs.reports / "history.jsonl").read_text(encoding="utf-8"))
    assert history["waived"] == ["DR-08"]
    (waived,) = [item for item in runs.allure() if item["status"] == "skipped"]
    if body.startswith("prove"):
        assert waived["statusDetails"]["message"].startswith("Waived: until 2999-12-31 by ana.perez")


def test_an_expired_waiver_fails(runs: Runs) -> None:
    runs.checks(DR_08="prove(unproven())")
    waive(runs, "DR-08", "2026-01-31")
    assert runs.run("-m", "dr").ret == 1
    assert runs.check("DR-08")["waiver"] is None
    assert runs.check("DR-08")["findings"][-1]["code"] == "waiver-expired"


def test_a_waiver_never_excuses_a_broken_harness(runs: Runs) -> None:
    runs.checks(DR_08="raise RuntimeError('boom')")
    waive(runs, "DR-08", "2999-12-31")
    assert runs.run("-m", "dr").ret == 11


def test_a_waiver_for_an_unknown_check_is_misuse(runs: Runs) -> None:
    runs.checks()
    waive(runs, "DR-80", "2999-12-31")
    result = runs.run("-m", "dr")
    assert result.ret == 4
    assert "there is no such check" in result.stderr.str()


# --- what a run leaves --------------------------------------------------------------------------------------


def test_a_run_leaves_every_report(runs: Runs) -> None:
    runs.checks(DR_03="prove(failed())")
    summary = runs.path / "step-summary.md"
    runs.monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = runs.run("-n2", "-m", "dr")
    rto = json.loads((runs.reports / "rto.json").read_bytes())
    validate(rto, "rto.schema.json")
    assert rto["rto_actual_s"] == 12.5
    assert rto["phases"][4] == {
        "name": "decrypt",
        "seconds": None,
        "excluded": "the backups are not encrypted",
    }
    metrics = (runs.reports / "rto.prom").read_text(encoding="utf-8")
    assert 'smos_rto_actual_seconds{target="fake target",scope="self-test"} 12.5' in metrics
    assert 'phase="decrypt"' not in metrics
    assert summary.read_text(encoding="utf-8").startswith("# ❌ FAIL: fake target")
    assert "What to do: restore an older set" in summary.read_text(encoding="utf-8")
    folder = runs.reports / "allure-results"
    properties = (folder / "environment.properties").read_text(encoding="utf-8")
    assert "scope=self-test: proves the harness, no control is satisfied" in properties
    names = [item["name"] for item in json.loads((folder / "categories.json").read_bytes())]
    assert names == ["Failed checks", "Not proven", "Harness broken", "Waived"]
    assert json.loads((folder / "executor.json").read_bytes())["type"] == "local"
    assert len(runs.allure()) == 8
    assert not list(runs.reports.rglob("*.partial"))
    text = result.stdout.str()
    assert "self-test: proves the harness, no control is satisfied" in text
    assert "12.5 s" in text
    assert "objective 4 h 0 min" in text
    assert f"{runs.reports}: verdict.json, rto.json, evidence.html, summary.md" in text
    assert {path.name for path in runs.reports.iterdir()} >= {"run.json", "junit.xml", "findings.sarif"}
    assert re.search(r"^drill +\d+\.\d+ s  phase restore$", text, re.MULTILINE)
    assert "\x1b[" not in text


def test_allure_shows_title_facts_findings_and_controls_of_a_check(runs: Runs) -> None:
    (runs.path / "target.yml").write_text(TARGET.replace("self-test", "production"), encoding="utf-8")
    runs.monkeypatch.setenv("FAKE_SCOPE", "production")
    runs.checks(DR_03="prove(unproven())")
    runs.run("-m", "dr")
    (result,) = [item for item in runs.allure() if item["name"].startswith("DR-03 Every declared PostgreSQL")]
    assert result["status"] == "failed"
    assert "NotProven" in result["statusDetails"]["message"]
    tags = {label["value"] for label in result["labels"] if label["name"] == "tag"}
    assert {"DR-03", "dr", "NIST CP-10"} <= tags
    assert any("CP-10" in link["name"] for link in result["links"])
    assert {item["name"] for item in result["attachments"]} >= {"facts", "findings"}
    assert "NIST CP-10" in runs.check("DR-03")["controls"]


def test_a_self_test_satisfies_no_control(runs: Runs) -> None:
    runs.checks()
    runs.run("-m", "dr")
    assert all(item["controls"] == [] for item in runs.verdict["checks"])
    assert "CP-10" not in json.dumps(runs.allure())


def test_history_grows_and_the_rest_is_of_the_newest_run(runs: Runs) -> None:
    runs.checks(DR_03="prove(failed())")
    runs.run("-m", "dr")
    runs.checks()
    runs.run("-n2", "-m", "dr")
    lines = [json.loads(line) for line in (runs.reports / "history.jsonl").read_text("utf-8").splitlines()]
    assert [line["verdict"] for line in lines] == ["FAIL", "PASS"]
    assert lines[1]["set"] == "smos-20261001_020000"
    assert runs.verdict["verdict"] == "PASS"
    assert {item["status"] for item in runs.allure()} == {"passed"}


def test_only_allures_own_files_are_cleared_from_a_folder_that_the_user_named(runs: Runs) -> None:
    runs.checks()
    folder = runs.path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("keep me", encoding="utf-8")
    (folder / "old-result.json").write_text("{}", encoding="utf-8")
    assert runs.run("-n2", "-m", "dr", "--alluredir", "mine").ret == 0
    assert (folder / "notes.txt").exists()
    assert not (folder / "old-result.json").exists()
    assert len(list(folder.glob("*-result.json"))) == 8
    assert not (runs.reports / "allure-results").exists()


def test_no_secret_of_a_finding_a_fact_an_exception_or_an_output_is_left_anywhere(runs: Runs) -> None:
    runs.checks(
        DR_01="prove(Judgement((fail('x', 'no answer from postgresql://app:canary-one@db/app', 'check it'),),"
        " {'password': 'canary-three', 'dsn': 'postgresql://app:canary-one@db/app'}))",
        DR_02="prove(Judgement((not_proven('x', 'refused ' + 'hvs.canarytwo' + 'canarytwo' * 3, ''),),"
        " {'unseal_keys': ['canary-four'], 'n': 1}))",
        DR_03="pytest.skip('login with token=' + 'canary-five failed')",
        DR_04="print('PGPASSWORD=' + 'canary-six')\nraise RuntimeError('password=' + 'canary-seven')",
        DR_05="import logging; logging.getLogger().error('Authorization: Bearer ' + 'canary-eight')\nprove(failed())",
    )
    # pytest shows source lines of the tests above; what must not appear are the values put together at run time
    result = runs.run("-n2", "-m", "dr", "--tb=line", "--junitxml=junit.xml")
    assert result.ret == 1
    left = [*runs.reports.rglob("*"), runs.path / "junit.xml"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in left if path.is_file()}
    texts["the terminal"] = result.stdout.str() + result.stderr.str()
    assert len(texts) > 20
    found = {
        (name, word)
        for name, text in texts.items()
        for word in re.findall(
            r"canary-one@|canary-three|canarytwocanarytwo|canary-(?:four|five|six|seven|eight)", text
        )
    }
    assert found == set()


def test_progress_is_silent_when_quiet(runs: Runs) -> None:
    runs.checks()
    text = runs.run("-m", "dr", "-q").stdout.str()
    assert "phase restore" not in text
    assert "8 proven" in text


def test_negative_controls_leave_evidence_but_no_verdict(runs: Runs) -> None:
    runs.checks()
    (runs.path / "suites" / "dr" / "test_negative.py").write_text(
        "import pytest\n@pytest.mark.dr\n@pytest.mark.negative\n@pytest.mark.check('DR-03')\ndef test_fault(): pass\n",
        encoding="utf-8",
    )
    assert runs.run("-m", "dr and negative", "--collect-only", "-q").ret == 0
    assert "test_fault" not in runs.run("-m", "dr", "--collect-only", "-q").stdout.str()
    assert runs.run("-n2", "-m", "negative").ret == 0
    assert not (runs.reports / "verdict.json").exists()
    assert len(runs.allure()) == 1
    assert runs.drill_count() == 0


def test_a_private_run_directory_is_gone_afterwards(runs: Runs) -> None:
    runs.checks()
    scratch = runs.path / "scratch"
    scratch.mkdir()
    runs.monkeypatch.setenv("TMPDIR", str(scratch))
    assert runs.run("-n2", "-m", "dr").ret == 0
    assert list(scratch.glob("smos-run-*")) == []


def test_a_run_whose_evidence_can_not_be_kept_is_not_green_and_loses_nothing(runs: Runs) -> None:
    runs.checks()
    store = runs.path / "store"
    kept = f"{TARGET}evidence: {{store: {{kind: directory, path: {store}}}}}\n"
    (runs.path / "target.yml").write_text(kept, encoding="utf-8")
    gone = runs.run("-m", "dr")
    assert gone.ret == 10
    gone.stdout.fnmatch_lines(["*NOT KEPT*is no directory*"])
    assert runs.verdict["verdict"] == "PASS"
    assert len((runs.reports / "history.jsonl").read_text().splitlines()) == 1

    store.mkdir()
    there = runs.run("-m", "dr")
    assert there.ret == 0
    folder = store / "fake-target"
    assert (folder / "history.jsonl").read_bytes() == (runs.reports / "history.jsonl").read_bytes()
    (run,) = (folder / "runs").iterdir()
    assert (run / "verdict.json").read_bytes() == (runs.reports / "verdict.json").read_bytes()
