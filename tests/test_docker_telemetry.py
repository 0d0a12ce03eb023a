"""The observability stack's servers in containers keep the embedded ones' promises; doors open to their network alone."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest

from smos.errors import AbsentError, ProvisionError
from smos.provision.docker.presence import missing
from smos.provision.owner import Owner
from smos.target import ObservabilityTarget, Provision

IMAGES = ("clickhouse", "otelcol", "bugsink", "prometheus", "alertmanager")
NOT_HERE = missing(*IMAGES)
pytestmark = pytest.mark.skipif(bool(NOT_HERE), reason=f"not proven here: {NOT_HERE}")
START_S = 180.0


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("telemetry") as owned:
        yield owned


@pytest.fixture(scope="module")
def servers() -> Any:
    from smos.provision.telemetry_servers import telemetry_servers_for

    return telemetry_servers_for(Provision.DOCKER)


@pytest.fixture(scope="module")
def clickhouse(owner: Owner, servers: Any) -> Any:
    server = servers.clickhouse(owner)
    server.start(START_S)
    return server


def made(kind: str, owner: Owner, servers: Any, clickhouse: Any) -> tuple[Any, str]:
    """Return a server and the path that it answers when it is well."""
    if kind == "clickhouse":
        return servers.clickhouse(owner, name="own"), "/ping"
    if kind == "otelcol":
        return servers.otelcol(owner, clickhouse.endpoint), ""
    if kind == "bugsink":
        return servers.bugsink(owner), "/health/ready"
    if kind == "prometheus":
        return servers.prometheus(owner, {}), "/-/ready"
    return servers.alertmanager(owner, "http://127.0.0.1:9/"), "/-/ready"


def answers(server: Any, path: str) -> bool:
    endpoint = server.endpoint
    url = endpoint.health if hasattr(endpoint, "health") else f"{endpoint.url}{path}"
    try:
        return httpx.get(url, timeout=3, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("kind", IMAGES)
def test_a_server_keeps_the_promises_of_its_protocol(
    kind: str, owner: Owner, servers: Any, clickhouse: Any
) -> None:
    server, path = made(kind, owner, servers, clickhouse)
    server.stop()  # nothing happens: it does not run
    server.start(START_S)
    server.start(START_S)  # nor here: it does
    container = server.container
    assert container.isolation == "container-network"
    assert not container.poll()
    server.pause()
    assert not answers(server, path)
    server.resume()
    server.kill()
    assert not server.running
    assert not answers(server, path)
    assert server.logs() or kind in {"bugsink", "prometheus", "alertmanager"}
    server.start(START_S)  # another container on the same directories
    assert server.container.container.id != container.container.id
    published = server.exposed([f"0.0.0.0:{port}" for port in range(1, 65536)])
    assert published
    assert all(address.startswith("127.0.0.1:") for address in published)
    server.stop()
    assert not server.running


def test_rows_outlive_a_killed_store(clickhouse: Any) -> None:
    from smos.observability.clickhouse import ClickHouse

    with ClickHouse(clickhouse.endpoint) as client:
        client.execute("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
        client.execute("INSERT INTO kept SELECT number FROM numbers(1000)")
    clickhouse.kill()
    clickhouse.start(START_S)
    with ClickHouse(clickhouse.endpoint) as client:
        assert client.value("SELECT sum(n) FROM kept") == 499500


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"aloha")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def page() -> Iterator[int]:
    """Serve a page on loopback; give its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def read_from_inside(owner: Owner, address: str) -> bytes:
    """Ask for a page from a container of this owner's."""
    from smos.provision.docker.catalogue import image_of
    from smos.provision.docker.containers import containers_of

    ask = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1], timeout=60).read().decode())"
    argv = ["python3", "-I", "-c", ask, f"http://{address}/"]
    try:
        return containers_of(owner).call(
            image_of("clickhouse"), argv, name="asks", timeout_s=120, no_network=False
        )
    except ProvisionError:
        return b""


def test_a_door_is_open_to_containers_of_its_own_network_alone(owner: Owner) -> None:
    from smos.provision.docker.containers import containers_of

    with page() as port, Owner("stranger") as stranger:
        address = containers_of(owner).reach(port)
        assert address == containers_of(owner).reach(port), "one door for each port"
        assert ip_address(address.rpartition(":")[0]).is_private
        assert not address.startswith("127.")
        assert read_from_inside(owner, address) == b"aloha"
        assert read_from_inside(stranger, address) == b""
        assert read_from_inside(stranger, containers_of(stranger).reach(port)) == b"aloha", "it has its own"


def test_a_door_closes_with_its_owner() -> None:
    from smos.provision.docker.containers import containers_of

    with page() as port:
        with Owner("short") as short:
            host, _, number = containers_of(short).reach(port).rpartition(":")
            with socket.create_connection((host, int(number)), timeout=60):
                pass
        with pytest.raises(OSError, match=r".+"):
            socket.create_connection((host, int(number)), timeout=3)


def test_a_missing_image_is_told_as_a_missing_provisioner(
    owner: Owner, servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smos.checks.observability.exercise import exercise
    from smos.observability.verify.lab import ObservabilityLab
    from smos.observability.verify.stand import Recipe, Stand
    from smos.provision.docker import catalogue

    monkeypatch.setattr(catalogue, "LABEL", "cl.smarterbot.nobody")
    monkeypatch.setattr(catalogue, "_USED", {})
    recipe = Recipe(servers=servers)
    stand = Stand(owner, name="absent", recipe=recipe)
    lab = ObservabilityLab(
        find=lambda: stand.subject,
        owner=lambda: owner,
        target=ObservabilityTarget(),
        stand=stand,
        recipe=recipe,
    )
    with pytest.raises(AbsentError, match="clickhouse") as absent:
        exercise("OBS-01", lab)
    assert "make images" in absent.value.remedy


def test_a_container_runs_no_program_of_this_machine(
    owner: Owner, servers: Any, clickhouse: Any, tmp_path: Path
) -> None:
    with pytest.raises(ProvisionError, match="its image's collector"):
        servers.otelcol(owner, clickhouse.endpoint, name="other", program=tmp_path / "otelcol")


def test_a_collector_s_container_has_twice_the_room_of_its_own_limit(
    owner: Owner, servers: Any, clickhouse: Any
) -> None:
    given = {"OTELCOL_MEMORY_LIMIT_MIB": "384"}
    server = servers.otelcol(owner, clickhouse.endpoint, name="limited", environment=given)
    server.start(START_S)
    try:
        settings = server.container.container.client.api.inspect_container(server.container.container.id)
        assert settings["HostConfig"]["Memory"] == settings["HostConfig"]["MemorySwap"] == 768 * 2**20
    finally:
        server.kill()
