"""One conformance suite for every collector: what it declares must hold.

The real collector is never skipped: where it was not built, its tests fail and say how to build it.
"""

import dataclasses
import http.server
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from smos.errors import ProvisionError
from smos.observability.clickhouse import ClickHouse
from smos.observability.emit import Emitter
from smos.provision.embedded import otelcol, rotel
from smos.provision.embedded.clickhouse import EmbeddedClickHouse
from smos.provision.embedded.otelcol import EmbeddedOtelcol
from smos.provision.embedded.rotel import EmbeddedRotel
from smos.provision.owner import Owner
from smos.provision.telemetry import Capabilities, Collector
from smos.wait import wait_for

TABLES = {"traces": "otel_traces", "metrics": "otel_metrics_sum", "logs": "otel_logs"}
DECLARED = {"otelcol": otelcol.CAPABILITIES, "rotel": rotel.CAPABILITIES}
ARRIVE_S = 30


@dataclasses.dataclass
class Bench:
    """One collector with its ClickHouse."""

    owner: Owner
    clickhouse: EmbeddedClickHouse
    collector: Collector
    client: ClickHouse

    def rows(self, signal: str, run: str) -> int:
        """Count the rows of this run."""
        return int(
            self.client.value(
                f"SELECT count() FROM {TABLES[signal]} WHERE ResourceAttributes['smos.run'] = {{run:String}}",
                run=run,
            )
        )

    def arrived(self, signal: str, run: str, count: int) -> int:
        """Wait for as many rows, then for more: a duplicate may come later. Return the number."""
        wait_for(
            lambda: self.rows(signal, run) >= count,
            what=f"{count} {signal} arrive",
            deadline_s=ARRIVE_S,
            on_timeout=lambda: f"{self.rows(signal, run)} rows\n{self.collector.logs()[-2000:]}",
        )
        return self.rows(signal, run)


def make(
    owner: Owner, kind: str, clickhouse: EmbeddedClickHouse, name: str = "", **options: object
) -> Collector:
    if kind == "rotel":
        return EmbeddedRotel(owner, clickhouse.endpoint, name=name or kind)
    return EmbeddedOtelcol(owner, clickhouse.endpoint, name=name or kind, **options)


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-collectors") as owner:
        yield owner


@pytest.fixture(scope="module", params=sorted(DECLARED))
def bench(request: pytest.FixtureRequest, owner: Owner) -> Iterator[Bench]:
    clickhouse = EmbeddedClickHouse(owner, name=f"clickhouse-{request.param}")
    collector = make(owner, request.param, clickhouse)
    clickhouse.start()
    collector.start()
    with ClickHouse(clickhouse.endpoint) as client:
        yield Bench(owner, clickhouse, collector, client)
    collector.stop()
    clickhouse.stop()


def signal_arrives(signal: str) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        for protocol in ("grpc", "http"):
            run = secrets.token_hex(8)
            with Emitter(bench.collector.endpoint, run=run, protocol=protocol) as emitter:
                send = {"traces": emitter.spans, "metrics": emitter.metrics, "logs": emitter.logs}[signal]
                receipt = send(1234)
            assert (receipt.accepted, receipt.refused) == (1234, 0)
            assert bench.arrived(signal, run, 1234) == 1234

    return check


def protocol_is_spoken(protocol: str) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        run = secrets.token_hex(8)
        with Emitter(bench.collector.endpoint, run=run, protocol=protocol) as emitter:
            assert emitter.logs(1).accepted == 1
        assert bench.arrived("logs", run, 1) == 1

    return check


def resource_is_kept(bench: Bench) -> None:
    run, service = secrets.token_hex(8), f"service-{secrets.token_hex(4)}"
    with Emitter(bench.collector.endpoint, run=run, service=service) as emitter:
        assert emitter.spans(20_000).accepted == 20_000
    assert bench.arrived("traces", run, 20_000) == 20_000
    assert (
        bench.client.value("SELECT count() FROM otel_traces WHERE ServiceName = {s:String}", s=service)
        == 20_000
    )
    assert bench.client.value("SELECT count() FROM otel_traces WHERE ServiceName = ''") == 0


