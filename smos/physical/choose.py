"""Which moment a drill recovers to, where nobody named one."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median

LATE = 0.75
"""Where between two heartbeats the moment lies. A heartbeat is taken a little before its commit, by a clock that may
differ a little from the server's: most of the interval is left for the one, a quarter for the other."""


def choose_moment(heartbeats: Sequence[datetime], started: datetime | None) -> datetime | None:
    """Return a moment between two neighbouring heartbeats after the newest backup's start; None where there are none.

    Of the pairs that lie apart about as far as usual or farther, the one nearest to the middle: much log lies before
    it, and much after.
    """
    later = [item for item in heartbeats if started is None or item > started]
    pairs = list(pairwise(later))
    if not pairs:
        return None
    usual = median((after - before).total_seconds() for before, after in pairs)
    wide = [pair for pair in pairs if (pair[1] - pair[0]).total_seconds() >= 0.9 * usual]
    middle = later[0] + (later[-1] - later[0]) / 2
    before, after = min(wide, key=lambda pair: abs(pair[0] - middle))
    return before + (after - before) * LATE
