"""Accounting and reports without pytest around them: pure functions, and files in a folder."""

import json
import re
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from smos.checks import registry
from smos.drill.phases import PHASES, PhaseClock, Timing
from smos.errors import TargetError
from smos.evidence import allure, ci, history, origin, reports, rto, summary, verdict_file
from smos.evidence.accounting import RunOutcome, exit_code, reconcile
from smos.evidence.files import append_line, write_atomic
from smos.evidence.redact import MARK, redact, redact_json
from smos.evidence.results import (
    CheckBroken,
    CheckFailed,
    NotProven,
    Result,
    append_result,
    raise_for,
    read_results,
    result_of,
)
from smos.evidence.run import RunInfo
from smos.evidence.table import closing_table
from smos.evidence.waivers import Waiver, find_waivers, load_waivers
from smos.evidence.words import duration, size
from smos.target import Database, Target, VaultTarget
from smos.verdict import Finding, Judgement, Verdict, fail, not_proven, note
from tests._unhurried import UNHURRIED

ROOT = Path(__file__).resolve().parent.parent
TODAY = date(2026, 11, 23)
ALL = tuple(check.id for check in registry.SUITES["dr"].CHECKS)
NODES = {f"test_{check_id}": check_id for check_id in ALL}
WAIVER = Waiver("DR-08", "storage is being migrated", "ana.perez", date(2026, 11, 23))


def result(check_id: str, verdict: Verdict = Verdict.PASS, node: str | None = None) -> Result:
    """Make a result with one finding of that verdict."""
    finding = Finding("a-code", f"{check_id} said {verdict}", "do something", verdict)
    return Result(
        check=check_id,
        nodeid=node or f"test_{check_id}",
        verdict=verdict,
        findings=(finding,),
        facts={"rows": 1},
        seconds=0.5,
    )


def outcome(
    verdicts: dict[str, Verdict] | None = None,
    *,
    without: tuple[str, ...] = (),
    waivers: tuple[Waiver, ...] = (),
    complete: bool = True,
) -> RunOutcome:
    """Reconcile a run of all checks; PASS where `verdicts` says nothing else."""
    results = [result(one, (verdicts or {}).get(one, Verdict.PASS)) for one in ALL if one not in without]
    return reconcile(
        collected={node: one for node, one in NODES.items() if one not in without},
        results=results,
        required=ALL,
        waivers=waivers,
        today=TODAY,
        complete=complete,
    )


def info(scope: str = "self-test") -> RunInfo:
    """Make the head of a report."""
    return RunInfo(
        run_id="abc123",
        scope=scope,
        target='prod "one"\\two',
        provision="embedded",
        provision_reason="asked for",
        sandbox="network-namespace",
        started=datetime(2026, 11, 23, 6, 0, tzinfo=UTC),
        backup_set="smos-20261123_020000",
        rto_objective_s=14400,
        rpo_objective_s=86400,
        not_required=(("DR-06", "the target declares no Vault"),),
    )


def timing() -> Timing:
    """Make a measurement with two phases that were exercised."""
    clock = PhaseClock()
    for name in ("detect", "restore"):
        with clock.phase(name):
            pass
    clock.exclude("decrypt", "the backups are not encrypted")
    return Timing(
        phases=clock.facts(),
        rto_actual_s=200.25,
        verify_s=3.0,
        rpo_actual_s=None,
        rpo_basis="none",
        data_bytes=5 * 2**20,
    )


def run_document(folder: Path, scope: str = "self-test") -> dict:
    """Make run.json of a run without a drill."""
    return origin.run_json(
        info(scope),
        finished=datetime(2026, 11, 23, 6, 5, tzinfo=UTC),
        target=Target(name="one"),
        required=ALL,
        sets=(),
        approver="ana.perez",
        ci=ci.read_ci({}),
        reports=folder,
    )


# --- registry and phases ------------------------------------------------------------------------------------


def test_the_eight_checks_are_required_of_a_target_that_declares_everything() -> None:
    whole = Target.model_validate(
        {
            "name": "all",
            "databases": [{"name": "a"}],
            "volumes": ["v"],
            "vault": {},
            "services": [{"name": "s", "kind": "postgres"}],
        }
    )
    assert registry.required_checks(whole, suites={"dr"}) == ALL == tuple(f"DR-{n:02d}" for n in range(1, 9))
    assert registry.not_required(whole, suites={"dr"}) == ()


