"""What an operator (or Patroni, repmgr, pg_auto_failover …) does when a primary is lost: the steps, one by one.

The order is the point: the old primary is fenced before anybody is promoted. Each step is a field, so that a negative
control can leave one out or do it wrongly.
"""

from collections.abc import Callable
from dataclasses import dataclass

from smos.failover.cluster import Cluster
from smos.failover.facts import Disaster
from smos.failover.node import Node
from smos.failover.service import Service
from smos.failover.strike import strike

REWIND_S = 300.0


def fence(_cluster: Cluster, old: Node) -> None:
    """Take power and network from the old primary, and let every later start of it be read-only."""
    old.relay.kill()
    old.server.kill()
    old.mark_standby()


def choose(cluster: Cluster) -> Node:
    """Return the standby that has received (flushed) most: it holds whatever any standby acknowledged."""
    query = "SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::text"
    return max(cluster.standbys, key=lambda node: int(str(node.ask(query))))


def promote(cluster: Cluster, new: Node) -> None:
    """Let the others follow the new primary, and promote it."""
    for node in cluster.standbys:
        if node is not new:
            cluster.follow(node, new)
    new.ask("SELECT pg_promote(false)")


def publish(service: Service, new: Node, timeline: int) -> None:
    """Tell the clients."""
    service.publish(new, timeline)


def bring_back(_cluster: Cluster, old: Node) -> None:
    """Do what happens to an old primary sooner or later: power, network, or the frozen process come back."""
    old.relay.heal()
    if old.server.running:
        old.server.resume()
    old.start()


def rewind(cluster: Cluster, old: Node, new: Node) -> str:
    """Take back what the old primary wrote alone, by pg_rewind; return what that said. Raises ProvisionError."""
    old.unmark_standby()  # pg_rewind recovers a crashed server in single-user mode, which no standby has
    tool = old.server.installation.tool("pg_rewind")
    source = new.over_network("postgres")
    data = old.server.data_dir
    done = cluster.owner.run([tool, "--target-pgdata", data, "--source-server", source], timeout_s=REWIND_S)
    return (done.stderr + done.stdout).decode("utf-8", "replace")


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
