"""The observability stack in containers: the embedded servers with images' programs and published ports.

Each one listens inside on the port that it is reached at outside, and reaches the others by their names in the private
network. What listens on this machine's loopback (a relay, a webhook, a page) is reached through a door (door.py).
Configuration, data and the collector's queue are directories of the owner's: they outlive a container that is killed.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smos.errors import ProvisionError
from smos.provision.base import ServerProcess
from smos.provision.docker.catalogue import image_of, used_images
from smos.provision.docker.contained import Contained
from smos.provision.docker.containers import MEMORY, MIB, PROCESSES, Place, containers_of
from smos.provision.docker.engine import engine, told
from smos.provision.embedded.bugsink import MANAGE, MIGRATE_S, EmbeddedBugsink
from smos.provision.embedded.clickhouse import EmbeddedClickHouse
from smos.provision.embedded.httpserver import HttpServer, Launch
from smos.provision.embedded.otelcol import EmbeddedOtelcol
from smos.provision.embedded.prometheus import EmbeddedAlertmanager, EmbeddedPrometheus
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim

LOCAL = re.compile(r"(?<![\w.:])(?:127\.0\.0\.1|localhost):(\d+)")
ANYWHERE = "0.0.0.0"  # noqa: S104  (of the container; outside it is published on loopback)
CLICKHOUSE_PORT = 8123
CLICKHOUSE_DATA = "/var/lib/clickhouse"
CLICKHOUSE_PROGRAM = "/opt/clickhouse/serve.py"
BUGSINK_PACKAGES = "/opt/bugsink"
"""Fixed by the images that are built here (compose/images)."""
CLICKHOUSE_MEMORY, CLICKHOUSE_PROCESSES = 2048 * MIB, 2000
"""As compose/observability.yml limits it."""
LEAST_MEMORY = 512 * MIB
"""A collector that limits itself to 80 MiB was seen to take 203 (its limit is looked at ten times a second)."""
LIMIT_MIB = 512
"""The collector's own limit where its environment names none; its container has twice as much, as in the stack."""