def test_only_what_is_not_declared_is_not_required() -> None:
    assert registry.required_checks(Target(name="empty"), suites={"dr"}) == (
        "DR-01",
        "DR-02",
        "DR-07",
        "DR-08",
    )
    some = Target(name="some", databases=(Database(name="a"),), vault=VaultTarget())
    assert [check_id for check_id, _ in registry.not_required(some, suites={"dr"})] == ["DR-04", "DR-05"]


def test_an_unknown_check_is_named_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"DR-80.*DR-01"):
        registry.check("DR-80")
    assert registry.suite_of("DR-03") == "dr"


def test_phases_are_measured_or_excluded_but_never_zero_instead() -> None:
    clock = PhaseClock()
    with clock.phase("restore"):
        pass
    with pytest.raises(RuntimeError, match="boom"), clock.phase("verify"):
        raise RuntimeError("boom")
    clock.exclude("vault", "the target declares no Vault")
    facts = {phase.name: phase for phase in clock.facts()}
    assert tuple(facts) == PHASES
    assert facts["restore"].seconds is not None
    assert facts["verify"].seconds is not None
    assert facts["vault"].seconds is None
    assert facts["vault"].excluded == "the target declares no Vault"
    assert facts["fetch"].excluded == "not exercised in this drill"
    assert clock.total_s() >= (facts["restore"].seconds or 0) + (facts["verify"].seconds or 0)
    with pytest.raises(ValueError, match="not a phase"), clock.phase("guess"):
        pass


def test_phases_may_be_timed_by_several_threads() -> None:
    clock = PhaseClock()

    def work() -> None:
        for _ in range(200):
            with clock.phase("restore"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (clock.seconds("restore") or 0) > 0
    assert clock.seconds("fetch") is None


# --- accounting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ({}, Verdict.PASS),
        ({"DR-01": Verdict.NOT_PROVEN}, Verdict.NOT_PROVEN),
        ({"DR-01": Verdict.NOT_PROVEN, "DR-02": Verdict.ERROR}, Verdict.ERROR),
        ({"DR-01": Verdict.ERROR, "DR-02": Verdict.FAIL}, Verdict.FAIL),
    ],
    ids=["pass", "not-proven", "error", "fail"],
)
def test_the_worst_check_decides(verdicts: dict[str, Verdict], whole: Verdict) -> None:
    assert outcome(verdicts).verdict is whole


def test_a_required_check_without_a_result_is_missing_and_not_proven() -> None:
    seen = outcome(without=("DR-05",))
    assert seen.missing == ("DR-05",)
    assert seen.verdict is Verdict.NOT_PROVEN
    assert [item.check.id for item in seen.checks] == list(ALL)


def test_only_what_was_judged_without_a_failure_becomes_a_yardstick() -> None:
    assert outcome().verified
    assert outcome({"DR-03": Verdict.NOT_PROVEN}).verified
    assert not outcome({"DR-08": Verdict.FAIL}, waivers=(WAIVER,)).verified
    assert not outcome({"DR-01": Verdict.ERROR}).verified
    assert not outcome(without=("DR-03",)).verified


def test_an_interrupted_run_is_never_pass() -> None:
    assert outcome(complete=False).verdict is Verdict.NOT_PROVEN


def test_one_silent_test_among_several_of_a_check_leaves_it_unproven() -> None:
    seen = reconcile(
        collected={"a": "DR-01", "b": "DR-01"},
        results=[result("DR-01", node="a")],
        required=("DR-01",),
        waivers=(),
        today=TODAY,
    )
    assert seen.verdict is Verdict.NOT_PROVEN
    assert seen.checks[0].findings[-1].code == "check-incomplete"
    assert seen.missing == ()


def test_several_results_of_a_check_are_merged_by_the_worst() -> None:
    seen = reconcile(
        collected={"a": "DR-01", "b": "DR-01"},
        results=[result("DR-01", Verdict.FAIL, "a"), result("DR-01", Verdict.ERROR, "b")],
        required=("DR-01",),
        waivers=(),
        today=TODAY,
    )
    assert seen.checks[0].verdict is Verdict.FAIL
    assert seen.checks[0].facts == {"a": {"rows": 1}, "b": {"rows": 1}}


