"""F365 to F368: a drill whose trace or metrics say something else than happened, or whose export gets in its way."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from unittest.mock import patch

from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault

if TYPE_CHECKING:
    from smos.drill.phases import PhaseFacts, Timing

CHECK = "OBS-11"
HOUR_S = 3600.0


def _timed(work: ObservabilityWork, change: "Callable[[Timing], Timing]") -> None:
    """Let the drill be exported with other figures than it had."""

    def export(telemetry: Any, info: Any, outcome: Any, timing: "Timing", **more: Any) -> Any:
        from smos.observability.drill import export_drill

        return export_drill(telemetry, info, outcome, change(timing), **more)

    _export(work, export)


def _export(
    work: ObservabilityWork,
    export: Callable[..., Any],
    only: Literal["living", "dead"] = "living",
    **more: Any,
) -> None:
    """Let the drill be exported otherwise. only: to the collector, or to dead endpoints."""
    from smos.observability.verify.selfwatch import Options

    work.lab = work.lab.but(options=Options(export=export, only=only, **more))


def _phases(timing: "Timing", change: "Callable[[PhaseFacts], PhaseFacts]") -> "Timing":
    return replace(timing, phases=tuple(change(phase) for phase in timing.phases))


@fault("F365a", "A phase has no span", "trace", caught(CHECK, "drill-phase-wrong", "restore has no span"))
def lost_phase(work: ObservabilityWork) -> None:
    """Leave it out."""

    def change(phase: "PhaseFacts") -> "PhaseFacts":
        return replace(phase, seconds=None, excluded="lost") if phase.name == "restore" else phase

    _timed(work, lambda timing: _phases(timing, change))


@fault(
    "F365b",
    "Phases are laid end to end, though two overlapped",
    "trace",
    caught(CHECK, "drill-phase-wrong", "restore"),
)
def end_to_end(work: ObservabilityWork) -> None:
    """Forget when they began."""
    _timed(work, lambda timing: _phases(timing, lambda one: replace(one, began_s=None, ended_s=None)))


@fault(
    "F365c",
    "A phase that did not take place has a span",
    "trace",
    caught(CHECK, "drill-phase-invented", "vault"),
)
def invented(work: ObservabilityWork) -> None:
    """Count it as zero."""

    def change(phase: "PhaseFacts") -> "PhaseFacts":
        return replace(phase, seconds=0.0, began_s=1.0, ended_s=1.0) if phase.name == "vault" else phase

    _timed(work, lambda timing: _phases(timing, change))


@fault(
    "F365d",
    "The drill is a trace of another service",
    "trace",
    caught(CHECK, "drill-trace-wrong", "unknown_service"),
)
def other_service(work: ObservabilityWork) -> None:
    """Rename it."""

    def export(*given: Any, **more: Any) -> Any:
        from smos.observability.drill import export_drill

        with patch("smos.observability.drill.SERVICE", "unknown_service"):
            return export_drill(*given, **more)

    _export(work, export)


@fault(
    "F366a",
    "The recovery time is no metric",
    "metrics",
    caught(CHECK, "drill-metric-wrong", "smos_rto_actual_seconds"),
)
def no_rto(work: ObservabilityWork) -> None:
    """Leave it out."""
    _timed(work, lambda timing: replace(timing, rto_actual_s=None))


@fault(
    "F366b", "The recovery point is in minutes", "metrics", caught(CHECK, "drill-not-shown", "RPO, actual")
)
def minutes(work: ObservabilityWork) -> None:
    """Divide it."""
    _timed(work, lambda timing: replace(timing, rpo_actual_s=(timing.rpo_actual_s or 0) / 60))


@fault(
    "F367",
    "It says that it was sent, and nothing was",
    "export",
    caught(CHECK, "drill-trace-wrong", "0 root spans"),
)
def not_sent(work: ObservabilityWork) -> None:
    """Send nothing."""

    def export(*_: Any, **__: Any) -> Any:
        from smos.observability.drill import Sent

        return Sent(spans=6, points=14, reason="", seconds=0.0)

    _export(work, export)


@fault(
    "F367b",
    "The drill's telemetry is sent where nobody listens",
    "export",
    caught(CHECK, "drill-not-sent", "127.0.0.1"),
)
def nobody(work: ObservabilityWork) -> None:
    """Name another endpoint."""

    def export(telemetry: Any, *given: Any, limit_s: float = 1.0) -> Any:
        from smos.observability.drill import export_drill

        dead = telemetry.model_copy(update={"endpoint": "http://127.0.0.1:9"})
        return export_drill(dead, *given, limit_s=limit_s)

    _export(work, export)


@fault("F368a", "A dead endpoint holds the run up", "export", caught(CHECK, "drill-held-up", "refuses: "))
def held_up(work: ObservabilityWork) -> None:
    """Let the clock go on for an hour meanwhile: an unbounded retry, as far as the check can tell."""
    late = 0.0

    def export(*given: Any, **more: Any) -> Any:
        nonlocal late
        from smos.observability.drill import export_drill

        sent = export_drill(*given, **more)
        if sent.reason:
            late += HOUR_S
        return sent

    _export(work, export, "dead", clock=lambda: time.monotonic() + late)


@fault(
    "F368b",
    "A dead endpoint breaks the run",
    "export",
    caught(CHECK, "drill-held-up", "raises ConnectionError"),
)
def breaks(work: ObservabilityWork) -> None:
    """Raise."""

    def export(*given: Any, **more: Any) -> Any:
        from smos.observability.drill import export_drill

        sent = export_drill(*given, **more)
        if sent.reason:
            raise ConnectionError(sent.reason)
        return sent

    _export(work, export, "dead")