class InContainer(Contained, HttpServer):
    """What makes an embedded HTTP server one in a container; mixed in before it. kind: of the image."""

    kind = ""
    memory = MEMORY
    processes = PROCESSES

    def __init__(self, owner: Owner, *arguments: Any, **options: Any) -> None:
        self._containers = containers_of(owner)
        self._image = image_of(self.kind)
        self._ports: dict[int, int] = {}
        super().__init__(owner, *arguments, **options)
        self.host = self._etc.name.replace("-etc-", "-")
        """Its name in the private network."""

    @property
    def network(self) -> str:
        """The name of the private network that it is in."""
        return str(self._containers.network.name)

    def exposed(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Return where what listens inside can be reached from outside of its network, as the engine tells it."""
        process = self.container
        if process is None:
            return ()
        with told(f"tell the ports of {self.name}"):
            process.container.reload()
        inside = {address.rpartition(":")[2] for address in addresses}
        return tuple(
            f"{one['HostIp']}:{one['HostPort']}"
            for port, bound in (process.container.ports or {}).items()
            if port.partition("/")[0] in inside
            for one in bound or ()
        )

    def _spawn(self, launch: Launch) -> ServerProcess:
        self._discard()
        work = str(self._work)
        return self._containers.run(
            self._image,
            [str(word) for word in launch.argv],
            name=self.host,
            log=self._log,
            places=[Place(outside=self._etc, read_only=True), Place(outside=self._work), *self._places()],
            env={"HOME": work, "TMPDIR": work, **launch.env},
            cwd=work,
            ports=self._ports,
            memory=self._memory(),
            processes=self.processes,
        )

    def _bound(self, claim: PortClaim) -> str:
        self._publish(claim, claim.port)
        return f"{ANYWHERE}:{claim.port}"

    def _publish(self, claim: PortClaim, inside: int) -> None:
        self._ports[inside] = claim.port
        self._containers.authorities[claim.port] = f"{self.host}:{inside}"

    def _reached(self, address: str) -> str:
        return LOCAL.sub(lambda found: self._containers.reach(int(found[1])), address)

    def _places(self) -> Sequence[Place]:
        """Return what it sees of this machine beside its configuration and its working directory."""
        return ()

    def _memory(self) -> int:
        return self.memory

    def _entry(self) -> Path:
        """Return the program that the image starts."""
        with told(f"look at the image {self._image}"):
            words = engine().images.get(self._image).attrs["Config"].get("Entrypoint") or []
        if len(words) != 1:
            raise ProvisionError(f"The image {self._image} does not name one program", remedy="make images")
        return Path(str(words[0]))


class DockerClickHouse(InContainer, EmbeddedClickHouse):
    """ClickHouse's engine in a container, as `make images` builds it. Options: of EmbeddedClickHouse."""

    kind = "clickhouse"
    memory = CLICKHOUSE_MEMORY
    processes = CLICKHOUSE_PROCESSES

    def _require(self) -> None:
        """Ask for nothing: the image brings it."""

    def _places(self) -> Sequence[Place]:
        return [Place(outside=self.data_dir, inside=CLICKHOUSE_DATA)]

    def _launch(self) -> Launch:
        self._publish(self._port, CLICKHOUSE_PORT)
        endpoint = self.endpoint
        return Launch(
            argv=["python3", CLICKHOUSE_PROGRAM],
            env={
                "CLICKHOUSE_USER": endpoint.user,
                "CLICKHOUSE_PASSWORD": endpoint.password,
                "CLICKHOUSE_DB": endpoint.database,
            },
        )


class DockerOtelcol(InContainer, EmbeddedOtelcol):
    """A collector in a container, with a limit of memory around its own. Options: of EmbeddedOtelcol."""

    kind = "otelcol"

    def validate(self) -> None:
        """Let the collector check its configuration. Raises ProvisionError with what it says."""
        launch = self._launch()
        self._containers.call(
            self._image,
            [str(launch.argv[0]), "validate", *(str(word) for word in launch.argv[1:])],
            name=f"{self.host}-validate",
            timeout_s=MIGRATE_S,
            places=[Place(outside=self._etc, read_only=True), Place(outside=self._work), *self._places()],
            env=launch.env,
            cwd=str(self._work),
        )

    def _places(self) -> Sequence[Place]:
        given = [Path(value) for value in self.environment.values() if value.startswith("/")]
        inside = [path for path in given if path.is_relative_to(self._owner.run_dir)]
        return [
            Place(outside=self.queue_dir),
            *(Place(outside=path, read_only=True) for path in inside if path.exists()),
        ]

    def _memory(self) -> int:
        own = int(self.environment.get("OTELCOL_MEMORY_LIMIT_MIB", LIMIT_MIB))
        return min(MEMORY, max(LEAST_MEMORY, 2 * own * MIB))

    def _find_program(self, given: Path | None) -> Path:
        if given is not None:
            raise ProvisionError(
                "A container runs its image's collector, not a program of this machine",
                remedy="run this with --provision embedded",
            )
        return self._entry()


class DockerAlertmanager(InContainer, EmbeddedAlertmanager):
    """An Alertmanager in a container. Options: of EmbeddedAlertmanager."""

    kind = "alertmanager"

    def _places(self) -> Sequence[Place]:
        return [Place(outside=self._data)]

    def _find_program(self) -> Path:
        return self._entry()


class DockerPrometheus(InContainer, EmbeddedPrometheus):
    """A Prometheus in a container. Options: of EmbeddedPrometheus."""

    kind = "prometheus"

    def _places(self) -> Sequence[Place]:
        return [Place(outside=self._data)]

    def _find_program(self) -> Path:
        return self._entry()


class DockerBugsink(InContainer, EmbeddedBugsink):
    """A Bugsink in a container. Options: of EmbeddedBugsink."""

    kind = "bugsink"

    def _places(self) -> Sequence[Place]:
        return [Place(outside=self._data)]

    def _find_packages(self) -> Path:
        return Path(BUGSINK_PACKAGES)

    def _made_by(self) -> str:
        return next(image.id for image in used_images() if image.name == self._image)

    def _command(self, boot: str, *words: str) -> list[str | Path]:
        return ["python3", *super()._command(boot, *words)[1:]]

    def _manage(self, data: Path, *words: str) -> None:
        self._containers.call(
            self._image,
            [str(word) for word in self._command(MANAGE, *words)],
            name=f"{self.host}-manage",
            timeout_s=MIGRATE_S,
            places=[
                Place(outside=self._etc, read_only=True),
                Place(outside=self._work),
                Place(outside=data),
            ],
            env=self._env(),
            cwd=str(self._work),
        )
