"""The containers, networks and volumes of one owner: labelled, hardened, watched, removed before its directories.

Every container runs without capabilities, with a read-only root file system, as the service user, and sees of the host
only the directories that it is given, at the same paths as outside.
"""

import contextlib
import ipaddress
import json
import os
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smos.errors import DeadlineError, ProvisionError
from smos.provision.certificates import PRIVATE_DOMAIN
from smos.provision.docker import watchdog
from smos.provision.docker.door import Door
from smos.provision.docker.engine import engine, engine_socket, told
from smos.provision.docker.labels import identity
from smos.provision.docker.process import ContainerProcess
from smos.provision.docker.removal import EngineSocket, reap_dead, remove_owned
from smos.provision.owner import Owner
from smos.wait import wait_for

if TYPE_CHECKING:
    from docker.models.networks import Network
    from docker.models.volumes import Volume

MIB = 2**20
MEMORY = 1024 * MIB
"""Bytes of memory that one server may take; it never swaps."""
PROCESSES = 512
SCRATCH = "rw,noexec,nosuid,nodev,mode=1777,size=64m"
"""How /tmp is mounted: there is nothing else that can be written outside of the given directories."""
WATCHDOG_S = 30.0
SUBNET_S = 60.0
"""Seconds for a network with a chosen subnet; another process may take the one that was offered."""
LOG_BYTES = "16m"
REMEMBERED = 24
"""Containers of an owner whose logs can be asked for after their end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory or file of the host that a container sees. inside: its path there; None: the same as outside."""

    outside: Path
    inside: str | None = None
    read_only: bool = False


