"""Servers in containers keep the promises of the embedded ones; volumes survive a backup; judges of containers judge."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from smos.backup.tree import read_tree
from smos.checks.containers import CHECKS, not_required
from smos.checks.containers.exercise import DRIVERS
from smos.checks.containers.rules import RULES, judge
from smos.containers.observation import Observation, Observations
from smos.errors import ProvisionError
from smos.provision.docker.presence import missing
from smos.provision.owner import Owner
from smos.provision.servers import EMBEDDED, Servers, servers_for
from smos.target import Provision, Settings, Target
from smos.vault.health import read_health
from smos.verdict import Verdict
from tests._volume_kit import nasty_tree

ROOT = Path(__file__).resolve().parent.parent
NO_SERVERS = missing("openbao", "postgres")
needs_servers = pytest.mark.skipif(bool(NO_SERVERS), reason=f"not proven here: {NO_SERVERS}")
NO_HELPER = missing("harness")
KINDS = [
    pytest.param(Provision.EMBEDDED, id="embedded"),
    pytest.param(Provision.DOCKER, id="docker", marks=needs_servers),
]


@pytest.fixture
def owner() -> Iterator[Owner]:
    with Owner("servers") as owned:
        yield owned


def postgres_answers(server: Any, limit_s: int) -> bool:
    try:
        with psycopg.connect(server.endpoint.conninfo(connect_timeout=limit_s)) as connection:
            return connection.execute("SELECT 42").fetchone() == (42,)
    except psycopg.Error:
        return False


def openbao_answers(server: Any, limit_s: int) -> bool:
    endpoint = server.endpoint
    return read_health(endpoint.url, ca=endpoint.ca, limit_s=limit_s).status is not None


@pytest.mark.parametrize("provision", KINDS)
@pytest.mark.parametrize("kind", ["postgres", "openbao"])
def test_a_server_keeps_the_promises_of_its_protocol(provision: Provision, kind: str, owner: Owner) -> None:
    servers: Servers = servers_for(provision)
    server = getattr(servers, kind)(owner, name=kind, memory=True)
    answers = {"postgres": postgres_answers, "openbao": openbao_answers}[kind]
    server.stop()  # nothing happens: it does not run
    server.start()
    server.start()  # nor here: it does
    assert server.running
    assert answers(server, 60)
    server.pause()
    assert not answers(server, 2)
    server.resume()
    assert answers(server, 60)
    server.kill()
    assert not server.running
    assert not answers(server, 2)
    server.start()
    assert answers(server, 60)
    server.stop()
    assert not server.running
    assert server.logs()


@needs_servers
def test_a_superuser_comes_over_the_network_with_a_password_alone(owner: Owner) -> None:
    server: Any = servers_for(Provision.DOCKER).postgres(owner, name="asked", memory=True)
    server.start()
    endpoint = server.endpoint
    assert endpoint.host == "127.0.0.1"
    passfile = endpoint.passfile
    assert passfile is not None
    assert passfile.stat().st_mode & 0o777 == 0o600
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.superuser,
            dbname="postgres",
            passfile="/nonexistent",
        )
    secret = passfile.read_text(encoding="utf-8").strip().rpartition(":")[2]
    told = " ".join([endpoint.conninfo(), repr(endpoint), server.logs(), str(endpoint.env())])
    assert secret
    assert secret not in told


@needs_servers
def test_a_server_that_can_not_start_tells_why_and_leaves_no_container(owner: Owner) -> None:
    from smos.provision.docker.containers import containers_of, seen_since

    server: Any = servers_for(Provision.DOCKER).postgres(
        owner, name="wrong", settings={"shared_buffers": "nonsense"}, no_network=True
    )
    with pytest.raises(ProvisionError, match="ended while starting") as failed:
        server.start()
    assert "shared_buffers" in failed.value.log
    server.kill()
    assert [
        process.removed_at is None for process in seen_since(0.0) if process in containers_of(owner).processes
    ] == [False]


@pytest.mark.skipif(bool(NO_HELPER), reason=f"not proven here: {NO_HELPER}")
@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root sees the engine's directories, to compare without the helper"
)
def test_a_volume_comes_back_byte_for_byte_with_every_attribute(owner: Owner) -> None:
    from smos.provision.docker.containers import containers_of
    from smos.provision.docker.volumes import backup_volume, restore_volume

    held = containers_of(owner)
    source, target = held.make_volume("source"), held.make_volume("target")
    root, other = Path(source.attrs["Mountpoint"]), Path(target.attrs["Mountpoint"])
    kept = nasty_tree(root / "tree")
    assert kept["security.capability"]
    (root / "tree" / "link").unlink()  # it has an attribute that only CAP_SYS_ADMIN sees
    os.chown(root, 1234, 77)
    root.chmod(0o2770)
    os.utime(root, ns=(5, 1_234_567_890_123_456_789))
    before = list(read_tree(root))
    place = owner.directory("archive")

    summary = backup_volume(held, source.name, place, name="data")
    assert summary.problems == ()
    assert list(read_tree(root)) == before, "the volume was only read"
    archive = place / "data.tar.zst"
    restored = restore_volume(held, archive, target.name)
    assert restored.equal, (restored.differences, restored.problems)
    assert restored.files == summary.files
    assert list(read_tree(other)) == before, "compared from outside, by another walk"
    assert (other / "tree" / "sparse").stat().st_blocks == (root / "tree" / "sparse").stat().st_blocks

    again = restore_volume(held, archive, target.name)
    assert [problem.code for problem in again.problems] == ["volume-not-empty"]
    third = held.make_volume("third")
    archive.write_bytes(archive.read_bytes()[:-2000])
    cut = restore_volume(held, archive, third.name)
    assert not cut.equal
    assert cut.problems


@pytest.mark.parametrize("check_id", [check.id for check in CHECKS])
def test_a_check_passes_only_when_every_claim_was_seen_to_hold(check_id: str) -> None:
    claims = [rule.claim for rule in RULES[check_id]]

    def verdict(*observed: Observation) -> Verdict:
        return judge(check_id, Observations(observed=observed)).verdict

    def seen(claim: str, holds: bool | None) -> Observation:
        return Observation(claim=claim, subject="server", holds=holds)

    whole = [seen(claim, True) for claim in claims]
    assert verdict(*whole) is Verdict.PASS
    assert verdict() is Verdict.NOT_PROVEN
    assert verdict(*whole, seen("something else", True)) is Verdict.NOT_PROVEN
    for number, rule in enumerate(RULES[check_id]):
        others = whole[:number] + whole[number + 1 :]
        assert verdict(*others) is Verdict.NOT_PROVEN
        assert verdict(*others, seen(rule.claim, None)) is Verdict.NOT_PROVEN
        assert verdict(*whole, seen(rule.claim, False)) is (
            Verdict.NOT_PROVEN if rule.experiment else Verdict.FAIL
        )


def test_every_container_check_has_a_driver_and_rules() -> None:
    assert [check.id for check in CHECKS] == list(DRIVERS) == list(RULES)


def test_container_checks_are_asked_for_only_of_containers() -> None:
    target = Target(name="any")

    def settings(provision: Provision) -> Settings:
        return Settings(
            target=None, target_file=None, provision=provision, backups=None, reports=Path("reports")
        )

    assert not_required(target, settings(Provision.DOCKER)) == ()
    for other in (Provision.AUTO, Provision.EMBEDDED, Provision.LIVE):
        assert {check for check, _ in not_required(target, settings(other))} == {check.id for check in CHECKS}


def test_auto_is_the_embedded_servers() -> None:
    assert servers_for(Provision.AUTO) is EMBEDDED


def test_a_postgres_log_loses_what_may_quote_rows() -> None:
    from fixtures.containers import without_rows

    log = (
        "2026 [1] smos@x ERROR:  duplicate key value violates unique constraint\n"
        "2026 [1] smos@x DETAIL:  Key (rut)=(11.111.111-1) already exists.\n"
        "2026 [1] smos@x STATEMENT:  INSERT INTO people\n"
        "\tVALUES ('11.111.111-1')\n"
        '2026 [1] smos@x ERROR:  invalid input syntax for type integer: "María\n'
        '\tSoto" at character 8\n'
        "2026 [1] LOG:  checkpoint starting\n"
        "\tstays: it follows nothing that tells\n"
    )
    kept = without_rows(log)
    assert "11.111" not in kept
    assert "Mar" not in kept
    assert "Soto" not in kept
    assert kept.splitlines() == [
        "2026 [1] smos@x ERROR:  duplicate key value violates unique constraint",
        '2026 [1] smos@x ERROR:  invalid input syntax for type integer: "…"',
        "2026 [1] LOG:  checkpoint starting",
        "\tstays: it follows nothing that tells",
    ]


def test_a_run_without_an_engine_is_not_proven_and_says_what_to_do(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--provision", "docker"]
    argv += ["--reports", str(tmp_path), "-m", "demo", "suites/demo/test_01_seeding.py"]
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    done = subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode not in {0, 5}, done.stdout
    checks = json.loads((tmp_path / "verdict.json").read_text(encoding="utf-8"))["checks"]
    found = next(item for item in checks if item["id"] == "DEMO-01")
    assert found["verdict"] == "NOT_PROVEN"
    assert [item["code"] for item in found["findings"]] == ["provisioner-absent"]
    remedy = found["findings"][0]["remedy"]
    assert "docker.io" in remedy or "extra docker" in remedy
