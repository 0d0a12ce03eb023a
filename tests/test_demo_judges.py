"""The demo's judges: pure functions, on facts that no server was needed for."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from smos.checks.demo.cleanup import REFUSALS, judge_batches, judge_cleanup
from smos.checks.demo.isolation import judge_boundary, judge_compose
from smos.checks.demo.n8n import judge_n8n
from smos.checks.demo.prober import judge_probes
from smos.checks.demo.rows import REMEDIES, judge_trial
from smos.demo.schema import LOGINS
from smos.demo.verify import claims
from smos.demo.verify.compose import compose_text, read_compose
from smos.demo.verify.facts import (
    AgedRow,
    BatchFacts,
    BoundaryFacts,
    CleanupFacts,
    EscapeTry,
    LoginTry,
    N8nFacts,
    Observation,
    Trial,
)
from smos.demo.verify.isolation import ESCAPES, IN, NO_ANSWER, NO_PASSWORD, _kind
from smos.verdict import Judgement, Verdict

ROOT = Path(__file__).resolve().parent.parent
SEEN = Observation(
    code="tenant-read-crossed", what="x", role="demo_app", statement="SELECT 1", allowed=("0",), seen="0"
)
CLEANED = CleanupFacts(
    days=7,
    rows=(AgedRow(label="expired event", table="analytics_events", must_go=True, gone=True),),
    removed=1,
    vanished=1,
    finished=True,
    again=0,
    seed_before="a",
    seed_after="a",
    real_clock=(AgedRow(label="event", table="analytics_events", must_go=False, gone=False),),
)


def logins(server: str, database: str, outcome: str) -> tuple[LoginTry, ...]:
    return tuple(LoginTry(role=role, server=server, database=database, outcome=outcome) for role in LOGINS)


TRIED = BoundaryFacts(
    demo_identifier="1",
    production_identifier="2",
    environment="demo",
    own=logins("demo", "demo", IN),
    elsewhere=logins("demo", "postgres", "refused: no CONNECT"),
    production=logins("production", "smarteros", "refused: password"),
    without_password=logins("demo", "demo", NO_PASSWORD),
    escapes=tuple(EscapeTry(role=role, what=what, outcome="42501") for role in LOGINS for what, _ in ESCAPES),
    links=(),
)


def with_escape(one: EscapeTry) -> BoundaryFacts:
    """Return TRIED with another outcome of one attempt, or with an attempt more."""
    rest = [item for item in TRIED.escapes if (item.role, item.what) != (one.role, one.what)]
    return replace(TRIED, escapes=(*rest, one))


def codes(judgement: Judgement) -> set[str]:
    return {finding.code for finding in judgement.findings}


def test_nothing_tried_is_not_proven() -> None:
    assert judge_trial(Trial(observations=())).verdict is Verdict.NOT_PROVEN
    assert judge_trial(Trial(observations=(SEEN,), unreachable=("x",))).verdict is Verdict.NOT_PROVEN
    assert judge_trial(Trial(observations=(SEEN,))).verdict is Verdict.PASS


def test_a_leak_fails_whatever_else_could_not_be_tried() -> None:
    leak = replace(SEEN, seen="3")
    judgement = judge_trial(Trial(observations=(SEEN, leak), unreachable=("x",)))
    assert judgement.verdict is Verdict.FAIL
    assert "3 instead of 0" in judgement.findings[-1].message


@pytest.mark.parametrize(
    ("what", "outcome", "verdict"),
    [
        ("make a role", "42501", None),
        ("run code: an untrusted language", "0A000", None),
        ("make a role", "done", Verdict.FAIL),
        ("run a program: COPY TO PROGRAM", "XX000", Verdict.NOT_PROVEN),
        ("read a file: lo_import", "58P01", Verdict.NOT_PROVEN),
        ("make a database", "25006", Verdict.NOT_PROVEN),
        ("make objects in demo", "57014", Verdict.NOT_PROVEN),
    ],
)
def test_only_a_refusal_closes_a_way_out(what: str, outcome: str, verdict: Verdict | None) -> None:
    one = EscapeTry(role="demo_app", what=what, outcome=outcome)
    found = [item.verdict for item in judge_boundary(with_escape(one)).findings if what in item.message]
    assert found == ([] if verdict is None else [verdict])


def test_a_flood_of_leaks_is_counted_not_spelled_out() -> None:
    judgement = judge_trial(Trial(observations=(replace(SEEN, seen="1"),) * 500))
    assert len(judgement.findings) < 20
    assert "492 more" in judgement.findings[-1].message


def test_every_claim_has_a_code_with_a_remedy() -> None:
    made = [
        *claims.of_tenants(),
        *claims.of_users(),
        *claims.of_oracles(),
        *claims.of_context(),
    ]
    assert len(made) > 150
    assert {item.code for item in made} <= set(REMEDIES)


def test_nothing_planted_leaves_the_cleanup_unproven() -> None:
    assert judge_cleanup(CLEANED).verdict is Verdict.PASS
    assert judge_cleanup(replace(CLEANED, rows=(), removed=0, vanished=0)).verdict is Verdict.NOT_PROVEN
    assert judge_cleanup(replace(CLEANED, real_clock=())).verdict is Verdict.NOT_PROVEN


def test_a_cleanup_that_miscounts_or_comes_back_for_more_fails() -> None:
    assert codes(judge_cleanup(replace(CLEANED, removed=2))) == {"cleanup-miscounts"}
    assert codes(judge_cleanup(replace(CLEANED, again=1))) == {"cleanup-not-idempotent"}
    assert codes(judge_cleanup(replace(CLEANED, finished=False))) == {"cleanup-unfinished"}
    assert codes(judge_cleanup(replace(CLEANED, seed_after="b"))) == {"permanent-deleted"}


def test_a_refusal_that_was_not_tried_is_not_proven() -> None:
    facts = BatchFacts(
        batch=1, expired=0, deletions=(), stopped_finished=False, after_stop=0, left=0, locked_seconds=0,
        locked_kept=True, locked_later=True, refuses={},
    )  # fmt: skip
    assert "refusal-not-tried" in codes(judge_batches(facts))


@pytest.mark.parametrize(
    ("what", "seen", "code"),
    [
        ("names of people", "42501", None),
        ("names of people", "42P01", "refusal-not-shown"),
        ("names of people", "57014", "refusal-not-shown"),
        ("names of people", "nothing", "maintenance-too-powerful"),
        ("days = 0", "42883", "refusal-not-shown"),
        ("seed rows, deleted directly", "nothing", None),
        ("seed rows, deleted directly", "42501", None),
        ("seed rows, deleted directly", "55P03", "refusal-not-shown"),
        ("seed rows, deleted directly", "accepted", "maintenance-too-powerful"),
    ],
)
def test_another_error_of_the_cleanups_role_is_no_refusal(what: str, seen: str, code: str | None) -> None:
    facts = BatchFacts(
        batch=1, expired=0, deletions=(), stopped_finished=False, after_stop=0, left=0, locked_seconds=0,
        locked_kept=True, locked_later=True, refuses={**REFUSALS, what: seen},
    )  # fmt: skip
    found = {item.code for item in judge_batches(facts).findings if what in item.message}
    assert found == ({code} if code else set())


def test_a_database_that_is_not_there_refused_nobody() -> None:
    said = 'connection failed: FATAL:  database "smarteros" does not exist'
    absent = replace(TRIED, production=logins("production", "smarteros", _kind(said)))
    assert codes(judge_boundary(absent)) == {"login-database-missing"}
    assert judge_boundary(absent).verdict is Verdict.NOT_PROVEN
    assert _kind('FATAL:  role "demo_app" does not exist') == "refused: unknown"
    for said in (
        'root certificate file "/home/x/root.crt" does not exist',
        "sorry, too many clients already",
    ):
        assert _kind(said) == NO_ANSWER


def test_no_answer_is_not_a_refusal() -> None:
    assert judge_boundary(TRIED).verdict is Verdict.PASS
    silent = replace(TRIED, production=logins("production", "smarteros", NO_ANSWER))
    assert codes(judge_boundary(silent)) == {"login-not-answered"}
    assert judge_boundary(silent).verdict is Verdict.NOT_PROVEN
    assert judge_boundary(replace(TRIED, production=())).verdict is Verdict.NOT_PROVEN
    assert judge_boundary(replace(TRIED, production_identifier=None)).verdict is Verdict.NOT_PROVEN


def test_refusals_prove_nothing_when_the_own_login_is_refused_too() -> None:
    own = logins("demo", "demo", "refused: password")
    assert codes(judge_boundary(replace(TRIED, own=own))) == {"own-login-refused"}


@pytest.mark.parametrize("place", ["own", "elsewhere", "production", "without_password"])
def test_a_login_that_nobody_tried_proves_nothing(place: str) -> None:
    tried: tuple[LoginTry, ...] = getattr(TRIED, place)
    for left in (tried[1:], ()) if place != "production" else (tried[1:],):
        judgement = judge_boundary(replace(TRIED, **{place: left}))
        assert "login-not-tried" in codes(judgement)
        assert judgement.verdict is Verdict.NOT_PROVEN
    one_more = (*tried, replace(tried[0], database="another"))
    assert codes(judge_boundary(replace(TRIED, **{place: one_more}))) == {"login-not-tried"}


def test_a_login_whose_password_is_not_known_was_not_tried() -> None:
    asked = replace(TRIED, production=logins("production", "smarteros", NO_PASSWORD))
    assert codes(judge_boundary(asked)) == {"login-not-tried"}


def test_an_error_that_is_no_refusal_keeps_nobody_out() -> None:
    odd = replace(TRIED, without_password=logins("demo", "demo", "57P03"))
    assert codes(judge_boundary(odd)) == {"login-not-answered"}


def test_every_way_out_is_missed_that_was_not_tried_even_where_another_was_tried_twice() -> None:
    twice = replace(TRIED, escapes=(TRIED.escapes[0], TRIED.escapes[0], *TRIED.escapes[2:]))
    assert codes(judge_boundary(twice)) == {"escape-not-tried"}
    assert codes(judge_boundary(replace(TRIED, escapes=()))) == {"escape-not-tried"}


def test_the_shipped_compose_file_passes_and_an_empty_one_does_not() -> None:
    assert judge_compose(read_compose(compose_text())).verdict is Verdict.PASS
    for text in ("", "services: {}", "a: [", "services: [1]"):
        assert judge_compose(read_compose(text)).verdict is not Verdict.PASS, text


def test_an_unknown_health_is_not_healthy() -> None:
    facts = N8nFacts(url="", healthy=None, ready=None, detail="")
    assert judge_n8n(facts).verdict is Verdict.NOT_PROVEN
    assert judge_n8n(replace(facts, healthy=True, ready=True)).verdict is Verdict.PASS
    assert judge_n8n(replace(facts, healthy=True, ready=False)).verdict is Verdict.FAIL


def test_a_prober_that_did_not_run_proves_nothing() -> None:
    assert judge_probes({}).verdict is Verdict.NOT_PROVEN


def test_every_finding_code_of_the_demo_is_documented() -> None:
    text = (ROOT / "docs" / "findings-demo.md").read_text(encoding="utf-8")
    found = set(REMEDIES)
    for path in (ROOT / "smos" / "checks" / "demo").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            if name in {"fail", "not_proven"} and isinstance(node.args[0], ast.Constant):
                found.add(node.args[0].value)
    found |= set(
        re.findall(r'\("([a-z]+(?:-[a-z]+)+)", facts\.', (ROOT / "smos/checks/demo/schema.py").read_text())
    )
    assert len(found) > 60
    assert sorted(code for code in found if f"`{code}`" not in text) == []