@pytest.mark.parametrize("real", [Verdict.FAIL, Verdict.NOT_PROVEN])
def test_a_waiver_excuses_on_its_last_day_and_the_real_verdict_stays(real: Verdict) -> None:
    seen = outcome({"DR-08": real}, waivers=(WAIVER,))
    assert seen.verdict is Verdict.PASS
    assert seen.checks[7].verdict is real
    assert seen.checks[7].excused


def test_a_waiver_never_excuses_error() -> None:
    seen = outcome({"DR-08": Verdict.ERROR}, waivers=(WAIVER,))
    assert seen.verdict is Verdict.ERROR
    assert not seen.checks[7].excused


@pytest.mark.parametrize(
    ("real", "becomes"),
    [
        (Verdict.PASS, Verdict.PASS),
        (Verdict.NOT_PROVEN, Verdict.FAIL),
        (Verdict.FAIL, Verdict.FAIL),
        (Verdict.ERROR, Verdict.ERROR),
    ],
)
def test_an_expired_waiver_fails_what_it_excused(real: Verdict, becomes: Verdict) -> None:
    expired = Waiver("DR-08", "reason", "somebody", date(2026, 11, 22))
    seen = outcome({"DR-08": real}, waivers=(expired,))
    assert seen.checks[7].verdict is becomes
    assert seen.checks[7].findings[-1].code == "waiver-expired"
    assert seen.checks[7].waiver is None


@pytest.mark.parametrize(
    ("pytest_code", "verdict", "ordinary", "broken", "code"),
    [
        (0, Verdict.PASS, False, False, 0),
        (1, Verdict.FAIL, False, False, 1),
        (1, Verdict.NOT_PROVEN, False, False, 10),
        (0, Verdict.NOT_PROVEN, False, False, 10),
        (1, Verdict.ERROR, False, False, 11),
        (1, Verdict.ERROR, True, False, 1),
        (1, Verdict.PASS, True, False, 1),
        (1, Verdict.NOT_PROVEN, False, True, 11),
        (1, Verdict.PASS, False, False, 1),
        (2, Verdict.FAIL, False, False, 2),
        (3, Verdict.PASS, False, False, 3),
        (4, Verdict.PASS, False, False, 4),
        (6, Verdict.PASS, False, False, 6),
    ],
)
def test_the_exit_code_follows_the_verdict(
    pytest_code: int, verdict: Verdict, *, ordinary: bool, broken: bool, code: int
) -> None:
    whole = outcome({} if verdict is Verdict.PASS else {"DR-01": verdict})
    assert exit_code(pytest_code, whole, ordinary_failed=ordinary, harness_broken=broken) == code


@UNHURRIED
@given(
    verdicts=st.lists(st.sampled_from(list(Verdict)), min_size=8, max_size=8),
    without=st.sets(st.sampled_from(ALL), max_size=7),
    waived=st.sets(st.sampled_from(ALL)),
    complete=st.booleans(),
)
def test_green_means_that_every_required_check_passed_or_was_waived(
    verdicts: list[Verdict], without: set[str], waived: set[str], *, complete: bool
) -> None:
    by_id = dict(zip(ALL, verdicts, strict=True))
    waivers = tuple(Waiver(check_id, "r", "a", TODAY) for check_id in sorted(waived))
    seen = outcome(by_id, without=tuple(without), waivers=waivers, complete=complete)
    code = exit_code(0, seen, ordinary_failed=False, harness_broken=False)
    settled = all(
        (check_id not in without and by_id[check_id] is Verdict.PASS)
        or (check_id in waived and (check_id in without or by_id[check_id] is not Verdict.ERROR))
        for check_id in ALL
    )
    assert (code == 0) == (settled and complete)


def test_no_check_selected_keeps_pytests_code() -> None:
    assert exit_code(5, None, ordinary_failed=False, harness_broken=False) == 5


# --- results ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finding", "error"),
    [
        (fail("x", "gone", "restore it"), CheckFailed),
        (not_proven("x", "gone", "restore it"), NotProven),
        (Finding("x", "gone", "restore it", Verdict.ERROR), CheckBroken),
    ],
)
def test_a_result_raises_what_it_is_with_the_remedy(finding: Finding, error: type[Exception]) -> None:
    made = result_of("DR-03", "node", Judgement((finding, note("n", "just so")), {"a": 1}), 0.1)
    with pytest.raises(error) as caught:
        raise_for(registry.check("DR-03"), made)
    assert "What to do: restore it" in str(caught.value)
    assert "just so" not in str(caught.value)


