"""OBS-02: two instrumented services in processes of their own and a database between them; what became of each trace.

The client (this process) has no tracing: it only keeps the trace ids that the services told it, as its ledger.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx
import psycopg

from smos.errors import DeadlineError
from smos.http import trust
from smos.observability.clickhouse import ClickHouse
from smos.observability.verify.delivery import drained
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.process import Service
from smos.observability.verify.stand import Stand
from smos.provision.base import start_all
from smos.provision.telemetry import CollectorEndpoint
from smos.wait import wait_for

WEB, STOCK = "shop-web", "shop-stock"
SERVICE = Path(__file__).with_name("services") / "shop.py"
"""Run, never imported: it needs the OpenTelemetry SDK, which a collection of the suites must not need."""
TRACE_HEADER = "X-Trace-Id"
"""In which the service tells the trace of its answer, as in shop.py."""
ORDERS = 12
SPANS_PER_ORDER, LOGS_PER_ORDER = 4, 2
ARRIVE_S = 120.0
"""A limit against hangs: the wait ends as soon as the collector has nothing left."""
REQUEST_S = 120.0
DATABASE = "INSERT orders"
TABLE = "CREATE TABLE IF NOT EXISTS orders (run text, number int, trace text, PRIMARY KEY (run, number))"


SPANS = (
    "SELECT TraceId, SpanId, ParentSpanId, ServiceName, SpanName, toUnixTimestamp64Nano(Timestamp) AS start,"
    " Duration AS duration FROM otel_traces"
)
LOGS = "SELECT TraceId, SpanId, ServiceName FROM otel_logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the services are instrumented, by service: what the operator sets, and bad habits (see shop.py)."""

    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    habits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    narrowed: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanFact:
    """One stored span. start_ns, end_ns: epoch, by the clock of the process that made it."""

    trace: str
    span: str
    parent: str
    service: str
    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFact:
    """One stored log record."""

    trace: str
    span: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextFacts:
    """asked: trace ids that the client was told, one for each order. written: those that the database holds."""

    asked: tuple[str, ...]
    written: tuple[str, ...]
    spans: tuple[SpanFact, ...]
    logs: tuple[LogFact, ...]
    services: tuple[str, ...] = (WEB, STOCK)
    details: Mapping[str, Any] = field(default_factory=dict)


def observe(lab: ObservabilityLab) -> ContextFacts:
    """Place orders, then read spans, log records and rows back. Raises SmosError, httpx.HTTPError."""
    habits = lab.options if isinstance(lab.options, Habits) else Habits()
    run, first_s = lab.run_id(), time.time()
    with _database(lab) as dsn, _services(lab, run, dsn, habits) as (web, stock):
        with httpx.Client(trust_env=False, verify=trust(), timeout=REQUEST_S) as client:
            asked = tuple(
                client.post(f"{web.endpoint}/order/{number}").raise_for_status().headers[TRACE_HEADER]
                for number in range(ORDERS)
            )
            for service in (web, stock):
                client.post(f"{service.endpoint}/flush").raise_for_status()
        with psycopg.connect(dsn) as connection:
            rows = connection.execute("SELECT trace FROM orders WHERE run = %s ORDER BY number", (run,))
            written = tuple(str(row[0]) for row in rows)
    with lab.clickhouse() as reader:

        def nothing_left() -> bool:
            return not lab.live and bool(drained(lab.subject.collector, ("traces", "logs")))

        spans, logs = _read(reader, run, first_s, ARRIVE_S, nothing_left)
    return ContextFacts(asked=asked, written=written, spans=spans, logs=logs, details={"run": run})


@contextmanager
def _database(lab: ObservabilityLab) -> Iterator[str]:
    """Give how the second service connects; the database is ours, also where the stack is not."""
    with ThreadPoolExecutor(max_workers=1) as pool:  # the stack may be starting at the same time
        stack = pool.submit(lambda: lab.subject)
        stand = lab.stand or Stand(lab.owner(), name="shop")
        dsn = stand.postgres.endpoint.conninfo()
        with psycopg.connect(dsn) as connection:
            connection.execute(TABLE)
        stack.result()
    try:
        yield dsn
    finally:
        if lab.stand is None:
            stand.close()


@contextmanager
def _services(lab: ObservabilityLab, run: str, dsn: str, habits: Habits) -> Iterator[tuple[Service, Service]]:
    def make(name: str, protocol: str, **config: str) -> Service:
        given = {
            "name": name,
            "run": run,
            "otlp": {"protocol": protocol, "endpoint": _endpoint(lab.subject.collector, protocol)},
            "habits": habits.habits.get(name, ()),
            "next": "",
            "dsn": "",
            **config,
        }
        script = SERVICE
        return Service(lab.owner(), script, given, environment=habits.environment.get(name, {}))

    stock = make(STOCK, "http", dsn=dsn)
    web = make(WEB, "grpc", next=stock.endpoint)
    try:
        start_all(stock, web)
        yield web, stock
    finally:
        web.kill()
        stock.kill()


def _endpoint(collector: CollectorEndpoint, protocol: str) -> str:
    if protocol == "http":
        return collector.http
    return collector.grpc if collector.grpc.startswith("https://") else f"http://{collector.grpc}"


def _read(
    client: ClickHouse, run: str, first_s: float, deadline_s: float, nothing_left: Callable[[], bool]
) -> tuple[tuple[SpanFact, ...], tuple[LogFact, ...]]:
    """Wait until as much is there as should be (bounded), and return what is there."""
    scope = (
        "ResourceAttributes['smos.run'] = {run:String} AND Timestamp >= toDateTime64({first:Float64}, 9)"
        " AND Timestamp <= toDateTime64({last:Float64}, 9)"
    )
    # A day on each side: a service whose clock is off must be seen.
    bound = {"run": run, "first": first_s - 86_400, "last": first_s + 86_400}

    def spans() -> list[dict[str, Any]]:
        return client.rows(f"{SPANS} WHERE {scope}", **bound)

    def logs() -> list[dict[str, Any]]:
        return client.rows(f"{LOGS} WHERE {scope}", **bound)

    def complete() -> bool:
        return nothing_left() or (
            len(spans()) >= ORDERS * SPANS_PER_ORDER and len(logs()) >= ORDERS * LOGS_PER_ORDER
        )

    with contextlib.suppress(DeadlineError):  # what is missing is a fact that the judge sees
        wait_for(complete, what="the spans of the orders are there", deadline_s=deadline_s)
    return (
        tuple(
            SpanFact(
                trace=row["TraceId"],
                span=row["SpanId"],
                parent=row["ParentSpanId"],
                service=row["ServiceName"],
                name=row["SpanName"],
                start_ns=int(row["start"]),
                end_ns=int(row["start"]) + int(row["duration"]),
            )
            for row in spans()
        ),
        tuple(
            LogFact(trace=row["TraceId"], span=row["SpanId"], service=row["ServiceName"]) for row in logs()
        ),
    )
