"""Which files of a listing are of the newest backup: they are fetched while the clock of RTO runs, the others after it.

Generous where names leave it open: a file too many costs seconds, a file too few would be another backup.
"""

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from smos.backup.catalog import SAME_RUN
from smos.backup.manifest import SET_PREFIX
from smos.backup.names import find_stamp, set_stamp, stem
from smos.drill.plan import FUTURE_TOLERANCE


def newest_names(names: Iterable[str], now: datetime, zone: ZoneInfo) -> frozenset[str]:
    """Return the entries of the backup directory (first parts of paths) that may be of the newest set.

    Those without a stamp are among them: hash lists, and what only its content dates.
    """
    undated: set[str] = set()
    timed: list[tuple[datetime, str, str]] = []
    days: list[tuple[datetime, str]] = []
    for name in sorted(set(names)):
        if name.startswith(SET_PREFIX) and (at := set_stamp(name)):
            timed.append((at, name, "set"))
            continue
        stamp = find_stamp(name, zone)
        if stamp is None:
            undated.add(name)
        elif stamp.whole_day:
            days.append((stamp.at, name))
        else:
            timed.append((stamp.at, name, f"{stem(name, stamp)}{name.replace(stamp.text, '')}"))
    believed = [row for row in timed if row[0] <= now + FUTURE_TOLERANCE]
    believed_days = [row for row in days if row[0] <= now + FUTURE_TOLERANCE]
    run = _last_run(believed)
    latest_day = max((at.astimezone(zone).date() for at, _ in believed_days), default=None)
    first = min((row[0] for row in run), default=None)
    if latest_day and (first is None or latest_day >= first.astimezone(zone).date()):
        undated |= {name for at, name in believed_days if at.astimezone(zone).date() == latest_day}
    if (
        not believed and not believed_days
    ):  # nothing can be believed: the catalogue takes the last of what there is
        return frozenset(undated | {row[1] for row in timed} | {name for _, name in days})
    return frozenset(undated | {row[1] for row in run})


def _last_run(rows: list[tuple[datetime, str, str]]) -> list[tuple[datetime, str, str]]:
    """Return the last rows that lie close together, up to where one series comes a second time."""
    run: list[tuple[datetime, str, str]] = []
    seen: set[str] = set()
    for row in sorted(rows, reverse=True):
        if run and (row[2] in seen or run[-1][0] - row[0] > SAME_RUN or row[2] == "set"):
            break
        run.append(row)
        seen.add(row[2])
        if row[2] == "set":
            break
    return run
