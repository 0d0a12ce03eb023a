"""OBS-01: what was sent over OTLP is compared with what the collector counted and with the rows that are there."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from smos.errors import DeadlineError
from smos.observability.clickhouse import ClickHouse
from smos.observability.emit import EmitError, Emitter, Receipt
from smos.observability.verify.counters import Counted, read_counters
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.rows import NOTHING, Arrived, arrived, window
from smos.provision.telemetry import CollectorEndpoint
from smos.wait import wait_for

PROTOCOLS = ("grpc", "http")
SIGNALS = ("traces", "metrics", "logs")
ITEMS = 2_500
"""Items of each signal over each protocol: two full requests and a half one."""
ARRIVE_S = AWAIT_S = LIVE_ARRIVE_S = 120.0
"""Limits against hangs, no measurements: a wait ends as soon as the collector says that it has nothing left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One signal over one protocol. accepted: as the answers said; error: why not all could be sent."""

    signal: str
    protocol: str
    sent: int
    accepted: int
    rows: Arrived
    elsewhere: int = 0
    """Rows of the run under the name of another service than the one that sent them."""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFacts:
    """Everything that was sent, and what the collector counted meanwhile (None: it has no metrics of its own).

    live: others may have sent at the same time, so the collector's counts are lower bounds.
    settled: the collector had nothing left when the rows were counted; seconds: from the first item to that count.
    """

    sendings: tuple[Sending, ...]
    counted: dict[str, Counted] | None
    live: bool
    settled: bool
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)


def observe(lab: ObservabilityLab) -> DeliveryFacts:
    """Send, wait until nothing more can come, count. Raises SmosError, httpx.HTTPError."""
    subject, run = lab.subject, lab.run_id()
    before = read_counters(subject.collector)
    started, first_ns = time.monotonic(), time.time_ns()
    receipts = {(signal, protocol): _send(lab, run, signal, protocol) for signal, protocol in _pairs()}
    span = window(
        first_ns, time.time_ns() + ITEMS * 1000
    )  # the last item's time is ahead by its number in µs
    with lab.clickhouse() as client:

        def counted() -> dict[str, Counted] | None:
            now = read_counters(subject.collector)
            if now is None or before is None:
                return None
            return {signal: now[signal].since(before[signal]) for signal in SIGNALS}

        def complete() -> bool:
            return all(
                sum(item.rows for item in arrived(client, signal, run, span).values())
                >= sum(receipts[signal, protocol][0] for protocol in PROTOCOLS)
                for signal in SIGNALS
            )

        settled = _settle(counted, complete, live=lab.live)
        rows = {signal: arrived(client, signal, run, span) for signal in SIGNALS}
    return DeliveryFacts(
        sendings=tuple(_sendings(run, rows, receipts)),
        counted=counted(),
        live=lab.live,
        settled=settled,
        seconds=round(time.monotonic() - started, 3),
        details={"run": run},
    )


def service(run: str, protocol: str) -> str:
    """Return the name of the service that sends over a protocol."""
    return f"{run}-{protocol}"


def send(emitter: Emitter, signal: str, count: int) -> Receipt:
    """Send items of one signal. Raises EmitError."""
    if signal == "traces":
        return emitter.spans(count)
    return emitter.metrics(count) if signal == "metrics" else emitter.logs(count)


def await_rows(
    client: ClickHouse,
    span: tuple[float, float],
    run: str,
    expected: Mapping[str, int],
    nothing_left: Callable[[], bool | None] = lambda: None,
) -> dict[str, dict[str, Arrived]]:
    """Wait (bounded) until nothing more can come, or a run has as many rows of each signal; return what there is.

    Fewer is a fact and no error. span: epoch seconds of what was sent. nothing_left: tells whether more can come, as
    the collector says (see drained); None: it does not say. Where it says so, rows that are there do not end the
    wait: what is stored twice comes after them.
    """

    def complete() -> bool:
        left = nothing_left()
        if left is not None:
            return left
        return all(
            sum(item.rows for item in arrived(client, signal, run, span).values()) >= count
            for signal, count in expected.items()
        )

    with contextlib.suppress(DeadlineError):
        wait_for(complete, what="the rows are there", deadline_s=AWAIT_S, transient=(httpx.TransportError,))
    return {signal: arrived(client, signal, run, span) for signal in expected}


def drained(collector: CollectorEndpoint, signals: Collection[str]) -> bool | None:
    """Tell whether the collector has nothing left of these signals; None where it has no metrics of its own.

    Raises httpx.HTTPError.
    """
    now = read_counters(collector)
    return None if now is None else all(now[signal].drained for signal in signals)


def _pairs() -> Iterator[tuple[str, str]]:
    yield from ((signal, protocol) for protocol in PROTOCOLS for signal in SIGNALS)


def _send(lab: ObservabilityLab, run: str, signal: str, protocol: str) -> tuple[int, str]:
    """Return how many items were accepted, and why not all could be sent."""
    with lab.emitter(run, protocol, service(run, protocol)) as emitter:
        try:
            return send(emitter, signal, ITEMS).accepted, ""
        except EmitError as error:
            return 0, error.message


def _settle(
    counted: Callable[[], dict[str, Counted] | None], complete: Callable[[], bool], *, live: bool
) -> bool:
    """Wait until everything is there and nothing more can come. Return whether it came to that.

    Where the collector says that it exported all that it accepted, inserts are done: what is not there then, never
    comes. A live store may show rows later than it took them, so there the whole time is waited.
    """

    def still() -> bool:
        now = counted()
        if now is not None and not all(item.settled for item in now.values()):
            return False
        return complete() or (now is not None and not live)

    try:
        wait_for(still, what="telemetry has arrived", deadline_s=LIVE_ARRIVE_S if live else ARRIVE_S)
    except DeadlineError:
        return False
    return True


def _sendings(
    run: str, rows: dict[str, dict[str, Arrived]], receipts: dict[tuple[str, str], tuple[int, str]]
) -> Iterator[Sending]:
    known = {service(run, protocol) for protocol in PROTOCOLS}
    for (signal, protocol), (accepted, error) in receipts.items():
        yield Sending(
            signal=signal,
            protocol=protocol,
            sent=ITEMS,
            accepted=accepted,
            rows=rows[signal].get(service(run, protocol), NOTHING),
            elsewhere=sum(item.rows for name, item in rows[signal].items() if name not in known),
            error=error,
        )
