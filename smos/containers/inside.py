"""CONTAINER-01 to 04: what a container may do, what it can write, where it listens, what it sees of the machine.

The engine says how a container was made; whether that holds is looked at from inside, by testinfra: what the kernel
tells of the first process, what can really be written and executed, which ports really listen.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smos.containers.lab import ContainerLab, Subject
from smos.containers.observation import Observation, Observations, seen_in
from smos.errors import ProvisionError
from smos.evidence.redact import redact
from smos.provision.docker.engine import told
from smos.provision.docker.labels import OWNER
from smos.provision.docker.process import ContainerProcess

if TYPE_CHECKING:
    from docker.models.containers import Container

Look = Callable[[Subject, Any, dict[str, Any]], Iterator[Observation]]
SECRET_NAME = re.compile(r"(?i)passw|secret|token|private|credential|api_?key")
OF_A_FILE = re.compile(r"_(?:FILE|PATH|DIR)$")
LISTENS, UNCONNECTED = "0A", "07"
"""The state LISTEN in /proc/net/tcp; that of a UDP socket that takes from everybody, in /proc/net/udp."""
FIRST_EPHEMERAL = 32768
"""UDP ports from here on are those of clients that ask for names."""
NOT_FOUND = frozenset({126, 127})
"""Exit codes of a shell that could not run the tool: nothing was tried."""
ANONYMOUS = re.compile(r"[0-9a-f]{64}")
MODES = ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "NetworkMode")
POWERS = ("Devices", "DeviceRequests", "DeviceCgroupRules", "VolumesFrom")
MASKS = ("CapPrm", "CapEff", "CapBnd", "CapAmb")
LOOPBACK_6 = "00000000000000000000000001000000"
MAPPED_4 = "0000000000000000FFFF0000"
"""How tcp6 writes ::1, and how an IPv4 address in an IPv6 one begins."""


class HollowImageError(ProvisionError):
    """Nothing can be run inside of a container, so nothing can be looked at."""


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


def of_running(
    containers: Sequence["Container"], *, ports: Mapping[str, frozenset[int]]
) -> dict[str, Observations]:
    """Look at containers that somebody else started, as far as it shows without knowing them: CONTAINER-01 to 03.

    ports: container to the ports that it may listen on. Probe files are made and removed again. Where an image has
    nothing that could be run to look, nothing is shown of it. Raises ProvisionError.
    """
    subjects = [
        Subject(
            name=str(one.name),
            process=ContainerProcess(one, name=str(one.name), log=None, no_network=False),
            ports=ports.get(str(one.name), frozenset()),
            places=tuple(mount["Destination"] for mount in one.attrs["Mounts"]),
        )
        for one in containers
    ]
    ways = {
        "CONTAINER-01": ("user", _privileges),
        "CONTAINER-02": ("root-read-only", _files),
        "CONTAINER-03": ("ports", _network),
    }
    found: dict[str, Observations] = {}
    for check_id, (claim, look) in ways.items():
        observed: list[Observation] = []
        for item in subjects:
            try:
                observed += _looked_at([item], look).observed
            except HollowImageError as error:
                observed.append(Observation(claim=claim, subject=item.name, holds=None, seen=error.message))
        found[check_id] = Observations(observed=tuple(observed))
    return found


def _each(lab: ContainerLab, look: Look) -> Observations:
    with lab.subjects() as subjects:
        return _looked_at(subjects, look)


def _looked_at(subjects: Sequence[Subject], look: Look) -> Observations:
    import testinfra

    found: list[Observation] = []
    details: dict[str, Any] = {}
    for item in subjects:
        container = item.process.container
        with told(f"describe {item.name}"):
            facts = container.client.api.inspect_container(container.id)
        host = testinfra.get_host(f"docker://{facts['Name'].lstrip('/')}")
        if host.run("true").rc != 0:
            raise HollowImageError(
                f"Nothing can be run inside of {item.name}",
                remedy="install Docker's command-line client, and use an image that has a shell",
            )
        seen = list(look(item, host, facts))
        found += seen
        details[item.name] = {one.claim: one.seen for one in seen}
    return Observations(observed=tuple(found), details=details)


def _privileges(item: Subject, host: Any, facts: dict[str, Any]) -> Iterator[Observation]:
    saw = seen_in(item.name)
    processes = _processes(host.run("cat /proc/[0-9]*/status").stdout)
    if not any(status.get("Pid") == "1" for status in processes):
        raise ProvisionError(
            f"The processes of {item.name} can't be read", remedy="use an image that has a shell and cat"
        )
    users = {int(word): status for status in processes for word in status["Uid"].split()}
    named = f"user {min(users)}" + (f" ({users[0].get('Name', '?')})" if 0 in users else "")
    yield saw("user", 0 not in users, named)
    masks = {(name, status.get(name)) for status in processes for name in MASKS}
    had = sorted(f"{name} {mask.lstrip('0')}" for name, mask in masks if mask and int(mask, 16))
    unknown = any(mask is None for _, mask in masks)
    yield saw("capabilities", False if had else None if unknown else True, ", ".join(had) or "none")
    for claim, key, wanted in (("no-new-privileges", "NoNewPrivs", "1"), ("seccomp", "Seccomp", "2")):
        told_of = sorted({status.get(key, "unknown") for status in processes})
        yield saw(claim, told_of == [wanted], f"{key}: {', '.join(told_of)}")
    config = facts["HostConfig"]
    powers = [name for name in MODES if str(config.get(name)).partition(":")[0] in {"host", "container"}]
    powers += ["privileged"] if config.get("Privileged") else []
    powers += [name for name in POWERS if config.get(name)]
    if "MaskedPaths" in config and not config["MaskedPaths"]:
        powers.append("the kernel's files in /proc and /sys")
    yield saw("own-namespaces", not powers, ", ".join(powers) or "nothing of the host's is shared")


def _processes(text: str) -> list[dict[str, str]]:
    """Return the fields of every process of which `/proc/PID/status` was read, the probe's own among them."""
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if key == "Name" and colon:
            found.append({})
        if found and colon:
            found[-1][key] = value.strip()
    return [one for one in found if "Uid" in one]


