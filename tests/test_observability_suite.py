"""The observability suite's first judges say PASS only for what was seen, and name what is wrong."""

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from smos.checks.observability import CHECKS, context, delivery, memory, not_required, outage, retention
from smos.checks.observability.exercise import AREAS, NOT_INSTALLED, STOPPED, exercise
from smos.checks.observability.rules import NOT_ASKED, NOT_SEEN, Rule, judge_probes
from smos.errors import ProvisionError
from smos.faults.registry import cases
from smos.observability.verify.context import DATABASE, ContextFacts, LogFact, SpanFact
from smos.observability.verify.counters import Counted
from smos.observability.verify.delivery import DeliveryFacts, Sending
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.memory import FEW, MemoryFacts
from smos.observability.verify.outage import OutageFacts, Survived
from smos.observability.verify.probe import Probe, ProbeFacts
from smos.observability.verify.retention import Aged, RetentionFacts, Table, ages_s, ttl_of
from smos.observability.verify.rows import Arrived
from smos.target import ObservabilityTarget, Target
from smos.verdict import Judgement, Verdict

MINE = {"OBS-01": delivery, "OBS-02": context, "OBS-03": outage, "OBS-04": memory, "OBS-05": retention}
FINDINGS = Path(__file__).resolve().parent.parent / "docs" / "findings-observability.md"
DAY_S = 86_400


def said(judgement: Judgement) -> tuple[Verdict, set[str]]:
    return judgement.verdict, {item.code for item in judgement.findings if item.verdict is not Verdict.PASS}


# --- the frame ----------------------------------------------------------------------------------------------


def test_every_check_has_an_area_and_is_required_where_a_stack_is_declared() -> None:
    assert list(AREAS) == [check.id for check in CHECKS]
    assert not_required(Target(name="x", observability=ObservabilityTarget())) == ()
    assert [check_id for check_id, _ in not_required(Target(name="x"))] == list(AREAS)


def test_a_rule_passes_only_what_was_seen() -> None:
    rule = Rule("works", "broken", "It does not work", "mend it")

    def of(*probes: Probe) -> tuple[Verdict, set[str]]:
        return said(judge_probes([rule], ProbeFacts(probes=probes)))

    assert of(Probe(claim="works", holds=True)) == (Verdict.PASS, set())
    assert of(Probe(claim="works", holds=False)) == (Verdict.FAIL, {"broken"})
    assert of(Probe(claim="works")) == (Verdict.NOT_PROVEN, {NOT_SEEN})
    assert of() == (Verdict.NOT_PROVEN, {NOT_ASKED})
    assert of(Probe(claim="works", holds=True), Probe(claim="works", holds=False))[0] is Verdict.FAIL
    assert of(Probe(claim="works", holds=True), Probe(claim="new", holds=True))[0] is Verdict.NOT_PROVEN


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProvisionError("it does not start"), STOPPED),
        (ModuleNotFoundError("no chdb", name="chdb"), NOT_INSTALLED),
    ],
)
def test_what_stops_a_driver_leaves_the_check_unproven(error: Exception, code: str) -> None:
    def find() -> None:
        raise error

    lab = ObservabilityLab(find=find, owner=find)
    assert said(exercise("OBS-01", lab)) == (Verdict.NOT_PROVEN, {code})


def test_every_code_of_these_checks_is_documented_and_every_fail_is_provoked() -> None:
    text = FINDINGS.read_text(encoding="utf-8")
    codes = {code for module in MINE.values() for code in module.CODES}
    root = Path(delivery.__file__).parents[2]
    names = [*(AREAS[check_id] for check_id in MINE), "exercise", "rules", "lab", "live"]
    found = {
        code
        for folder in ("checks/observability", "observability/verify")
        for name in names
        if (path := root / folder / f"{name}.py").is_file()
        for code in re.findall(
            r'"((?:telemetry|trace|outage|memory|retention|observability)-[a-z-]+)"', path.read_text()
        )
    }
    assert len(found) > 30
    assert sorted(code for code in codes | found if f"`{code}`" not in text) == []
    provoked = {code for case in cases("observability") for code in case.expectation.codes}
    never = {code for code in codes if f"| `{code}` | FAIL |" in text} - provoked
    # What no server that is at hand does: a collector that counts wrongly, or stays shut after the pressure.
    assert never == {
        "telemetry-miscounted",
        "memory-not-recovered",
        "memory-not-counted",
        "retention-overdue",
    }


