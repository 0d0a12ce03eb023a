"""Telemetry of which everything is known: what two services, a Vault and two drills of the harness would send.

It is sent by OTLP through a real collector into a database of its own, so that the tables are those that the
shipped exporter makes, and nobody else's rows are among them. Seconds are relative to `base`, a whole minute; what
each panel of the dashboards must show of it stands in panels.yml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from smos.http import trust
from smos.observability import otlp
from smos.observability.clickhouse import ClickHouse
from smos.observability.drill import SERVICE as HARNESS
from smos.observability.verify.probe import ObservabilityError
from smos.provision.telemetry import CollectorEndpoint
from smos.wait import wait_for

NS = 1_000_000_000
LENGTH_S = 300
"""Everything lies within so many seconds from the base."""
BEFORE_S = 600
"""The base is so many seconds ago: well within the retention, and nothing lies in the future."""
REQUEST_S = ARRIVE_S = 120.0
"""Limits against hangs."""
SHOP, BILLING, VAULT, BUSY = "demo-shop", "billing", "vault", "busy-api"
TARGET = "example"
TRACE = "a1" * 16
"""The trace that goes through both services."""
VARIABLES: Mapping[str, str | Sequence[str]] = {
    "service": [SHOP, BILLING],
    "target": [TARGET],
    "min_ms": "100",
    "trace": TRACE,
}
"""What a person has chosen in the dashboards' menus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSpan:
    """One span. at, took: seconds from the base, milliseconds."""

    service: str
    trace: str
    id: str
    parent: str = ""
    name: str
    kind: int
    at: float
    took: float
    error: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)


