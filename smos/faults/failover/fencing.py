"""F74, F463 to F466: old primaries that were not fenced, not in time, or not firmly, and clients led to them."""

from smos.failover import procedure as right
from smos.failover.cluster import Cluster
from smos.failover.facts import Disaster, Mode
from smos.failover.node import Node
from smos.failover.service import Service
from smos.faults.failover.work import FailoverWork
from smos.faults.registry import caught, fault

CHECK = "FAILOVER-05"


def _no_fence(_cluster: Cluster, _old: Node) -> None:
    pass


@fault(
    "F74", "The old primary is restarted and takes writes", "fence", caught(CHECK, "split-brain", "plainly")
)
def restarted(work: FailoverWork) -> None:
    """Leave the fence out; the primary died, and somebody starts it."""
    work.steps(fence=_no_fence)


@fault("F74a", "The old primary thaws and takes writes", "fence", caught(CHECK, "split-brain", "plainly"))
def thawed(work: FailoverWork) -> None:
    """Leave the fence out; the primary was only frozen."""
    work.disaster = Disaster.FREEZE
    work.steps(fence=_no_fence)


@fault(
    "F74b",
    "The old primary lives on behind a cut network and takes writes",
    "fence",
    caught(CHECK, "split-brain", "before it is back"),
)
def behind_the_cut(work: FailoverWork) -> None:
    """Leave the fence out; the primary could not be reached, and lives."""
    work.disaster = Disaster.CUT
    work.steps(fence=_no_fence)


@fault(
    "F74c",
    "The old primary lives on and takes commits that wait for standbys",
    "fence",
    caught(CHECK, "split-brain", "before it is back"),
)
def waits(work: FailoverWork) -> None:
    """Leave the fence out in a synchronous mode: the client hears nothing, and its row is there all the same."""
    work.mode = Mode.SYNCHRONOUS
    work.disaster = Disaster.CUT
    work.steps(fence=_no_fence)


@fault(
    "F463",
    "The fence is a default that a session may change",
    "fence",
    caught(CHECK, "split-brain", "asking"),
)
def soft(work: FailoverWork) -> None:
    """Make it read-only by `default_transaction_read_only`."""

    def fence(_cluster: Cluster, old: Node) -> None:
        old.server.kill()
        old.set(default_transaction_read_only="on")

    work.steps(fence=fence)

    def reset() -> None:
        for node in work.servers.cluster().nodes:
            node.set(default_transaction_read_only="off")

    work.undo.callback(reset)


@fault("F464", "A proxy leads clients to the old primary", "service", caught(CHECK, "client-misled"))
def misled(work: FailoverWork) -> None:
    """Publish nothing, fence nothing, and let the clients look at target_session_attrs alone."""
    work.disaster = Disaster.FREEZE
    work.steps(fence=_no_fence, publish=lambda _service, _new, _timeline: None, guarded=False)


@fault("F465", "A proxy knows the old primary only", "service", caught(CHECK, "routed-to-old", "timeline"))
def routed(work: FailoverWork) -> None:
    """Let the proxy fall back to the old primary when that is back; the clients notice."""
    published: list[Service] = []

    def publish(service: Service, new: Node, timeline: int) -> None:
        right.publish(service, new, timeline)
        published.append(service)

    def bring_back(cluster: Cluster, old: Node) -> None:
        right.bring_back(cluster, old)
        published[0].nodes = (old,)

    work.disaster = Disaster.FREEZE
    work.steps(fence=_no_fence, publish=publish, bring_back=bring_back)


@fault("F466", "The old primary is fenced after the promotion only", "fence", caught(CHECK, "fence-missing"))
def late(work: FailoverWork) -> None:
    """Promote first."""

    def promote(cluster: Cluster, new: Node) -> None:
        right.promote(cluster, new)
        right.fence(cluster, cluster.primary)

    work.disaster = Disaster.CUT
    work.steps(fence=_no_fence, promote=promote)
