"""OBS-03: ClickHouse is killed, telemetry is sent, the collector is killed, both are started: what is there then.

On a private stack, because it is broken on purpose: nobody else is on its ClickHouse.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from smos.errors import DeadlineError
from smos.observability.emit import EmitError, Emitter
from smos.observability.verify.delivery import PROTOCOLS, SIGNALS, await_rows, drained, send, service
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.probe import ObservabilityError
from smos.observability.verify.rows import NOTHING, arrived, window
from smos.observability.verify.stand import Stand
from smos.wait import wait_for

ITEMS = 2_000
WARM = 100
OUTAGE_S = 1.0
"""How long the outage lasts at least, from the last item that was sent: several of the collector's attempts."""
LONGEST_OUTAGE_S = 120.0
"""A limit against hangs: until then the collector has tried in vain."""
FAILED = (
    "Exporting failed. Will retry",
    "Exporting failed. Dropping data",
    "Exporting failed. Rejecting data",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """How the outage goes, for negative controls. between: done to the stack while the collector is dead.

    lasts: tells whether it has lasted long enough, beside OUTAGE_S.
    """

    between: Callable[[Stand], object] | None = None
    lasts: Callable[[Stand], bool] = lambda _stand: True
    narrowed: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survived:
    """One signal over one protocol. before: rows before ClickHouse came back (must be none). error: of sending."""

    signal: str
    protocol: str
    sent: int
    accepted: int
    before: int
    rows: int
    distinct: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageFacts:
    """down: nobody answered on ClickHouse's port while items were sent. attempts: vain ones that the collector logged.

    recovered_s: from the start of ClickHouse until every item was there, or the wait ended. gives_up: the
    configuration's `max_elapsed_time`, "" where it names none (then it is five minutes).
    """

    survived: tuple[Survived, ...]
    down: bool
    attempts: int
    recovered_s: float
    gives_up: str
    details: Mapping[str, Any] = field(default_factory=dict)


def observe(lab: ObservabilityLab) -> OutageFacts:
    """Break, mend, count. Raises SmosError, httpx.HTTPError."""
    lab.require("persistent_queue")
    options = lab.options if isinstance(lab.options, Outage) else Outage()
    # At its end the ClickHouse beside it runs, or is ended.
    with lab.private_stand("outage", beside=lab.own().breakable()) as stand:
        return _observe(lab, stand, options)


def _observe(lab: ObservabilityLab, stand: Stand, options: Outage) -> OutageFacts:
    run, subject, first_ns = lab.run_id(), stand.subject, time.time_ns()
    own = lab.but(stand=stand, find=lambda: subject)
    _warm(own, f"{run}-warm")
    stand.clickhouse.kill()
    receipts: dict[tuple[str, str], tuple[int, str]] = {}
    for protocol in PROTOCOLS:
        with own.emitter(run, protocol, service(run, protocol)) as emitter:
            receipts |= {(signal, protocol): _send(emitter, signal) for signal in SIGNALS}
    last_ns = time.time_ns() + ITEMS * 1000
    down = not stand.clickhouse.running
    sent = time.monotonic()
    with contextlib.suppress(DeadlineError):  # a collector that never tries is seen by what is lost
        wait_for(
            lambda: time.monotonic() - sent >= OUTAGE_S and _attempts(stand) > 0 and options.lasts(stand),
            what="the collector tried in vain",
            deadline_s=LONGEST_OUTAGE_S,
        )
    attempts = _attempts(stand)
    stand.collector.kill()
    if options.between is not None:
        options.between(stand)
    started = time.monotonic()
    stand.clickhouse.start()
    span = window(first_ns, last_ns)
    with own.clickhouse() as client:
        before = {signal: arrived(client, signal, run, span) for signal in SIGNALS}
        stand.collector.start()
        expected = {signal: sum(receipts[signal, one][0] for one in PROTOCOLS) for signal in SIGNALS}
        rows = await_rows(client, span, run, expected, lambda: drained(subject.collector, SIGNALS))
        seconds = time.monotonic() - started
    return OutageFacts(
        survived=tuple(
            Survived(
                signal=signal,
                protocol=protocol,
                sent=ITEMS,
                accepted=accepted,
                before=before[signal].get(service(run, protocol), NOTHING).rows,
                rows=rows[signal].get(service(run, protocol), NOTHING).rows,
                distinct=rows[signal].get(service(run, protocol), NOTHING).distinct,
                error=error,
            )
            for (signal, protocol), (accepted, error) in receipts.items()
        ),
        down=down,
        attempts=attempts,
        recovered_s=round(seconds, 3),
        gives_up=_gives_up(stand),
        details={"run": run},
    )


def _warm(lab: ObservabilityLab, run: str) -> None:
    """Show that the stack works before it is broken. Raises ObservabilityError."""
    first_ns = time.time_ns()
    with lab.emitter(run) as emitter, lab.clickhouse() as client:
        send(emitter, "logs", WARM)
        found = await_rows(client, window(first_ns, time.time_ns() + WARM * 1000), run, {"logs": WARM})
    rows = sum(item.rows for item in found["logs"].values())
    if rows < WARM:
        raise ObservabilityError(
            f"{rows} of {WARM} records arrived before anything was broken",
            code="outage-not-whole",
            remedy="see OBS-01",
        )


def _send(emitter: Emitter, signal: str) -> tuple[int, str]:
    try:
        return send(emitter, signal, ITEMS).accepted, ""
    except EmitError as error:
        return 0, error.message


def _gives_up(stand: Stand) -> str:
    """Return after which time the exporter throws away what it holds, as the configuration says."""
    retry = stand.configuration["exporters"]["clickhouse"].get("retry_on_failure", {})
    return str(retry.get("max_elapsed_time", "")) if retry.get("enabled", True) else "the first attempt"


def _attempts(stand: Stand) -> int:
    text = stand.collector.logs()
    return sum(text.count(words) for words in FAILED)