class Containers:
    """What one owner has on the engine; made by `containers_of`. Raises ProvisionError without an engine.

    `reaped`: ids of the dead owners whose leftovers were removed when this one began.
    """

    def __init__(self, owner: Owner) -> None:
        self._client = engine()
        self._engine = EngineSocket(engine_socket())
        self._owner = weakref.ref(owner)
        self.id = owner.id
        self.identity = identity(owner.id, os.getpid())
        self._lock = threading.RLock()
        self._numbers = count(1)
        self._network: Network | None = None
        self._alter: Callable[[MutableMapping[str, Any]], object] | None = None
        self.authorities: dict[int, str] = {}
        """Published port to host:port in the private network, for servers that speak to each other."""
        self._doors: dict[int, Door] = {}
        self._user = owner.user
        self.processes: deque[ContainerProcess] = deque(maxlen=REMEMBERED)
        self.reaped = reap_dead(self._engine, complain=_tell)
        self._watchdog = self._watch(owner)
        self._accounts = owner.directory("accounts", read_only=True) / "passwd"
        owner.write(self._accounts, self._passwd())
        self._accounts.chmod(0o644)
        owner.before_close(self.close)

    @property
    def user(self) -> str:
        """UID:GID of the processes in every container, the ones that own the run's directories."""
        uid = self._user.uid if self._user else os.getuid()
        gid = self._user.gid if self._user else os.getgid()
        return f"{uid}:{gid}"

    @property
    def network(self) -> "Network":
        """The private network of this owner; servers know each other in it by name, and there is no route out."""
        with self._lock:
            if self._network is None:
                self._network = self.make_network("private")
            return self._network

    def reach(self, port: int) -> str:
        """Return where containers of the private network reach what is on this port of 127.0.0.1: `host:port`.

        A server of this owner's by its name; everything else on the network's gateway, where a door is opened to it.
        """
        if (authority := self.authorities.get(port)) is not None:
            host, _, inside = authority.rpartition(":")
            return f"{host}.{PRIVATE_DOMAIN}:{inside}"
        network = self.network
        with self._lock:
            if port not in self._doors:
                with told("tell the addresses of a network"):
                    network.reload()
                (where, *_) = network.attrs["IPAM"]["Config"]
                inside_of = ipaddress.ip_network(where["Subnet"])
                gateway = where.get("Gateway") or str(next(inside_of.hosts()))
                self._doors[port] = Door(gateway, inside_of, port)
            return self._doors[port].address

    def make_network(self, role: str, *, internal: bool = False, subnet: str | None = None) -> "Network":
        """Make a network of this owner's, without a way out.

        internal: nothing can be published from it either; this machine reaches its containers by their addresses.
        subnet: for addresses that are chosen (default: the engine's choice, of the addresses too).
        """
        from docker.types import IPAMConfig, IPAMPool

        options = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
        with told("make a network"):
            return self._client.networks.create(
                f"smos-{self.id}-{role}-{next(self._numbers)}",
                driver="bridge",
                options=options,
                labels=self.identity.labels(role),
                internal=internal,
                ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)]) if subnet is not None else None,
            )

    def make_addressed(self, role: str) -> "tuple[Network, ipaddress.IPv4Network]":
        """Make an internal network in which addresses can be chosen; return also which ones there are.

        The engine gives a container a chosen address only in a subnet that was chosen too: the one it would have taken.
        """
        made: list[tuple[Network, ipaddress.IPv4Network]] = []

        def tried() -> bool:
            offer = self.make_network(f"{role}-offer", internal=True)
            with told("tell the addresses of a network"):
                offer.reload()
                subnet = str(offer.attrs["IPAM"]["Config"][0]["Subnet"])
                offer.remove()
            # Fails where somebody was quicker.
            network = self.make_network(role, internal=True, subnet=subnet)
            made.append((network, ipaddress.IPv4Network(subnet)))
            return True

        wait_for(
            tried, what="a network of chosen addresses", deadline_s=SUBNET_S, transient=(ProvisionError,)
        )
        return made[0]

    def make_volume(self, role: str, *, options: Mapping[str, str] | None = None) -> "Volume":
        """Make a volume of this owner's. options: of the local driver, such as type, device and o for tmpfs."""
        with told("make a volume"):
            return self._client.volumes.create(
                f"smos-{self.id}-{role}-{next(self._numbers)}",
                driver="local",
                driver_opts=dict(options or {}),
                labels=self.identity.labels(role),
            )

    def run(
        self,
        image: str,
        argv: Sequence[str],
        *,
        name: str,
        log: Path | None = None,
        places: Sequence[Place] = (),
        volumes: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        no_network: bool = False,
        network: "Network | None" = None,
        address: str | None = None,
        ports: Mapping[int, int] | None = None,
        user: str | None = None,
        memory: int = MEMORY,
        processes: int = PROCESSES,
        tmpfs: Mapping[str, str] | None = None,
        capabilities: Sequence[str] = (),
    ) -> ContainerProcess:
        """Start a program in a container and return at once.

        argv: the first is a program of the image, found in its PATH. name: how others in the private network know
        it. volumes: name of a volume to where it is mounted, with `:ro` behind it to read only. network: another one
        than the private one; address: in it. ports: port inside to claimed loopback port outside. capabilities: added;
        none is there otherwise. log: where its output is kept when it has ended. Raises ProvisionError.
        """
        from docker.types import Mount, Ulimit

        mounts = [Mount("/etc/passwd", str(self._accounts), type="bind", read_only=True)]
        mounts += [
            Mount(
                place.inside or str(place.outside), str(place.outside), type="bind", read_only=place.read_only
            )
            for place in places
        ]
        for volume, target in (volumes or {}).items():
            path, _, mode = target.partition(":")
            mounts.append(Mount(path, volume, type="volume", read_only=mode == "ro"))
        options: dict[str, Any] = {}
        if no_network:
            options["network_mode"] = "none"
        else:
            net = network if network is not None else self.network
            aliases = [name, f"{name}.{PRIVATE_DOMAIN}"]
            endpoint = self._client.api.create_endpoint_config(aliases=aliases, ipv4_address=address)
            options |= {"network": net.name, "networking_config": {str(net.name): endpoint}}
            # Names of the private network are known without; the machine's resolver would be a way out.
            options["dns"] = ["127.0.0.1"]
            options["ports"] = {f"{inside}/tcp": ("127.0.0.1", out) for inside, out in (ports or {}).items()}
        arguments: dict[str, Any] = {
            "image": image,
            "entrypoint": [argv[0]],
            "command": list(argv[1:]),
            "name": f"smos-{self.id}-{name}-{next(self._numbers)}",
            "hostname": name[:60],
            "user": user or self.user,
            "working_dir": cwd or "/",
            "environment": {"HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC", **(env or {})},  # noqa: S108  (inside)
            "labels": self.identity.labels(name),
            "mounts": mounts,
            "read_only": True,
            "cap_drop": ["ALL"],
            "cap_add": list(capabilities),
            "security_opt": ["no-new-privileges:true"],
            "tmpfs": {"/tmp": SCRATCH, **(tmpfs or {})},  # noqa: S108  (inside)
            "ulimits": [Ulimit(name="core", soft=0, hard=0)],
            "pids_limit": processes,
            "mem_limit": memory,
            "memswap_limit": memory,
            "log_config": {"type": "json-file", "config": {"max-size": LOG_BYTES, "max-file": "2"}},
            "restart_policy": {"Name": "no"},
            **options,
        }
        if self._alter is not None:
            self._alter(arguments)
        with told(f"start {name} from {image}"):
            container = self._client.containers.create(**arguments)
            process = ContainerProcess(container, name=name, log=log, no_network=no_network)
            self.processes.append(process)
            try:
                container.start()
            except BaseException:
                container.remove(force=True, v=True)
                raise
        return process

    @contextlib.contextmanager
    def altered(self, alter: Callable[[MutableMapping[str, Any]], object] | None) -> Iterator[None]:
        """Let `alter` change the arguments of every container that the block creates: for negative controls."""
        before, self._alter = self._alter, alter
        try:
            yield
        finally:
            self._alter = before

    def call(self, image: str, argv: Sequence[str], *, name: str, timeout_s: float, **options: Any) -> bytes:
        """Run a short program to its end in a container and return its output (both streams).

        options: of `run`. Raises ProvisionError with the end of its output when it fails or takes too long.
        """
        process = self.run(image, argv, name=name, **{"no_network": True, **options})
        try:
            try:
                code = process.wait(timeout_s)
            except DeadlineError as error:
                raise ProvisionError(
                    f"{argv[0]} in {image} was not done within {timeout_s:g} s",
                    remedy="a slow machine may need a longer limit",
                    log=process.log_tail(),
                ) from error
            if code != 0:
                raise ProvisionError(
                    f"{argv[0]} in {image} failed with exit code {code}",
                    remedy="its last output is below",
                    log=process.log_tail(),
                )
            return process.output()
        finally:
            process.kill()

    def close(self) -> None:
        """Remove everything and let the watchdog go; may be called again."""
        with self._lock:
            while self._doors:
                self._doors.popitem()[1].close()
            pipe = self._watchdog.stdin
            if pipe is None or pipe.closed:
                return
            remove_owned(
                self._engine, self.id
            )  # where that fails, the watchdog tries again when this process ends
            with pipe, contextlib.suppress(BrokenPipeError):
                pipe.write(b"d")
            try:
                self._watchdog.wait(WATCHDOG_S)
            except subprocess.TimeoutExpired:  # stopped by somebody; it has nothing to do any more
                self._watchdog.kill()
                self._watchdog.wait()

    def _watch(self, owner: Owner) -> "subprocess.Popen[bytes]":
        config = {
            "socket": str(engine_socket()),
            "owner": owner.id,
            "pid": os.getpid(),
            "registry": str(owner.registry),
        }
        return subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={},
        )

    def _passwd(self) -> str:
        """Return an account file: programs such as initdb want a name for their user."""
        uid, _, gid = self.user.partition(":")
        lines = ["root:x:0:0::/root:/usr/sbin/nologin"] if uid != "0" else []
        return "\n".join([*lines, f"smos:x:{uid}:{gid}::/tmp:/usr/sbin/nologin", ""])


def _tell(error: ProvisionError) -> None:
    """Say what an earlier run's leftovers are kept by; it stops no run."""
    sys.stderr.write(f"{error.message}: {error.remedy}\n")


_OF: "weakref.WeakKeyDictionary[Owner, Containers]" = weakref.WeakKeyDictionary()
_MAKING = threading.Lock()


def seen_since(moment: float) -> list[ContainerProcess]:
    """Return this process' containers that run, or did after this moment of the monotonic clock, by name."""
    with _MAKING:
        found = [process for owned in _OF.values() for process in owned.processes]
    return sorted(
        (process for process in found if process.removed_at is None or process.removed_at >= moment),
        key=lambda process: process.name,
    )


def containers_of(owner: Owner) -> Containers:
    """Return what this owner has on the engine; the first call reaps the dead and starts the watchdog."""
    with _MAKING:
        if owner not in _OF:
            _OF[owner] = Containers(owner)
        return _OF[owner]
