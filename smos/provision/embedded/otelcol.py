"""The real OpenTelemetry Collector with the shipped configuration, on loopback ports of its own.

Only addresses, places and times differ from production: they come from the environment that the configuration
names. Its persistent queue lies in a directory of its own, so it survives `kill` and the next `start`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from smos.provision.embedded.httpserver import HttpServer, Launch
from smos.provision.embedded.otelcol_build import configuration, require_collector
from smos.provision.owner import Owner
from smos.provision.ports import PortClaim
from smos.provision.relocate import reachable_program
from smos.provision.telemetry import Capabilities, ClickHouseEndpoint, CollectorEndpoint

VALIDATE_S = 60
CAPABILITIES = Capabilities(
    traces=True,
    metrics=True,
    logs=True,
    grpc=True,
    http=True,
    resource_kept=True,
    schema_created=True,
    retries_refused=True,
    persistent_queue=True,
    memory_limiter=True,
    health=True,
    own_metrics=True,
    prometheus_receiver=True,
    shipped_configuration=True,
)
QUICK: Mapping[str, str] = {
    "OTELCOL_FLUSH_TIMEOUT": "200ms",
    "OTELCOL_RETRY_FIRST": "200ms",
    "OTELCOL_RETRY_LONGEST": "1s",
    "OTELCOL_SCRAPE_INTERVAL": "1s",
    "OTELCOL_SCRAPE_TIMEOUT": "1s",
}
"""Shorter times than production's, so that a suite doesn't wait for batches."""


class EmbeddedOtelcol(HttpServer):
    """One collector that writes to the ClickHouse given.

    ttl: how long rows are kept, e.g. "72h". environment: further variables that the configuration names.
    program: a collector to use instead of the one built (see otelcol_build).
    Raises ProvisionError when it was not built: that takes minutes, so it is done before (make otelcol).
    """

    make = "OpenTelemetry Collector"
    capabilities = CAPABILITIES

    def __init__(
        self,
        owner: Owner,
        clickhouse: ClickHouseEndpoint,
        *,
        name: str = "otelcol",
        ttl: str = "72h",
        environment: Mapping[str, str] | None = None,
        config: Path | None = None,
        program: Path | None = None,
    ) -> None:
        super().__init__(owner, name=name)
        self._program = self._find_program(program)
        self._clickhouse = clickhouse
        self._config = config or configuration()
        self.ttl = ttl
        self.environment = {**QUICK, **(environment or {})}
        self._grpc, self._http, self._health, self._metrics = (PortClaim() for _ in range(4))
        self.queue_dir = owner.directory(f"{name}-queue")
        self._targets = self._etc / "vault-targets.json"
        self._token = self._etc / "vault-metrics-token"
        self.scrape([], "")

    @property
    def endpoint(self) -> CollectorEndpoint:
        """Where it is reached."""
        return CollectorEndpoint(
            grpc=self._grpc.address,
            http=f"http://{self._http.address}",
            health=f"http://{self._health.address}/",
            metrics=f"http://{self._metrics.address}/metrics",
        )

    def scrape(self, targets: Sequence[str], token: str, *, scheme: str = "http") -> None:
        """Scrape these Vaults (`host:port`) with this token; also while it runs (it looks every 5 s)."""
        self._owner.write(self._token, token)
        group = {"targets": [self._reached(place) for place in targets], "labels": {"__scheme__": scheme}}
        self._owner.write(self._targets, json.dumps([group] if targets else []))

    def validate(self) -> None:
        """Let the collector check its configuration. Raises ProvisionError with what it says."""
        launch = self._launch()
        self._owner.run(
            [launch.argv[0], "validate", *launch.argv[1:]],
            timeout_s=VALIDATE_S,
            env=launch.env,
            cwd=self._work,
        )

    def _launch(self) -> Launch:
        config = self._etc / "config.yaml"
        self._owner.write(config, self._config.read_text(encoding="utf-8"))
        return Launch(
            argv=[self._program, "--config", f"file:{config}"],
            env={
                "OTLP_GRPC_ENDPOINT": self._bound(self._grpc),
                "OTLP_HTTP_ENDPOINT": self._bound(self._http),
                "OTELCOL_HEALTH_ENDPOINT": self._bound(self._health),
                "OTELCOL_METRICS_HOST": self._bound(self._metrics).rpartition(":")[0],
                "OTELCOL_METRICS_PORT": str(self._metrics.port),
                "OTELCOL_QUEUE_DIR": str(self.queue_dir),
                "OTELCOL_SCRAPE_TARGETS": str(self._targets),
                "VAULT_METRICS_TOKEN_FILE": str(self._token),
                "CLICKHOUSE_ENDPOINT": self._reached(self._clickhouse.url),
                "CLICKHOUSE_DATABASE": self._clickhouse.database,
                "CLICKHOUSE_USER": self._clickhouse.user,
                "CLICKHOUSE_PASSWORD": self._clickhouse.password,
                "TELEMETRY_TTL": self.ttl,
                **self.environment,
            },
        )

    def _find_program(self, given: Path | None) -> Path:
        return reachable_program(given or require_collector(), self._owner.user)

    def _ready_url(self) -> str:
        return self.endpoint.health
