"""F73, F450 to F462, F477 to F479: acknowledged commits that are lost, and settings with which they will be."""

from smos.failover import procedure as right
from smos.failover.cluster import APPLICATION, ATTACH_S, Cluster
from smos.failover.facts import Disaster, Mode
from smos.failover.node import Node
from smos.faults.failover.work import FailoverWork
from smos.faults.registry import caught, fault
from smos.verdict import Verdict
from smos.wait import wait_for

ASYNCHRONOUS, SYNCHRONOUS, QUORUM = "FAILOVER-01", "FAILOVER-02", "FAILOVER-03"
PROMOTE_S = 1.0
"""Seconds that a failover gets which leads to no write."""
TINY_H = 1e-9
"""Hours: an objective that nothing can meet."""


@fault(
    "F73",
    "The list of synchronous standbys was emptied: acknowledged commits are lost",
    "replication",
    caught(SYNCHRONOUS, "acknowledged-lost", "(lag)"),
)
def emptied(work: FailoverWork) -> None:
    """Empty `synchronous_standby_names` while the load runs, as a hurried operator does when writes hang."""
    work.disaster = Disaster.LAG
    work.before(lambda cluster: cluster.primary.set(synchronous_standby_names=""))


@fault(
    "F73a",
    "The quorum's laggard is promoted: acknowledged commits are lost",
    "promotion",
    caught(QUORUM, "acknowledged-lost"),
)
def laggard(work: FailoverWork) -> None:
    """Take one standby off the stream, let the other acknowledge alone, and promote the first."""
    work.steps(laggard=True, choose=lambda cluster: cluster.standbys[-1])


@fault(
    "F73b",
    "Acknowledged commits are missing from among those that are there",
    "rows",
    caught(ASYNCHRONOUS, "acknowledged-missing-between", "1/7"),
)
def between(work: FailoverWork) -> None:
    """Take one away that no replication lag explains: the client's next commits are there."""
    work.on_new_primary("DELETE FROM drill.ledger WHERE drill = {drill} AND client = 1 AND n = 7")


@fault(
    "F450",
    "A role's synchronous_commit is local",
    "replication",
    caught(SYNCHRONOUS, "acknowledged-without-standby", "no standby could receive"),
)
def local_by_role(work: FailoverWork) -> None:
    """Set it for the application's role."""
    work.disaster = Disaster.LAG
    work.sql(
        f"ALTER ROLE {APPLICATION} SET synchronous_commit = local",
        f"ALTER ROLE {APPLICATION} RESET synchronous_commit",
    )


@fault(
    "F451",
    "A session's synchronous_commit is off",
    "replication",
    caught(QUORUM, "acknowledged-lost", "(lag)"),
)
def off_in_session(work: FailoverWork) -> None:
    """Let every client switch it off."""
    work.disaster = Disaster.LAG
    work.steps(session=("SET synchronous_commit = off",))


@fault(
    "F452",
    "A database's synchronous_commit is remote_write: the standby has not flushed what it acknowledges",
    "replication",
    caught(SYNCHRONOUS, "sync-commit-weak", "remote_write", "database postgres"),
)
def remote_write(work: FailoverWork) -> None:
    """Set it for the database."""
    work.sql(
        "ALTER DATABASE postgres SET synchronous_commit = remote_write",
        "ALTER DATABASE postgres RESET synchronous_commit",
    )


@fault("F453", "A node runs with fsync off", "disk", caught(SYNCHRONOUS, "disk-forgets", "fsync"))
def no_fsync(work: FailoverWork) -> None:
    """Switch it off on a standby, which then acknowledges what is in memory."""
    node = work.servers.cluster().standbys[0]
    node.set(fsync="off")
    work.undo.callback(lambda: node.set(fsync="on"))


@fault(
    "F454",
    "The new primary has rows that nobody wrote",
    "rows",
    caught(SYNCHRONOUS, "row-never-attempted", "77/1"),
)
def stranger(work: FailoverWork) -> None:
    """Add one."""
    work.on_new_primary("INSERT INTO drill.ledger (drill, client, n, token) VALUES ({drill}, 77, 1, 'x')")


