"""The known telemetry as tables: sent once to each stack, through a collector and into a database of their own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from smos.observability.clickhouse import ClickHouse
from smos.observability.verify.known import BEFORE_S, send, wait_until_there
from smos.observability.verify.lab import ObservabilityLab
from smos.observability.verify.stand import Stand
from smos.provision.telemetry import Capabilities, ClickHouseEndpoint

if TYPE_CHECKING:
    from smos.provision.embedded.otelcol import EmbeddedOtelcol

DATABASE = "smos_known"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTables:
    """Where they are. base: Unix seconds of a whole minute, from which the known times count.

    capabilities: of the collector that made and filled them.
    """

    endpoint: ClickHouseEndpoint
    base: int
    capabilities: Capabilities


_MADE: "WeakKeyDictionary[Stand, KnownTables]" = WeakKeyDictionary()


@contextmanager
def known_tables(lab: ObservabilityLab) -> Iterator[tuple[KnownTables, ClickHouse]]:
    """Yield the tables and a client of their database. Raises ObservabilityError, DeadlineError, ProvisionError."""
    stand = lab.own()
    if stand not in _MADE:
        _MADE[stand] = _make(stand)
    tables = _MADE[stand]
    with ClickHouse(tables.endpoint) as client:
        yield tables, client


def _make(stand: Stand) -> KnownTables:
    from smos.provision.embedded.rotel import EmbeddedRotel

    endpoint = replace(stand.clickhouse.endpoint, database=DATABASE)
    servers, name = stand.recipe.servers, f"{stand.name}-known"
    collector: EmbeddedRotel | EmbeddedOtelcol
    if servers.has_otelcol():
        collector = servers.otelcol(stand.owner, endpoint, name=name)
    else:
        collector = EmbeddedRotel(stand.owner, endpoint, name=name)
    collector.start()
    try:
        # Unix seconds: what is compared are time stamps, not durations.
        base = int(time.time()) // 60 * 60 - BEFORE_S
        send(collector.endpoint, base)
        with ClickHouse(endpoint) as client:
            wait_until_there(client)
    finally:
        collector.kill()
    return KnownTables(endpoint=endpoint, base=base, capabilities=collector.capabilities)
