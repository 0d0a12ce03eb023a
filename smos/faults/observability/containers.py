"""F505 to F509: what strikes a collector that runs in a container. They need an engine: stacks of containers alone."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smos.errors import ProvisionError
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault
from smos.verdict import Verdict

if TYPE_CHECKING:  # a run without an engine has no SDK for it
    from smos.provision.docker.containers import Containers
    from smos.provision.docker.process import ContainerProcess

BREAKS = "container"
"""What each of them strikes, by which the suite tells them from the others."""
ROOM = 10 * 2**20
"""Bytes that the container may take beyond what it has when the pressure begins."""


def _containers(work: ObservabilityWork) -> "Containers":
    from smos.provision.docker.containers import containers_of

    return containers_of(work.stand.owner)


def _of_pid(work: ObservabilityWork, pid: int) -> "ContainerProcess":
    for process in _containers(work).processes:
        if process.removed_at is None and process.pid == pid:
            return process
    raise ProvisionError("No container of this run has this process", remedy="report this")


def _collector(work: ObservabilityWork) -> "ContainerProcess":
    """Start a stack of the case's own, let the check look at it, and return its collector's container."""
    stand = work.recipe()
    stand.subject  # noqa: B018  (starts it)
    process: ContainerProcess | None = stand.collector.container  # type: ignore[attr-defined]  # it is one in a container
    if process is None:
        raise ProvisionError("The collector does not run", remedy="report this")
    return process


@fault(
    "F505",
    "The queue lies in the collector's container and not on a volume",
    BREAKS,
    caught("OBS-03", "outage-lost", "2000 of 2000"),
)
def no_volume(work: ObservabilityWork) -> None:
    """Give it a file system of the container's own in the volume's place; a killed container is made anew."""

    def without(found: MutableMapping[str, Any]) -> None:
        for mount in list(found["mounts"]):
            if Path(mount["Target"]).name.startswith("outage-otelcol-queue"):
                found["mounts"].remove(mount)
                found["tmpfs"] = {**found["tmpfs"], mount["Target"]: "rw,mode=1777,size=64m"}

    work.undo.enter_context(_containers(work).altered(without))


@fault(
    "F506",
    "The container may take less memory than its collector",
    BREAKS,
    caught("OBS-04", "memory-process-died", "died"),
)
def little_memory(work: ObservabilityWork) -> None:
    """Let the kernel end it: no limiter, and a container's limit that is soon reached."""

    def configure(given: dict[str, Any]) -> None:
        for pipeline in given["service"]["pipelines"].values():
            pipeline["processors"] = []

    def pressed(pid: int) -> None:
        from smos.provision.docker.engine import told

        process = _of_pid(work, pid)
        with told("limit the collector's memory"):
            used = process.container.stats(stream=False)["memory_stats"]["stats"]
            most = int(used.get("total_rss", used.get("anon", 0))) + ROOM
            process.container.update(mem_limit=most, memswap_limit=most)

    work.private(configure=configure)
    _pressed(work, pressed)


@fault(
    "F507",
    "The collector's container is killed under load, and nothing starts it again",
    BREAKS,
    caught("OBS-04", "memory-process-died", "died"),
)
def killed(work: ObservabilityWork) -> None:
    """Kill it as an operator does: no restart policy answers to that."""
    _pressed(work, lambda pid: _of_pid(work, pid).send_signal(9))


@fault(
    "F508",
    "The collector's container is off its network",
    BREAKS,
    caught("OBS-01", "observability-stopped", verdict=Verdict.NOT_PROVEN),
)
def off_the_network(work: ObservabilityWork) -> None:
    """Disconnect it; its published ports go with the network."""
    from smos.provision.docker.engine import told

    process = _collector(work)
    with told(f"disconnect {process.name}"):
        _containers(work).network.disconnect(process.container.id)


@fault(
    "F509",
    "The collector's container is frozen",
    BREAKS,
    caught("OBS-01", "observability-stopped", "Timeout", verdict=Verdict.NOT_PROVEN),
)
def frozen(work: ObservabilityWork) -> None:
    """Pause it: its ports take connections, and nobody answers."""
    process = _collector(work)
    process.pause()
    work.undo.callback(process.resume)


def _pressed(work: ObservabilityWork, act: Any) -> None:
    from smos.observability.verify.memory import Squeeze  # not everybody has what it imports

    work.lab = work.lab.but(options=Squeeze(pressed=act))
