"""OBS-12: what each collector declares is tried on a ClickHouse of its own; what it lacks is listed.

The same probes run for every make. Only the real collector can prove the shipped configuration, so no other make may
declare that it does.
"""

import http.server
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Protocol

import httpx

from smos.errors import DeadlineError, ProvisionError, SmosError
from smos.http import trust
from smos.observability.clickhouse import ClickHouse
from smos.observability.emit import Emitter
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.memory import ENVIRONMENT, PADDING, PUSH, PUSHES
from smos.observability.verify.probe import ObservabilityError, Probe, ProbeFacts
from smos.observability.verify.rows import IDENTITY, TABLES
from smos.provision.embedded.clickhouse import EmbeddedClickHouse
from smos.provision.owner import Owner
from smos.provision.telemetry import Capabilities, ClickHouseEndpoint, Collector
from smos.provision.telemetry_servers import EMBEDDED_TELEMETRY, TelemetryServers
from smos.wait import wait_for

ITEMS, MANY = 500, 10_000
"""Items of one signal; more than one batch (8,192 items)."""
ARRIVE_S = REQUEST_S = 120.0
"""Limits against hangs."""
REAL = "otelcol"


class Make(Protocol):
    """Makes a collector, not started. little_memory: with a limit that is soon reached."""

    def __call__(
        self, owner: Owner, clickhouse: ClickHouseEndpoint, name: str, *, little_memory: bool = False
    ) -> Collector:
        """Return it. Raises ProvisionError where it is not installed."""


def otelcol(
    owner: Owner,
    clickhouse: ClickHouseEndpoint,
    name: str,
    *,
    little_memory: bool = False,
    servers: TelemetryServers = EMBEDDED_TELEMETRY,
) -> Collector:
    """Make the real collector."""
    return servers.otelcol(owner, clickhouse, name=name, environment=ENVIRONMENT if little_memory else None)


def rotel(
    owner: Owner, clickhouse: ClickHouseEndpoint, name: str, *, little_memory: bool = False
) -> Collector:
    """Make rotel, which has no memory limit to set and no image: it is always a program of this machine."""
    from smos.provision.embedded.rotel import EmbeddedRotel

    del little_memory
    return EmbeddedRotel(owner, clickhouse, name=name)