def _files(item: Subject, host: Any, _facts: dict[str, Any]) -> Iterator[Observation]:
    saw = seen_in(item.name)
    mounts = _mounts(host.file("/proc/mounts").content_string)
    root = mounts.get("/", ())
    yield saw("root-read-only", "ro" in root, f"/ is {'ro' if 'ro' in root else 'rw'}")
    tried = {place: _writes(host, f"{place}/.smos-probe") for place in ("", "/etc", "/usr/local/bin", "/var")}
    written = [place or "/" for place, made in tried.items() if made]
    untried = None in tried.values()
    yield saw(
        "root-unwritable",
        False if written else None if untried else True,
        ", ".join(written) or "nothing was written",
    )
    own = (*item.places, "/dev", "/proc", "/sys")
    scratch = [place for place, options in mounts.items() if "tmpfs" in options and "rw" in options]
    for place in ["/tmp", *(each for each in scratch if each != "/tmp" and not _below(each, own))]:  # noqa: S108  (inside)
        code = _runs(host, f"{place}/.smos-program")
        if code == 1 and place != "/tmp":  # noqa: S108  (inside)
            continue  # it can't write there
        yield saw(
            "scratch-not-executable",
            {0: False, 1: None, 127: None}.get(code, True),
            f"run in {place}: exit code {code}",
        )
    link = host.run("readlink /proc/1/exe")
    if link.rc == 0:
        program = host.file(link.stdout.strip())
        mine = program.user == "root" and not program.mode & 0o022
        yield saw("program-unchangeable", mine, f"{program.path}: {program.user} {program.mode:04o}")
    else:  # a probe of another user may not look
        yield saw("program-unchangeable", None, "which program it is is not told")
    data = host.file(item.data) if item.data else None
    if data is not None and data.exists:
        yield saw("data-private", not data.mode & 0o077, f"mode {data.mode:04o}")