def test_a_pass_without_any_fact_is_not_proven() -> None:
    assert result_of("DR-03", "node", Judgement(()), 0.1).verdict is Verdict.NOT_PROVEN
    assert result_of("DR-03", "node", Judgement((), {"rows": 0}), 0.1).verdict is Verdict.PASS


def test_results_survive_a_writer_that_was_killed_in_the_middle_of_a_line(tmp_path: Path) -> None:
    odd = result_of(
        "DR-01", "n", Judgement((note("x", "a\u2028b\nc"),), {"when": TODAY, "p": tmp_path}), 0.25
    )
    append_result(tmp_path, "gw0", odd)
    append_result(tmp_path, "gw1", result("DR-02"))
    with (tmp_path / "results-gw1.jsonl").open("ab") as handle:
        handle.write(b'{"check": "DR-03", "ver')
    assert [item.check for item in read_results(tmp_path)] == ["DR-01", "DR-02"]
    assert read_results(tmp_path)[0] == odd
    assert (tmp_path / "results-gw0.jsonl").stat().st_mode & 0o077 == 0


def test_a_half_line_is_closed_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"half')
    append_line(path, '{"run_id": "whole"}')
    assert [run["run_id"] for run in history.read_history(tmp_path)] == ["whole"]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [item.name for item in path.parent.iterdir()] == ["file"]


# --- secrets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:CANARY@db:5432/app?sslmode=require",
        "could not log in with password=CANARY as app",
        "PGPASSWORD='CANARY with spaces' psql",
        'answer: {"client_token": "CANARY"}',
        "hvs.CANARYCANARYCANARYCANARY1234",
        "s.CANARYCANARYCANARYCANARY",
        "X-Vault-Token: CANARYCANARY",
        "Authorization: Bearer CANARYCANARY",
        "secret_id=CANARY",
        "https://hooks.slack.com/services/T0/B0/CANARY",
        "ghp_CANARYCANARYCANARYCANARY12",
        "-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY cut off",
    ],
)
def test_known_shapes_of_secrets_are_cut_out(text: str) -> None:
    assert "CANARY" not in redact(text)
    assert MARK in redact(text)
    assert "CANARY" not in json.dumps(redact_json({"a": [text, {"b": text}]}))


@pytest.mark.parametrize(
    "text",
    [
        "databases/app/3021.dat.zst: checksum differs",
        "table public.password_resets: 3 rows are gone",
        "policy smarteros/data/mcp/github denies the token of writer-copilot",
        "3 of 5 unseal keys were accepted",
        "set smos-20261123_020000 is 26 h old",
        "owner 1000:1000, mode 0640",
    ],
)
def test_ordinary_findings_are_left_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_values_under_secret_keys_are_cut_out_but_counts_stay() -> None:
    facts = {
        "unseal_keys": 3,
        "root_token": "abc",
        "shares": {"key_shares": ["x", "y"]},
        "tables": 4,
        "ok": True,
    }
    assert redact_json(facts) == {
        "unseal_keys": 3,
        "root_token": MARK,
        "shares": {"key_shares": [MARK, MARK]},
        "tables": 4,
        "ok": True,
    }


# --- waivers ------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    """Write a file of waivers."""
    path.write_text(text, encoding="utf-8")
    return path


ENTRY = "{check: DR-08, reason: r, approver: a, expires: 2027-01-31}"


