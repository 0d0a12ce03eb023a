"""Runs one of the suite's services as a process of its own, as the service user where the harness is root."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smos.provision.embedded.bytecode import with_bytecode
from smos.provision.embedded.httpserver import HttpServer, Launch
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.provision.relocate import reachable_packages, reachable_python

NEEDED = (
    "opentelemetry*",
    "google",
    "googleapis_common_protos*",
    "protobuf*",
    "grpc",
    "grpcio-*",
    "psycopg",
    "psycopg-*",
    "psycopg_binary*",
    "requests",
    "urllib3",
    "certifi",
    "idna",
    "charset_normalizer",
    "typing_extensions*",
)
"""What the services import, and the descriptions by which the SDK finds its parts (entry points)."""
IMPORTS = (
    "psycopg",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.sdk._logs.export",
    "opentelemetry.exporter.otlp.proto.grpc._log_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)
"""The names of it that they import: the others come with them."""


class Service(HttpServer):
    """One of our services. config: its JSON without the port; environment: as its operator would set it."""

    make = "service"

    def __init__(
        self, owner: Owner, script: Path, config: Mapping[str, Any], *, environment: Mapping[str, str]
    ) -> None:
        super().__init__(owner, name=str(config["name"]))
        self._script, self._config, self._environment = script, config, environment
        self._port = PortClaim()

    @property
    def endpoint(self) -> str:
        """Its base URL."""
        return f"http://{self._port.address}"

    def _launch(self) -> Launch:
        user = self._owner.user
        script, config = self._etc / self._script.name, self._etc / "config.json"
        shutil.copyfile(self._script, script)
        script.chmod(0o644)
        self._owner.write(config, json.dumps({**self._config, "port": self._port.port}))
        python = reachable_python(user)
        found = reachable_packages(packages(), user if python is not None else None)
        program = python or Path(sys.executable)
        return Launch(
            argv=[
                program,
                "-I",
                "-S",
                "-B",
                *with_bytecode(program, found, IMPORTS),
                "-c",
                BOOT.format(str(found), str(script)),
                config,
            ],
            env=self._environment,
            as_service_user=python is not None,
        )

    def _ready_url(self) -> str:
        return f"{self.endpoint}/"


BOOT = "import sys, runpy; sys.path.insert(0, {0!r}); runpy.run_path({1!r}, run_name='__main__')"


def packages() -> list[Path]:
    """Return what the services import. Raises ModuleNotFoundError without the extra `observability`."""
    spec = importlib.util.find_spec("opentelemetry.sdk.trace")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the OpenTelemetry SDK is missing", name="opentelemetry")
    base = Path(spec.origin).parents[3]
    found = {path for pattern in NEEDED for path in base.glob(pattern)}
    return sorted(found, key=lambda path: (path.name != "opentelemetry", path.name))
