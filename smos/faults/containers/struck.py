"""F490 to F509: services that are frozen, dead, cut off, reached from elsewhere, or out of room."""

from typing import Any

import psycopg

from smos.containers.health import STATES
from smos.containers.lab import Server
from smos.faults.containers.proxy import tcp_proxy
from smos.faults.containers.work import ContainerWork
from smos.faults.registry import caught, fault
from smos.provision.docker.engine import told
from smos.provision.docker.postgres import DockerPostgres

SICK = "container-sick-called-healthy"
assert STATES == ("paused", "disconnected", "black-holed", "killed")  # noqa: S101  (one fault for each)


@fault("F490", "A frozen service counts as healthy", "health", caught("CONTAINER-05", SICK, "paused"))
def frozen(work: ContainerWork) -> None:
    """Take the engine's word while it is paused."""
    work.trusting("paused")


@fault(
    "F491",
    "A service off its network counts as healthy",
    "health",
    caught("CONTAINER-05", SICK, "disconnected"),
)
def off_network(work: ContainerWork) -> None:
    """Take the engine's word while it has no network."""
    work.trusting("disconnected")


@fault(
    "F492", "A black-holed service counts as healthy", "health", caught("CONTAINER-05", SICK, "black-holed")
)
def black_holed(work: ContainerWork) -> None:
    """Take the engine's word while its packets are dropped."""
    work.trusting("black-holed")


@fault("F493", "A killed service counts as healthy", "health", caught("CONTAINER-05", SICK, "killed"))
def killed(work: ContainerWork) -> None:
    """Take the engine's word when it is dead."""
    work.trusting("killed")


@fault(
    "F494",
    "A mended service stays sick",
    "health",
    caught("CONTAINER-05", "container-mended-called-sick", "paused"),
)
def stays_sick(work: ContainerWork) -> None:
    """Freeze it again as soon as it was resumed."""
    work.sick_after("paused")


@fault(
    "F495",
    "Production is on the demo's network",
    "network",
    caught("CONTAINER-06", "container-network-crossed", "production"),
)
def shared_network(work: ContainerWork) -> None:
    """Connect production's container to it."""
    work.strike("two stacks", lambda demo, far, _gateways: _connect(far, demo))


@fault(
    "F495a",
    "The demo is on production's network",
    "network",
    caught("CONTAINER-06", "container-network-shared"),
)
def other_network(work: ContainerWork) -> None:
    """Connect the demo's container to it."""
    work.strike("two stacks", lambda demo, far, _gateways: _connect(demo, far))


@fault(
    "F496",
    "A proxy leads from the demo to production's port",
    "network",
    caught("CONTAINER-06", "container-published-crossed", "published port"),
)
def reached_by_port(work: ContainerWork) -> None:
    """Relay from the demo's gateway to the port that is published on loopback, as a careless proxy does."""

    def lead(_demo: Server, far: Server, gateways: list[str]) -> None:
        if isinstance(far, DockerPostgres):
            port = far.endpoint.port
            work.undo.enter_context(tcp_proxy((gateways[0], port), ("127.0.0.1", port)))

    work.strike("two stacks", lead)


@fault(
    "F500",
    "Vault serves while its audit disk is full",
    "disk",
    caught("CONTAINER-07", "container-audit-full-served", "were served on a full disk"),
)
def serves_unlogged(work: ContainerWork) -> None:
    """Add an audit device that writes to nowhere: one device that takes an entry is enough for Vault."""

    def nowhere(configuration: dict[str, Any]) -> None:
        options = {"file_path": "/dev/null", "mode": "0000"}
        configuration["audit"].append({"type": "file", "path": "nowhere/", "options": options})

    work.lab = work.lab.but(adjust=nowhere)


@fault(
    "F501",
    "Vault stays blocked when its audit disk has room again",
    "disk",
    caught("CONTAINER-07", "container-audit-no-recovery", "with room again"),
)
def stays_blocked(work: ContainerWork) -> None:
    """Make no room."""
    work.strike("audit disk mended", lambda _server: None)


@fault(
    "F502",
    "Committed rows are lost on a full disk",
    "disk",
    caught("CONTAINER-08", "container-disk-lost", "read on a full disk"),
)
def rows_lost(work: ContainerWork) -> None:
    """Take one away."""

    def lose(server: DockerPostgres) -> None:
        with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute("DELETE FROM kept WHERE id = 7")

    work.strike("disk full", lose)


@fault(
    "F503",
    "A full disk ends PostgreSQL",
    "disk",
    caught("CONTAINER-08", "container-disk-died", "a read on a full disk"),
)
def ends(work: ContainerWork) -> None:
    """Kill it when the disk is full."""
    work.strike("disk full", lambda server: server.kill())


@fault(
    "F504",
    "PostgreSQL takes no write when there is room again",
    "disk",
    caught("CONTAINER-08", "container-disk-no-recovery", "with room again"),
)
def refuses_on(work: ContainerWork) -> None:
    """Leave it read-only, as an operator might in the emergency."""

    def read_only(server: DockerPostgres) -> None:
        with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.execute("SELECT pg_reload_conf()")

    work.strike("disk mended", read_only)


def _connect(server: Server, other: Server) -> None:
    """Connect a server's container to the other one's network."""
    process = server.container
    network = other.containers.network
    if process is not None:
        with told(f"connect {server.name}"):
            network.connect(process.container.id)
