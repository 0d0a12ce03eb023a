"""Failover and recovery on containers: what nodes and sandboxes can reach, that a cut is one, that nothing is left."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from smos.checks.pitr.isolation import judge_isolation
from smos.clock import SystemClock
from smos.errors import AbsentError, ProvisionError
from smos.failover.cluster import APPLICATION
from smos.failover.facts import Disaster
from smos.failover.ground import NETWORK_STOPPED, SERVER_GONE, SERVER_STOPPED
from smos.faults.failover.servers import Servers
from smos.faults.failover.work import working
from smos.faults.registry import cases
from smos.physical.create import shell_archive_command
from smos.physical.run import drill_place, sandbox_for
from smos.physical.sandbox import SandboxPostgres
from smos.provision.docker.presence import missing
from smos.provision.owner import Owner
from smos.provision.servers import servers_for
from smos.selftest.pitr import prepare
from smos.target import Provision
from smos.verdict import Verdict
from smos.wait import wait_for

ROOT = Path(__file__).resolve().parent.parent
NO_SERVERS = missing("openbao", "postgres")
needs_servers = pytest.mark.skipif(bool(NO_SERVERS), reason=f"not proven here: {NO_SERVERS}")
SOON_S = 90.0
CASES = {case.fault.id: case for case in cases("failover")}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Owner("drills") as owner:
        made = Servers(owner, Provision.DOCKER)
        yield made
        made.stop()


def in_subnet(address: str, attributes: dict[str, Any]) -> bool:
    import ipaddress

    return ipaddress.ip_address(address) in ipaddress.ip_network(attributes["IPAM"]["Config"][0]["Subnet"])


@needs_servers
def test_a_node_has_no_rights_no_way_out_and_lets_nobody_in_without_a_password(servers: Servers) -> None:
    cluster = servers.cluster()
    primary = cluster.primary
    process: Any = primary.server.container  # type: ignore[attr-defined]  # of a DockerPostgres
    facts = process.container.client.api.inspect_container(process.container.id)
    (network,) = facts["NetworkSettings"]["Networks"].values()
    engine_network = process.container.client.networks.get(network["NetworkID"])
    assert engine_network.attrs["Internal"]
    assert in_subnet(primary.site.reach["host"], engine_network.attrs)
    assert facts["HostConfig"]["PortBindings"] in ({}, None)
    assert facts["HostConfig"]["ReadonlyRootfs"]
    assert facts["HostConfig"]["CapDrop"] == ["ALL"]
    assert facts["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
    assert facts["Config"]["User"] not in {"", "0", "0:0"}
    with psycopg.connect(primary.over_network(APPLICATION)) as connection:
        assert connection.execute("SHOW cluster_name").fetchone() == (primary.name,)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(primary.over_network(APPLICATION, passfile="/dev/null"))
    with Owner("elsewhere") as owner:
        other: Any = servers_for(Provision.DOCKER).postgres(owner, name="elsewhere", memory=True)
        other.start()
        facts = process.container.client.api.inspect_container(other.container.container.id)
        (network,) = facts["NetworkSettings"]["Networks"].values()
        ask: Any = primary.server
        assert b"accepting" in ask.run_tool(
            "pg_isready", ["-h", primary.site.reach["host"], "-t", "60"], timeout_s=120
        )
        with pytest.raises(ProvisionError, match="exit code 2"):  # no response: another network's server
            ask.run_tool("pg_isready", ["-h", network["IPAddress"], "-t", "3"], timeout_s=60)


@needs_servers
def test_the_kernel_tells_what_befell_a_container(servers: Servers) -> None:
    node = servers.cluster().standbys[0]
    witness = node.site.watch()
    assert witness() == ""
    node.server.pause()
    assert witness() == SERVER_STOPPED
    node.server.resume()
    node.network.cut()
    wait_for(lambda: witness() == NETWORK_STOPPED, what="the cut is seen", deadline_s=SOON_S)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(node.over_network(APPLICATION, connect_timeout="2"))
    assert node.follows()  # who sits beside it needs no network
    node.network.heal()
    wait_for(lambda: witness() == "", what="the way is open again", deadline_s=SOON_S)
    with psycopg.connect(node.over_network(APPLICATION)) as connection:
        assert connection.execute("SHOW cluster_name").fetchone() == (node.name,)
    node.network.cut()
    wait_for(lambda: node.site.watch()() == NETWORK_STOPPED, what="this cut as well", deadline_s=SOON_S)
    witness = node.site.watch()
    node.server.kill()
    assert witness() == f"{SERVER_GONE}, {NETWORK_STOPPED}"
    node.start()
    servers.cluster().await_standbys()


@needs_servers
@pytest.mark.parametrize("fault_id", ["F74b", "F467"])
def test_faults_of_the_procedure_are_detected_on_containers_too(fault_id: str, servers: Servers) -> None:
    """A fence that fences nothing, and a standby that was not rewound."""
    case = CASES[fault_id]
    with working(servers) as work:
        case.fault.inject(work)
        judgement = work.run(case.expectation.check)
    assert judgement.verdict is case.expectation.verdict
    assert {item.code for item in judgement.findings} & set(case.expectation.codes), judgement.findings


@needs_servers
def test_a_cut_that_cuts_nothing_is_seen_and_proves_nothing(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smos.failover.contained import ContainerNetwork

    with working(servers) as work:
        work.disaster = Disaster.CUT
        work.steps(seen_s=0.0)
        monkeypatch.setattr(ContainerNetwork, "cut", lambda _network: None)
        judgement = work.run("FAILOVER-04")
    assert judgement.verdict is Verdict.NOT_PROVEN
    assert [item.code for item in judgement.findings] == ["disaster-not-seen"]


@needs_servers
def test_a_sandbox_in_a_container_with_a_way_out_is_found(tmp_path: Path) -> None:
    from smos.provision.docker.containers import containers_of

    made = prepare(tmp_path / "source", SystemClock(), provision=Provision.DOCKER)
    with Owner("open") as owner:
        containers = containers_of(owner)
        network = containers.make_network("open")

        def connect(arguments: Any) -> None:
            arguments["network_mode"] = network.name

        with containers.altered(connect):
            record = drill_place(
                owner, made.place, made.question(), SystemClock(), ["PITR-07"], Provision.DOCKER
            )
    found = judge_isolation(record)
    assert [item.code for item in found.findings if item.verdict is Verdict.FAIL] == ["sandbox-open"] * len(
        record.attempts
    )
    assert "eth0 leads out" in found.findings[0].message
    shut = replace(record, attempts=tuple(replace(item, ways_out=()) for item in record.attempts))
    assert judge_isolation(shut).verdict is Verdict.PASS


def test_what_no_image_can_recover_is_absent_and_not_recovered_elsewhere() -> None:
    assert sandbox_for(Provision.EMBEDDED, "barman") is SandboxPostgres
    with pytest.raises(AbsentError, match="No image holds pgbackrest"):
        sandbox_for(Provision.DOCKER, "pgbackrest")


def test_the_shells_archive_command_is_whole_replaces_nothing_and_may_be_repeated(tmp_path: Path) -> None:
    archive, segment = tmp_path / "an archive", tmp_path / "segment"
    archive.mkdir()

    def run(content: bytes, name: str = "000000010000000000000001") -> int:
        segment.write_bytes(content)
        command = shell_archive_command(archive)
        words = command.replace("%p", str(segment)).replace("%f", name)
        return subprocess.run(["/bin/sh", "-c", words], check=False, capture_output=True).returncode

    assert run(b"one") == 0
    (archive / ".000000010000000000000002.tmp").write_bytes(b"what a killed command left, longer than it")
    assert run(b"two", "000000010000000000000002") == 0
    assert run(b"one") == 0  # the server did not see the answer, and asks again
    assert run(b"another") != 0
    assert {path.name[-1]: path.read_bytes() for path in archive.iterdir()} == {"1": b"one", "2": b"two"}


KILLED = """
import sys
from smos.failover.cluster import Cluster
from smos.failover.ground import ground_for
from smos.provision.owner import Owner
from smos.provision.servers import servers_for
from smos.target import Provision
owner = Owner("killed")
cluster = Cluster(owner, ground=ground_for(Provision.DOCKER, owner), memory=True, log_on_disk=True)
cluster.start()
cluster.primary.network.cut()
cluster.standbys[0].server.pause()
print(owner.id, owner.run_dir, flush=True)
sys.stdin.read()
"""


@needs_servers
def test_a_killed_drill_leaves_no_container_network_or_directory() -> None:
    from smos.provision.docker.engine import engine_socket
    from smos.provision.docker.removal import EngineSocket

    engine = EngineSocket(engine_socket())
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        owner, _, place = run.stdout.readline().strip().partition(" ")
        assert {thing.kind for thing in engine.things(owner)} == {"containers", "networks"}
        run.kill()
    wait_for(lambda: not engine.things(owner), what="nothing is left on the engine", deadline_s=SOON_S)
    wait_for(lambda: not Path(place).exists(), what="its directories are gone", deadline_s=SOON_S)
