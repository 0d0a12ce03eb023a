"""OBS-06 to OBS-12 without servers: judges, Grafana's schema, expected rows, listeners, and what is documented."""

import copy
import json
import os
import re
import socket
from importlib import import_module
from pathlib import Path

import pytest

from smos.checks.observability.exercise import AREAS
from smos.faults.registry import faults
from smos.observability import dashboards
from smos.observability.grafana import problems
from smos.observability.verify import panels, screens
from smos.observability.verify.configuration import LOOPBACK
from smos.observability.verify.conformance import HOLDS, MAKES
from smos.observability.verify.listening import listeners, on_loopback
from smos.observability.verify.probe import Probe, ProbeFacts
from smos.verdict import Verdict

MINE = [check for check in AREAS if check >= "OBS-06"]
DOCS = Path(__file__).resolve().parent.parent / "docs"
BOARDS = [json.loads(board.path.read_text()) for board in dashboards.load_all()]


def rules_of(check: str) -> list:
    module = import_module(f"smos.checks.observability.{AREAS[check]}")
    return list(getattr(module, "RULES", None) or [*module.OWN, *module.VAULT])


@pytest.mark.parametrize("check", MINE)
def test_every_code_is_documented_and_every_failure_is_provoked(check: str) -> None:
    text = (DOCS / "findings-observability.md").read_text()
    codes = {rule.code for rule in rules_of(check)}
    assert sorted(code for code in codes if f"`{code}`" not in text) == []
    provoked = {
        code
        for fault in faults("observability")
        for item in fault.expected
        if item.check == check
        for code in item.codes
    }
    assert codes - provoked == set()


@pytest.mark.parametrize("check", MINE)
def test_a_judge_passes_only_what_was_seen(check: str) -> None:
    judge = import_module(f"smos.checks.observability.{AREAS[check]}").judge
    claims = [rule.claim for rule in rules_of(check)]
    whole = tuple(Probe(claim=claim, holds=True) for claim in claims)
    assert judge(ProbeFacts(probes=whole)).verdict is Verdict.PASS
    assert judge(ProbeFacts(probes=())).verdict is Verdict.NOT_PROVEN
    for number, rule in enumerate(rules_of(check)):
        wrong = (*whole[:number], Probe(claim=rule.claim, holds=False), *whole[number + 1 :])
        found = judge(ProbeFacts(probes=wrong))
        assert found.verdict is Verdict.FAIL
        assert rule.code in {item.code for item in found.findings if item.verdict is Verdict.FAIL}
        unseen = (*whole[:number], Probe(claim=rule.claim), *whole[number + 1 :])
        assert judge(ProbeFacts(probes=unseen)).verdict is Verdict.NOT_PROVEN


def test_metrics_of_a_vault_that_was_never_asked_are_not_proven() -> None:
    judge = import_module("smos.checks.observability.metrics").judge
    seen = [
        Probe(claim=claim, holds=True) for claim in ("readable", "counts", "none-lost", "drill", "scraped")
    ]
    assert judge(ProbeFacts(probes=tuple(seen))).verdict is Verdict.NOT_PROVEN


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])
def test_shipped_dashboards_are_valid_by_grafanas_schema(board: dict) -> None:
    assert problems(board) == ()


def test_every_key_and_type_that_grafana_does_not_know_is_found() -> None:
    board = BOARDS[0]
    for change, said in (
        (lambda b: b.update(schemaVersion="39"), "schema_version"),
        (lambda b: b.update(graphTooltip=9), "graph_tooltip"),
        (lambda b: b.update(panels={}), "panels"),
        (lambda b: b["panels"][0].update(titel="x"), "titel"),
        (lambda b: b["panels"][0]["gridPos"].update(w="6"), "grid_pos.w"),
        (lambda b: b["panels"][0]["options"].update(colourMode="value"), "colourMode"),
        (lambda b: b["panels"][0]["options"].update(colorMode="valu"), "color_mode"),
        (lambda b: b["panels"][0]["fieldConfig"]["defaults"]["thresholds"].update(mode="abs"), "mode"),
    ):
        broken = copy.deepcopy(board)
        change(broken)
        assert said in " ".join(problems(broken)), said


def test_every_panel_has_its_expectation_and_the_document_shows_it() -> None:
    wanted = panels.expected()["dashboards"]
    there = {board.uid: {panels.key(panel) for panel in board.panels} for board in dashboards.load_all()}
    assert {uid: set(found) for uid, found in wanted.items()} == there
    assert all(found["rows"] for board in wanted.values() for found in board.values())
    assert (DOCS / "dashboards.md").read_text() == screens.page()


def test_rows_are_compared_by_value_order_and_column() -> None:
    right = [{"time": "+0 s", "value": 1.5}, {"time": "+60 s", "value": 2}]
    assert panels.differences(right, [dict(row) for row in right], ordered=True) == ""
    assert panels.differences(right, right[::-1], ordered=True)
    assert panels.differences(right, right[::-1], ordered=False) == ""
    assert "1 rows" in panels.differences(right, right[:1], ordered=True)
    assert "1500" in panels.differences(right, [right[0] | {"value": 1500}, right[1]], ordered=True)
    assert "columns" in panels.differences(right[:1], [{"time": "+0 s", "values": 1.5}], ordered=True)
    ages = [{"age": "since +90 s"}]
    assert panels.differences(ages, [{"age": "since +92 s"}], ordered=True) == ""
    assert panels.differences(ages, [{"age": "since +150 s"}], ordered=True)
    assert panels.normal([{"t": "1970-01-01 00:01:10.5", "age": 40}], 60, 200) == [
        {"t": "+10.5 s", "age": "since +100 s"}
    ]


def test_listeners_are_told_by_the_kernel() -> None:
    anywhere = "0.0.0.0"  # noqa: S104  (that it is seen is the test)
    with socket.create_server(("127.0.0.1", 0)) as inside, socket.create_server((anywhere, 0)) as outside:
        found = listeners(os.getpid())
        loopback = f"127.0.0.1:{inside.getsockname()[1]}"
        everywhere = f"{anywhere}:{outside.getsockname()[1]}"
        assert {loopback, everywhere} <= set(found)
        assert on_loopback(loopback)
        assert not on_loopback(everywhere)
    assert on_loopback("[::1]:1")
    assert on_loopback("[::ffff:127.0.0.1]:1")
    assert not on_loopback("[::]:1")


@pytest.mark.parametrize("address", ["0.0.0.0:4318", ":4318", "", "10.0.0.1:1", "127.0.0.1.example.cl:80"])
def test_what_is_not_loopback_is_open(address: str) -> None:
    assert LOOPBACK.fullmatch(address) is None


def test_only_makes_that_run_the_shipped_file_may_speak_for_it() -> None:
    from smos.provision.embedded import otelcol, rotel

    assert set(MAKES) == {"otelcol", "rotel"}
    assert otelcol.CAPABILITIES.absent() == ()
    assert not rotel.CAPABILITIES.shipped_configuration
    assert set(otelcol.CAPABILITIES.present()) == set(HOLDS)


def test_faults_do_not_need_what_only_the_suite_has() -> None:
    """They are imported wherever tests are collected, also where the extra is not installed."""
    folder = Path(import_module("smos.faults.observability").__file__).parent
    for path in folder.glob("*.py"):
        top = re.findall(r"^(?:from|import) ([\w.]+)", path.read_text(), flags=re.MULTILINE)
        assert not [
            name for name in top if name.startswith(("opentelemetry", "grpc", "sentry_sdk", "grafana"))
        ]
