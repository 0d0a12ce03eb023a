"""Many failovers, in every mode and after every kind of disaster: a distribution, not one lucky run."""

from collections.abc import Callable
from itertools import cycle, islice

import psycopg

from smos.errors import SmosError
from smos.failover.cluster import APPLICATION, Cluster
from smos.failover.drill import CLIENTS, LOOKS, Drill
from smos.failover.facts import EMBEDDED_KINDS, Campaign, Disaster, Failover, Mode, Stall
from smos.failover.ground import EmbeddedGround, Ground
from smos.failover.ledger import Ledger
from smos.failover.node import Node
from smos.failover.procedure import Procedure
from smos.failover.writers import Writer
from smos.provision.owner import Owner
from smos.wait import wait_for

STALL_S = 120.0
STALL_NAME = "failover-stall"
STUCK = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = %s AND wait_event = 'SyncRep')"
    " AND NOT EXISTS (SELECT FROM pg_stat_replication"
    " WHERE application_name <> %s AND flush_lsn < pg_current_wal_flush_lsn())"
)
"""A commit waits although every standby but the frozen one has flushed everything."""
STALL_DRILL = 0
"""The drill number of what is written to learn whether a mode stalls."""


def plan(
    mode: Mode, failovers: int, kinds: tuple[Disaster, ...] = EMBEDDED_KINDS
) -> tuple[tuple[Disaster, Procedure], ...]:
    """Return the drills of one mode: this many, the disasters by turns, and one after replication was cut.

    With a quorum one more, in which one standby was left behind: the other must be chosen.
    """
    whole = Procedure()
    behind = ((Disaster.KILL, Procedure(laggard=True)),) if mode is Mode.QUORUM else ()
    return (*((kind, whole) for kind in islice(cycle(kinds), failovers)), *behind, (Disaster.LAG, whole))


def run_campaign(
    owner: Owner,
    failovers: int,
    *,
    ground: Ground | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Campaign:
    """Run so many failovers of each mode on clusters of this owner; return the record. Raises SmosError.

    ground: where they stand (default: on processes of this machine).

    One cluster serves them all, since the old primary comes back each time; where it does not, a new one is made.
    """
    made = 0
    ground = ground or EmbeddedGround(owner)

    def fresh() -> Cluster:
        nonlocal made
        made += 1
        # A crashed server syncs all its files when it starts, which says nothing of failovers: only the log is on disk.
        name = f"pg{chr(ord('a') + (made - 1) % 26)}"
        cluster = Cluster(owner, name=name, ground=ground, memory=True, log_on_disk=True)
        cluster.start()
        return cluster

    cluster = fresh()
    found: list[Failover] = []
    stalls: list[Stall] = []
    for mode in Mode:
        cluster.set_mode(mode)
        stalls.append(observe_stall(cluster))
        for disaster, procedure in plan(mode, failovers, ground.kinds):
            drill = Drill(cluster, disaster, procedure)
            found.append(drill.run())
            say(f"{mode} {disaster}: {found[-1].rto_s or 0:.3f} s")
            if not drill.whole:
                stop(cluster)
                cluster = fresh()
                cluster.set_mode(mode)
    stop(cluster)
    return Campaign(
        version=cluster.version,
        load=CLIENTS,
        failovers=tuple(found),
        stalls=tuple(stalls),
        kinds=ground.kinds,
    )


def observe_stall(cluster: Cluster) -> Stall:
    """Freeze the standby that commits wait for, and see whether a commit is acknowledged all the same."""
    states = dict(cluster.states())
    frozen = next((name for name, state in states.items() if state in {"sync", "quorum"}), min(states))
    primary = cluster.primary
    ledger = Ledger(cluster.owner.directory("stall", read_only=True))
    writer = Writer(primary.near(APPLICATION), ledger, drill=STALL_DRILL, client=1, name=STALL_NAME)
    cluster.node(frozen).server.pause()
    try:
        writer.start()

        stuck = 0

        def decided() -> bool:
            nonlocal stuck
            if not writer.writes and not writer.acknowledged:
                raise SmosError(f"The client ended: {writer.ended or 'no reason'}")
            stuck = stuck + 1 if primary.ask(STUCK, STALL_NAME, frozen) else 0
            return writer.acknowledged > 0 or stuck >= LOOKS

        wait_for(
            decided,
            what=f"a commit is acknowledged or waits while {frozen} is frozen",
            deadline_s=STALL_S,
            transient=(psycopg.OperationalError,),
        )
        acknowledged = writer.acknowledged > 0
    finally:
        cluster.node(frozen).server.resume()
        writer.stop()
    return Stall(mode=cluster.mode, frozen=frozen, acknowledged=acknowledged)


def stop(cluster: Cluster) -> None:
    """End its servers at once; their directories go with the owner."""
    for node in cluster.nodes:
        _end(node)


def _end(node: Node) -> None:
    node.network.kill()
    node.server.kill()
