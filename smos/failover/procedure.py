"""What an operator (or Patroni, repmgr, pg_auto_failover …) does when a primary is lost: the steps, one by one.

The order is the point: the old primary is fenced before anybody is promoted. Each step is a field, so that a negative
control can leave one out or do it wrongly.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from smos.errors import DeadlineError
from smos.failover.cluster import Cluster
from smos.failover.facts import Disaster
from smos.failover.node import Node
from smos.failover.service import Service
from smos.failover.strike import strike
from smos.wait import wait_for

REWIND_S = 300.0
PROMOTED_S = 60.0
"""Seconds for the end of recovery; a limit against hangs, some 0.02 s are usual."""


def fence(_cluster: Cluster, old: Node) -> None:
    """Take power and network from the old primary, and let every later start of it be read-only."""
    old.network.kill()
    old.server.kill()
    old.mark_standby()


def choose(cluster: Cluster) -> Node:
    """Return the standby that has received (flushed) most: it holds whatever any standby acknowledged."""
    query = "SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::text"
    return max(cluster.standbys, key=lambda node: int(str(node.ask(query))))


def promote(cluster: Cluster, new: Node) -> None:
    """Let the others follow the new primary, promote it, and return when it takes writes.

    Nobody is sent to it before: a client that asks too early goes on to the next host that it knows, the lost one, and
    sits out its time-out there.
    """
    for node in cluster.standbys:
        if node is not new:
            cluster.follow(node, new)
    new.ask("SELECT pg_promote(false)")
    with contextlib.suppress(DeadlineError):  # the first write, which is what counts, tells it
        wait_for(
            lambda: not new.follows(),
            what=f"{new.name} is promoted",
            deadline_s=PROMOTED_S,
            transient=(psycopg.OperationalError,),
        )


def publish(service: Service, new: Node, timeline: int) -> None:
    """Tell the clients."""
    service.publish(new, timeline)


def bring_back(_cluster: Cluster, old: Node) -> None:
    """Do what happens to an old primary sooner or later: power, network, or the frozen process come back."""
    old.network.heal()
    if old.server.running:
        old.server.resume()
    old.start()


def rewind(_cluster: Cluster, old: Node, new: Node) -> str:
    """Take back what the old primary wrote alone, by pg_rewind; return what that said. Raises ProvisionError."""
    old.unmark_standby()  # pg_rewind recovers a crashed server in single-user mode, which no standby has
    source = new.over_network("postgres")
    words = ["--target-pgdata", str(old.server.data_dir), "--source-server", source]
    return old.site.run("pg_rewind", words, REWIND_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """The steps of a failover, and what a negative control may slip in.

    before: runs while the load runs, before the disaster. audited: runs on the new primary before its rows are read.
    session: statements that every client's session begins with. guarded: clients look at the timeline.
    promote_s: seconds within which a write must succeed. seen_s: seconds within which the disaster must be seen.
    """

    strike: Callable[[Node, Disaster], None] = strike
    fence: Callable[[Cluster, Node], None] = fence
    choose: Callable[[Cluster], Node] = choose
    promote: Callable[[Cluster, Node], None] = promote
    publish: Callable[[Service, Node, int], None] = publish
    bring_back: Callable[[Cluster, Node], None] = bring_back
    rewind: Callable[[Cluster, Node, Node], str] = rewind
    before: Callable[[Cluster], None] = lambda _cluster: None
    audited: Callable[[Node, int], None] = lambda _node, _drill: None
    mark: Callable[[Node], None] = Node.mark_standby
    session: tuple[str, ...] = ()
    guarded: bool = True
    promote_s: float = 120.0
    seen_s: float = 60.0
    laggard: bool = False
    """Whether one standby is left behind before the disaster."""
    returns: bool = True
    """Whether the old primary comes back, and writes to both are tried, before it is rewound."""
    forgetful: bool = False
    """The ledger of what was written while replication was cut is lost, as one that the primary keeps would be."""