def test_waivers_lie_beside_the_target_unless_a_file_is_named(tmp_path: Path) -> None:
    target = tmp_path / "target.yml"
    assert find_waivers(target, None) == ()
    write(tmp_path / "waivers.yml", f"schema: 1\nwaivers: [{ENTRY}]\n")
    (found,) = find_waivers(target, None)
    assert found == Waiver("DR-08", "r", "a", date(2027, 1, 31))
    other = write(tmp_path / "other.yml", "schema: 1\nwaivers: []\n")
    assert find_waivers(target, str(other)) == ()
    assert find_waivers(None, None) == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"waivers: [{ENTRY}]", "schema"),
        ("schema: 1\nwaivers: [{check: DR-08, reason: r, approver: a}]", "expires"),
        ("schema: 1\nwaivers: [{check: DR-08, reason: r, approver: a, expires: soon}]", "expires"),
        ("schema: 1\nwaivers: [{check: DR-08, reason: '', approver: a, expires: 2027-01-31}]", "reason"),
        ("schema: 1\nwaivers: [{check: DR-08, reason: r, approver: ' ', expires: 2027-01-31}]", "approver"),
        (f"schema: 1\nwaivers: [{ENTRY.replace('DR-08', 'DR-80')}]", "no such check"),
        (f"schema: 1\nwaivers: [{ENTRY}, {ENTRY}]", "twice"),
        (f"schema: 1\nforever: true\nwaivers: [{ENTRY}]", "forever"),
        ("schema: 1\nwaivers: [", "YAML"),
        ("[]", "whole file"),
    ],
)
def test_a_bad_file_of_waivers_is_refused_with_the_reason(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(TargetError, match=why):
        load_waivers(write(tmp_path / "waivers.yml", text))


# --- reports ------------------------------------------------------------------------------------------------


def validate(document: object, schema: str) -> None:
    """Validate against a schema in docs/."""
    loaded = json.loads((ROOT / "docs" / schema).read_bytes())
    Draft202012Validator.check_schema(loaded)
    Draft202012Validator(loaded, format_checker=FormatChecker()).validate(document)


@pytest.mark.parametrize("scope", ["self-test", "production"])
def test_verdict_json_is_as_documented(scope: str, tmp_path: Path) -> None:
    seen = outcome({"DR-03": Verdict.FAIL, "DR-08": Verdict.FAIL}, without=("DR-05",), waivers=(WAIVER,))
    verdict_file.write_verdict(tmp_path, info(scope), seen)
    document = json.loads((tmp_path / "verdict.json").read_bytes())
    validate(document, "verdict.schema.json")
    assert document["verdict"] == "FAIL"
    assert document["missing"] == ["DR-05"]
    assert document["checks"][7]["waiver"]["approver"] == "ana.perez"
    assert bool(document["checks"][0]["controls"]) == (scope == "production")


def test_an_unfinished_run_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "allure-results"
    context = ci.read_ci({})
    reports.finish(
        tmp_path,
        folder,
        info=info(),
        outcome=outcome(),
        timing=timing(),
        ci=context,
        run=run_document(tmp_path),
    )
    assert json.loads((tmp_path / "verdict.json").read_bytes())["verdict"] == "PASS"
    reports.begin(tmp_path, info(), ALL)
    document = json.loads((tmp_path / "verdict.json").read_bytes())
    validate(document, "verdict.schema.json")
    assert (document["verdict"], document["missing"]) == ("ERROR", list(ALL))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"verdict.json", "history.jsonl", "allure-results"}


def test_rto_json_is_as_documented() -> None:
    document = rto.rto_json(info(), timing())
    validate(document, "rto.schema.json")
    assert document["rpo_actual_s"] is None
    assert [phase["name"] for phase in document["phases"]] == list(PHASES)


def test_the_metrics_are_prometheus_text_and_leave_out_what_was_not_measured() -> None:
    text = rto.prometheus_text(info(), outcome({"DR-03": Verdict.FAIL}), timing())
    names = set()
    declared = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            declared.add(line.split()[2])
        elif not line.startswith("#"):
            match = re.fullmatch(r'(\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)+)\} (-?[\d.e+-]+)', line)
            assert match, line
            names.add(match[1])
    assert names == declared
    assert "smos_rpo_actual_seconds" not in names
    assert r'smos_rto_actual_seconds{target="prod \"one\"\\two",scope="self-test"} 200.25' in text
    assert 'phase="restore"' in text
    assert 'phase="decrypt"' not in text
    assert re.search(r'smos_check_passed\{.*check="DR-03"\} 0.0', text)


def test_history_keeps_one_line_a_run(tmp_path: Path) -> None:
    for verdict in (Verdict.FAIL, Verdict.PASS):
        history.append_history(tmp_path, info(), outcome({"DR-01": verdict}), timing())
    runs = list(history.read_history(tmp_path))
    assert [run["verdict"] for run in runs] == ["FAIL", "PASS"]
    assert runs[0]["phases"].keys() == {"detect", "restore"}
    history.append_history(tmp_path, info(), outcome(), None)
    assert list(history.read_history(tmp_path))[-1]["rto_actual_s"] is None


