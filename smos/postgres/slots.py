"""Shares the server's processors between kinds of work: at most so many queries at a time, the heaviest first.

Starting the longest first keeps a session from being left alone with it at the end.
"""

import heapq
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count


class Slots:
    """At most `number` holders at a time; of those who wait, the one with the greatest weight comes next."""

    def __init__(self, number: int) -> None:
        self._free = max(1, number)
        self._waiting: list[tuple[float, int]] = []
        self._order = count()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, weight: float) -> Iterator[None]:
        """Wait for a slot and hold it. weight: what the work will cost, in any unit that all of them share."""
        with self._changed:
            ticket = (-weight, next(self._order))
            heapq.heappush(self._waiting, ticket)
            try:
                # Ends: a holder's query has a time-out, and leaves its slot whatever happens.
                self._changed.wait_for(lambda: self._free and self._waiting[0] == ticket)
            finally:
                self._waiting.remove(ticket)
                heapq.heapify(self._waiting)
            self._free -= 1
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()
