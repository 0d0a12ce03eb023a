"""ClickHouse's engine (chdb, from a wheel) behind a small HTTP front, in a process of its own.

It stands in for a ClickHouse server: same engine, same SQL, same HTTP interface as far as collectors and
clients use it (see clickhousefront). What it is not: it has no native protocol (9000), no users beside the one,
no replication, and inserts wait for a whole request.
"""

import importlib.util
import json
import secrets
import shutil
import sys
from pathlib import Path

from smos.errors import ProvisionError
from smos.provision.embedded.bytecode import with_bytecode
from smos.provision.embedded.httpserver import HttpServer, Launch
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.provision.relocate import reachable_packages, reachable_python
from smos.provision.telemetry import ClickHouseEndpoint

USER = "otel"
NEEDED = ("chdb", "lz4", "clickhouse_cityhash", "zstandard")
"""Modules of the extra `observability` without which it can't run."""
IMPORTS = ("chdb", "lz4.block", "lz4.frame", "clickhouse_cityhash.cityhash", "zstandard")
"""What the front imports of them."""
FRONT = Path(__file__).resolve().parent / "clickhousefront"
UNUSED = ("pyarrow",)
"""What chdb imports where it is installed, for interfaces of its own: with numpy half of the time of a start."""
BOOT = (
    "import sys; sys.path[:0] = sys.argv[2:]; from pathlib import Path; "
    f"sys.modules.update(dict.fromkeys({UNUSED!r})); "
    "from clickhousefront.__main__ import main; main(Path(sys.argv[1]))"
)


class EmbeddedClickHouse(HttpServer):
    """One ClickHouse with data of its own; the data survive `stop` and `kill`, not the owner.

    database: named in the endpoint; whoever fills it creates it. Raises ProvisionError without the extra.
    """

    make = "ClickHouse"

    def __init__(
        self, owner: Owner, *, name: str = "clickhouse", database: str = "otel", memory: bool = False
    ) -> None:
        self._require()
        super().__init__(owner, name=name)
        self._port = PortClaim()
        self._password = secrets.token_urlsafe(24)
        self._database = database
        self.data_dir = owner.directory(f"{name}-data", memory=memory)

    @property
    def endpoint(self) -> ClickHouseEndpoint:
        """Where it is reached; the password was made for this server."""
        return ClickHouseEndpoint(
            url=f"http://{self._port.address}", user=USER, password=self._password, database=self._database
        )

    def _require(self) -> None:
        _packages()

    def _launch(self) -> Launch:
        code = self._etc / "clickhousefront"
        if not code.is_dir():
            shutil.copytree(FRONT, code, ignore=shutil.ignore_patterns("__pycache__"))
            for path in (code, *code.iterdir()):
                path.chmod(0o755 if path.is_dir() else 0o644)
        config = self._etc / "front.json"
        given = {
            "path": str(self.data_dir),
            "port": self._port.port,
            "user": USER,
            "password": self._password,
        }
        self._owner.write(config, json.dumps(given))
        user = self._owner.user
        python = reachable_python(user)
        # Without a Python that the service user can run (one below /root alone), the runner's user runs it: what
        # it holds is telemetry that the harness made.
        packages = reachable_packages(_packages(), user if python is not None else None)
        program = python or Path(sys.executable)
        compiled = with_bytecode(program, packages, IMPORTS, without=UNUSED)
        return Launch(
            argv=[program, "-I", "-S", "-B", *compiled, "-c", BOOT, config, packages, self._etc],
            as_service_user=python is not None,
        )

    def _ready_url(self) -> str:
        return f"http://{self._port.address}/ping"


def _packages() -> list[Path]:
    """Return the folders of the packages that the front imports. Raises ProvisionError without the extra."""
    specs = {name: importlib.util.find_spec(name) for name in NEEDED}
    missing = [name for name, spec in specs.items() if spec is None or spec.origin is None]
    if missing:
        raise ProvisionError(
            f"The embedded ClickHouse needs {', '.join(missing)}",
            remedy="pip install 'smarteros-verify[observability]', in a checkout: make observability-deps",
        )
    return [
        Path(spec.origin).parent for spec in specs.values() if spec is not None and spec.origin is not None
    ]
