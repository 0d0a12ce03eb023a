"""What befalls a primary, and what the system says of it right afterwards: without a disaster nothing was drilled.

The driver's word that a process was killed or frozen is no observation, so the system is asked.
"""

import contextlib
import os
import subprocess
from pathlib import Path

from smos.errors import DeadlineError
from smos.failover.facts import Disaster
from smos.failover.node import Node
from smos.wait import wait_for

SERVER_GONE, SERVER_STOPPED, NETWORK_STOPPED = "server gone", "server stopped", "network stopped"
EXPECTED = {
    Disaster.KILL: SERVER_GONE,
    Disaster.LAG: f"{SERVER_GONE}, {NETWORK_STOPPED}",
    Disaster.FREEZE: SERVER_STOPPED,
    Disaster.CUT: NETWORK_STOPPED,
}
"""Disaster to what `witness` says when it happened."""
PS_S = 30.0


def strike(node: Node, disaster: Disaster) -> None:
    """Let a disaster befall a node."""
    if disaster in {Disaster.KILL, Disaster.LAG}:
        node.server.kill()
    elif disaster is Disaster.FREEZE:
        node.server.pause()
    else:
        node.relay.cut()


def witness(server: int, relay: int) -> str:
    """Say which of server and network are gone or stopped, by their process ids; "" when both run."""
    return ", ".join(
        f"{name} {state}"
        for name, pid in (("server", server), ("network", relay))
        if (state := {"": "gone", "Z": "gone", "X": "gone", "T": "stopped"}.get(process_state(pid), ""))
    )


def await_witness(disaster: Disaster, server: int, relay: int, deadline_s: float) -> str:
    """Return what `witness` says once that is what the disaster does, or after `deadline_s` seconds.

    A process that was told to stop does so when it is scheduled next.
    """
    with contextlib.suppress(DeadlineError):  # what it says then is recorded, and judged
        wait_for(
            lambda: witness(server, relay) == EXPECTED[disaster],
            what=f"the disaster ({disaster}) is seen",
            deadline_s=deadline_s,
        )
    return witness(server, relay)


def process_state(pid: int) -> str:
    """Return the system's letter for the state of a process (T: stopped, Z: ended); "" when there is none."""
    place = Path("/proc")
    if (place / "self" / "stat").is_file():
        try:
            text = (place / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return text.rpartition(")")[2].split()[0].upper()
    done = subprocess.run(  # no such file system (macOS)
        ["/bin/ps", "-o", "state=", "-p", str(pid)], capture_output=True, timeout=PS_S, check=False, env={}
    )
    return os.fsdecode(done.stdout).strip()[:1].upper()
