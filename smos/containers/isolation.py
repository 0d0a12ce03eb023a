"""CONTAINER-06: one stack's containers can't be reached from another's, by any address that they have.

Two PostgreSQL servers of two owners stand for the demo and for production. From inside of the demo's container the
other is tried by each of its addresses, by its name, and by its published port at the demo's gateway. A third one, in
the demo's own network, is reached in the same way, so that a refusal means something.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from smos.containers.lab import POSTGRES, ContainerLab, Server
from smos.containers.observation import Observation, Observations, seen_in
from smos.provision.base import start_all
from smos.provision.docker.engine import told
from smos.provision.docker.process import ContainerProcess

PORT = 5432
TRY_S, NEIGHBOUR_S = 3, 30
"""Seconds that one try may take; who can be reached answers within milliseconds."""
DEMO, PRODUCTION = "demo", "production"


def observe(lab: ContainerLab) -> Observations:
    """Try to reach the other stack from the demo's container."""
    import testinfra

    with ExitStack() as stack:
        demo, near = (lab.make(POSTGRES) for _ in range(2))
        far = lab.make(POSTGRES, lab.neighbour(), name=PRODUCTION)
        for server in (demo, near, far):
            stack.callback(server.kill)
        start_all(demo, near, far)
        lab.strike("two stacks", demo, far, _gateways(demo))
        host = testinfra.get_host(f"docker://{_facts(demo)['Name'].lstrip('/')}")

        def reaches(address: str, port: int = PORT, limit_s: int = TRY_S) -> bool | None:
            # 0: it takes connections; 1: it refuses them for now; 2: no answer; 3: not even tried.
            code = host.run(
                "pg_isready --host=%s --port=%s --timeout=%s", address, str(port), str(limit_s)
            ).rc
            return {0: True, 1: True, 2: False}.get(code)

        return Observations(observed=tuple(_tried(demo, near, far, reaches)))


def _tried(demo: Server, near: Server, far: Server, reaches: Any) -> Iterator[Observation]:
    saw = seen_in(DEMO)
    addresses = _addresses(near)
    answers = [reaches(address, limit_s=NEIGHBOUR_S) for address in addresses]
    yield saw("neighbour", all(answers) if addresses else None, "its own network is reached")
    yield saw("neighbour-name", reaches(near.host, limit_s=NEIGHBOUR_S), "a name in its own network is known")
    far_addresses = _addresses(far)
    if not far_addresses:
        yield saw("other-stack", None, "production has no address")
    for number, address in enumerate(far_addresses, 1):
        found = reaches(address)
        yield saw("other-stack", None if found is None else not found, f"address {number} of production")
    found = reaches(far.host)
    yield saw("other-name", None if found is None else not found, "production's name")
    for gateway in _gateways(demo):
        found = reaches(gateway, int(getattr(far.endpoint, "port", 0)))
        yield saw("other-published", None if found is None else not found, "production's published port")
    yield saw("apart", not set(_networks(demo)) & set(_networks(far)), "their networks are others")


def _facts(server: Server) -> dict[str, Any]:
    process = server.container
    assert isinstance(process, ContainerProcess)  # noqa: S101  (it was started)
    with told(f"describe {server.name}"):
        return dict(process.container.client.api.inspect_container(process.container.id))


def _networks(server: Server) -> dict[str, dict[str, Any]]:
    return dict(_facts(server)["NetworkSettings"]["Networks"])


def _gateways(server: Server) -> list[str]:
    """Return the addresses under which its container reaches this machine."""
    return sorted({item["Gateway"] for item in _networks(server).values() if item["Gateway"]})


def _addresses(server: Server) -> list[str]:
    return sorted(item["IPAddress"] for item in _networks(server).values() if item["IPAddress"])
