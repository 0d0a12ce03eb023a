"""OBS-04: a private collector gets little memory and a frozen ClickHouse, and is pushed until it refuses.

What counts: it accepted before, it refuses, it lives, what it had accepted arrives, and it accepts again.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx

from smos.errors import DeadlineError
from smos.http import trust
from smos.observability.emit import EmitError, Emitter, Receipt
from smos.observability.verify.counters import Counted, read_counters
from smos.observability.verify.delivery import await_rows
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.rows import window
from smos.observability.verify.stand import Stand
from smos.provision.embedded.otelcol import EmbeddedOtelcol
from smos.provision.telemetry import CollectorEndpoint
from smos.wait import wait_for

LIMIT_MIB, SPIKE_MIB = 80, 30
ENVIRONMENT: Mapping[str, str] = {
    "OTELCOL_MEMORY_LIMIT_MIB": str(LIMIT_MIB),
    "OTELCOL_MEMORY_SPIKE_MIB": str(SPIKE_MIB),
    "OTELCOL_MEMORY_CHECK": "100ms",
    "OTELCOL_MEMORY_GC": "200ms",
    "OTELCOL_MEMORY_GC_LONGEST": "1s",
    "OTELCOL_BATCH_MIN": "50",
    "OTELCOL_BATCH_MAX": "50",
    "OTELCOL_CONSUMERS": "64",
}
"""Above limit - spike it refuses: a tenth of production's, so that it takes seconds to get there.

The queue is on disk: in memory are the batches that consumers hold, here up to 64 of 1 MB, which is above the limit
for certain. Batches are small because the client of ClickHouse keeps twice the largest batch for each of its ten
connections: with large ones it would stay above the limit when all has gone. What was freed is only seen after a
garbage collection, and above the limit one is forced every 10 to 30 s unless it is told otherwise.
"""
FEW = 50
PUSH, PADDING, PUSHES = 50, 20_000, 110
"""Spans of one push (one request) and bytes of each: 110 pushes are 110 MB, twice what it may hold."""
TURNS_S = 2.0
"""How long it may take to notice that its memory is full: 20 of its checks."""
RECOVER_S = 120.0
"""A limit against hangs, from the moment when nothing waits in its queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeeze:
    """pressed: done to the collector's process before it is pushed (negative controls)."""

    pressed: Callable[[int], object] | None = None
    narrowed: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFacts:
    """Items. before: accepted of FEW while nothing pressed. accepted, refused: of what was pushed.

    lived: the process was the same one all the time, and healthy at the end. counted: refused by its own account
    (None: it gives none). arrived: different rows of what was accepted. again: accepted of FEW after the pressure.
    stopped: how sending broke off, empty when it did not. Where it took everything there was no pressure after which
    something could arrive: neither is looked at.
    """

    before: int
    accepted: int
    refused: int
    lived: bool
    counted: int | None
    arrived: int
    again: int
    stopped: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def observe(lab: ObservabilityLab) -> MemoryFacts:
    """Push until it refuses, then relieve it. Raises SmosError, httpx.HTTPError."""
    lab.require("memory_limiter")
    options = lab.options if isinstance(lab.options, Squeeze) else Squeeze()
    with lab.private_stand("memory", beside=lab.own().breakable(), environment=ENVIRONMENT) as stand:
        return _observe(lab, stand, options)


def _observe(lab: ObservabilityLab, stand: Stand, options: Squeeze) -> MemoryFacts:
    run, subject, first_ns = lab.run_id(), stand.subject, time.time_ns()
    own = lab.but(stand=stand, find=lambda: subject)
    collector = stand.collector
    pid = collector.pid if isinstance(collector, EmbeddedOtelcol) else None
    with own.emitter(f"{run}-before") as emitter:
        before = emitter.spans(FEW).accepted
    if before < FEW:  # there is no pressure to speak of
        return MemoryFacts(before=before, accepted=0, refused=0, lived=True, counted=None, arrived=0, again=0)
    stand.clickhouse.pause()
    try:
        if options.pressed is not None and pid is not None:
            options.pressed(pid)
        with own.emitter(run) as emitter:
            pushed, stopped = _push(emitter)
    finally:
        stand.clickhouse.resume()
    lived = _lives(stand, pid)
    accepted, refused = sum(item.accepted for item in pushed), sum(item.refused for item in pushed)
    details = {"run": run, "limit, MiB": LIMIT_MIB, "pushed, bytes": _bytes(pushed)}
    if lived and not refused and not stopped:
        return MemoryFacts(
            before=before,
            accepted=accepted,
            refused=0,
            lived=True,
            counted=None,
            arrived=0,
            again=0,
            details=details,
        )
    counters = _counters(subject.collector) if lived else None
    span = window(first_ns, time.time_ns() + PUSH * 1000)

    def nothing_left() -> bool:
        now = _counters(subject.collector) if lived else None
        return now is None or now["traces"].drained

    with own.clickhouse() as client:
        rows = await_rows(client, span, run, {"traces": accepted}, nothing_left)
        there = sum(item.distinct for item in rows["traces"].values())
    again = _again(own, f"{run}-after") if lived else 0
    return MemoryFacts(
        before=before,
        accepted=accepted,
        refused=refused,
        lived=lived and _lives(stand, pid),
        counted=int(counters["traces"].refused) if counters else None,
        arrived=there,
        again=again,
        stopped=stopped,
        details=details,
    )


def _push(emitter: Emitter) -> tuple[list[Receipt], str]:
    """Send until something is refused, or as much as there is; then a little more while it may notice."""
    pushed: list[Receipt] = []

    def refused(count: int, padding: int) -> bool:
        pushed.append(emitter.spans(count, padding=padding))
        return pushed[-1].refused > 0

    try:
        if not any(refused(PUSH, PADDING) for _ in range(PUSHES)):
            with contextlib.suppress(DeadlineError):
                wait_for(lambda: refused(1, 0), what="it refuses", deadline_s=TURNS_S)
    except EmitError as error:
        return pushed, error.message
    return pushed, ""


def _bytes(pushed: list[Receipt]) -> int:
    return sum(item.sent for item in pushed if item.sent == PUSH) * PADDING


def _again(lab: ObservabilityLab, run: str) -> int:
    """Send a little until all of it is accepted (bounded); return how much was."""
    with lab.emitter(run) as emitter:

        def accepted() -> int:
            return emitter.spans(FEW).accepted  # one request: all or nothing

        try:
            return wait_for(accepted, what="it accepts again", deadline_s=RECOVER_S, transient=(EmitError,))
        except DeadlineError:
            return 0


def _lives(stand: Stand, pid: int | None) -> bool:
    """Tell whether the collector is the process that it was, and says that it is healthy (a busy one says it late)."""
    collector = stand.collector

    def dead() -> bool:
        return isinstance(collector, EmbeddedOtelcol) and collector.pid != pid

    def answered() -> bool:
        if dead():
            return True
        health = httpx.get(collector.endpoint.health, timeout=RECOVER_S, trust_env=False, verify=trust())
        return health.status_code == httpx.codes.OK

    try:
        wait_for(answered, what="it is healthy", deadline_s=RECOVER_S, transient=(httpx.TransportError,))
    except DeadlineError:
        return False
    return not dead()


def _counters(endpoint: CollectorEndpoint) -> dict[str, Counted] | None:
    """Return what it counted; None where it died meanwhile, which `lived` says."""
    try:
        return read_counters(endpoint)
    except httpx.TransportError:
        return None