@pytest.mark.parametrize("check_id", MINE)
def test_every_check_is_seen_to_fail(check_id: str) -> None:
    assert [case for case in cases("observability") if case.expectation.check == check_id]
    assert hasattr(import_module(f"smos.observability.verify.{AREAS[check_id]}"), "observe")


# --- OBS-01 -------------------------------------------------------------------------------------------------

WHOLE = Sending(
    signal="traces", protocol="grpc", sent=10, accepted=10, rows=Arrived(rows=10, distinct=10, in_time=10)
)
COUNTED = Counted(accepted=10, exported=10)


def delivered(sending: Sending = WHOLE, counted: Counted | None = COUNTED, **more: object) -> DeliveryFacts:
    given = {"live": False, "settled": True, "seconds": 1.0} | more
    return DeliveryFacts(
        sendings=(sending,), counted=None if counted is None else {"traces": counted}, **given
    )


@pytest.mark.parametrize(
    ("facts", "verdict", "code"),
    [
        (delivered(), Verdict.PASS, None),
        (replace(delivered(), sendings=(), counted={}), Verdict.NOT_PROVEN, "telemetry-not-sent"),
        (
            delivered(replace(WHOLE, rows=Arrived(rows=9, distinct=9, in_time=9))),
            Verdict.FAIL,
            "telemetry-lost",
        ),
        (
            delivered(replace(WHOLE, rows=Arrived(rows=9, distinct=9, in_time=9)), settled=False),
            Verdict.NOT_PROVEN,
            "telemetry-on-the-way",
        ),
        (
            delivered(replace(WHOLE, rows=Arrived(rows=11, distinct=10, in_time=11))),
            Verdict.FAIL,
            "telemetry-duplicated",
        ),
        (
            delivered(replace(WHOLE, rows=Arrived(rows=10, distinct=9, in_time=10))),
            Verdict.FAIL,
            "telemetry-lost",
        ),
        (
            delivered(replace(WHOLE, rows=Arrived(rows=10, distinct=10, in_time=0))),
            Verdict.FAIL,
            "telemetry-time-shifted",
        ),
        (delivered(replace(WHOLE, elsewhere=10)), Verdict.FAIL, "telemetry-resource-lost"),
        (delivered(replace(WHOLE, accepted=9)), Verdict.FAIL, "telemetry-refused"),
        (
            delivered(replace(WHOLE, error="no connection", accepted=0), Counted()),
            Verdict.NOT_PROVEN,
            "telemetry-not-sent",
        ),
        (delivered(counted=None), Verdict.NOT_PROVEN, "telemetry-not-counted"),
        (delivered(counted=replace(COUNTED, refused=1)), Verdict.FAIL, "telemetry-refused"),
        (delivered(counted=replace(COUNTED, failed=1)), Verdict.FAIL, "telemetry-export-failed"),
        (delivered(counted=replace(COUNTED, dropped=1)), Verdict.FAIL, "telemetry-export-failed"),
        (delivered(counted=replace(COUNTED, exported=9)), Verdict.FAIL, "telemetry-miscounted"),
        (delivered(counted=Counted(accepted=20, exported=20)), Verdict.FAIL, "telemetry-miscounted"),
        (delivered(counted=Counted(accepted=20, exported=20), live=True), Verdict.PASS, None),
        (delivered(counted=Counted(accepted=9, exported=9), live=True), Verdict.FAIL, "telemetry-miscounted"),
        (delivered(counted=replace(COUNTED, other=5, exported=15)), Verdict.PASS, None),
    ],
)
def test_delivery_is_judged(facts: DeliveryFacts, verdict: Verdict, code: str | None) -> None:
    found, codes = said(delivery.judge(facts))
    assert found is verdict
    assert code is None or code in codes


# --- OBS-02 -------------------------------------------------------------------------------------------------


def span(name: str, parent: str, service: str, start: float, end: float, trace: str = "t") -> SpanFact:
    return SpanFact(
        trace=trace,
        span=name,
        parent=parent,
        service=service,
        name=DATABASE if name == "db" else name,
        start_ns=int(start * 1e9),
        end_ns=int(end * 1e9),
    )