MAKES: Mapping[str, Make] = {REAL: otelcol, "rotel": rotel}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """makes: what is tried. only: these capabilities alone (faults, which break one thing).

    arrive_s: how long is waited for items, once everything that must come before them has been seen.
    """

    makes: Mapping[str, Make] = field(default_factory=lambda: MAKES)
    only: Sequence[str] = ()
    arrive_s: float = ARRIVE_S

    @property
    def narrowed(self) -> tuple[str, ...]:
        """The capabilities and makes that alone are tried."""
        makes = (*self.makes,) or ("no collector",)
        return (*self.only, *(makes if set(MAKES) - set(self.makes) else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One collector with its ClickHouse; both are started. endpoint: a database of its own there."""

    owner: Owner
    clickhouse: EmbeddedClickHouse
    endpoint: ClickHouseEndpoint
    collector: Collector
    client: ClickHouse
    make: Make
    run: Callable[[], str]
    arrive_s: float

    def rows(self, signal: str, run: str) -> int:
        """Count the items of a run."""
        items = f"uniqExact({IDENTITY[signal]})"
        sql = f"SELECT {items} FROM {TABLES[signal]} WHERE ResourceAttributes['smos.run'] = {{r:String}}"  # noqa: S608  (a name of ours)
        return int(self.client.value(sql, r=run))

    def arrived(self, signal: str, run: str, count: int) -> bool:
        """Tell whether exactly so many items arrive; delivery is at least once, so one may be there twice."""
        wait_for(
            lambda: self.rows(signal, run) >= count,
            what=f"{count} {signal} arrive",
            deadline_s=self.arrive_s,
        )
        return self.rows(signal, run) == count

    def sent(self, signal: str, count: int = ITEMS, *, protocol: str = "grpc", service: str = "smos") -> str:
        """Send so many items; return their run. Raises _NotSoError where they are not accepted."""
        run = self.run()
        with Emitter(self.collector.endpoint, run=run, protocol=protocol, service=service) as emitter:
            if signal == "traces":
                receipt = emitter.spans(count)
            else:
                receipt = emitter.metrics(count) if signal == "metrics" else emitter.logs(count)
        if receipt.accepted != count:
            raise _NotSoError(f"{receipt.accepted} of {count} {signal} were accepted over {protocol}")
        return run


class _NotSoError(SmosError):
    """A capability does not hold."""


class _NotSeenError(SmosError):
    """What a trial needs did not come about: it says nothing about the capability."""


def observe(lab: ObservabilityLab) -> ProbeFacts:
    """Try every capability that is declared. Raises ObservabilityError where live."""
    own: Mapping[str, Make] = {**MAKES, REAL: partial(otelcol, servers=lab.own().recipe.servers)}
    options: Options = lab.options or Options(makes=own)
    probes: list[Probe] = []
    details: dict[str, Any] = {}
    lab.owner()  # made here: the threads share it
    # Each make breaks its ClickHouse, so each has one of its own.
    places = ["breakable", *(f"breakable-{number}" for number in range(1, len(options.makes)))]
    try:
        with ThreadPoolExecutor(len(options.makes) or 1) as pool:
            found_of = list(pool.map(_one(lab, options), options.makes, places))
    finally:
        for place in places[1:]:  # nobody else asks for these; the first one serves other checks
            lab.own().end_breakable(place)
    for name, tried in zip(options.makes, found_of, strict=True):
        found, capabilities = tried
        probes += found
        if capabilities is not None:
            details[name] = {"has": list(capabilities.present()), "lacks": list(capabilities.absent())}
    return ProbeFacts(probes=tuple(probes), details=details)


def _one(
    lab: ObservabilityLab, options: Options
) -> Callable[[str, str], tuple[list[Probe], Capabilities | None]]:
    """Return what tries the make of a name; most of it is waiting, so that makes are tried side by side."""

    def tried(name: str, place: str) -> tuple[list[Probe], Capabilities | None]:
        try:
            with _bench(lab, name, place, options) as bench:
                return list(_tried(name, bench, options.only)), bench.collector.capabilities
        except ProvisionError as error:
            return [Probe(claim="declared", seen=f"{name}: {error.message}")], None

    return tried


def _tried(name: str, bench: Bench, only: Sequence[str]) -> Iterator[Probe]:
    declared = bench.collector.capabilities
    claims_shipped = declared.shipped_configuration
    yield Probe(
        claim="shipped",
        holds=not claims_shipped or hasattr(bench.collector, "validate"),
        seen=f"{name}: proves the shipped configuration: {claims_shipped}",
    )
    for capability in declared.present():
        if only and capability not in only:
            continue
        holds: bool | None
        try:
            holds = HOLDS[capability](bench)
            seen = f"{name}: {capability}"
        except _NotSeenError as error:
            holds, seen = None, f"{name}: {capability}: {error.message[:200]}"
        except (_NotSoError, DeadlineError) as error:
            holds, seen = False, f"{name}: {capability}: {error.message[:200]}"
        except (httpx.HTTPError, AttributeError) as error:
            holds, seen = False, f"{name}: {capability}: {type(error).__name__}"
        except SmosError as error:
            holds, seen = False, f"{name}: {capability}: {error.message[:200]}"
        yield Probe(claim="declared", holds=holds, seen=seen)


@contextmanager
def _bench(lab: ObservabilityLab, name: str, place: str, options: Options) -> Iterator[Bench]:
    make = options.makes[name]
    owner, stand = lab.owner(), lab.own().breakable(place)
    clickhouse = stand.clickhouse
    endpoint = replace(clickhouse.endpoint, database=f"otel_{secrets.token_hex(8)}")
    collector = make(owner, endpoint, f"conformance-{name}")
    try:
        collector.start()
        with ClickHouse(endpoint) as client:
            yield Bench(
                owner=owner,
                clickhouse=clickhouse,
                endpoint=endpoint,
                collector=collector,
                client=client,
                make=make,
                run=lab.run_id,
                arrive_s=options.arrive_s,
            )
    finally:
        try:
            _ended(collector)
        finally:
            stand.clean(endpoint)


def _ended(collector: Collector) -> None:
    kill: Callable[[], None] = getattr(collector, "kill", collector.stop)
    kill()


def _signal(signal: str) -> Callable[[Bench], bool]:
    def holds(bench: Bench) -> bool:
        return bench.arrived(signal, bench.sent(signal), ITEMS)

    return holds


def _protocol(protocol: str) -> Callable[[Bench], bool]:
    def holds(bench: Bench) -> bool:
        return all(bench.arrived(one, bench.sent(one, 10, protocol=protocol), 10) for one in TABLES)

    return holds


def _resource(bench: Bench) -> bool:
    """Send more than one batch; every row must name its service."""
    run = bench.sent("traces", MANY, service="kept")
    bench.arrived("traces", run, MANY)
    named = bench.client.value("SELECT count() FROM otel_traces WHERE ServiceName = 'kept'")
    return (
        int(named) == MANY
        and int(bench.client.value("SELECT count() FROM otel_traces WHERE ServiceName = ''")) == 0
    )


def _schema(bench: Bench) -> bool:
    tables = bench.client.rows(
        "SELECT create_table_query AS ddl FROM system.tables"
        " WHERE database = {d:String} AND engine LIKE '%MergeTree%'",
        d=bench.endpoint.database,
    )
    kept = re.compile(r"\+ toInterval(Day\(3\)|Hour\(72\)|Second\(259200\))")
    return len(tables) >= len(TABLES) and all(kept.search(row["ddl"]) for row in tables)


def _retried(bench: Bench) -> bool:
    """Take a table away for a moment: the insert is refused, and must be tried again whole.

    ClickHouse tells of the refusal: every collector has words of its own for it.
    """
    before = _refusals(bench)
    bench.client.execute("RENAME TABLE otel_logs TO hidden_logs")
    try:
        run = bench.sent("logs", 2000)
        wait_for(lambda: _refusals(bench) > before, what="ClickHouse refused an insert", deadline_s=REQUEST_S)
    except DeadlineError as error:
        raise _NotSeenError(error.message) from error
    finally:
        bench.client.execute("RENAME TABLE hidden_logs TO otel_logs")
    return bench.arrived("logs", run, 2000)


def _refusals(bench: Bench) -> int:
    """Count how often somebody asked its ClickHouse, which nobody else is on, for a table that is not there."""
    return int(
        bench.client.value("SELECT toUInt64(sum(value)) FROM system.errors WHERE name = 'UNKNOWN_TABLE'")
    )


def _queued(bench: Bench) -> bool:
    """Send into an outage, kill the collector, end the outage."""
    bench.clickhouse.kill()
    runs = {signal: bench.sent(signal) for signal in TABLES}
    _ended(bench.collector)
    bench.clickhouse.start()
    early = [bench.rows(signal, run) for signal, run in runs.items()]
    bench.collector.start()
    if any(early):
        raise _NotSeenError("rows arrived while ClickHouse was down: the outage was none")
    return all(bench.arrived(signal, run, ITEMS) for signal, run in runs.items())


def _limited(bench: Bench) -> bool:
    """Give one of its make little memory and a frozen ClickHouse: it must refuse, live, and lose nothing."""
    small = bench.make(bench.owner, bench.endpoint, "conformance-small", little_memory=True)
    try:
        small.start()
        run = bench.run()
        accepted = refused = 0
        bench.clickhouse.pause()
        try:
            with Emitter(small.endpoint, run=run) as emitter:
                for _ in range(PUSHES):
                    receipt = emitter.spans(PUSH, padding=PADDING)
                    accepted, refused = accepted + receipt.accepted, refused + receipt.refused
                    if refused:
                        break
        finally:
            bench.clickhouse.resume()
        if not refused:
            raise _NotSoError("it refused nothing")
        lives = (
            httpx.get(small.endpoint.health, timeout=REQUEST_S, trust_env=False, verify=trust()).status_code
            == httpx.codes.OK
        )
        return lives and bench.arrived("traces", run, accepted)
    finally:
        _ended(small)


def _healthy(bench: Bench) -> bool:
    return (
        httpx.get(
            bench.collector.endpoint.health, timeout=REQUEST_S, trust_env=False, verify=trust()
        ).status_code
        == httpx.codes.OK
    )


def _own_metrics(bench: Bench) -> bool:
    from smos.observability.verify.metrics import ACCEPTED, counted

    def read() -> float:
        answer = httpx.get(
            bench.collector.endpoint.metrics, timeout=REQUEST_S, trust_env=False, verify=trust()
        )
        return counted(answer.text).get(ACCEPTED, 0.0)

    before = read()
    bench.sent("traces", 100)
    return read() - before == 100


def _scrapes(bench: Bench) -> bool:
    """Let it scrape a page that wants a token: with a wrong one it is down, with the right one its value arrives."""
    scrape = bench.collector.scrape  # type: ignore[attr-defined]  # only makes that declare it have it
    newest = "SELECT argMax(Value, TimeUnix) FROM otel_metrics_gauge WHERE MetricName = {m:String} HAVING count() > 0"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as page:
        threading.Thread(target=page.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            place = f"127.0.0.1:{page.server_port}"
            scrape([place], "wrong")
            wait_for(lambda: bench.client.rows(newest, m="up"), what="it is scraped", deadline_s=REQUEST_S)
            if bench.client.value(newest, m="up") != 0:
                raise _NotSoError("a scrape with a wrong token is not down")
            scrape([place], "right")
            wait_for(
                lambda: bench.client.rows(newest, m="probe_value"),
                what="the value arrives",
                deadline_s=bench.arrive_s,
            )
            return bool(bench.client.value(newest, m="probe_value") == 42)
        finally:
            scrape([], "")
            page.shutdown()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Give one metric to whoever has the token."""
        allowed = self.headers.get("Authorization") == "Bearer right"
        body = b"# TYPE probe_value gauge\nprobe_value 42\n" if allowed else b""
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _shipped(bench: Bench) -> bool:
    validate = getattr(bench.collector, "validate", None)
    if validate is None:
        raise _NotSoError("it does not run the shipped configuration")
    validate()
    return True


HOLDS: Mapping[str, Callable[[Bench], bool]] = {
    "traces": _signal("traces"),
    "metrics": _signal("metrics"),
    "logs": _signal("logs"),
    "grpc": _protocol("grpc"),
    "http": _protocol("http"),
    "resource_kept": _resource,
    "schema_created": _schema,
    "retries_refused": _retried,
    "persistent_queue": _queued,
    "memory_limiter": _limited,
    "health": _healthy,
    "own_metrics": _own_metrics,
    "prometheus_receiver": _scrapes,
    "shipped_configuration": _shipped,
}
"""Capability to what tries it: true, or the capability does not hold."""

if set(HOLDS) != {item.name for item in fields(Capabilities)}:
    raise ObservabilityError("A capability has no trial", code="observability-stopped", remedy="report this")
