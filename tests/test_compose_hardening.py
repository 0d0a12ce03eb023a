"""The stacks as Compose renders them, held against the rules; and every rule seen to find what it is for."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smos.compose.hardening import HEALTH_LABEL
from smos.compose.hardening import judge_stack as judge_stack_in
from smos.compose.render import rendered
from smos.compose.variables import shipped
from smos.paths import compose_dir
from smos.verdict import Judgement, Verdict

STACKS = {"vault": None, "demo": "demo/env.example", "observability": "observability/.env.example"}


def judge_stack(stack: dict[str, Any]) -> Judgement:
    return judge_stack_in(stack, folder=str(compose_dir()))


def settings(stack: str, folder: Path) -> list[Path]:
    """Write a .env as the example says, with something in every line that asks for it."""
    example = STACKS[stack]
    if example is None:
        return []
    filled = folder / f"{stack}.env"
    lines = (compose_dir() / example).read_text().splitlines()
    filled.write_text("".join(f"{line}{'a1' * 16 if line.endswith('=') else ''}\n" for line in lines))
    return [filled]


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("env")
    return {
        name: rendered(compose_dir() / f"{name}.yml", environment_files=settings(name, folder))
        for name in STACKS
    }


@pytest.mark.parametrize("name", STACKS)
def test_the_shipped_stack_is_hardened(stacks: dict[str, dict[str, Any]], name: str) -> None:
    judgement = judge_stack(stacks[name])
    assert not [f"{item.code}: {item.message}" for item in judgement.findings]
    assert judgement.verdict is Verdict.PASS


def bad(service: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda stack: stack["services"][service].update(changes)


def bind(**changes: Any) -> list[dict[str, Any]]:
    return [{"type": "bind", "source": f"{compose_dir()}/demo", "target": "/x", "read_only": True, **changes}]


def port(host: str, published: str) -> list[dict[str, Any]]:
    return [{"host_ip": host, "published": published, "target": 5432}]


DEFECTS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "compose-privileged": ("demo", bad("demo-postgres", privileged=True)),
    "compose-device": ("demo", bad("demo-postgres", devices=[{"source": "/dev/mem"}])),
    "compose-capabilities-kept": ("vault", bad("vault", cap_drop=["NET_RAW"])),
    "compose-capability-added": ("vault", bad("vault", cap_add=["SYS_ADMIN"])),
    "compose-new-privileges": ("vault", bad("vault", security_opt=["no-new-privileges:false"])),
    "compose-unconfined": (
        "vault",
        bad("vault", security_opt=["no-new-privileges:true", "seccomp:unconfined"]),
    ),
    "compose-namespace-shared": ("demo", bad("demo-seeder", pid="host")),
    "compose-engine-socket": ("demo", bad("demo-n8n", volumes=bind(source="/var/run/docker.sock"))),
    "compose-host-mounted": ("demo", bad("demo-n8n", volumes=bind(source="/srv/backups"))),
    "compose-mount-writable": ("demo", bad("demo-n8n", volumes=bind(read_only=False))),
    "compose-mount-shared": ("demo", bad("demo-n8n", volumes=bind(bind={"propagation": "rshared"}))),
    "compose-root-writable": ("observability", bad("smarter-grafana", read_only=False)),
    "compose-unlimited": ("observability", bad("smarter-grafana", mem_limit="0")),
    "compose-log-unlimited": ("observability", bad("smarter-grafana", logging={"driver": "json-file"})),
    "compose-port-exposed": ("demo", bad("demo-postgres", ports=port("", "55432"))),
    "compose-port-privileged": ("demo", bad("demo-postgres", ports=port("127.0.0.1", "443"))),
    "compose-root-user": ("vault", bad("vault", user="0:0")),
    "compose-health-unknown": ("vault", bad("vault", healthcheck={"test": ["NONE"]})),
    "compose-health-hollow": ("vault", bad("vault", healthcheck={"test": ["CMD-SHELL", "pgrep bao"]})),
    "compose-image-floating": ("vault", bad("vault", image="openbao/openbao:latest")),
    "compose-volume-unlabelled": ("demo", lambda stack: stack["volumes"]["demo-n8n-data"].pop("labels")),
    "compose-volume-anonymous": ("demo", bad("demo-n8n", volumes=[{"type": "volume", "target": "/data"}])),
    "compose-empty": ("demo", lambda stack: stack["services"].clear()),
}


@pytest.mark.parametrize("code", DEFECTS)
def test_each_rule_finds_what_it_is_for_and_nothing_else(
    stacks: dict[str, dict[str, Any]], code: str
) -> None:
    name, damage = DEFECTS[code]
    stack = copy.deepcopy(stacks[name])
    damage(stack)
    judgement = judge_stack(stack)
    assert {finding.code for finding in judgement.findings} == {code}
    assert judgement.verdict is (Verdict.NOT_PROVEN if code == "compose-empty" else Verdict.FAIL)


def top(kind: str, key: str, **options: Any) -> Callable[[dict[str, Any]], None]:
    return lambda stack: stack[kind].update({key: {"labels": LABELS, **options}})


LABELS = {"cl.smarterbot.stack": "x", "cl.smarterbot.backup": "false"}
SAFE = "no-new-privileges:true"
EVASIONS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "host-as-volume": (
        "compose-host-mounted",
        top("volumes", "all", driver_opts={"type": "none", "o": "bind", "device": "/"}),
    ),
    "volumes-from": ("compose-host-mounted", bad("demo-n8n", volumes_from=["container:production"])),
    "socket-by-compose": ("compose-engine-socket", bad("demo-n8n", use_api_socket=True)),
    "external-host-network": ("compose-namespace-shared", top("networks", "x", name="host", external=True)),
    "macvlan": ("compose-namespace-shared", top("networks", "x", driver="macvlan")),
    "pid-of-a-service": ("compose-namespace-shared", bad("demo-n8n", pid="service:demo-postgres")),
    "privileged-hook": ("compose-privileged", bad("demo-n8n", post_start=[{"command": ["x"], "privileged": True}])),
    "root-hook": ("compose-root-user", bad("demo-n8n", post_start=[{"command": ["x"], "user": "root"}])),
    "root-by-zeros": ("compose-root-user", bad("demo-n8n", user="00:0")),
    "device-rule": ("compose-device", bad("demo-n8n", device_cgroup_rules=["a *:* rwm"])),
    "device-reserved": (
        "compose-device",
        bad("demo-seeder", deploy={"resources": {"reservations": {"devices": [{"count": 1}]}}}),
    ),
    "taken-back": ("compose-new-privileges", bad("demo-n8n", security_opt=[SAFE, "no-new-privileges:false"])),
    "own-profile": ("compose-unconfined", bad("demo-n8n", security_opt=[SAFE, "seccomp:/tmp/everything.json"])),
    "unmasked": ("compose-unconfined", bad("demo-n8n", security_opt=[SAFE, "systempaths=unconfined"])),
    **{
        f"hollow-{number}": (
            "compose-health-hollow",
            bad("demo-n8n", healthcheck={"test": ["CMD-SHELL", words]}),
        )
        for number, words in enumerate(
            [":", "echo ok", "nc -z localhost 5678", "wget -q -O- http://x || exit  0", "test -f /etc/passwd"]
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", EVASIONS)
def test_a_rule_is_not_evaded_by_another_spelling(stacks: dict[str, dict[str, Any]], name: str) -> None:
    code, damage = EVASIONS[name]
    stack = copy.deepcopy(stacks["demo"])
    damage(stack)
    assert {finding.code for finding in judge_stack(stack).findings} == {code}


def test_a_service_that_starts_only_with_a_profile_is_rendered_and_judged(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(
        "services:\n  a: {image: 'x:1.2', profiles: [debug], privileged: true}\n", encoding="utf-8"
    )
    codes = {item.code for item in judge_stack(rendered(tmp_path / "x.yml")).findings}
    assert "compose-privileged" in codes


def test_health_asked_from_outside_counts_only_at_a_published_port(stacks: dict[str, dict[str, Any]]) -> None:
    stack = copy.deepcopy(stacks["observability"])
    stack["services"]["smarter-otelcol"]["labels"][HEALTH_LABEL] = "13134"
    assert [finding.code for finding in judge_stack(stack).findings] == ["compose-health-unknown"]


@pytest.mark.parametrize("limit", ["mem_limit", "cpus", "pids_limit"])
def test_every_kind_of_limit_is_asked_for(stacks: dict[str, dict[str, Any]], limit: str) -> None:
    stack = copy.deepcopy(stacks["observability"])
    del stack["services"]["smarter-grafana"][limit]
    assert [finding.code for finding in judge_stack(stack).findings] == ["compose-unlimited"]


def test_a_variable_that_is_not_set_is_named_and_nothing_starts(tmp_path: Path) -> None:
    from smos.errors import ProvisionError

    with pytest.raises(ProvisionError, match="DEMO_POSTGRES_PASSWORD"):
        rendered(compose_dir() / "demo.yml", environment_files=[])


def test_the_default_of_a_variable_is_read_and_a_nested_one_is_left() -> None:
    assert shipped("${A_IMAGE:-postgres:18.6}") == "postgres:18.6"
    assert shipped("${A:-${B:?must}}") == "${A:-${B:?must}}"
    assert shipped("${A:?must}") == "${A:?must}"
