"""Where the nodes of a cluster stand: on processes of this machine, or on containers (smos/failover/contained.py).

A node asks its site for four things and knows nothing else: a server, a network that can be cut, where a tool runs that
works on the server's data, and what the system says of server and network after a disaster.
"""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from smos.failover.facts import EMBEDDED_KINDS, Disaster
from smos.failover.relay import Relay
from smos.provision.embedded.postgres import PORT, EmbeddedPostgres
from smos.provision.installations import PostgresInstallation
from smos.provision.owner import Owner
from smos.target import Provision

SEGMENT_MB = 1
"""Each promotion begins a segment, and pg_rewind copies all of them: with 16 MB that is most of what a drill writes."""
SERVER_GONE, SERVER_STOPPED, NETWORK_STOPPED = "server gone", "server stopped", "network stopped"
PS_S = 30.0
if TYPE_CHECKING:
    import psycopg

Words = Mapping[str, str]
Witness = Callable[[], str]
"""Says which of server and network are gone or stopped; "" when both run."""


class Network(Protocol):
    """A server's network: everybody comes through it but who sits beside the server."""

    def start(self) -> None:
        """Let it pass everything; return when it does. Nothing happens when it does already."""

    def cut(self) -> None:
        """Let nothing pass any more, silently: connections stay open, nobody answers."""

    def heal(self) -> None:
        """Undo `cut`."""

    def kill(self) -> None:
        """Take it away: whoever tries to come through fails."""


class Site(Protocol):
    """What one node stands on."""

    @property
    def server(self) -> EmbeddedPostgres:
        """The server."""

    @property
    def network(self) -> Network:
        """Its network."""

    @property
    def reach(self) -> Words:
        """Libpq's words (host, port …) for whoever comes over the network."""

    def run(self, tool: str, words: Sequence[str | Path], timeout_s: float) -> str:
        """Run one of PostgreSQL's tools on the data of the stopped server; return its output. Raises ProvisionError."""

    def watch(self) -> Witness:
        """Return who looks at server and network, as they are now, from here on."""


class Ground(Protocol):
    """Makes the sites of one cluster."""

    @property
    def owner(self) -> Owner:
        """Who owns what they are made of."""

    @property
    def kinds(self) -> tuple[Disaster, ...]:
        """What befalls a primary by turns."""

    def site(self, name: str, settings: Words, *, memory: bool) -> Site:
        """Make one; the server does not run yet. memory: its data on tmpfs where there is room."""

    def admit(self, connection: "psycopg.Connection[Any]", roles: Sequence[str]) -> None:
        """Let these roles in over the network; connection: the superuser's, on the server that the others copy."""


class EmbeddedGround:
    """Sites on processes of this machine; each one's network is a relay between Unix sockets."""

    kinds: tuple[Disaster, ...] = EMBEDDED_KINDS

    def __init__(self, owner: Owner, installation: PostgresInstallation | None = None) -> None:
        self.owner = owner
        self._installation = installation

    def site(self, name: str, settings: Words, *, memory: bool) -> "EmbeddedSite":
        """Make one."""
        server = EmbeddedPostgres(
            self.owner,
            name=name,
            installation=self._installation,
            settings=settings,
            memory=memory,
            segment_mb=SEGMENT_MB,
        )
        return EmbeddedSite(self.owner, name, server)

    def admit(self, connection: "psycopg.Connection[Any]", roles: Sequence[str]) -> None:
        """Do nothing: a socket lets everybody in who may enter its directory."""


class EmbeddedSite:
    """A server of this machine behind a relay."""

    def __init__(self, owner: Owner, name: str, server: EmbeddedPostgres) -> None:
        self.server = server
        self._owner = owner
        link = owner.socket_directory(f"{name}-net")
        self.network = Relay(
            owner,
            name=name,
            listen=link / f".s.PGSQL.{PORT}",
            upstream=Path(server.endpoint.host) / f".s.PGSQL.{PORT}",
        )
        self.reach: Words = {"host": str(link), "port": str(PORT)}

    def run(self, tool: str, words: Sequence[str | Path], timeout_s: float) -> str:
        """Run a tool of the server's installation."""
        done = self._owner.run([self.server.installation.tool(tool), *words], timeout_s=timeout_s)
        return (done.stderr + done.stdout).decode("utf-8", "replace")

    def watch(self) -> Witness:
        """Ask the system for the state of the postmaster and of the relay, by the ids that they have now."""
        pids = postmaster_of(self.server), self.network.pid
        return lambda: witness(*pids)


def postmaster_of(server: EmbeddedPostgres) -> int:
    """Return the process id of a server's postmaster, as that wrote it down."""
    return int((server.data_dir / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])


def witness(server: int, relay: int) -> str:
    """Say which of server and network are gone or stopped, by their process ids; "" when both run."""
    return ", ".join(
        f"{name} {state}"
        for name, pid in (("server", server), ("network", relay))
        if (state := {"": "gone", "Z": "gone", "X": "gone", "T": "stopped"}.get(process_state(pid), ""))
    )


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


def ground_for(
    provision: Provision, owner: Owner, installation: PostgresInstallation | None = None
) -> Ground:
    """Return where this run's clusters stand. Raises ProvisionError where containers are asked for and can't be had."""
    if provision is not Provision.DOCKER:
        return EmbeddedGround(owner, installation)
    from smos.failover.contained import DockerGround

    return DockerGround(owner)
