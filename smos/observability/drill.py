"""The harness observes itself: a drill as one trace, its RTO, RPO and checks as metrics, by the OpenTelemetry SDK.

It happens once, after the drill and its reports, from what was recorded: the drill itself runs no line of it.
Nothing here raises, and an endpoint that does not answer costs LIMIT_S and no more. The metrics are those of rto.prom,
by the same names; the SDK is imported when an endpoint is set and not before (extra `observability`).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from smos import __version__
from smos.evidence.accounting import RunOutcome
from smos.evidence.rto import prometheus_text
from smos.evidence.run import RunInfo
from smos.verdict import Verdict

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from smos.drill.phases import PhaseFacts, Timing
    from smos.target import Telemetry

SERVICE = "smos-verify"
"""The service that the dashboard "Disaster recovery" looks for."""
RUN = "smos.run"
LIMIT_S = 5.0
"""Most seconds that the end of a run waits for the endpoint."""
NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What was handed over. reason: why not all of it was (empty: it was). seconds: how long it took."""

    spans: int
    points: int
    reason: str
    seconds: float

    @property
    def words(self) -> str:
        """One line for the person at the terminal."""
        if self.reason:
            return f"The drill's telemetry was not sent: {self.reason}"
        return f"The drill's telemetry was sent: {self.spans} spans, {self.points} metrics"


def export_drill(
    telemetry: "Telemetry",
    info: RunInfo,
    outcome: RunOutcome,
    timing: "Timing",
    *,
    limit_s: float = LIMIT_S,
) -> Sent:
    """Send one drill; never raises. limit_s: most seconds that it takes."""
    began = time.monotonic()
    try:
        spans, points, reason = _export(telemetry, info, outcome, timing, limit_s)
    except ModuleNotFoundError as error:
        spans, points = 0, 0
        reason = f"the package {error.name} is missing; pip install 'smarteros-verify[observability]'"
    except Exception as error:  # noqa: BLE001  (what watches a run must not break it; the reason is told)
        spans, points, reason = 0, 0, f"{type(error).__name__}"
    return Sent(spans=spans, points=points, reason=reason, seconds=time.monotonic() - began)


