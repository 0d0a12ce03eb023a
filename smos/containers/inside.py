"""CONTAINER-01 to 04: what a container may do, what it can write, where it listens, what it sees of the machine.

The engine says how a container was made; whether that holds is looked at from inside, by testinfra: what the kernel
tells of the first process, what can really be written and executed, which ports really listen.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from smos.containers.lab import ContainerLab, Subject
from smos.containers.observation import Observation, Observations
from smos.errors import ProvisionError
from smos.provision.docker.engine import told

Look = Callable[[Subject, Any, dict[str, Any]], Iterator[Observation]]
SECRET_NAME = re.compile(r"(?i)passw|secret|token|private|credential|api_?key")
LISTENS = "0A"
"""The state LISTEN in /proc/net/tcp."""
LOOPBACK_6 = "00000000000000000000000001000000"
MAPPED_4 = "0000000000000000FFFF0000"
"""How tcp6 writes ::1, and how an IPv4 address in an IPv6 one begins."""


def privileges(lab: ContainerLab) -> Observations:
    """Look at whom the processes run as and what they may do."""
    return _each(lab, _privileges)


def files(lab: ContainerLab) -> Observations:
    """Try to write where nothing may be written, and to run what was put into the scratch space."""
    return _each(lab, _files)


def network(lab: ContainerLab) -> Observations:
    """Look at what listens, and at where it is published."""
    return _each(lab, _network)


def surroundings(lab: ContainerLab) -> Observations:
    """Look at what of the machine is mounted, at limits, and at secrets in the environment."""
    return _each(lab, _surroundings)


def _each(lab: ContainerLab, look: Look) -> Observations:
    import testinfra

    found: list[Observation] = []
    details: dict[str, Any] = {}
    with lab.subjects() as subjects:
        for item in subjects:
            with told(f"describe {item.name}"):
                facts = item.process.container.client.api.inspect_container(item.process.container.id)
            host = testinfra.get_host(f"docker://{facts['Name'].lstrip('/')}")
            if host.run("true").rc != 0:
                raise ProvisionError(
                    f"Nothing can be run inside of {item.name}",
                    remedy="install Docker's command-line client, and use an image that has a shell",
                )
            seen = list(look(item, host, facts))
            found += seen
            details[item.name] = {one.claim: one.seen for one in seen}
    return Observations(observed=tuple(found), details=details)


def _privileges(item: Subject, host: Any, facts: dict[str, Any]) -> Iterator[Observation]:
    status = dict(
        line.split(":", 1) for line in host.file("/proc/1/status").content_string.splitlines() if ":" in line
    )

    def saw(claim: str, holds: bool | None, seen: str) -> Observation:  # noqa: FBT001  (a fact)
        return Observation(claim=claim, subject=item.name, holds=holds, seen=seen)

    uids = [int(word) for word in status["Uid"].split()]
    yield saw("user", 0 not in uids and host.user().uid != 0, f"user {uids[0]}")
    masks = {
        name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb") if name in status
    }
    had = {name: f"{mask:x}" for name, mask in masks.items() if mask}
    yield saw("capabilities", not had, ", ".join(f"{k} {v}" for k, v in had.items()) or "none")
    yield saw(
        "no-new-privileges",
        status.get("NoNewPrivs", "").strip() == "1",
        f"NoNewPrivs{status.get('NoNewPrivs')}",
    )
    yield saw("seccomp", status.get("Seccomp", "").strip() == "2", f"Seccomp{status.get('Seccomp')}")
    config = facts["HostConfig"]
    shared = [
        name
        for name in ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "NetworkMode", "CgroupnsMode")
        if config.get(name) == "host" and name != "CgroupnsMode"
    ]
    powers = [*shared, *(["privileged"] if config.get("Privileged") else [])]
    powers += ["devices"] if config.get("Devices") else []
    yield saw("own-namespaces", not powers, ", ".join(powers) or "nothing of the host's is shared")


def _files(item: Subject, host: Any, _facts: dict[str, Any]) -> Iterator[Observation]:
    def saw(claim: str, holds: bool | None, seen: str) -> Observation:  # noqa: FBT001  (a fact)
        return Observation(claim=claim, subject=item.name, holds=holds, seen=seen)

    mounts = _mounts(host.file("/proc/mounts").content_string)
    root = mounts.get("/", ())
    yield saw("root-read-only", "ro" in root, f"/ is {'ro' if 'ro' in root else 'rw'}")
    written = [
        place for place in ("", "/etc", "/usr/local/bin", "/var") if _writes(host, f"{place}/.smos-probe")
    ]
    yield saw(
        "root-unwritable", not written, ", ".join(place or "/" for place in written) or "nothing was written"
    )
    run = host.run("cp /bin/true /tmp/smos-probe && /tmp/smos-probe")
    host.run("rm -f /tmp/smos-probe")
    tried = run.rc not in {0, 1}  # 126: the kernel refused; 1: it could not be copied, which shows nothing
    yield saw(
        "scratch-not-executable",
        False if run.rc == 0 else tried or None,
        f"run in its scratch space: exit code {run.rc}",
    )
    program = host.file(host.check_output("readlink /proc/1/exe"))
    mine = program.user == "root" and not program.mode & 0o022
    yield saw("program-unchangeable", mine, f"{program.path}: {program.user} {program.mode:04o}")
    data = host.file(str(item.server.data_dir))
    if data.exists:
        yield saw("data-private", not data.mode & 0o077, f"mode {data.mode:04o}")


def _network(item: Subject, host: Any, facts: dict[str, Any]) -> Iterator[Observation]:
    def saw(claim: str, holds: bool | None, seen: str) -> Observation:  # noqa: FBT001  (a fact)
        return Observation(claim=claim, subject=item.name, holds=holds, seen=seen)

    text = host.check_output("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true")
    open_ports = sorted({port for address, port in _listening(text) if not _is_loopback(address)})
    extra = [port for port in open_ports if port not in item.ports]
    yield saw("ports", not extra, f"listens on {', '.join(map(str, open_ports)) or 'nothing'}")
    published = facts["NetworkSettings"]["Ports"] or {}
    places = [f"{bind['HostIp']}:{bind['HostPort']}" for binds in published.values() for bind in binds or ()]
    wide = [place for place in places if not place.startswith(("127.0.0.1:", "::1:"))]
    yield saw("published", not wide, ", ".join(wide or places) or "nothing is published")
    names = [
        line.split(":")[0].strip() for line in host.file("/proc/net/dev").content_string.splitlines()[2:]
    ]
    if not item.ports:
        yield saw("no-network", names == ["lo"], f"interfaces {', '.join(names)}")


def _surroundings(item: Subject, host: Any, facts: dict[str, Any]) -> Iterator[Observation]:
    def saw(claim: str, holds: bool | None, seen: str) -> Observation:  # noqa: FBT001  (a fact)
        return Observation(claim=claim, subject=item.name, holds=holds, seen=seen)

    binds = [mount for mount in facts["Mounts"] if mount["Type"] == "bind"]
    foreign = [mount["Source"] for mount in binds if not _below(mount["Source"], item.places)]
    yield saw("mounts", not foreign, ", ".join(foreign) or f"{len(binds)} directories of this run's")
    sockets = [path for path in ("/var/run/docker.sock", "/run/docker.sock") if host.file(path).exists]
    sockets += [mount["Destination"] for mount in binds if mount["Source"].endswith("docker.sock")]
    yield saw("engine-socket", not sockets, ", ".join(sockets) or "not there")
    config = str(item.server.configuration_dir)
    writable = _writes(host, f"{config}/.smos-probe")
    yield saw("configuration-read-only", not writable, f"{'can' if writable else 'can not'} be written")
    limits = facts["HostConfig"]
    memory, both, processes = limits["Memory"], limits["MemorySwap"], limits["PidsLimit"] or 0
    bounded = memory > 0 and memory == both and processes > 0
    yield saw("limits", bounded, f"memory {memory}, with swap {both}, processes {processes}")
    core = re.search(
        r"^Max core file size\s+\S+\s+(\S+)", host.file("/proc/1/limits").content_string, re.MULTILINE
    )
    yield saw(
        "no-core-dumps",
        None if core is None else core[1] == "0",
        f"core limit {core[1] if core else 'unknown'}",
    )
    named = [word.partition("=")[0] for word in facts["Config"]["Env"] or () if word.partition("=")[2]]
    secret = [name for name in named if SECRET_NAME.search(name)]
    yield saw(
        "no-secrets", not secret, ", ".join(secret) or f"{len(named)} variables, none of a secret's name"
    )


def _below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _is_loopback(address: str) -> bool:
    """Whether an address, as the kernel writes it (bytes reversed), is one of this container alone."""
    if len(address) == len(LOOPBACK_6):
        return address == LOOPBACK_6 or (address.startswith(MAPPED_4) and address.endswith("7F"))
    return address.endswith("7F")


def _writes(host: Any, path: str) -> bool:
    """Whether a file can be made there; it is removed again."""
    made = bool(host.run("touch %s", path).rc == 0)
    if made:
        host.run("rm -f %s", path)
    return made


def _mounts(text: str) -> dict[str, tuple[str, ...]]:
    """Return mount point to its options; the last of several on one point is the one that counts."""
    return {
        words[1]: tuple(words[3].split(",")) for line in text.splitlines() if len(words := line.split()) > 3
    }


def _listening(text: str) -> Iterator[tuple[str, int]]:
    """Return (address, port) of everything that listens, addresses as the kernel writes them."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and words[3] == LISTENS:
            address, _, port = words[1].partition(":")
            yield address, int(port, 16)