SPANS = (
    span("a", "", "shop-web", 1.0, 2.0),
    span("call", "a", "shop-web", 1.1, 1.9),
    span("b", "call", "shop-stock", 1.2, 1.8),
    span("db", "b", "shop-stock", 1.3, 1.7),
)
LOGS = (LogFact(trace="t", span="a", service="shop-web"), LogFact(trace="t", span="b", service="shop-stock"))
CONTEXT = ContextFacts(asked=("t",), written=("t",), spans=SPANS, logs=LOGS)


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        (CONTEXT, set()),
        (replace(CONTEXT, spans=()), {"trace-not-seen"}),
        (replace(CONTEXT, asked=()), {"trace-not-seen"}),
        (replace(CONTEXT, written=()), {"trace-not-seen"}),
        (replace(CONTEXT, spans=(SPANS[0], *SPANS[2:])), {"trace-orphaned"}),
        (replace(CONTEXT, spans=SPANS[:3]), {"trace-without-database"}),
        (replace(CONTEXT, spans=(*SPANS, span("x", "", "shop-stock", 1, 2, "u"))), {"trace-broken"}),
        (replace(CONTEXT, asked=("t", "t"), written=("t", "t"), logs=LOGS * 2), {"trace-merged"}),
        (replace(CONTEXT, spans=(*SPANS, span("x", "", "shop-web", 1, 2))), {"trace-merged"}),
        (replace(CONTEXT, logs=LOGS[:1]), {"trace-logs-without-context"}),
        (replace(CONTEXT, logs=(LOGS[0], replace(LOGS[1], span=""))), {"trace-logs-without-context"}),
        (replace(CONTEXT, logs=(LOGS[0], replace(LOGS[1], span="a"))), {"trace-logs-without-context"}),
        (replace(CONTEXT, spans=(*SPANS[:3], span("db", "b", "shop-stock", 1.05, 1.7))), {"trace-skew"}),
        (replace(CONTEXT, spans=(*SPANS[:3], span("db", "b", "shop-stock", 1.3, 1.95))), {"trace-skew"}),
        (replace(CONTEXT, spans=(*SPANS[:3], span("db", "b", "shop-stock", 1.15, 1.85))), set()),
    ],
)
def test_context_is_judged(facts: ContextFacts, codes: set[str]) -> None:
    verdict, found = said(context.judge(facts))
    assert found == codes
    assert (verdict is Verdict.PASS) == (not codes)


# --- OBS-03 and OBS-04 --------------------------------------------------------------------------------------

CAME = Survived(signal="logs", protocol="http", sent=10, accepted=10, before=0, rows=10, distinct=10)
OUTAGE = OutageFacts(survived=(CAME,), down=True, attempts=3, recovered_s=1.0, gives_up="0s")


@pytest.mark.parametrize(
    ("facts", "verdict", "code"),
    [
        (OUTAGE, Verdict.PASS, None),
        (replace(OUTAGE, survived=(replace(CAME, rows=9, distinct=9),)), Verdict.FAIL, "outage-lost"),
        (replace(OUTAGE, survived=(replace(CAME, rows=12),)), Verdict.FAIL, "outage-duplicated"),
        (replace(OUTAGE, survived=(replace(CAME, accepted=9),)), Verdict.FAIL, "outage-refused"),
        (replace(OUTAGE, gives_up=""), Verdict.FAIL, "outage-gives-up"),
        (replace(OUTAGE, gives_up="300s"), Verdict.FAIL, "outage-gives-up"),
        (replace(OUTAGE, down=False), Verdict.NOT_PROVEN, "outage-not-down"),
        (replace(OUTAGE, attempts=0), Verdict.NOT_PROVEN, "outage-not-down"),
        (replace(OUTAGE, survived=()), Verdict.NOT_PROVEN, "outage-not-down"),
        (replace(OUTAGE, survived=(replace(CAME, before=1),)), Verdict.NOT_PROVEN, "outage-not-down"),
    ],
)
def test_an_outage_is_judged(facts: OutageFacts, verdict: Verdict, code: str | None) -> None:
    found, codes = said(outage.judge(facts))
    assert (found, codes) == (verdict, {code} if code else set())


PRESSED = MemoryFacts(before=FEW, accepted=10, refused=5, lived=True, counted=5, arrived=10, again=FEW)


