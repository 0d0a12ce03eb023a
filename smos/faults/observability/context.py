"""F310 to F318: services that lose context, traces with holes, logs without ids, clocks that differ."""

from typing import Any

from smos.faults.observability.agent import agent, items, keep
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault
from smos.observability.verify.context import STOCK, WEB, Habits

CHECK = "OBS-02"
BAGGAGE_ALONE = {"OTEL_PROPAGATORS": "baggage"}
SKEW_NS = 2 * 10**9


@fault("F310a", "A service takes no context over", "service", caught(CHECK, "trace-broken", STOCK))
def not_extracted(work: ObservabilityWork) -> None:
    """Let baggage alone travel, in the second service."""
    work.lab = work.lab.but(options=Habits(environment={STOCK: BAGGAGE_ALONE}))


@fault("F310b", "A service hands no context on", "service", caught(CHECK, "trace-broken", STOCK))
def not_injected(work: ObservabilityWork) -> None:
    """Let baggage alone travel, in the first service."""
    work.lab = work.lab.but(options=Habits(environment={WEB: BAGGAGE_ALONE}))


@fault(
    "F311", "A service keeps the first request's context", "service", caught(CHECK, "trace-merged", "share")
)
def kept(work: ObservabilityWork) -> None:
    """Never let go of a context."""
    work.lab = work.lab.but(options=Habits(habits={WEB: ("one-context",)}))


@fault("F312", "A service samples by itself", "service", caught(CHECK, "trace-incomplete", STOCK))
def sampled_out(work: ObservabilityWork) -> None:
    """Turn sampling off in the second service."""
    work.lab = work.lab.but(options=Habits(environment={STOCK: {"OTEL_TRACES_SAMPLER": "always_off"}}))


@fault(
    "F313", "A filter drops spans in the middle of traces", "way in", caught(CHECK, "trace-orphaned", STOCK)
)
def filtered(work: ObservabilityWork) -> None:
    """Drop the call that leads from one service to the other."""

    def change(signal: str, request: Any) -> list[Any]:
        if signal == "traces":
            for _, field in items(signal, request):
                keep(field, lambda span: span.name != "call the stock")
        return [request]

    work.front(lambda collector: agent(collector, change))


@fault(
    "F314",
    "Calls of the database are not instrumented",
    "service",
    caught(CHECK, "trace-without-database", "12 calls"),
)
def bare_database(work: ObservabilityWork) -> None:
    """Write without a span."""
    work.lab = work.lab.but(options=Habits(habits={STOCK: ("no-database-span",)}))


@fault(
    "F315a",
    "Log records carry no ids",
    "service",
    caught(CHECK, "trace-logs-without-context", STOCK, "carry no"),
)
def bare_logs(work: ObservabilityWork) -> None:
    """Log from a thread that knows no context."""
    work.lab = work.lab.but(options=Habits(habits={STOCK: ("bare-thread",)}))


@fault(
    "F315b",
    "Log records carry another span's id",
    "way in",
    caught(CHECK, "trace-logs-without-context", "not theirs"),
)
def strange_logs(work: ObservabilityWork) -> None:
    """Alter the span's id in every record."""

    def change(signal: str, request: Any) -> list[Any]:
        if signal == "logs":
            for _, field in items(signal, request):
                for record in field:
                    record.span_id = record.span_id[::-1]
        return [request]

    work.front(lambda collector: agent(collector, change))


@fault(
    "F315c",
    "The log records of one service do not come",
    "way in",
    caught(CHECK, "trace-logs-without-context", "0 log records"),
)
def lost_logs(work: ObservabilityWork) -> None:
    """Drop them."""

    def change(signal: str, request: Any) -> list[Any]:
        return (
            [] if signal == "logs" and any(name == WEB for name, _ in items(signal, request)) else [request]
        )

    work.front(lambda collector: agent(collector, change))


def _skewed(work: ObservabilityWork, by_ns: int) -> None:
    def change(signal: str, request: Any) -> list[Any]:
        if signal == "traces":
            for service, field in items(signal, request):
                for span in field if service == STOCK else ():
                    span.start_time_unix_nano += by_ns
                    span.end_time_unix_nano += by_ns
        return [request]

    work.front(lambda collector: agent(collector, change))


@fault(
    "F316a",
    "A service's clock is two seconds slow",
    "clock",
    caught(CHECK, "trace-skew", STOCK, "start before"),
)
def slow_clock(work: ObservabilityWork) -> None:
    """Its spans start before their parents."""
    _skewed(work, -SKEW_NS)


@fault(
    "F316b", "A service's clock is two seconds fast", "clock", caught(CHECK, "trace-skew", STOCK, "end after")
)
def fast_clock(work: ObservabilityWork) -> None:
    """Its spans end after the parents that wait for them."""
    _skewed(work, SKEW_NS)
