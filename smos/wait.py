"""The one wait helper: a monotonic deadline, explicit transient errors, the last error attached."""

import time
from collections.abc import Callable
from typing import TypeVar

from smos.errors import DeadlineError

T = TypeVar("T")

FIRST_PAUSE_S = 0.005
"""Servers from wheels answer within some 30 ms: start with short pauses, then back off."""
LONGEST_PAUSE_S = 0.25


def wait_for(
    probe: Callable[[], T],
    *,
    what: str,
    deadline_s: float,
    transient: tuple[type[BaseException], ...] = (),
    on_timeout: Callable[[], str] | None = None,
) -> T:
    """Call `probe` until it returns something truthy, and return that.

    what: named in the error, e.g. "PostgreSQL answers a query".
    deadline_s: seconds on the monotonic clock; the probe is always tried at least once.
    transient: only these exceptions are retried; any other one is raised at once.
    on_timeout: gives the last lines of a log for the error.

    Raises DeadlineError with the last error (or falsy answer) that was seen.
    """
    started = time.monotonic()
    pause = FIRST_PAUSE_S
    last: object = None
    while True:
        try:
            answer = probe()
            if answer:
                return answer
            last = f"the answer was {answer!r}"
        except transient as error:
            last = f"{type(error).__name__}: {error}"
        waited = time.monotonic() - started
        if waited + pause > deadline_s:
            raise DeadlineError(
                f"Waited {waited:.1f} s (limit {deadline_s:g} s) until {what}; last: {last}",
                remedy="look at the log below; a slow machine may need a longer limit",
                log=on_timeout() if on_timeout else "",
            )
        time.sleep(pause)  # the only sleep of the package: bounded by the deadline above
        pause = min(pause * 1.5, LONGEST_PAUSE_S)
