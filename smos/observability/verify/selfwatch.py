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
from typing import Any, Literal

from prometheus_client.parser import text_string_to_metric_families

from smos.errors import DeadlineError
from smos.evidence.rto import prometheus_text
from smos.observability import dashboards
from smos.observability.clickhouse import ClickHouse
from smos.observability.dashboards import View, expand
from smos.observability.drill import SERVICE, Sent, export_drill
from smos.observability.verify.delivery import drained
from smos.observability.verify.example import EXERCISED, ExampleDrill, example
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.probe import Probe, ProbeFacts
from smos.provision.telemetry import CollectorEndpoint
from smos.target import Telemetry
from smos.wait import wait_for

BOARD = "smarteros-disaster-recovery"
ARRIVE_S = 120.0
"""A limit against hangs: the wait ends as soon as the collector has nothing left."""
LIMIT_S = 0.5
"""What a dead endpoint may cost here; a run allows more (smos/observability/drill.py)."""
SLACK_S = 30.0
"""What a busy machine may add to it. Who tries without end takes longer than any slack."""
WIDE_S = 3600
TOLERANCE_MS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """export: what sends a drill (faults put another one in its place). clock: by which a dead endpoint is timed.

    only: send to the collector alone, or to dead endpoints alone (faults, which break one of them; what is not looked
    at is unproven).
    """

    export: Callable[..., Sent] = export_drill
    clock: Callable[[], float] = time.monotonic
    only: Literal["living", "dead"] | None = None

    @property
    def narrowed(self) -> tuple[str, ...]:
        """The part that alone is looked at."""
        return (self.only,) if self.only else ()


def observe(lab: ObservabilityLab) -> ProbeFacts:
    """Export, read back, look at the dashboard. Raises ObservabilityError where live: it would show a drill there."""
    lab.own()
    options: Options = lab.options or Options()
    details: dict[str, Any] = {}
    probes: list[Probe] = []
    if options.only != "dead":
        probes += _living(lab, options)
    if options.only != "living":
        probes += _dead(options, details)
    return ProbeFacts(probes=tuple(probes), details=details)


def _living(lab: ObservabilityLab, options: Options) -> Iterator[Probe]:
    """Export to the collector over both protocols, and read back."""
    collector = lab.subject.collector
    endpoints = (
        Telemetry(endpoint=collector.http, protocol="http/protobuf"),
        Telemetry(endpoint=f"http://{collector.grpc}", protocol="grpc"),
    )
    for telemetry in endpoints:
        run = lab.run_id()
        drill = example(f"target-{run}", run_id=run)
        sent = options.export(telemetry, drill.info, drill.outcome, drill.timing)
        said = sent.reason or f"{sent.spans} spans, {sent.points} metrics"
        yield Probe(claim="handed-over", holds=not sent.reason, seen=f"{telemetry.protocol}: {said}")
        with lab.clickhouse() as client:
            _await_all(client, drill, collector)
            yield from _trace(client, drill)
            yield from _metrics(client, drill)
            if telemetry.protocol != "grpc":
                yield from _dashboard(client, drill)


def _await_all(client: ClickHouse, drill: ExampleDrill, collector: CollectorEndpoint) -> None:
    """Wait until the collector has nothing left; where it does not say so, until as much is there as is expected."""
    counts = (
        ("otel_traces", len(EXERCISED) + 1),
        ("otel_metrics_gauge", len(_expected(drill))),
    )

    def there() -> bool:
        said = drained(collector, ("traces", "metrics"))
        if said is not None:
            return said
        scope = "WHERE ResourceAttributes['smos.run'] = {r:String}"
        return all(
            int(client.value(f"SELECT count() FROM {table} {scope}", r=drill.info.run_id)) >= count  # noqa: S608  (names of ours)
            for table, count in counts
        )

    with suppress(DeadlineError):  # what did not arrive is judged
        wait_for(there, what="the drill has arrived", deadline_s=ARRIVE_S)


def _expected(drill: ExampleDrill) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what rto.prom says: name and labels to value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(prometheus_text(drill.info, drill.outcome, drill.timing))
        for sample in family.samples
    }


def _trace(client: ClickHouse, drill: ExampleDrill) -> Iterator[Probe]:
    sql = (
        "SELECT SpanName AS name, SpanId AS id, ParentSpanId AS parent, TraceId AS trace, StatusCode AS status,"
        " ServiceName AS service, Duration / 1e6 AS ms, toUnixTimestamp64Micro(Timestamp) / 1000 AS start"
        " FROM otel_traces WHERE ResourceAttributes['smos.run'] = {r:String} ORDER BY Timestamp"
    )
    rows = client.rows(sql, r=drill.info.run_id)
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


def _metrics(client: ClickHouse, drill: ExampleDrill) -> Iterator[Probe]:
    """Compare with rto.prom, which says the same."""
    wanted = _expected(drill)
    sql = (
        "SELECT MetricName AS name, Attributes AS labels, Value AS value FROM otel_metrics_gauge"
        " WHERE ResourceAttributes['smos.run'] = {r:String}"
    )
    rows = client.rows(sql, r=drill.info.run_id)
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
            began = options.clock()
            telemetry = Telemetry.model_validate({"endpoint": endpoint, "protocol": protocol})
            try:
                sent = options.export(telemetry, drill.info, drill.outcome, drill.timing, limit_s=LIMIT_S)
            except Exception as error:  # noqa: BLE001  (that it raises at all is what is judged)
                yield Probe(claim="harmless", holds=False, seen=f"{what}: raises {type(error).__name__}")
                continue
            seconds = options.clock() - began
            details[f"seconds of an endpoint that {what}, {protocol}"] = round(seconds, 2)
            yield Probe(
                claim="harmless",
                holds=bool(sent.reason) and seconds <= LIMIT_S + SLACK_S,
                seen=f"{what}: {seconds:.1f} s, told: {bool(sent.reason)}",
            )


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE_MS
