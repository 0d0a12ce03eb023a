"""F480 to F489: containers that were made with more rights, room or view than they need."""

from collections.abc import MutableMapping
from typing import Any

from smos.containers.lab import OPENBAO
from smos.faults.containers.work import ContainerWork
from smos.faults.registry import caught, fault
from smos.provision.docker.engine import engine_socket

Arguments = MutableMapping[str, Any]


@fault(
    "F480",
    "A container's processes run as root",
    "rights",
    caught("CONTAINER-01", "container-root", "user 0"),
)
def as_root(work: ContainerWork) -> None:
    """Leave the user out; root needs two capabilities to open what belongs to others."""
    work.created_with(lambda found: found.update(user="0:0", cap_add=["DAC_OVERRIDE"]))


@fault(
    "F480a",
    "A container keeps a capability",
    "rights",
    caught("CONTAINER-01", "container-capabilities", "CapBnd"),
)
def capability(work: ContainerWork) -> None:
    """Add one that forges packets."""
    work.created_with(lambda found: found.update(cap_add=["NET_RAW"]))


@fault(
    "F480b",
    "A container's programs may gain rights",
    "rights",
    caught("CONTAINER-01", "container-new-privileges", "NoNewPrivs"),
)
def new_privileges(work: ContainerWork) -> None:
    """Leave the option out."""
    work.created_with(lambda found: found.update(security_opt=[]))


@fault(
    "F480c",
    "A container's system calls are not filtered",
    "rights",
    caught("CONTAINER-01", "container-seccomp"),
)
def no_filter(work: ContainerWork) -> None:
    """Switch the profile off."""
    work.created_with(
        lambda found: found.update(security_opt=["no-new-privileges:true", "seccomp=unconfined"])
    )


@fault(
    "F481",
    "A container sees the machine's processes",
    "rights",
    caught("CONTAINER-01", "container-shares-host", "PidMode"),
)
def host_processes(work: ContainerWork) -> None:
    """Share the pid namespace; its first process is the machine's then, and other claims fail with it."""
    work.created_with(lambda found: found.update(pid_mode="host"))


@fault(
    "F482",
    "A container's root file system can be written",
    "files",
    caught("CONTAINER-02", "container-root-writable", "/ is rw"),
)
def writable_root(work: ContainerWork) -> None:
    """Leave read_only out."""
    work.created_with(lambda found: found.update(read_only=False))


@fault(
    "F482a",
    "What a container wrote can be run",
    "files",
    caught("CONTAINER-02", "container-scratch-executable", "exit code 0"),
)
def executable_scratch(work: ContainerWork) -> None:
    """Mount its scratch space without noexec."""
    work.created_with(lambda found: found.update(tmpfs={"/tmp": "rw,exec,mode=1777,size=16m"}))  # noqa: S108  (inside)


@fault(
    "F482b",
    "What a container wrote can be run in a second scratch space",
    "files",
    caught("CONTAINER-02", "container-scratch-executable", "run in /scratch: exit code 0"),
)
def second_scratch(work: ContainerWork) -> None:
    """Mount one beside /tmp, without noexec."""
    work.created_with(lambda found: found["tmpfs"].update({"/scratch": "rw,exec,mode=1777,size=16m"}))


@fault(
    "F483",
    "A container is published on every interface",
    "network",
    caught("CONTAINER-03", "container-published-wide", "0.0.0.0"),  # noqa: S104  (that is the fault)
)
def published_wide(work: ContainerWork) -> None:
    """Leave the address out."""

    def wide(found: Arguments) -> None:
        found["ports"] = {port: ("0.0.0.0", out) for port, (_, out) in found["ports"].items()}  # noqa: S104  (that is the fault)

    work.created_with(wide)


