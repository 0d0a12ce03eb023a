"""The old primary becomes a standby again: pg_rewind takes back what it wrote alone, then contents are compared."""

import time

import psycopg

from smos.errors import SmosError
from smos.failover.cluster import ATTACH_S, Cluster
from smos.failover.facts import Rejoin
from smos.failover.node import Node
from smos.failover.procedure import Procedure
from smos.wait import wait_for

NOTHING_TO_DO = "no rewind required"
CONTENT = (
    "SELECT count(*) || ':' || coalesce(md5(string_agg(md5(l::text), '' ORDER BY drill, client, n, place)), '')"
    " FROM drill.ledger l"
)
HISTORY = "SELECT pg_read_file('pg_wal/' || upper(lpad(to_hex(%s::integer), 8, '0')) || '.history')"
STREAMS = "SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming'"
BEYOND = (
    "SELECT min_recovery_end_timeline < %s AND min_recovery_end_lsn > %s::pg_lsn FROM pg_control_recovery()"
)
"""How far its own timeline goes at least: where its crash recovery ended."""
FOLLOWS, DIVERGED = "follows", "diverged"


def rejoin(cluster: Cluster, old: Node, new: Node, procedure: Procedure) -> tuple[Rejoin, bool]:
    """Rewind the old primary, let it follow the new one, compare all three. Returns also whether the cluster is whole.

    Whatever goes wrong is recorded, not raised.
    """
    begun = time.monotonic()
    said, error, diverged, follows = "", "", False, False
    digests: dict[str, str] = {}
    try:
        new.run("CHECKPOINT")  # pg_rewind before version 16 reads the new timeline from the control file
        old.server.stop()
        said = procedure.rewind(cluster, old, new)
        procedure.mark(old)
        cluster.follow(old, new)  # writes its own settings: pg_rewind brought the new primary's
        old.start()
        diverged = _settled(cluster, old, new) == DIVERGED
        if not diverged:
            cluster.await_standbys()
            cluster.await_replayed()
            follows = True
        digests = {node.name: str(node.ask(CONTENT)) for node in cluster.nodes}
    except (SmosError, psycopg.Error) as problem:
        error = str(problem).partition("\n")[0][:300]
    found = Rejoin(
        rewound=bool(said),
        needed=NOTHING_TO_DO not in said,
        follows=follows,
        diverged=diverged,
        digests=digests,
        seconds=time.monotonic() - begun,
        error=error,
    )
    return found, follows and len(set(digests.values())) == 1


def _settled(cluster: Cluster, old: Node, new: Node) -> str:
    """Wait until the old one streams the new timeline, or holds more of its own than the new primary branched off from.

    In the second case it would ask for ever. Raises DeadlineError.
    """
    timeline = new.timeline()
    if not old.follows():
        return DIVERGED  # a primary of its own

    def settled() -> str:
        if old.ask(STREAMS) == timeline and old.name in dict(cluster.states()):
            return FOLLOWS
        branch = str(new.ask(HISTORY, timeline)).strip().splitlines()[-1].split()[1]
        return DIVERGED if old.ask(BEYOND, timeline, branch) else ""

    return wait_for(
        settled,
        what=f"{old.name} follows {new.name}",
        deadline_s=ATTACH_S,
        transient=(psycopg.OperationalError,),
        on_timeout=lambda: old.server.logs()[-2000:],
    )