@fault("F455", "A commit was replayed twice", "rows", caught(SYNCHRONOUS, "row-duplicated", "1/7"))
def twice(work: FailoverWork) -> None:
    """Add a row once more."""
    work.on_new_primary(
        "INSERT INTO drill.ledger (drill, client, n, token)"
        " SELECT drill, client, n, token FROM drill.ledger WHERE drill = {drill} AND client = 1 AND n = 7"
    )


@fault("F456", "Commits changed places", "rows", caught(QUORUM, "row-disordered", "1/9"))
def places(work: FailoverWork) -> None:
    """Put a row before an earlier one of its client."""
    work.on_new_primary(
        "WITH gone AS (DELETE FROM drill.ledger WHERE drill = {drill} AND client = 1 AND n = 8 RETURNING *)"
        " INSERT INTO drill.ledger (drill, client, n, token) SELECT drill, client, n, token FROM gone"
    )


@fault("F457", "A row holds something else than was written", "rows", caught(QUORUM, "row-altered", "2/3"))
def altered(work: FailoverWork) -> None:
    """Change one."""
    work.on_new_primary(
        "UPDATE drill.ledger SET token = reverse(token) || 'x' WHERE drill = {drill} AND client = 2 AND n = 3"
    )


@fault(
    "F458",
    "The ledger dies with the primary, so no loss is counted",
    "ledger",
    caught(ASYNCHRONOUS, "loss-not-counted", "0 commits were acknowledged by the ledger"),
)
def forgetful(work: FailoverWork) -> None:
    """Lose the ledger of what was written after the cut."""
    work.disaster = Disaster.LAG
    work.steps(forgetful=True)


@fault(
    "F459",
    "More is lost than the objective allows",
    "objective",
    caught(ASYNCHRONOUS, "rpo-exceeded", "(lag)"),
)
def rpo(work: FailoverWork) -> None:
    """Allow nothing."""
    work.expect(rpo_hours=TINY_H)


@fault(
    "F460",
    "A failover takes longer than the objective",
    "objective",
    caught("FAILOVER-04", "rto-exceeded", "promote"),
)
def rto(work: FailoverWork) -> None:
    """Allow no time."""
    work.expect(rto_hours=TINY_H)


@fault("F461", "The standby is never promoted", "promotion", caught("FAILOVER-04", "no-write-after-failover"))
def never(work: FailoverWork) -> None:
    """Forget the step."""
    work.steps(promote=lambda _cluster, _new: None, promote_s=PROMOTE_S)


@fault(
    "F462",
    "The standby is started as a primary without a promotion",
    "promotion",
    caught("FAILOVER-04", "timeline-unchanged", "timeline 1"),
)
def same_timeline(work: FailoverWork) -> None:
    """Take its mark away and start it again: it writes on the old primary's timeline."""

    def promote(_cluster: Cluster, new: Node) -> None:
        new.server.stop()
        new.unmark_standby()
        new.server.start()

    work.servers.renew()  # the text of the finding names the first timeline
    work.steps(promote=promote, guarded=False)


@fault(
    "F477", "No mode meets the objectives", "objective", caught("FAILOVER-09", "no-mode-fits", "quorum: RTO")
)
def no_mode(work: FailoverWork) -> None:
    """Allow no time."""
    work.expect(rto_hours=TINY_H)


@fault(
    "F478",
    "The disaster did not happen",
    "disaster",
    caught("FAILOVER-04", "disaster-not-seen", "server and network run", verdict=Verdict.NOT_PROVEN),
)
def no_disaster(work: FailoverWork) -> None:
    """Declare it and kill nobody: what follows is a switchover that was prepared."""
    work.steps(strike=lambda _node, _disaster: None, seen_s=0.0)


@fault(
    "F479",
    "The standby that is left hangs, so commits on the new primary wait for ever",
    "promotion",
    caught("FAILOVER-04", "no-write-after-failover", "synchronous replication"),
)
def hangs(work: FailoverWork) -> None:
    """Freeze it right after the promotion, in the mode whose commits wait for it."""

    def promote(cluster: Cluster, new: Node) -> None:
        right.promote(cluster, new)
        wait_for(lambda: not new.follows(), what=f"{new.name} is promoted", deadline_s=ATTACH_S)
        for node in cluster.standbys:
            if node is not new:
                node.server.pause()

    work.mode = Mode.SYNCHRONOUS
    work.steps(promote=promote, promote_s=PROMOTE_S)