SERVER, CLIENT, INTERNAL = 2, 3, 1
"""Kinds of a span, as OTLP numbers them (opentelemetry.proto.trace.v1.Span.SpanKind)."""
DATABASE = {"db.system.name": "postgresql", "db.query.text": "SELECT * FROM carts WHERE id = $1"}
SPANS = (
    KnownSpan(service=SHOP, trace=TRACE, id="a100", name="GET /cart", kind=SERVER, at=10, took=120),
    KnownSpan(
        service=SHOP, trace=TRACE, id="a101", parent="a100", name="SELECT carts", kind=CLIENT, at=10.01, took=40,
        attributes=DATABASE,
    ),
    KnownSpan(
        service=BILLING, trace=TRACE, id="a102", parent="a100", name="POST /charge", kind=SERVER, at=10.055,
        took=60, error=True,
    ),
    KnownSpan(service=SHOP, trace="b2" * 16, id="b200", name="GET /cart", kind=SERVER, at=70, took=200),
    KnownSpan(
        service=SHOP, trace="c3" * 16, id="c300", name="POST /order", kind=SERVER, at=75, took=400, error=True
    ),
    KnownSpan(
        service=SHOP, trace="d4" * 16, id="d401", parent="d4ff", name="lost.child", kind=INTERNAL, at=80, took=10
    ),
    KnownSpan(service=HARNESS, trace="e5" * 16, id="e500", name="drill example", kind=INTERNAL, at=30, took=41_500),
    KnownSpan(
        service=HARNESS, trace="e5" * 16, id="e501", parent="e500", name="restore", kind=INTERNAL, at=32, took=30_000
    ),
    # Enough of them for an alert, of a service that nobody has chosen in the menus.
    *(
        KnownSpan(
            service=BUSY, trace=f"f6{number:02x}" * 8, id=f"f6{number:02x}", name="GET /slow", kind=SERVER,
            at=200 + number, took=2000, error=number < 5,
        )
        for number in range(25)
    ),
)  # fmt: skip
LOGS = (
    (SHOP, 10.02, 9, "INFO", "cart opened", TRACE, "a100"),
    (SHOP, 71.0, 13, "WARN", "cache is slow", "b2" * 16, "b200"),
    (SHOP, 75.3, 17, "ERROR", "order refused", "c3" * 16, "c300"),
    (VAULT, 20.0, 9, "INFO", "vault is unsealed", "", ""),
    *((BUSY, 200.0 + number, 17, "ERROR", "too slow", "", "") for number in range(12)),
)
"""Service, second, number and text of the severity, body, trace, span."""
GAUGES = (
    *((HARNESS, "smos_proven", at, value, {}) for at, value in ((40, 0.0), (100, 1.0))),
    *((HARNESS, "smos_rto_actual_seconds", at, value, {}) for at, value in ((40, 52.25), (100, 41.5))),
    *((HARNESS, "smos_rto_objective_seconds", at, 14_400.0, {}) for at in (40, 100)),
    *((HARNESS, "smos_rpo_actual_seconds", at, value, {}) for at, value in ((40, 900.0), (100, 600.0))),
    *((HARNESS, "smos_rpo_objective_seconds", at, 86_400.0, {}) for at in (40, 100)),
    (HARNESS, "smos_phase_seconds", 100, 3.5, {"phase": "fetch"}),
    (HARNESS, "smos_phase_seconds", 100, 30.0, {"phase": "restore"}),
    (HARNESS, "smos_check_passed", 40, 0.0, {"check": "DR-03"}),
    (HARNESS, "smos_check_passed", 100, 1.0, {"check": "DR-03"}),
    (HARNESS, "smos_check_passed", 100, 0.0, {"check": "DR-08"}),
    *((VAULT, "up", at, value, {}) for at, value in ((0, 0.0), (60, 1.0))),
    # As Vault does: a second series, without a cluster's name, from before it was unsealed.
    *((VAULT, "vault_core_active", at, 1.0, {"cluster": "vault-cluster-1"}) for at in (0, 60)),
    *((VAULT, "vault_core_active", at, 0.0, {"cluster": ""}) for at in (0, 60)),
    *((VAULT, "vault_core_in_flight_requests", at, value, {}) for at, value in ((0, 5.0), (60, 2.0))),
    *((VAULT, "vault_expire_num_leases", at, value, {}) for at, value in ((0, 7.0), (60, 11.0))),
    *((VAULT, "vault_runtime_alloc_bytes", at, value, {}) for at, value in ((0, 4e7), (60, 5e7))),
    *((VAULT, "vault_runtime_sys_bytes", at, value, {}) for at, value in ((0, 8e7), (60, 9e7))),
)
"""Service, metric, second, value, attributes; those of the harness carry the target as well."""
SUMS = (
    ("vault_audit_log_request_failure", ((0, 5.0), (60, 7.0))),
    ("vault_audit_log_response_failure", ((0, 0.0), (60, 1.0))),
)
SUMMARIES: tuple[tuple[str, int, int, float, dict[float, float]], ...] = (
    ("vault_core_handle_request", 0, 100, 250.0, {0.5: 2.0, 0.99: 9.0}),
    ("vault_core_handle_request", 60, 160, 400.0, {0.5: 3.0, 0.99: 12.0}),
    ("vault_audit_log_request", 60, 160, 80.0, {}),
    ("vault_audit_log_response", 60, 0, 0.0, {}),
)
"""Metric, second, count, sum (ms), quantiles (ms)."""
ROWS = {
    "otel_traces": len(SPANS),
    "otel_logs": len(LOGS),
    "otel_metrics_gauge": len(GAUGES) + 1,
    "otel_metrics_sum": 4,
    "otel_metrics_summary": len(SUMMARIES),
}


def send(endpoint: CollectorEndpoint, base: int) -> None:
    """Send all of it. base: Unix seconds of a whole minute. Raises ObservabilityError."""
    # The drill's own time stamp is a value, so it is known only with the base.
    gauges = (*GAUGES, (HARNESS, "smos_drill_timestamp_seconds", 100, float(base + 90), {}))
    with httpx.Client(base_url=endpoint.http, timeout=REQUEST_S, trust_env=False, verify=trust()) as client:
        for path, message in (
            ("/v1/traces", _traces(base)),
            ("/v1/logs", _logs(base)),
            ("/v1/metrics", _metrics(base, gauges)),
        ):
            answer = client.post(
                path,
                content=message.SerializeToString(),
                headers={"Content-Type": "application/x-protobuf"},
            )
            if answer.status_code != httpx.codes.OK:
                raise ObservabilityError(
                    f"The collector answers {answer.status_code} to {path}", code="observability-refused"
                )


