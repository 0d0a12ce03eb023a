"""The embedded observability stack as one thing: started in parallel where its parts are independent."""

from concurrent.futures import ThreadPoolExecutor

from smos.errors import ProvisionError
from smos.provision.embedded.bugsink import EmbeddedBugsink
from smos.provision.embedded.clickhouse import EmbeddedClickHouse
from smos.provision.embedded.otelcol import EmbeddedOtelcol
from smos.provision.embedded.otelcol_build import find_collector
from smos.provision.embedded.rotel import EmbeddedRotel
from smos.provision.owner import Owner
from smos.provision.telemetry import Collector


def embedded_collector(owner: Owner, clickhouse: EmbeddedClickHouse, *, ttl: str = "72h") -> Collector:
    """Return the real collector where it was built, else rotel; its capabilities say which one it is."""
    if find_collector() is not None:
        return EmbeddedOtelcol(owner, clickhouse.endpoint, ttl=ttl)
    return EmbeddedRotel(owner, clickhouse.endpoint, ttl=ttl)


class EmbeddedObservability:
    """ClickHouse, a collector and (on demand) Bugsink. A destructive test takes one of its own."""

    def __init__(self, owner: Owner, *, ttl: str = "72h", sentry: bool = True) -> None:
        self.clickhouse = EmbeddedClickHouse(owner)
        self.collector = embedded_collector(owner, self.clickhouse, ttl=ttl)
        self._bugsink = EmbeddedBugsink(owner) if sentry else None

    @property
    def bugsink(self) -> EmbeddedBugsink:
        """The Sentry-protocol server. Raises ProvisionError when the stack is without one."""
        if self._bugsink is None:
            raise ProvisionError("This stack has no Bugsink", remedy="ask for it: sentry=True")
        return self._bugsink

    def start(self) -> None:
        """Start everything; the collector waits for ClickHouse, Bugsink for nobody. Raises ProvisionError."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            started = [pool.submit(self._telemetry)]
            if self._bugsink is not None:
                started.append(pool.submit(self._bugsink.start))
            for one in started:
                one.result()

    def stop(self) -> None:
        """Stop everything, senders' side first."""
        self.collector.stop()
        self.clickhouse.stop()
        if self._bugsink is not None:
            self._bugsink.stop()

    def _telemetry(self) -> None:
        self.clickhouse.start()
        self.collector.start()
