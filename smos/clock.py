"""The one source of dates. Whoever needs the wall clock is given a `Clock`; nothing else may shift a date.

Durations never come from here: they are differences of `time.monotonic()`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the present moment."""

    def now(self) -> datetime:
        """Return the present moment as an aware datetime in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's present moment, UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ShiftedClock:
    """A clock that runs at the pace of another one, moved by a fixed offset (negative: the past)."""

    offset: timedelta
    base: Clock = SystemClock()

    def now(self) -> datetime:
        """Return the base clock's moment plus the offset."""
        return self.base.now() + self.offset
