"""OBS-04: a private collector gets little memory and a frozen ClickHouse, and is pushed until it refuses.

What counts: it accepted before, it refuses, it lives, what it had accepted arrives, and it accepts again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from smos.errors import DeadlineError
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
}
"""Above limit - spike it refuses: a tenth of production's, so that it takes seconds to get there."""
FEW = 50
PUSH, PADDING, PUSHES = 4000, 4000, 10
"""Spans of one push and bytes of each: 10 pushes are 160 MB, three times what it may hold."""
RECOVER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeeze:
    """pressed: done to the collector's process before it is pushed (negative controls)."""

    pressed: Callable[[int], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFacts:
    """Items. before: accepted of FEW while nothing pressed. accepted, refused: of what was pushed.

    lived: the process was the same one all the time, and healthy at the end. counted: refused by its own account
    (None: it gives none). arrived: different rows of what was accepted. again: accepted of FEW after the pressure.
    stopped: how sending broke off, empty when it did not.
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
    with lab.private_stand("memory", environment=ENVIRONMENT) as stand:
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
    counters = _counters(subject.collector) if lived else None
    accepted = sum(item.accepted for item in pushed)
    span = window(first_ns, time.time_ns() + PUSH * 1000)

    def nothing_left() -> bool:
        now = _counters(subject.collector) if lived else None
        return now is None or now["traces"].settled

    with own.clickhouse() as client:
        rows = await_rows(client, span, run, {"traces": accepted}, nothing_left)
        there = sum(item.distinct for item in rows["traces"].values())
    again = _again(own, f"{run}-after") if lived else 0
    return MemoryFacts(
        before=before,
        accepted=accepted,
        refused=sum(item.refused for item in pushed),
        lived=lived and _lives(stand, pid),
        counted=int(counters["traces"].refused) if counters else None,
        arrived=there,
        again=again,
        stopped=stopped,
        details={"run": run, "limit, MiB": LIMIT_MIB, "pushed, bytes": len(pushed) * PUSH * PADDING},
    )


def _push(emitter: Emitter) -> tuple[list[Receipt], str]:
    """Send until something is refused, or as much as there is."""
    pushed: list[Receipt] = []
    for _ in range(PUSHES):
        try:
            pushed.append(emitter.spans(PUSH, padding=PADDING))
        except EmitError as error:
            return pushed, error.message
        if pushed[-1].refused:
            break
    return pushed, ""


def _again(lab: ObservabilityLab, run: str) -> int:
    """Send a little until it is accepted (bounded); return how much was."""
    with lab.emitter(run) as emitter:

        def accepted() -> int:
            return emitter.spans(FEW).accepted

        try:
            return wait_for(accepted, what="it accepts again", deadline_s=RECOVER_S, transient=(EmitError,))
        except DeadlineError:
            return 0


def _lives(stand: Stand, pid: int | None) -> bool:
    """Tell whether the collector is the process that it was, and says that it is healthy."""
    collector = stand.collector
    if isinstance(collector, EmbeddedOtelcol) and collector.pid != pid:
        return False
    try:
        return httpx.get(collector.endpoint.health, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _counters(endpoint: CollectorEndpoint) -> dict[str, Counted] | None:
    """Return what it counted; None where it died meanwhile, which `lived` says."""
    try:
        return read_counters(endpoint)
    except httpx.TransportError:
        return None
