"""The containers of a stack: which they are, and what each one shows about itself. Facts, and a pure judge of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smos.verdict import Finding, fail, not_proven, note

if TYPE_CHECKING:
    from docker import DockerClient

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
IN_THE_MIDDLE = 3
"""Restarts from which a container that has just come up is taken for one that keeps falling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    """One container. status: the engine's word. health: of its own check; empty where it has none.

    restarts: how often the engine has started it again. exit_code: of the last end. started: ISO 8601, empty before
    its first start. one_shot: nobody starts it again when it ends, so an end with 0 is its purpose.
    """

    name: str
    service: str
    project: str
    image: str
    image_id: str
    status: str
    health: str
    exit_code: int
    restarts: int
    started: str
    one_shot: bool
    ports: tuple[str, ...] = ()


def of_stack(name: str, labels: Mapping[str, str], project: str) -> bool:
    """Tell whether a container belongs to the stack: by Compose's label, or by the prefix of its name."""
    return (
        labels.get(PROJECT) == project or name == project or name.startswith((f"{project}-", f"{project}_"))
    )


def read_containers(client: "DockerClient", project: str) -> tuple[ContainerFacts, ...]:
    """Return the stack's containers, by name, those that have ended as well. Raises the SDK's errors."""
    import docker

    found = []
    for item in client.containers.list(all=True, ignore_removed=True):
        if of_stack(item.name, item.labels or {}, project):
            try:
                item.reload()
            except docker.errors.NotFound:
                continue  # it has gone meanwhile
            found.append(container_facts(item.attrs))
    return tuple(sorted(found, key=lambda item: item.name))


def container_facts(attributes: Mapping[str, Any]) -> ContainerFacts:
    """Read what the engine says of one container (`docker inspect`)."""
    state = attributes.get("State") or {}
    config = attributes.get("Config") or {}
    labels = config.get("Labels") or {}
    policy = ((attributes.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no"
    name = str(attributes.get("Name") or "").lstrip("/")
    started = str(state.get("StartedAt") or "")
    return ContainerFacts(
        name=name,
        service=str(labels.get(SERVICE) or name),
        project=str(labels.get(PROJECT) or ""),
        image=str(config.get("Image") or ""),
        image_id=str(attributes.get("Image") or ""),
        status="paused" if state.get("Paused") else str(state.get("Status") or "unknown"),
        health=str((state.get("Health") or {}).get("Status") or "").replace("none", ""),
        exit_code=int(state.get("ExitCode") or 0),
        restarts=int(attributes.get("RestartCount") or 0),
        started="" if started.startswith("0001") else started,
        one_shot=policy in {"no", "on-failure"},
        ports=tuple(_ports((attributes.get("NetworkSettings") or {}).get("Ports") or {})),
    )


def _ports(ports: Mapping[str, Any]) -> Iterable[str]:
    for inside, places in sorted(ports.items()):
        for place in places or ():
            yield f"{place.get('HostIp', '')}:{place.get('HostPort', '')}->{inside}"


def judge_container(facts: ContainerFacts) -> Finding:
    """Return the one finding on a container: healthy only where its own check says so."""
    name = facts.name
    if facts.status == "running":
        return _running(facts)
    if facts.status == "exited" and facts.exit_code == 0 and facts.one_shot:
        return note("container-done", f"{name}: did its work and ended with 0")
    if facts.status == "restarting":
        text = f"{name}: keeps falling: started again {facts.restarts} times, last end with {facts.exit_code}"
        return fail("container-restarting", text, f"smos services logs {name}")
    if facts.status == "created":
        return fail("container-not-started", f"{name}: was never started", f"smos services restart {name}")
    ended = f"{name}: {facts.status}" + (
        f", ended with {facts.exit_code}" if facts.status == "exited" else ""
    )
    return fail(
        "container-not-running", ended, f"smos services logs {name}, then smos services restart {name}"
    )


def _running(facts: ContainerFacts) -> Finding:
    name = facts.name
    if facts.health == "healthy":
        return note("container-healthy", f"{name}: running, and healthy by its own check")
    if facts.health == "unhealthy":
        return fail(
            "container-unhealthy",
            f"{name}: running, and unhealthy by its own check",
            f"smos services logs {name}",
        )
    if facts.restarts >= IN_THE_MIDDLE and not facts.health:
        text = f"{name}: running, after {facts.restarts} restarts, and it has no health check"
        return not_proven("container-unproven", text, "see its log; give its image or service a health check")
    if not facts.health:
        text = f"{name}: running, and it has no health check: nothing shows that it works"
        return not_proven("container-unproven", text, "give its image or service a health check")
    return not_proven(
        "container-starting", f"{name}: its health check says {facts.health}", "ask again in a moment"
    )