def wait_until_there(client: ClickHouse) -> None:
    """Wait until every row is there. Raises DeadlineError."""
    for table, count in ROWS.items():

        def there(table: str = table, count: int = count) -> bool:
            return int(client.value(f"SELECT count() FROM {table}")) == count  # noqa: S608  (a name of ours)

        wait_for(
            there,
            what=f"{count} rows are in {table}",
            deadline_s=ARRIVE_S,
        )


def _traces(base: int) -> Any:
    def span(given: KnownSpan) -> Any:
        start = base * NS + round(given.at * NS)
        return otlp.Span(
            trace_id=bytes.fromhex(given.trace),
            span_id=_span_id(given.id),
            parent_span_id=_span_id(given.parent),
            name=given.name,
            kind=given.kind,
            start_time_unix_nano=start,
            end_time_unix_nano=start + round(given.took * 1e6),
            status=otlp.Status(
                code=otlp.Status.STATUS_CODE_ERROR if given.error else otlp.Status.STATUS_CODE_OK
            ),
            attributes=_attributes(given.attributes),
        )

    return otlp.ExportTraceServiceRequest(
        resource_spans=[
            otlp.ResourceSpans(
                resource=_resource(service),
                scope_spans=[otlp.ScopeSpans(spans=[span(one) for one in SPANS if one.service == service])],
            )
            for service in dict.fromkeys(one.service for one in SPANS)
        ]
    )


def _logs(base: int) -> Any:
    def record(given: tuple[str, float, int, str, str, str, str]) -> Any:
        _, at, number, text, body, trace, span = given
        return otlp.LogRecord(
            time_unix_nano=base * NS + round(at * NS),
            severity_number=number,
            severity_text=text,
            body=otlp.AnyValue(string_value=body),
            trace_id=bytes.fromhex(trace),
            span_id=_span_id(span),
            attributes=_attributes({"logger": "known"}),
        )

    return otlp.ExportLogsServiceRequest(
        resource_logs=[
            otlp.ResourceLogs(
                resource=_resource(service),
                scope_logs=[otlp.ScopeLogs(log_records=[record(one) for one in LOGS if one[0] == service])],
            )
            for service in dict.fromkeys(one[0] for one in LOGS)
        ]
    )


def _metrics(base: int, gauges: Sequence[tuple[str, str, float, float, Mapping[str, str]]]) -> Any:
    def at(seconds: float) -> int:
        return base * NS + round(seconds * NS)

    found: dict[str, list[Any]] = {}
    for service, name, when, value, attributes in gauges:
        metric = otlp.Metric(name=name)
        given = {**attributes, "target": TARGET, "scope": "production"} if service == HARNESS else attributes
        metric.gauge.data_points.append(
            otlp.NumberDataPoint(time_unix_nano=at(when), as_double=value, attributes=_attributes(given))
        )
        found.setdefault(service, []).append(metric)
    for name, points in SUMS:
        metric = otlp.Metric(name=name)
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = otlp.AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.sum.data_points.extend(
            otlp.NumberDataPoint(time_unix_nano=at(when), start_time_unix_nano=at(0), as_double=value)
            for when, value in points
        )
        found.setdefault(VAULT, []).append(metric)
    for name, when, count, total, quantiles in SUMMARIES:
        metric = otlp.Metric(name=name)
        point = otlp.SummaryDataPoint(
            time_unix_nano=at(when), start_time_unix_nano=at(0), count=count, sum=total
        )
        point.quantile_values.extend(
            otlp.SummaryDataPoint.ValueAtQuantile(quantile=quantile, value=value)
            for quantile, value in quantiles.items()
        )
        metric.summary.data_points.append(point)
        found.setdefault(VAULT, []).append(metric)
    return otlp.ExportMetricsServiceRequest(
        resource_metrics=[
            otlp.ResourceMetrics(
                resource=_resource(service), scope_metrics=[otlp.ScopeMetrics(metrics=metrics)]
            )
            for service, metrics in found.items()
        ]
    )


def _span_id(short: str) -> bytes:
    return bytes.fromhex(short * 4)


def _resource(service: str) -> Any:
    return otlp.Resource(attributes=_attributes({"service.name": service}))


def _attributes(given: Mapping[str, str]) -> list[Any]:
    return [otlp.KeyValue(key=key, value=otlp.AnyValue(string_value=value)) for key, value in given.items()]