def test_the_summary_names_scope_verdicts_times_and_remedies() -> None:
    seen = outcome({"DR-03": Verdict.FAIL, "DR-08": Verdict.FAIL}, waivers=(WAIVER,))
    text = summary.summary_markdown(info(), seen, timing())
    assert text.startswith("# ❌ FAIL: ")
    assert "no control is satisfied" in text
    assert "| DR-08 | ❌ FAIL (waived) |" in text
    assert "What to do: do something" in text
    assert "3 min 20 s" in text
    assert "not measured" in text
    assert "DR-06 (the target declares no Vault)" in text
    assert "NIST" not in text
    assert "NIST CP-10" in summary.summary_markdown(info("production"), seen, None)


def test_names_in_a_backup_can_not_write_into_the_summary() -> None:
    evil = Finding("x", "table <img src=x> | [a](http://b) `c`\n# heading", "y", Verdict.FAIL)
    seen = reconcile(
        collected={"n": "DR-03"},
        results=[
            Result(check="DR-03", nodeid="n", verdict=Verdict.FAIL, findings=(evil,), facts={}, seconds=0)
        ],
        required=("DR-03",),
        waivers=(),
        today=TODAY,
    )
    (line,) = [line for line in summary.summary_markdown(info(), seen, None).splitlines() if "`x`" in line]
    assert r"\<img src=x\> \| \[a\](http\://b) \`c\` \# heading" in line


def test_the_summary_is_appended_to_the_summary_of_the_step(tmp_path: Path) -> None:
    step = tmp_path / "step.md"
    step.write_text("before\n", encoding="utf-8")
    summary.write_summary(tmp_path, "# ours\n", step)
    assert step.read_text(encoding="utf-8").startswith("before\n# ours")


def test_the_table_is_plain_when_piped_and_coloured_on_a_terminal() -> None:
    seen = outcome({"DR-03": Verdict.FAIL, "DR-08": Verdict.NOT_PROVEN}, waivers=(WAIVER,))
    plain = closing_table(info(), seen, timing(), reports=[Path("r/a"), Path("r/b")], color=False, width=140)
    assert "\x1b" not in plain
    assert plain.isascii()
    assert "NOT_PROVEN (waived)" in plain
    assert "excluded: the backups are not encrypted" in plain
    assert "6 proven, 1 failed, 1 waived" in plain
    assert "Reports  r: a, b" in plain
    assert "\x1b[" in closing_table(info(), seen, None, reports=[], color=True, width=100)


def test_allure_gets_its_context_and_only_its_own_files_are_cleared(tmp_path: Path) -> None:
    github = ci.read_ci(
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "a/b",
            "GITHUB_RUN_ID": "7",
            "GITHUB_RUN_NUMBER": "42",
            "GITHUB_WORKFLOW": "dr",
        }
    )
    allure.write_context(tmp_path, info(), outcome(), github)
    assert (
        json.loads((tmp_path / "executor.json").read_bytes())["buildUrl"]
        == "https://github.com/a/b/actions/runs/7"
    )
    assert r'target=prod "one"\\two' in (tmp_path / "environment.properties").read_text(encoding="utf-8")
    allure.write_crashed(tmp_path, full_name="a#b", title="t", message="died", labels={"check": "DR-01"})
    (tmp_path / "mine.txt").touch()
    allure.clear_results(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("message", "status", "group"),
    [
        ("smos.evidence.results.CheckFailed: DR-03 FAIL", "failed", "Failed checks"),
        ("smos.evidence.results.NotProven: DR-03\nNOT_PROVEN", "failed", "Not proven"),
        ("Failed: Timeout (>1.0s) from pytest-timeout.", "failed", "Not proven"),
        ("Skipped: no Docker", "skipped", "Not proven"),
        ("RuntimeError: boom", "broken", "Harness broken"),
        ("Waived: until 2027-01-31 by a: NotProven is fine", "skipped", "Waived"),
    ],
)
def test_every_result_belongs_to_one_category(message: str, status: str, group: str) -> None:
    found = [
        one["name"]
        for one in allure.categories()
        if status in one["matchedStatuses"] and re.fullmatch(one.get("messageRegex", "(?s).*"), message)
    ]
    assert found == [group]


def test_durations_and_sizes_in_words() -> None:
    assert [duration(s) for s in (None, 0.004, 9.994, 59.94, 59.96, 200.4, 14400.0, 200000.0)] == [
        "not measured",
        "0.00 s",
        "9.99 s",
        "59.9 s",
        "60.0 s",
        "3 min 20 s",
        "4 h 0 min",
        "2 d 7 h",
    ]
    assert [size(n) for n in (0, 1023, 1536, 5 * 2**20, 3 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 TiB",
    ]
