"""F467 to F469: old primaries that do not come back as standbys."""

from smos.failover import procedure as right
from smos.failover.facts import Disaster
from smos.faults.failover.work import FailoverWork
from smos.faults.registry import caught, fault

CHECK = "FAILOVER-06"


@fault(
    "F467",
    "The old primary follows without having been rewound",
    "rejoin",
    caught(CHECK, ("rejoin-diverged", "rejoin-failed")),
)
def not_rewound(work: FailoverWork) -> None:
    """Skip pg_rewind although it wrote alone. It can't follow, or PostgreSQL refuses to start it at all."""
    work.disaster = Disaster.LAG
    work.steps(rewind=lambda _cluster, _old, _new: "skipped")


@fault(
    "F468",
    "The old primary starts as a primary of its own",
    "rejoin",
    caught(CHECK, "rejoin-content-differs"),
)
def on_its_own(work: FailoverWork) -> None:
    """Skip pg_rewind and the mark of a standby."""
    work.disaster = Disaster.LAG
    work.steps(rewind=lambda _cluster, _old, _new: "skipped", mark=lambda node: node.unmark_standby())


@fault("F469", "pg_rewind can't reach the new primary", "rejoin", caught(CHECK, "rejoin-failed", "pg_rewind"))
def unreachable(work: FailoverWork) -> None:
    """Give it the address of the old primary, which is down."""
    work.steps(rewind=lambda cluster, old, _new: right.rewind(cluster, old, old))
