"""rotel, a light OTLP collector from a wheel: the fallback where the real collector can't be built.

It proves that telemetry arrives, not that the shipped configuration works: see CAPABILITIES for what it lacks.
Its batches are made so large that they are never split, because a split batch loses its resource.
"""

import importlib.util
import re
import socket
import sysconfig
from pathlib import Path

import httpx

from smos.errors import ProvisionError
from smos.observability.clickhouse import ClickHouse
from smos.provision.embedded.httpserver import HttpServer, Launch
from smos.provision.embedded.rotel_schema import statements
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.provision.relocate import reachable_program
from smos.provision.telemetry import Capabilities, ClickHouseEndpoint, CollectorEndpoint

CAPABILITIES = Capabilities(
    traces=True,
    metrics=True,
    logs=True,
    grpc=True,
    http=True,
    resource_kept=True,
    schema_created=True,  # by us, before it starts
)
UNSPLIT = "1000000"
"""Items in a batch; at the default of 8192 a split batch loses its resource (an empty ServiceName)."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class EmbeddedRotel(HttpServer):
    """One rotel that writes to the ClickHouse given, whose tables are made at the first start.

    ttl: how long rows are kept, e.g. "72h". Raises ProvisionError when it isn't installed.
    """

    make = "rotel"
    capabilities = CAPABILITIES

    def __init__(
        self, owner: Owner, clickhouse: ClickHouseEndpoint, *, name: str = "rotel", ttl: str = "72h"
    ) -> None:
        super().__init__(owner, name=name)
        self._program = reachable_program(find_program(), owner.user)
        self._clickhouse = clickhouse
        self.ttl = ttl
        self._grpc, self._http = PortClaim(), PortClaim()

    @property
    def endpoint(self) -> CollectorEndpoint:
        """Where it is reached; it has neither a health endpoint nor metrics of its own."""
        return CollectorEndpoint(grpc=self._grpc.address, http=f"http://{self._http.address}")

    def start(self, timeout_s: float = 180) -> None:
        """Create the tables where they are missing, then start it."""
        with ClickHouse(self._clickhouse) as client:
            for statement in statements(self._clickhouse.database, seconds(self.ttl)):
                client.execute(statement, in_database=False)
        super().start(timeout_s)

    def _launch(self) -> Launch:
        return Launch(
            argv=[self._program, "start"],
            env={
                "ROTEL_OTLP_GRPC_ENDPOINT": self._grpc.address,
                "ROTEL_OTLP_HTTP_ENDPOINT": self._http.address,
                "ROTEL_BATCH_MAX_SIZE": UNSPLIT,
                "ROTEL_EXPORTER": "clickhouse",
                "ROTEL_CLICKHOUSE_EXPORTER_ENDPOINT": self._clickhouse.url,
                "ROTEL_CLICKHOUSE_EXPORTER_DATABASE": self._clickhouse.database,
                "ROTEL_CLICKHOUSE_EXPORTER_USER": self._clickhouse.user,
                "ROTEL_CLICKHOUSE_EXPORTER_PASSWORD": self._clickhouse.password,
                "ROTEL_CLICKHOUSE_EXPORTER_ASYNC_INSERT": "false",
                "ROTEL_PID_FILE": str(self._work / "rotel.pid"),
                "ROTEL_LOG_FILE": str(self._work / "rotel.log"),
                # The program is linked with libpython and looks for it in the system's places only.
                "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR") or ""),
            },
        )

    def _answers(self, client: httpx.Client) -> bool:
        """Ask with an empty export, which a collector accepts; and gRPC for a connection."""
        answer = client.post(
            f"{self.endpoint.http}/v1/traces", content=b"", headers={"Content-Type": "application/x-protobuf"}
        )
        with socket.create_connection(("127.0.0.1", self._grpc.port), timeout=1):
            return answer.status_code == httpx.codes.OK


def seconds(ttl: str) -> int:
    """Return the seconds of a duration like `72h` or `1h30m`. Raises ProvisionError."""
    parts = re.findall(r"(\d+)([smhd])", ttl)
    if not parts or "".join(number + unit for number, unit in parts) != ttl:
        raise ProvisionError(f"{ttl!r} is no duration", remedy="write it like 72h or 90m")
    return sum(int(number) * UNITS[unit] for number, unit in parts)


def find_program() -> Path:
    """Return the path of rotel's program. Raises ProvisionError when it isn't installed."""
    spec = importlib.util.find_spec("rotel")
    program = Path(spec.origin).parent / "rotel-agent" if spec is not None and spec.origin else None
    if program is None or not program.is_file():
        raise ProvisionError(
            "rotel is not installed",
            remedy="pip install 'smarteros-verify[observability]', in a checkout: make observability-deps",
        )
    return program
