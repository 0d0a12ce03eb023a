"""The collector's own account of what passed through it, read from its metrics (Prometheus text)."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from smos.http import trust
from smos.provision.telemetry import CollectorEndpoint

ITEMS: Mapping[str, str] = {"traces": "spans", "metrics": "metric_points", "logs": "log_records"}
"""Signal to the word that the collector's metrics use for its items."""
REQUEST_S = 60.0
"""A limit against hangs: a busy collector answers late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Items of one signal since the collector's start.

    accepted, refused: by its receivers (other: accepted by receivers that are not OTLP, i.e. scrapes). exported: sent
    by its exporters. failed: given up by them. dropped: not taken into their queue.
    queued: in the exporters' queues now, what is being exported included; None where there is no queue.
    """

    accepted: float = 0
    other: float = 0
    refused: float = 0
    exported: float = 0
    failed: float = 0
    dropped: float = 0
    queued: float | None = None

    def since(self, before: "Counted") -> "Counted":
        """Return what was added since `before`."""
        return Counted(
            accepted=self.accepted - before.accepted,
            other=self.other - before.other,
            refused=self.refused - before.refused,
            exported=self.exported - before.exported,
            failed=self.failed - before.failed,
            dropped=self.dropped - before.dropped,
            queued=self.queued,
        )

    @property
    def settled(self) -> bool:
        """Whether everything that was accepted since its start was exported or given up."""
        return self.exported + self.failed + self.dropped >= self.accepted + self.other

    @property
    def drained(self) -> bool:
        """Whether nothing waits, what an earlier process left on disk included: nothing more comes of it.

        An item leaves the queue when its export is over (collector v0.161.0, persistent_queue.go: onDone), retries
        included. Without a queue, exports are over before senders are answered.
        """
        return not self.queued and self.settled


def read_counters(endpoint: CollectorEndpoint) -> dict[str, Counted] | None:
    """Return what the collector counted, for each signal; None where it has no metrics of its own.

    Raises httpx.HTTPError, ValueError (not Prometheus' text).
    """
    if not endpoint.metrics:
        return None
    answer = httpx.get(endpoint.metrics, timeout=REQUEST_S, trust_env=False, verify=trust())
    answer.raise_for_status()
    sums: dict[tuple[str, bool], float] = {}
    queues: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == "otelcol_exporter_queue_size":
                kind = sample.labels.get("data_type", "")
                queues[kind] = queues.get(kind, 0.0) + sample.value
            key = sample.name.removesuffix("_total"), sample.labels.get("receiver", "otlp") == "otlp"
            sums[key] = sums.get(key, 0.0) + sample.value

    def of(name: str, *, otlp: bool = True) -> float:
        return sums.get((f"otelcol_{name}", otlp), 0.0)

    return {
        signal: Counted(
            accepted=of(f"receiver_accepted_{item}"),
            other=of(f"receiver_accepted_{item}", otlp=False),
            refused=of(f"receiver_refused_{item}") + of(f"receiver_failed_{item}"),
            exported=of(f"exporter_sent_{item}"),
            failed=of(f"exporter_send_failed_{item}"),
            dropped=of(f"exporter_enqueue_failed_{item}"),
            queued=queues.get(signal),
        )
        for signal, item in ITEMS.items()
    }
