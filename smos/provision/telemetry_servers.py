"""The servers of the observability suite, of one provisioner: programs of this machine, or containers."""

from collections.abc import Callable
from dataclasses import dataclass

from smos.provision.embedded.bugsink import EmbeddedBugsink
from smos.provision.embedded.clickhouse import EmbeddedClickHouse
from smos.provision.embedded.otelcol import EmbeddedOtelcol
from smos.provision.embedded.otelcol_build import find_collector
from smos.provision.embedded.prometheus import EmbeddedAlertmanager, EmbeddedPrometheus
from smos.provision.servers import EMBEDDED, Servers, servers_for
from smos.target import Provision


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryServers:
    """Makes the parts of a stack. Each is called as its embedded class is.

    base: PostgreSQL and OpenBao. has_otelcol: whether the real collector is here; where it is not, rotel serves.
    """

    base: Servers
    clickhouse: Callable[..., EmbeddedClickHouse]
    otelcol: Callable[..., EmbeddedOtelcol]
    bugsink: Callable[..., EmbeddedBugsink]
    prometheus: Callable[..., EmbeddedPrometheus]
    alertmanager: Callable[..., EmbeddedAlertmanager]
    has_otelcol: Callable[[], bool]


EMBEDDED_TELEMETRY = TelemetryServers(
    base=EMBEDDED,
    clickhouse=EmbeddedClickHouse,
    otelcol=EmbeddedOtelcol,
    bugsink=EmbeddedBugsink,
    prometheus=EmbeddedPrometheus,
    alertmanager=EmbeddedAlertmanager,
    has_otelcol=lambda: find_collector() is not None,
)


def telemetry_servers_for(provision: Provision) -> TelemetryServers:
    """Return what makes this run's stacks; `auto` are the embedded ones.

    Raises ProvisionError where containers are asked for and no engine answers.
    """
    if provision is not Provision.DOCKER:
        return EMBEDDED_TELEMETRY
    base = servers_for(provision)
    from smos.provision.docker import telemetry as docker

    return TelemetryServers(
        base=base,
        clickhouse=docker.DockerClickHouse,
        otelcol=docker.DockerOtelcol,
        bugsink=docker.DockerBugsink,
        prometheus=docker.DockerPrometheus,
        alertmanager=docker.DockerAlertmanager,
        has_otelcol=lambda: True,  # without its image nothing starts, and the reason is told
    )
