"""Nodes on containers: every cluster has an internal network of its own, every node an address in it for good.

Clients come to a node's address, with a password; who sits beside a server comes to its socket, in a mounted directory.
A cut takes the container off its network, as `docker network disconnect` does. What became of a server is asked of the
kernel, not of the engine that was told to do it.
"""

import secrets
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smos.failover.facts import CONTAINER_KINDS, Disaster
from smos.failover.ground import (
    NETWORK_STOPPED,
    SEGMENT_MB,
    SERVER_GONE,
    SERVER_STOPPED,
    Witness,
    Words,
    process_state,
)
from smos.provision.docker.containers import containers_of
from smos.provision.docker.engine import told
from smos.provision.docker.postgres import PORT, DockerPostgres, give_password, write_passfile
from smos.provision.owner import Owner
from smos.provision.reach import ways_out

if TYPE_CHECKING:
    import psycopg
    from docker.models.networks import Network as EngineNetwork

FIRST_ADDRESS = 10
"""Of a subnet: those before it are the gateway's and what the engine gives to a helper."""
CGROUPS = Path("/sys/fs/cgroup")


class DockerGround:
    """Sites on containers, in one internal network. Raises ProvisionError without an engine."""

    kinds: tuple[Disaster, ...] = CONTAINER_KINDS

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._network, subnet = containers_of(owner).make_addressed("failover")
        self._addresses = (str(subnet[number]) for number in count(FIRST_ADDRESS))
        self._password = secrets.token_urlsafe(24)
        self._passfile = write_passfile(owner, "failover", "*", self._password)

    def site(self, name: str, settings: Words, *, memory: bool) -> "DockerSite":
        """Make one."""
        address = next(self._addresses)
        server = DockerPostgres(
            self.owner,
            name=name,
            settings=settings,
            memory=memory,
            segment_mb=SEGMENT_MB,
            network=self._network,
            address=address,
        )
        server.share(self._passfile.parent, read_only=True)
        return DockerSite(server, ContainerNetwork(self._network, address, server), self._passfile)

    def admit(self, connection: "psycopg.Connection[Any]", roles: Sequence[str]) -> None:
        """Give them the password that the passfile holds."""
        for role in roles:
            give_password(connection, role, self._password)


class ContainerNetwork:
    """What ties a server's container to the cluster's network."""

    def __init__(self, network: "EngineNetwork", address: str, server: DockerPostgres) -> None:
        self.address = address
        self._network = network
        self._server = server
        self._off = ""
        """The container that was taken off; the next one begins in the network."""

    def start(self) -> None:
        """Do nothing where it is in the network, else put it back."""
        self.heal()

    def cut(self) -> None:
        """Take the container off its network: what is under way is never answered."""
        process = self._server.container
        if process is not None and self._server.running and self._off != process.container.id:
            with told(f"take {process.name} off its network"):
                self._network.disconnect(process.container)
            self._off = str(process.container.id)

    def heal(self) -> None:
        """Put it back, at the same address."""
        process = self._server.container
        if process is not None and self._server.running and self._off == process.container.id:
            with told(f"put {process.name} back into its network"):
                self._network.connect(process.container, ipv4_address=self.address)
        self._off = ""

    def kill(self) -> None:
        """Take it off, as `cut`: a container without a network has no more to lose."""
        self.cut()


class DockerSite:
    """A server's container in its cluster's network."""

    def __init__(self, server: DockerPostgres, network: ContainerNetwork, passfile: Path) -> None:
        self.server = server
        self.network = network
        self.reach: Words = {"host": network.address, "port": str(PORT), "passfile": str(passfile)}

    def run(self, tool: str, words: Sequence[str | Path], timeout_s: float) -> str:
        """Run a tool of the image's in a helper container, on the same directories and in the same network."""
        return self.server.run_tool(tool, words, timeout_s=timeout_s).decode("utf-8", "replace")

    def watch(self) -> Witness:
        """Ask the kernel whether the first process is there, or frozen, and whether any route leads to it."""
        process = self.server.container
        pid = process.pid if process is not None else 0
        cut = ways_out(pid) == ()

        def say() -> str:
            nonlocal cut
            gone = process_state(pid) in {"", "Z", "X"}
            if not gone:
                # Asked while it lives: with its last process a network namespace is gone, cut off or not.
                cut = ways_out(pid) == ()
            states = (
                (SERVER_GONE, gone),
                (SERVER_STOPPED, not gone and _is_frozen(pid)),
                (NETWORK_STOPPED, cut),
            )
            return ", ".join(word for word, seen in states if seen)

        return say


def _is_frozen(pid: int) -> bool:
    """Whether the kernel holds the control group of a process still, as it does for `docker pause`."""
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
        for _, controllers, path in (line.split(":", 2) for line in groups):
            place = Path(path.lstrip("/"))
            if controllers == "freezer":
                return (CGROUPS / "freezer" / place / "freezer.state").read_text("ascii").strip() == "FROZEN"
            if not controllers and (events := CGROUPS / place / "cgroup.events").is_file():
                return "frozen 1" in events.read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended meanwhile
        return False
    return False
