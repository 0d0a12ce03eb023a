"""What the observability suite speaks about: typed endpoints of one stack, embedded or live."""

from dataclasses import dataclass, replace
from typing import Any, Self

from smos.provision.telemetry import Capabilities, ClickHouseEndpoint, CollectorEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One stack. live: it is somebody's own, so nothing of it is broken, and only rows that expire are left.

    capabilities: what its collector declares; None where nobody declared anything (a live one).
    """

    collector: CollectorEndpoint
    clickhouse: ClickHouseEndpoint
    capabilities: Capabilities | None = None
    retention_h: float = 72
    live: bool = False

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)