@pytest.mark.parametrize(
    ("facts", "verdict", "code"),
    [
        (PRESSED, Verdict.PASS, None),
        (replace(PRESSED, refused=0, counted=None, arrived=0, again=0), Verdict.FAIL, "memory-not-limited"),
        (replace(PRESSED, lived=False), Verdict.FAIL, "memory-process-died"),
        (replace(PRESSED, before=0), Verdict.FAIL, "memory-always-refuses"),
        (replace(PRESSED, arrived=9), Verdict.FAIL, "memory-lost"),
        (replace(PRESSED, again=0), Verdict.FAIL, "memory-not-recovered"),
        (replace(PRESSED, counted=4), Verdict.FAIL, "memory-not-counted"),
        (replace(PRESSED, counted=None), Verdict.NOT_PROVEN, "memory-not-counted"),
    ],
)
def test_memory_is_judged(facts: MemoryFacts, verdict: Verdict, code: str | None) -> None:
    found, codes = said(memory.judge(facts))
    assert (found, codes) == (verdict, {code} if code else set())


# --- OBS-05 -------------------------------------------------------------------------------------------------

NAMES = retention.EXPECTED
KEPT = RetentionFacts(
    declared_s=3 * DAY_S,
    tables=tuple(Table(name=name, ttl_s=3 * DAY_S) for name in NAMES),
    aged=tuple(Aged(table=name, left=ages_s(3 * DAY_S)[:2]) for name in NAMES),
    other_s=108_000,
    other=tuple(Table(name=name, ttl_s=108_000) for name in NAMES),
    now_s=1_750_000_000.0,  # 2025-06-15
    live=False,
)


def one(**changes: object) -> RetentionFacts:
    return replace(KEPT, tables=(replace(KEPT.tables[0], **changes), *KEPT.tables[1:]))


def left(*hours: int) -> RetentionFacts:
    aged = Aged(table=NAMES[0], left=tuple(hour * 3600 for hour in hours))
    return replace(KEPT, aged=(aged, *KEPT.aged[1:]))


@pytest.mark.parametrize(
    ("facts", "verdict", "code"),
    [
        (KEPT, Verdict.PASS, None),
        (one(ttl_s=None), Verdict.FAIL, "retention-none"),
        (one(ttl_s=DAY_S), Verdict.FAIL, "retention-wrong"),
        (left(1), Verdict.FAIL, "retention-rows-gone"),
        (left(1, 71, 73), Verdict.FAIL, "retention-rows-stay"),
        (replace(KEPT, tables=KEPT.tables[1:]), Verdict.NOT_PROVEN, "retention-table-missing"),
        (replace(KEPT, other=(Table(name="x", ttl_s=1),)), Verdict.FAIL, "retention-setting-ignored"),
        (replace(KEPT, other=()), Verdict.NOT_PROVEN, "retention-not-tried"),
        (replace(KEPT, aged=(Aged(table="x", error="no"),)), Verdict.NOT_PROVEN, "retention-not-tried"),
        (replace(KEPT, live=True, aged=(), other=()), Verdict.NOT_PROVEN, "observability-live"),
        (replace(one(oldest="2025-06-12"), live=True), Verdict.NOT_PROVEN, "observability-live"),
        (replace(one(oldest="2025-06-08"), live=True), Verdict.FAIL, "retention-overdue"),
    ],
)
def test_retention_is_judged(facts: RetentionFacts, verdict: Verdict, code: str | None) -> None:
    found, codes = said(retention.judge(facts))
    assert found is verdict
    assert code is None or code in codes


@pytest.mark.parametrize(
    ("definition", "seconds"),
    [
        ("ORDER BY a TTL toDateTime(Timestamp) + toIntervalDay(3) SETTINGS x = 1", 259_200),
        ("ORDER BY a TTL TimeUnix + toIntervalHour(72)", 259_200),
        ("ORDER BY a TTL `Start` + toIntervalSecond(60) DELETE SETTINGS x = 1", 60),
        ("ORDER BY a SETTINGS x = 1", None),
        ("ORDER BY a TTL toDateTime(Timestamp) + toIntervalDay(3) WHERE x < 1 SETTINGS x = 1", None),
        ("ORDER BY a TTL Timestamp + toIntervalDay(3) TO VOLUME 'cold' SETTINGS x = 1", None),
        ("ORDER BY a TTL Timestamp + toIntervalMonth(1)", None),
    ],
)
def test_a_time_to_live_is_read_from_the_definition(definition: str, seconds: int | None) -> None:
    assert ttl_of(definition)[0] == seconds
