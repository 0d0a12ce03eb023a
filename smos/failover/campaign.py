"""Many failovers, in every mode and after every kind of disaster: a distribution, not one lucky run."""

from collections.abc import Callable
from itertools import cycle, islice

import psycopg

from smos.errors import SmosError
from smos.failover.cluster import APPLICATION, Cluster
from smos.failover.drill import CLIENTS, WAITING, Drill
from smos.failover.facts import Campaign, Disaster, Failover, Mode, Stall
from smos.failover.ledger import Ledger
from smos.failover.node import Node
from smos.failover.writers import Writer
from smos.provision.installations import PostgresInstallation
from smos.provision.owner import Owner
from smos.wait import wait_for

KINDS = (Disaster.KILL, Disaster.FREEZE, Disaster.CUT)
STALL_S = 120.0
STALL_NAME = "failover-stall"
STALL_DRILL = 0
"""The drill number of what is written to learn whether a mode stalls."""


def plan(failovers: int) -> tuple[Disaster, ...]:
    """Return the disasters of one mode: this many, by turns, and one after replication was cut."""
    return (*islice(cycle(KINDS), failovers), Disaster.LAG)


def run_campaign(
    owner: Owner,
    failovers: int,
    *,
    installation: PostgresInstallation | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Campaign:
    """Run so many failovers of each mode on clusters of this owner; return the record. Raises SmosError.

    One cluster serves them all, since the old primary comes back each time; where it does not, a new one is made.
    """
    made = 0

    def fresh() -> Cluster:
        nonlocal made
        made += 1
        cluster = Cluster(owner, name=f"pg{chr(ord('a') + (made - 1) % 26)}", installation=installation)
        cluster.start()
        return cluster

    cluster = fresh()
    found: list[Failover] = []
    stalls: list[Stall] = []
    for mode in Mode:
        cluster.set_mode(mode)
        stalls.append(observe_stall(cluster))
        for disaster in plan(failovers):
            drill = Drill(cluster, disaster)
            found.append(drill.run())
            say(f"{mode} {disaster}: {found[-1].rto_s or 0:.3f} s")
            if not drill.whole:
                stop(cluster)
                cluster = fresh()
                cluster.set_mode(mode)
    stop(cluster)
    return Campaign(version=cluster.version, load=CLIENTS, failovers=tuple(found), stalls=tuple(stalls))


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

        def decided() -> bool:
            if not writer.writes and not writer.acknowledged:
                raise SmosError(f"The client ended: {writer.ended or 'no reason'}")
            return writer.acknowledged > 0 or bool(primary.ask(WAITING, STALL_NAME))

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
    node.relay.kill()
    node.server.kill()