def schema_is_created(bench: Bench) -> None:
    tables = bench.client.rows(
        "SELECT name, create_table_query AS ddl FROM system.tables "
        "WHERE database = {d:String} AND engine LIKE '%MergeTree%'",
        d=bench.clickhouse.endpoint.database,
    )
    assert {"otel_traces", "otel_logs", "otel_metrics_gauge", "otel_metrics_sum"} <= {
        row["name"] for row in tables
    }
    for row in tables:
        kept = ("toIntervalDay(3)", "toIntervalHour(72)", "toIntervalSecond(259200)")
        assert any(f"+ {interval}" in row["ddl"] for interval in kept), row


def refused_inserts_are_retried(bench: Bench) -> None:
    run = secrets.token_hex(8)
    bench.client.execute("RENAME TABLE otel_logs TO hidden_logs")
    try:
        with Emitter(bench.collector.endpoint, run=run) as emitter:
            assert emitter.logs(3000).accepted == 3000
        wait_for(
            lambda: "UNKNOWN_TABLE" in bench.collector.logs(),
            what="an insert was refused",
            deadline_s=ARRIVE_S,
        )
    finally:
        bench.client.execute("RENAME TABLE hidden_logs TO otel_logs")
    assert bench.arrived("logs", run, 3000) == 3000


def queue_survives(bench: Bench) -> None:
    run = secrets.token_hex(8)
    bench.clickhouse.kill()
    with Emitter(bench.collector.endpoint, run=run) as emitter:
        assert emitter.spans(5000).accepted == 5000
        assert emitter.metrics(5000).accepted == 5000
        assert emitter.logs(5000).accepted == 5000
    bench.collector.kill()
    bench.clickhouse.start()
    assert [bench.rows(signal, run) for signal in TABLES] == [0, 0, 0]
    bench.collector.start()
    assert [bench.arrived(signal, run, 5000) for signal in TABLES] == [5000, 5000, 5000]


def memory_is_limited(bench: Bench) -> None:
    """Give a collector of its own little memory and a frozen ClickHouse: it refuses and lives."""
    small = make(
        bench.owner,
        "otelcol",
        bench.clickhouse,
        "small",
        environment={
            "OTELCOL_MEMORY_LIMIT_MIB": "60",
            "OTELCOL_MEMORY_SPIKE_MIB": "20",
            "OTELCOL_MEMORY_CHECK": "100ms",
        },
    )
    small.start()
    run = secrets.token_hex(8)
    accepted = refused = 0
    bench.clickhouse.pause()
    try:
        with Emitter(small.endpoint, run=run) as emitter:
            for _ in range(20):
                receipt = emitter.spans(5000, padding=2000)
                accepted, refused = accepted + receipt.accepted, refused + receipt.refused
                if refused:
                    break
    finally:
        bench.clickhouse.resume()
    assert accepted > 0
    assert refused > 0
    assert httpx.get(small.endpoint.health, trust_env=False).status_code == 200
    assert bench.arrived("traces", run, accepted) == accepted
    small.stop()


def health_is_told(bench: Bench) -> None:
    assert httpx.get(bench.collector.endpoint.health, trust_env=False).status_code == 200


def own_metrics_count(bench: Bench) -> None:
    def total(text: str, name: str) -> float:
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + "{"))

    def read() -> str:
        return httpx.get(bench.collector.endpoint.metrics, trust_env=False).text

    before, run = read(), secrets.token_hex(8)
    with Emitter(bench.collector.endpoint, run=run) as emitter:
        emitter.spans(777)
    bench.arrived("traces", run, 777)

    def grown(name: str) -> float:
        return total(read(), name) - total(before, name)

    assert grown("otelcol_receiver_accepted_spans") == 777
    wait_for(
        lambda: grown("otelcol_exporter_sent_spans") == 777,
        what="the sent spans are counted",
        deadline_s=5,
    )
    assert grown("otelcol_receiver_refused_spans") == 0
    assert total(read(), "otelcol_exporter_send_failed_spans") == 0


