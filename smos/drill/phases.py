"""The phases of a drill and the clock that times them. Durations are seconds of the monotonic clock."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PHASES = ("detect", "provision", "fetch", "vault", "decrypt", "restore", "verify", "ready")
"""In this order in every report, whatever order they ran in."""

NOT_EXERCISED = "not exercised in this drill"


@dataclass(frozen=True, slots=True)
class PhaseFacts:
    """One phase: `seconds` is a measurement, or `excluded` says why there is none; never zero instead.

    began_s, ended_s: seconds from the disaster until it was first entered and last left; between them it may have
    rested, or run in several threads.
    """

    name: str
    seconds: float | None
    excluded: str | None
    began_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a drill measured. Seconds and bytes; None where it could not be measured.

    phases: all of PHASES, in that order. rto_actual_s: disaster declared until ready. verify_s: the part of
    it that verification took. rpo_actual_s: disaster minus the newest committed write that survived.
    rpo_basis: "heartbeat", "dump-start upper bound" or "none". data_bytes: what was restored. fetched_bytes,
    fetch_bytes_per_s: of the newest set, where it came from another machine.
    """

    phases: tuple[PhaseFacts, ...]
    rto_actual_s: float | None
    verify_s: float | None
    rpo_actual_s: float | None
    rpo_basis: str
    data_bytes: int
    fetched_bytes: int | None = None
    fetch_bytes_per_s: float | None = None


class PhaseClock:
    """Starts when it is made (the disaster is declared) and times the phases; threads may share it.

    A phase that is entered again adds to its time. One that raised keeps the time until then.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._last_end = self._start
        self._seconds: dict[str, float] = {}
        self._spans: dict[str, tuple[float, float]] = {}
        self._excluded: dict[str, str] = {}
        self._lock = threading.Lock()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside. Raises ValueError for a name that is not in PHASES."""
        _known(name)
        began = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0.0) + (ended - began)
                first, last = self._spans.get(name, (began, ended))
                self._spans[name] = (min(first, began), max(last, ended))
                self._last_end = max(self._last_end, ended)

    def exclude(self, name: str, why: str) -> None:
        """Say why a phase is not exercised. Raises ValueError for a name that is not in PHASES."""
        _known(name)
        with self._lock:
            self._excluded[name] = why

    def seconds(self, name: str) -> float | None:
        """Return the time of one phase; None when it was not exercised."""
        _known(name)
        with self._lock:
            return self._seconds.get(name)

    def total_s(self) -> float:
        """Return the time from the start of the clock to the end of the last phase that has ended."""
        with self._lock:
            return self._last_end - self._start

    def facts(self) -> tuple[PhaseFacts, ...]:
        """Return every phase, measured or excluded, in the order of PHASES."""
        with self._lock:
            return tuple(
                PhaseFacts(
                    name, self._seconds[name], None, *(moment - self._start for moment in self._spans[name])
                )
                if name in self._seconds
                else PhaseFacts(name, None, self._excluded.get(name, NOT_EXERCISED))
                for name in PHASES
            )


def _known(name: str) -> None:
    if name not in PHASES:
        raise ValueError(f"{name!r} is not a phase; the phases are: {', '.join(PHASES)}")