@fault(
    "F483a",
    "Something else listens in a container",
    "network",
    caught("CONTAINER-03", "container-port-extra", "7777"),
)
def other_port(work: ContainerWork) -> None:
    """Give OpenBao another listener, without TLS."""

    def more(configuration: dict[str, Any]) -> None:
        another = {"address": "0.0.0.0:7777", "cluster_address": "127.0.0.1:0", "tls_disable": True}
        configuration["listener"].append({"tcp": another})

    work.lab = work.lab.but(adjust=more, kinds=(OPENBAO,))


@fault(
    "F484",
    "The engine's socket is mounted into a container",
    "mounts",
    caught("CONTAINER-04", "container-engine-socket", "docker.sock"),
)
def engine_mounted(work: ContainerWork) -> None:
    """Mount it, as monitoring agents ask for."""
    _mount(work, str(engine_socket()), "/var/run/docker.sock")


@fault(
    "F484a",
    "A directory of the machine is mounted into a container",
    "mounts",
    caught("CONTAINER-04", "container-mount-foreign", "/etc"),
)
def machine_mounted(work: ContainerWork) -> None:
    """Mount the machine's settings."""
    _mount(work, "/etc", "/host-etc")


@fault(
    "F484b",
    "A directory of the machine is mounted as a volume",
    "mounts",
    caught("CONTAINER-04", "container-mount-foreign", "/etc as the volume"),
)
def machine_as_volume(work: ContainerWork) -> None:
    """Let the local driver bind it: the container's list of mounts then names a volume alone."""
    options = {"type": "none", "o": "bind", "device": "/etc"}
    volume = work.lab.containers.make_volume("machine", options=options)
    work.undo.callback(volume.remove, force=True)

    def more(found: Arguments) -> None:
        from docker.types import Mount

        found["mounts"] = [*found["mounts"], Mount("/host-etc", volume.name, type="volume", read_only=True)]

    work.created_with(more)


@fault(
    "F485",
    "A container can change its configuration",
    "mounts",
    caught("CONTAINER-04", "container-configuration-writable", "can be written"),
)
def configuration_writable(work: ContainerWork) -> None:
    """Mount everything so that it can be written, and let it run as the configuration's owner."""

    def writable(found: Arguments) -> None:
        for mount in found["mounts"]:
            mount["ReadOnly"] = False
        found.update(user="0:0", cap_add=["DAC_OVERRIDE"])

    work.created_with(writable)


@fault(
    "F486",
    "A container's memory has no limit",
    "limits",
    caught("CONTAINER-04", "container-unlimited", "memory 0"),
)
def unlimited(work: ContainerWork) -> None:
    """Leave the limits out."""

    def without(found: Arguments) -> None:
        for name in ("mem_limit", "memswap_limit", "pids_limit"):
            found.pop(name)

    work.created_with(without)


@fault("F487", "A crash would leave a core file", "limits", caught("CONTAINER-04", "container-core-dumps"))
def core_dumps(work: ContainerWork) -> None:
    """Leave the limit out."""
    work.created_with(lambda found: found.pop("ulimits"))


@fault(
    "F488",
    "A secret stands in a container's environment",
    "environment",
    caught("CONTAINER-04", "container-secret-in-environment", "POSTGRES_PASSWORD"),
)
def secret_in_environment(work: ContainerWork) -> None:
    """Give a password as a variable, as most images ask for."""
    work.created_with(lambda found: found["environment"].update(POSTGRES_PASSWORD="not-a-real-one"))  # noqa: S106  (that is the fault)


@fault(
    "F488a",
    "A secret stands in an address in a container's environment",
    "environment",
    caught("CONTAINER-04", "container-secret-in-environment", "DATABASE_URL"),
)
def secret_in_address(work: ContainerWork) -> None:
    """Give a connection string with its password, under a name that tells nothing."""
    address = "postgres://app:not-a-real-one@db/app"
    work.created_with(lambda found: found["environment"].update(DATABASE_URL=address))


def _mount(work: ContainerWork, source: str, target: str) -> None:
    def more(found: Arguments) -> None:
        from docker.types import Mount

        found["mounts"] = [*found["mounts"], Mount(target, source, type="bind", read_only=True)]

    work.created_with(more)
