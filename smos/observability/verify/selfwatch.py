"""OBS-11: a drill of which everything is known is exported as the controller does, and read back as trace and metrics.

The panels of the dashboard "Disaster recovery" are then run for it; and an endpoint that refuses, or that takes a
connection and never answers, must cost no more than the limit and raise nothing.
"""

import math
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from smos.errors import DeadlineError
from smos.evidence.rto import prometheus_text
from smos.observability import dashboards
from smos.observability.clickhouse import ClickHouse
from smos.observability.dashboards import View, expand
from smos.observability.drill import SERVICE, Sent, export_drill
from smos.observability.verify.example import EXERCISED, ExampleDrill, example
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.probe import Probe, ProbeFacts
from smos.target import Telemetry
from smos.wait import wait_for

BOARD = "smarteros-disaster-recovery"
ARRIVE_S = 15.0
LIMIT_S = 1.0
"""What a dead endpoint may cost here; a run allows more (smos/observability/drill.py)."""
SLACK_S = 2.0
"""A busy machine."""
WIDE_S = 3600
TOLERANCE_MS = 1.0
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """export: what sends a drill (faults put another one in its place). arrive_s: how long rows may take."""

    export: Callable[..., Sent] = export_drill
    arrive_s: float = ARRIVE_S


def observe(lab: ObservabilityLab) -> ProbeFacts:
    """Export, read back, look at the dashboard. Raises ObservabilityError where live: it would show a drill there."""
    lab.own()
    options: Options = lab.options or Options()
    collector = lab.subject.collector
    details: dict[str, Any] = {}
    probes: list[Probe] = []
    endpoints = (
        Telemetry(endpoint=collector.http, protocol="http/protobuf"),
        Telemetry(endpoint=f"http://{collector.grpc}", protocol="grpc"),
    )
    for telemetry in endpoints:
        run = lab.run_id()
        drill = example(f"target-{run}", run_id=run)
        sent = options.export(telemetry, drill.info, drill.outcome, drill.timing)
        said = sent.reason or f"{sent.spans} spans, {sent.points} metrics"
        probes.append(Probe(claim="handed-over", holds=not sent.reason, seen=f"{telemetry.protocol}: {said}"))
        with lab.clickhouse() as client:
            probes += _trace(client, drill, options.arrive_s)
            probes += _metrics(client, drill, options.arrive_s)
            if telemetry.protocol != "grpc":
                probes += _dashboard(client, drill)
    probes += _dead(options, details)
    return ProbeFacts(probes=tuple(probes), details=details)


def _trace(client: ClickHouse, drill: ExampleDrill, within_s: float) -> Iterator[Probe]:
    sql = (
        "SELECT SpanName AS name, SpanId AS id, ParentSpanId AS parent, TraceId AS trace, StatusCode AS status,"
        " ServiceName AS service, Duration / 1e6 AS ms, toUnixTimestamp64Micro(Timestamp) / 1000 AS start"
        " FROM otel_traces WHERE ResourceAttributes['smos.run'] = {r:String} ORDER BY Timestamp"
    )
    rows = _until(lambda: client.rows(sql, r=drill.info.run_id), len(EXERCISED) + 1, within_s)
    roots = [row for row in rows if not row["parent"]]
    began = drill.info.started.timestamp() * 1000
    last = max(end for _, end in EXERCISED.values()) * 1000
    if len(roots) != 1:
        yield Probe(claim="root", holds=False, seen=f"{len(roots)} root spans among {len(rows)} spans")
        return
    (root,) = roots
    right = (
        root["service"] == SERVICE
        and root["status"] == "Error"  # the example failed a check
        and _near(root["ms"], last)
        and _near(root["start"], began)
    )
    yield Probe(
        claim="root",
        holds=right,
        seen=f"{root['name'].split()[0]} of {root['service']}: {root['ms']:g} ms, {root['status']}",
    )
    children = {row["name"]: row for row in rows if row["parent"] == root["id"]}
    for phase, (begin, end) in EXERCISED.items():
        child = children.pop(phase, None)
        if child is None:
            yield Probe(claim="phases", holds=False, seen=f"{phase} has no span")
            continue
        fits = _near(child["ms"], (end - begin) * 1000) and _near(child["start"], began + begin * 1000)
        yield Probe(
            claim="phases",
            holds=fits,
            seen=f"{phase}: {child['ms']:g} ms, {(end - begin) * 1000:g} are right",
        )
    extra = sorted(children)
    yield Probe(
        claim="excluded",
        holds=not extra,
        seen=", ".join(extra) or "phases that did not take place have no span",
    )