def spans_of(
    resource: "Resource", info: RunInfo, outcome: RunOutcome, timing: "Timing"
) -> "Sequence[ReadableSpan]":
    """Return the drill as ended spans: a root, and a child for each phase that was exercised."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("smos.drill", __version__)
    start = round(info.started.timestamp() * NS)
    placed = list(_placed(timing.phases))
    root = tracer.start_span(
        f"drill {info.target}",
        kind=SpanKind.INTERNAL,
        start_time=start,
        attributes={
            "smos.run_id": info.run_id,
            "smos.target": info.target,
            "smos.scope": info.scope,
            "smos.verdict": outcome.verdict.value,
            "smos.excluded_phases": [phase.name for phase in timing.phases if phase.seconds is None],
        },
    )
    proven = outcome.verdict is Verdict.PASS
    root.set_status(
        Status(StatusCode.OK) if proven else Status(StatusCode.ERROR, f"the verdict is {outcome.verdict}")
    )
    for phase, began_s, ended_s in placed:
        child = tracer.start_span(
            phase.name,
            context=set_span_in_context(root),
            start_time=start + round(began_s * NS),
            attributes={"smos.phase": phase.name, "smos.phase.seconds": phase.seconds or 0.0},
        )
        child.end(start + round(ended_s * NS))
    last = max((ended for _, _, ended in placed), default=0.0)
    root.end(start + round(max(last, timing.rto_actual_s or 0.0) * NS))
    provider.shutdown()
    return kept.get_finished_spans()


def _placed(phases: "Sequence[PhaseFacts]") -> "Iterator[tuple[PhaseFacts, float, float]]":
    """Give each exercised phase with its begin and end, in seconds from the disaster.

    A record of an older version holds durations only: its phases are laid end to end, in the order of the reports.
    """
    at = 0.0
    for phase in phases:
        if phase.seconds is None:
            continue
        began = phase.began_s if phase.began_s is not None else at
        ended = phase.ended_s if phase.ended_s is not None else began + phase.seconds
        yield phase, began, ended
        at = ended


def _export(
    telemetry: "Telemetry", info: RunInfo, outcome: RunOutcome, timing: "Timing", limit_s: float
) -> tuple[int, int, str]:
    from opentelemetry.sdk.metrics.export import MetricExportResult
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExportResult

    resource = Resource.create({"service.name": SERVICE, "service.version": __version__, RUN: info.run_id})
    spans = spans_of(resource, info, outcome, timing)
    points, data = _metrics(resource, info, outcome, timing)
    to_traces, to_metrics = _exporters(telemetry, limit_s)
    results: dict[str, bool] = {}
    broken: list[str] = []

    def run(name: str, export: Callable[[], object], good: object) -> None:
        try:
            results[name] = export() is good
        except Exception as error:  # noqa: BLE001  (the SDK raises whatever its channel does when that is closed)
            broken.append(f"its exporter raised {type(error).__name__}")  # its text may name the endpoint

    threads = [
        threading.Thread(target=run, args=args, daemon=True)
        for args in (
            ("traces", lambda: to_traces.export(spans), SpanExportResult.SUCCESS),
            ("metrics", lambda: to_metrics.export(data), MetricExportResult.SUCCESS),
        )
    ]
    with _heard(threads) as heard:
        end = time.monotonic() + limit_s
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        for exporter in (to_traces, to_metrics):
            # It ends what is still being tried; not waited for, so that a dead endpoint costs the limit only.
            threading.Thread(target=exporter.shutdown, daemon=True).start()
    if all(results.get(name) for name in ("traces", "metrics")):
        return len(spans), points, ""
    where = urlsplit(telemetry.endpoint or "").hostname
    why = next(reversed([*broken, *heard]), f"no answer within {limit_s:g} s")
    return 0, 0, f"{where}: {why}"


def _metrics(resource: "Resource", info: RunInfo, outcome: RunOutcome, timing: "Timing") -> tuple[int, Any]:
    """Return the number of points, and the points as the SDK hands them to exporters."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
    meter = provider.get_meter("smos.drill", __version__)
    points = 0
    for family in text_string_to_metric_families(prometheus_text(info, outcome, timing)):
        unit = "s" if family.name.endswith("_seconds") else "By" if family.name.endswith("_bytes") else "1"
        gauge = meter.create_gauge(family.name, unit=unit, description=family.documentation)
        for sample in family.samples:
            gauge.set(sample.value, attributes=sample.labels)
            points += 1
    data = reader.get_metrics_data()
    provider.shutdown()
    return points, data


def _exporters(telemetry: "Telemetry", limit_s: float) -> tuple[Any, Any]:
    """Return an exporter for traces and one for metrics; headers and certificates are the SDK's own variables."""
    endpoint = (telemetry.endpoint or "").rstrip("/")
    if telemetry.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

        plain = urlsplit(endpoint).scheme == "http"
        return (
            GrpcSpans(endpoint=endpoint, insecure=plain, timeout=limit_s),
            GrpcMetrics(endpoint=endpoint, insecure=plain, timeout=limit_s),
        )
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return (
        OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=limit_s),
        OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", timeout=limit_s),
    )


class _Listener(logging.Handler):
    """Keeps what the SDK says, one short line each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self._lines.append(" ".join(record.getMessage().split())[:160])


@contextmanager
def _heard(threads: "Sequence[threading.Thread]") -> Iterator[list[str]]:
    """Yield what the SDK says meanwhile; it is told once, as the reason, and not to the terminal as it comes.

    A thread that outlives the limit goes on being listened to, for it would write to the terminal later.
    """
    lines: list[str] = []
    logger = logging.getLogger("opentelemetry")
    listener, before = _Listener(lines), logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield lines
    finally:
        if not any(thread.is_alive() for thread in threads):
            logger.removeHandler(listener)
            logger.propagate = before