class _Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "Bearer right"
        body = b"# TYPE probe_value gauge\nprobe_value 42\n" if allowed else b""
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def prometheus_is_scraped(bench: Bench) -> None:
    assert isinstance(bench.collector, EmbeddedOtelcol)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Metrics) as target:
        threading.Thread(target=target.serve_forever).start()
        try:
            place = f"127.0.0.1:{target.server_port}"
            newest = "SELECT argMax(Value, TimeUnix) FROM otel_metrics_gauge WHERE MetricName = {m:String}"
            bench.collector.scrape([place], "wrong")
            wait_for(
                lambda: bench.client.value("SELECT count() FROM otel_metrics_gauge WHERE MetricName = 'up'"),
                what="the scrape is recorded",
                deadline_s=ARRIVE_S,
            )
            assert bench.client.value(newest, m="up") == 0
            bench.collector.scrape([place], "right")
            wait_for(
                lambda: bench.client.value(newest, m="probe_value") == 42, what="scraped", deadline_s=ARRIVE_S
            )
        finally:
            bench.collector.scrape([], "")
            target.shutdown()
    wait_for(
        lambda: bench.client.value(newest, m="up") == 1, what="the newest scrape worked", deadline_s=ARRIVE_S
    )


def shipped_configuration_runs(bench: Bench) -> None:
    assert isinstance(bench.collector, EmbeddedOtelcol)
    bench.collector.validate()


HOLDS: dict[str, Callable[[Bench], None]] = {
    "traces": signal_arrives("traces"),
    "metrics": signal_arrives("metrics"),
    "logs": signal_arrives("logs"),
    "grpc": protocol_is_spoken("grpc"),
    "http": protocol_is_spoken("http"),
    "resource_kept": resource_is_kept,
    "schema_created": schema_is_created,
    "retries_refused": refused_inserts_are_retried,
    "persistent_queue": queue_survives,
    "memory_limiter": memory_is_limited,
    "health": health_is_told,
    "own_metrics": own_metrics_count,
    "prometheus_receiver": prometheus_is_scraped,
    "shipped_configuration": shipped_configuration_runs,
}


def test_every_capability_has_a_check() -> None:
    assert set(HOLDS) == {item.name for item in dataclasses.fields(Capabilities)}
    for declared in DECLARED.values():
        assert set(declared.present()) | set(declared.absent()) == set(HOLDS)


def test_only_the_real_collector_says_that_it_proves_the_shipped_configuration() -> None:
    assert DECLARED["otelcol"].absent() == ()
    assert "shipped_configuration" in DECLARED["rotel"].absent()
    assert "persistent_queue" in DECLARED["rotel"].absent()


@pytest.mark.parametrize("name", sorted(HOLDS))
def test_what_a_collector_declares_holds(bench: Bench, name: str) -> None:
    if getattr(bench.collector.capabilities, name):
        HOLDS[name](bench)
    else:
        assert name in bench.collector.capabilities.absent()


def test_a_configuration_that_names_an_unknown_component_is_found(owner: Owner, tmp_path: Path) -> None:
    clickhouse = EmbeddedClickHouse(owner, name="unstarted")
    broken = tmp_path / "config.yaml"
    broken.write_text(
        otelcol.configuration().read_text().replace("exporters: [clickhouse]", "exporters: [nobody]")
    )
    with pytest.raises(ProvisionError, match="exit code"):
        EmbeddedOtelcol(owner, clickhouse.endpoint, name="broken", config=broken).validate()


def test_a_collector_with_the_wrong_password_does_not_become_ready(bench: Bench, owner: Owner) -> None:
    if not isinstance(bench.collector, EmbeddedOtelcol):
        assert not bench.collector.capabilities.health
        return
    endpoint = replace(bench.clickhouse.endpoint, password="wrong")
    with pytest.raises(ProvisionError) as refused:
        EmbeddedOtelcol(owner, endpoint, name="stranger").start(timeout_s=10)
    assert "516" in str(refused.value)
    assert bench.clickhouse.endpoint.password not in str(refused.value)
