"""Which moment a drill recovers to, where nobody named one."""

from collections.abc import Sequence
from datetime import datetime
from statistics import median


def choose_moment(heartbeats: Sequence[datetime], started: datetime | None) -> datetime | None:
    """Return a moment between two neighbouring heartbeats after the newest backup's start; None where there are none.

    Of the pairs that lie apart at least as far as usual (a commit needs a moment after its heartbeat was taken), the
    one nearest to the middle: much log lies before it, and much after.
    """
    later = [item for item in heartbeats if started is None or item > started]
    pairs = list(zip(later, later[1:], strict=False))
    if not pairs:
        return None
    usual = median((after - before).total_seconds() for before, after in pairs)
    wide = [pair for pair in pairs if (pair[1] - pair[0]).total_seconds() >= usual]
    middle = later[0] + (later[-1] - later[0]) / 2
    before, after = min(wide, key=lambda pair: abs(pair[0] - middle))
    return before + (after - before) / 2
