"""The checks of physical backups and point-in-time recovery, and their judges: pure functions from a drill's record."""

from smos.target import Settings, Target
from smos.verdict import Check

CHECKS = (
    Check(
        "PITR-01",
        "The base backup that recovery starts from is complete and unaltered: every file, every tablespace,"
        " every link of its chain",
    ),
    Check(
        "PITR-02",
        "The archived write-ahead log is this cluster's own, without a gap, and can be replayed to its end",
    ),
    Check(
        "PITR-03",
        "Recovery to a moment brings back what was committed before it, and nothing that was committed after it",
    ),
    Check("PITR-04", "A moment that can't be reached is refused, not answered with another one"),
    Check("PITR-05", "The recovered databases are sound: pages, indexes, references"),
    Check(
        "PITR-06",
        "The recovery point, measured from the content, meets its objective, and no stretch is uncovered",
    ),
    Check(
        "PITR-07",
        "The drill writes nothing to backups or archive, and obeys no setting, command or library of the backup",
    ),
    Check("PITR-08", "The recovered databases equal what the source held at that moment, row by row"),
)


def not_required(target: Target, _settings: Settings | None = None) -> tuple[tuple[str, str], ...]:
    """Return (check ID, why) for every check of this suite that the target does not ask for."""
    if target.physical is None:
        return ()  # the built-in source is drilled, and it knows what it held
    return (("PITR-08", "nobody recorded what the source held at the moment; PITR-03 compares heartbeats"),)
