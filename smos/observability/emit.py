"""Sends telemetry in bulk and counts what the collector acknowledged: the ledger that rows are compared with.

Applications use the OpenTelemetry SDK; this sender speaks OTLP directly (the same protocol buffers, over HTTP or
gRPC), because it must know of every single item whether it was acknowledged, and send 100,000 in seconds.
Everything that is sent carries the run's id as the resource attribute `smos.run`.
"""

import secrets
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from smos.errors import SmosError
from smos.http import trust
from smos.observability import otlp
from smos.provision.telemetry import CollectorEndpoint

RUN = "smos.run"
"""The resource attribute that scopes every query."""
REQUEST_S = 120.0
"""A limit against hangs: a busy collector takes a request late."""
NOBODY = (
    "failed to connect",
    "Socket closed",
    "Connection reset",
    "recvmsg",
    "name resolution",
    "DNS resolution",
)
"""How gRPC's own words begin where nobody answers: it gives that the same status as "try again later"."""
PIECE = 1000
"""Items in one request, twice what SDKs send by default."""
METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
ANSWERS = {
    "traces": "ExportTraceServiceResponse",
    "metrics": "ExportMetricsServiceResponse",
    "logs": "ExportLogsServiceResponse",
}
"""Signal to the message (smos.observability.otlp) that a collector answers."""
REJECTED = {"traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}


class EmitError(SmosError):
    """The collector could not be reached, or answered something that OTLP does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one call sent. refused: items that the collector said it did not take. seconds: how long it took."""

    sent: int
    accepted: int
    refused: int
    seconds: float


class Emitter:
    """Sends for one run and one service; a context manager.

    protocol: "grpc" or "http". run: the id that scopes queries. start_ns: the time stamp of the first item
    (default: now); later items follow by microseconds.
    """

    def __init__(
        self, endpoint: CollectorEndpoint, *, run: str, protocol: str = "grpc", service: str = "smos-emitter"
    ) -> None:
        self.run, self.protocol = run, protocol
        self._http = httpx.Client(base_url=endpoint.http, timeout=REQUEST_S, trust_env=False, verify=trust())
        import grpc  # with the extra `observability`, as the messages are

        options = [("grpc.enable_http_proxy", 0)]
        if endpoint.grpc.startswith("https://"):  # a live collector's; the embedded ones are on loopback
            address, identity = endpoint.grpc.removeprefix("https://"), grpc.ssl_channel_credentials()
            self._channel = grpc.secure_channel(address, identity, options=options)
        else:
            self._channel = grpc.insecure_channel(endpoint.grpc, options=options)
        self._resource = otlp.Resource(attributes=[_attribute("service.name", service), _attribute(RUN, run)])

    def spans(self, count: int, *, start_ns: int | None = None, padding: int = 0) -> Receipt:
        """Send this many spans: traces of ten, a root and nine children. padding: bytes of one attribute."""
        begin = start_ns or time.time_ns()
        extra = [_attribute("padding", "x" * padding)] if padding else []

        def piece(first: int, size: int) -> Any:
            spans = []
            trace, root = b"", b""
            for number in range(first, first + size):
                own = secrets.token_bytes(8)
                leads = number % 10 == 0 or not trace
                if leads:
                    trace, root = secrets.token_bytes(16), own
                at = begin + number * 1000
                spans.append(
                    otlp.Span(
                        trace_id=trace,
                        span_id=own,
                        parent_span_id=b"" if leads else root,
                        name="emit.root" if leads else "emit.child",
                        kind=otlp.Span.SPAN_KIND_SERVER if leads else otlp.Span.SPAN_KIND_INTERNAL,
                        start_time_unix_nano=at,
                        end_time_unix_nano=at + 5_000_000,  # 5 ms
                        status=otlp.Status(code=otlp.Status.STATUS_CODE_OK),
                        attributes=[_attribute("number", number), *extra],
                    )
                )
            return otlp.ExportTraceServiceRequest(
                resource_spans=[
                    otlp.ResourceSpans(resource=self._resource, scope_spans=[otlp.ScopeSpans(spans=spans)])
                ]
            )

        return self._send("traces", count, piece)

    def metrics(self, count: int, *, start_ns: int | None = None, name: str = "smos.emitted") -> Receipt:
        """Send this many points of a monotonic sum."""
        begin = start_ns or time.time_ns()

        def piece(first: int, size: int) -> Any:
            points = [
                otlp.NumberDataPoint(
                    start_time_unix_nano=begin,
                    time_unix_nano=begin + number * 1000,
                    as_double=float(number),
                    attributes=[_attribute("number", number)],
                )
                for number in range(first, first + size)
            ]
            metric = otlp.Metric(name=name, unit="1")
            metric.sum.aggregation_temporality = (
                otlp.AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            )
            metric.sum.is_monotonic = True
            metric.sum.data_points.extend(points)
            return otlp.ExportMetricsServiceRequest(
                resource_metrics=[
                    otlp.ResourceMetrics(
                        resource=self._resource, scope_metrics=[otlp.ScopeMetrics(metrics=[metric])]
                    )
                ]
            )

        return self._send("metrics", count, piece)

    def logs(self, count: int, *, start_ns: int | None = None) -> Receipt:
        """Send this many log records."""
        begin = start_ns or time.time_ns()

        def piece(first: int, size: int) -> Any:
            records = [
                otlp.LogRecord(
                    time_unix_nano=begin + number * 1000,
                    severity_number=otlp.SeverityNumber.SEVERITY_NUMBER_INFO,
                    severity_text="INFO",
                    body=otlp.AnyValue(string_value=f"record {number}"),
                    attributes=[_attribute("number", number)],
                )
                for number in range(first, first + size)
            ]
            return otlp.ExportLogsServiceRequest(
                resource_logs=[
                    otlp.ResourceLogs(
                        resource=self._resource, scope_logs=[otlp.ScopeLogs(log_records=records)]
                    )
                ]
            )

        return self._send("logs", count, piece)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, signal: str, count: int, piece: Any) -> Receipt:
        started = time.monotonic()
        accepted = 0
        for first in range(0, count, PIECE):
            size = min(PIECE, count - first)
            accepted += self._one(signal, piece(first, size), size)
        seconds = time.monotonic() - started
        return Receipt(sent=count, accepted=accepted, refused=count - accepted, seconds=seconds)

    def _one(self, signal: str, request: Any, size: int) -> int:
        """Send one request and return how many of its items were accepted. Raises EmitError."""
        import grpc

        data = request.SerializeToString()
        if self.protocol == "grpc":
            call = self._channel.unary_unary(METHODS[signal])  # bytes in, bytes out
            try:
                content = call(data, timeout=REQUEST_S)
            except grpc.RpcError as error:
                busy = error.code() in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
                if busy and not any(words in str(error.details()) for words in NOBODY):
                    return 0  # the two that OTLP names for "try again later"
                raise EmitError(
                    f"OTLP/gRPC: {error.code().name}: {error.details()}", remedy="look at the collector's log"
                ) from error
        else:
            try:
                answer = self._http.post(
                    f"/v1/{signal}", content=data, headers={"Content-Type": "application/x-protobuf"}
                )
            except httpx.TransportError as error:
                raise EmitError(f"OTLP/HTTP: {error}", remedy="is the collector running?") from error
            if answer.status_code in {429, 502, 503, 504}:  # likewise
                return 0
            if answer.status_code != httpx.codes.OK:
                raise EmitError(
                    f"OTLP/HTTP: status {answer.status_code}", remedy="look at the collector's log"
                )
            content = answer.content
        partial = getattr(otlp, ANSWERS[signal]).FromString(content).partial_success
        return size - int(getattr(partial, REJECTED[signal]))


def _attribute(key: str, value: str | int) -> Any:
    if isinstance(value, int):
        return otlp.KeyValue(key=key, value=otlp.AnyValue(int_value=value))
    return otlp.KeyValue(key=key, value=otlp.AnyValue(string_value=value))