def _metrics(client: ClickHouse, drill: ExampleDrill, within_s: float) -> Iterator[Probe]:
    """Compare with rto.prom, which says the same."""
    wanted = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(prometheus_text(drill.info, drill.outcome, drill.timing))
        for sample in family.samples
    }
    sql = (
        "SELECT MetricName AS name, Attributes AS labels, Value AS value FROM otel_metrics_gauge"
        " WHERE ResourceAttributes['smos.run'] = {r:String}"
    )
    rows = _until(lambda: client.rows(sql, r=drill.info.run_id), len(wanted), within_s)
    found = {(row["name"], tuple(sorted(row["labels"].items()))): float(row["value"]) for row in rows}
    for (name, labels), value in wanted.items():
        told = " ".join(text for key, text in labels if key in {"phase", "check"})
        seen = found.get((name, labels))
        yield Probe(
            claim="metrics",
            holds=seen is not None and math.isclose(seen, value),
            seen=f"{name} {told}".strip() + ("" if seen is not None else " is not there"),
        )


def _dashboard(client: ClickHouse, drill: ExampleDrill) -> Iterator[Probe]:
    """Run the shipped panels with this drill's target chosen in the menu."""
    (board,) = (one for one in dashboards.load_all() if one.uid == BOARD)
    now = int(time.time())
    view = View(start=now - WIDE_S, end=now + WIDE_S, variables={"target": [drill.info.target]})
    shown = {panel.title: client.rows(expand(panel.sql, view)) for panel in board.panels}
    timing = drill.timing
    single: Mapping[str, float | None] = {
        "Proven": 0.0,
        "RTO, actual": timing.rto_actual_s,
        "RTO, objective": drill.info.rto_objective_s,
        "RPO, actual": timing.rpo_actual_s,
    }
    for title, value in single.items():
        rows = shown.get(title, [])
        yield Probe(claim="dashboard", holds=[row["value"] for row in rows] == [value], seen=title)
    phases = {row["phase"]: row["value"] for row in shown.get("Phases", [])}
    wanted = {name: end - begin for name, (begin, end) in EXERCISED.items()}
    yield Probe(claim="dashboard", holds=phases == wanted, seen="Phases")
    checks = {row["check"]: row["passed"] for row in shown.get("Checks of the newest drill", [])}
    yield Probe(
        claim="dashboard", holds=checks == {"DR-01": 1, "DR-03": 0}, seen="Checks of the newest drill"
    )
    own = [row for row in shown.get("Drills", []) if row["drill"] == f"drill {drill.info.target}"]
    yield Probe(claim="dashboard", holds=[row["duration"] for row in own] == [10.0], seen="Drills")


def _dead(options: Options, details: dict[str, Any]) -> Iterator[Probe]:
    """Export to a port that refuses, and to one that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        closed_port = closed.getsockname()[1]
        closed.close()
        cases = (
            ("refuses", f"http://127.0.0.1:{closed_port}", "http/protobuf"),
            ("refuses", f"http://127.0.0.1:{closed_port}", "grpc"),
            ("never answers", f"http://127.0.0.1:{silent.getsockname()[1]}", "http/protobuf"),
        )
        for what, endpoint, protocol in cases:
            drill = example("dead-endpoint")
            began = time.monotonic()
            telemetry = Telemetry.model_validate({"endpoint": endpoint, "protocol": protocol})
            try:
                sent = options.export(telemetry, drill.info, drill.outcome, drill.timing, limit_s=LIMIT_S)
            except Exception as error:  # noqa: BLE001  (that it raises at all is what is judged)
                yield Probe(claim="harmless", holds=False, seen=f"{what}: raises {type(error).__name__}")
                continue
            seconds = time.monotonic() - began
            details[f"seconds of an endpoint that {what}, {protocol}"] = round(seconds, 2)
            yield Probe(
                claim="harmless",
                holds=bool(sent.reason) and seconds <= LIMIT_S + SLACK_S,
                seen=f"{what}: {seconds:.1f} s, told: {bool(sent.reason)}",
            )


def _until(rows: Callable[[], Rows], count: int, within_s: float) -> Rows:
    found: Rows = []

    def enough() -> bool:
        found[:] = rows()
        return len(found) >= count

    with suppress(DeadlineError):  # what did not arrive is judged
        wait_for(enough, what="the rows arrive", deadline_s=within_s)
    return found


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE_MS
