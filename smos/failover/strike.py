"""What befalls a primary, and what the system says of it right afterwards: without a disaster nothing was drilled.

The driver's word that a process was killed or frozen is no observation, so the system is asked.
"""

import contextlib

from smos.errors import DeadlineError
from smos.failover.facts import Disaster
from smos.failover.ground import NETWORK_STOPPED, SERVER_GONE, SERVER_STOPPED, Witness
from smos.failover.node import Node
from smos.wait import wait_for

EXPECTED = {
    Disaster.KILL: SERVER_GONE,
    Disaster.STOP: SERVER_GONE,
    Disaster.LAG: f"{SERVER_GONE}, {NETWORK_STOPPED}",
    Disaster.FREEZE: SERVER_STOPPED,
    Disaster.CUT: NETWORK_STOPPED,
}
"""Disaster to what a witness says when it happened."""


def strike(node: Node, disaster: Disaster) -> None:
    """Let a disaster befall a node."""
    if disaster in {Disaster.KILL, Disaster.LAG}:
        node.server.kill()
    elif disaster is Disaster.STOP:
        node.server.stop()
    elif disaster is Disaster.FREEZE:
        node.server.pause()
    else:
        node.network.cut()


def await_witness(disaster: Disaster, witness: Witness, deadline_s: float) -> str:
    """Return what the witness says once that is what the disaster does, or after `deadline_s` seconds.

    A process that was told to stop does so when it is scheduled next.
    """
    with contextlib.suppress(DeadlineError):  # what it says then is recorded, and judged
        wait_for(
            lambda: witness() == EXPECTED[disaster],
            what=f"the disaster ({disaster}) is seen",
            deadline_s=deadline_s,
        )
    return witness()
