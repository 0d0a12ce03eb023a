"""The observability stack as suites see it: typed endpoints, and what a collector says that it can do.

Nothing here starts anything: the embedded servers are in smos/provision/embedded, and a live stack fills the
same endpoints from its target.
"""

from dataclasses import dataclass, field, fields
from typing import Protocol

from smos.provision.base import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickHouseEndpoint:
    """ClickHouse's HTTP interface. url: without credentials, e.g. http://127.0.0.1:8123."""

    url: str
    user: str
    password: str = field(repr=False)
    database: str = "otel"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorEndpoint:
    """An OpenTelemetry collector.

    grpc: `host:port` of OTLP/gRPC, `https://host:port` with TLS. http: base URL of OTLP/HTTP (the sender adds
    `/v1/traces`).
    health: URL that answers 200 when it is ready; metrics: URL of its own metrics as Prometheus text. Both are
    empty where it has none.
    """

    grpc: str
    http: str
    health: str = ""
    metrics: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentryEndpoint:
    """A server that speaks Sentry's protocol. dsn: where SDKs send; url and token: its REST API."""

    url: str
    dsn: str = field(repr=False)
    project_id: int
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusEndpoint:
    """A Prometheus server: base URL of its API."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerEndpoint:
    """An Alertmanager: base URL of its API; address: `host:port`, as Prometheus is told."""

    url: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a collector declares; the conformance tests hold it to every one, and the report lists the others."""

    traces: bool = False
    metrics: bool = False
    logs: bool = False
    grpc: bool = False
    http: bool = False
    resource_kept: bool = False
    """The resource (service.name) is on every row, for any size of batch."""
    schema_created: bool = False
    """It creates the tables, with their time to live."""
    retries_refused: bool = False
    """An insert that ClickHouse answers with an error is tried again, whole."""
    persistent_queue: bool = False
    """What was accepted survives SIGKILL while ClickHouse is down."""
    memory_limiter: bool = False
    """It refuses above its memory limit, and lives."""
    health: bool = False
    own_metrics: bool = False
    """Accepted, refused, sent and failed items as Prometheus text."""
    prometheus_receiver: bool = False
    """It scrapes Prometheus metrics (Vault's)."""
    shipped_configuration: bool = False
    """It runs the shipped otel-collector-config.yaml, so it is what proves that file."""

    def present(self) -> tuple[str, ...]:
        """Return the names of what it has."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name))

    def absent(self) -> tuple[str, ...]:
        """Return the names of what it lacks."""
        return tuple(item.name for item in fields(self) if not getattr(self, item.name))


class Collector(Server, Protocol):
    """A collector of whatever make."""

    @property
    def capabilities(self) -> Capabilities:
        """What it declares."""

    @property
    def endpoint(self) -> CollectorEndpoint:
        """Where it is reached."""