def _network(item: Subject, host: Any, facts: dict[str, Any]) -> Iterator[Observation]:
    saw = seen_in(item.name)
    text = host.run("cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6").stdout
    open_ports = sorted({port for address, port in _listening(text) if not _is_loopback(address)})
    extra = [port for port in open_ports if port not in item.ports]
    readable = text.count("local_address") >= 2  # the heads of TCP's and UDP's list; IPv6 may be switched off
    yield saw(
        "ports",
        False if extra else True if readable else None,
        f"listens on {', '.join(map(str, open_ports)) or 'nothing'}",
    )
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
    saw = seen_in(item.name)
    binds = [mount for mount in facts["Mounts"] if mount["Type"] == "bind"]
    foreign = [mount["Source"] for mount in binds if not _below(mount["Source"], item.places)]
    foreign += _foreign_volumes(item, facts)
    yield saw("mounts", not foreign, ", ".join(foreign) or f"{len(binds)} directories of this run's")
    sockets = [path for path in ("/var/run/docker.sock", "/run/docker.sock") if host.file(path).exists]
    sockets += [mount["Destination"] for mount in binds if mount["Source"].endswith("docker.sock")]
    yield saw("engine-socket", not sockets, ", ".join(sockets) or "not there")
    if item.configuration:
        made = _writes(host, f"{item.configuration}/.smos-probe")
        look = 'for f in %s/*; do if [ -w "$f" ]; then echo "$f"; fi; done'
        files = host.run(look, item.configuration).stdout.split()
        writable = bool(made or files)
        yield saw(
            "configuration-read-only",
            False if writable else None if made is None else True,
            f"{'can' if writable else 'can not'} be written{': ' + files[0] if files else ''}",
        )
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
    secret = list(_secrets(facts))
    yield saw("no-secrets", not secret, ", ".join(secret) or "no variable, argument or label of a secret's")


def _secrets(facts: dict[str, Any]) -> Iterator[str]:
    """Yield where the engine shows a secret to everybody who may ask it: names and places, never values."""
    config = facts["Config"]
    for word in config["Env"] or ():
        name, _, value = word.partition("=")
        in_file = OF_A_FILE.search(name) and value.startswith("/")
        if value and not in_file and (SECRET_NAME.search(name) or redact(value) != value):
            yield name
    for number, word in enumerate((facts.get("Path") or "", *(facts.get("Args") or ()))):
        if redact(word) != word:
            yield f"argument {number}"
    for name, value in (config["Labels"] or {}).items():
        if redact(f"{name}={value}") != f"{name}={value}":
            yield f"label {name}"


def _foreign_volumes(item: Subject, facts: dict[str, Any]) -> Iterator[str]:
    """Yield the volumes that are another owner's, or a directory of the machine in a volume's clothes."""
    owner = (facts["Config"]["Labels"] or {}).get(OWNER)
    for mount in facts["Mounts"]:
        if mount["Type"] != "volume":
            continue
        with told(f"describe the volume {mount['Name']}"):
            volume = item.process.container.client.api.inspect_volume(mount["Name"])
        options = volume.get("Options") or {}
        if options.get("device") and options.get("type") != "tmpfs":
            yield f"{options['device']} as the volume {mount['Name']}"
        elif not ANONYMOUS.fullmatch(mount["Name"]) and (volume.get("Labels") or {}).get(OWNER) != owner:
            yield f"volume {mount['Name']}"


def _below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _is_loopback(address: str) -> bool:
    """Whether an address, as the kernel writes it (bytes reversed), is one of this container alone."""
    if len(address) == len(LOOPBACK_6):
        return address == LOOPBACK_6 or (address.startswith(MAPPED_4) and address.endswith("7F"))
    return address.endswith("7F")


def _writes(host: Any, path: str) -> bool | None:
    """Whether a file can be made there; it is removed again. None: there is nothing to make one with."""
    made = host.run("touch %s", path).rc
    if made == 0:
        host.run("rm -f %s", path)
    return None if made in NOT_FOUND else bool(made == 0)


def _runs(host: Any, path: str) -> int:
    """Put a program there and start it; return its exit code. 126: refused; 1: it could not be put there."""
    code = int(host.run("cp /bin/true %s || exit $?; %s", path, path).rc)
    host.run("rm -f %s", path)
    return code


def _mounts(text: str) -> dict[str, tuple[str, ...]]:
    """Return mount point to its type and options; the last of several on one point is the one that counts."""
    return {
        words[1]: (words[2], *words[3].split(","))
        for line in text.splitlines()
        if len(words := line.split()) > 3
    }


def _listening(text: str) -> Iterator[tuple[str, int]]:
    """Return (address, port) of everything that listens, addresses as the kernel writes them."""
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or words[3] not in {LISTENS, UNCONNECTED}:
            continue
        address, _, port = words[1].partition(":")
        if words[3] == LISTENS or (words[2].endswith(":0000") and int(port, 16) < FIRST_EPHEMERAL):
            yield address, int(port, 16)
