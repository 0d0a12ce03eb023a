"""F360 to F362: metrics that stand still, are old, are not scraped, or can't be read."""

import re
from collections.abc import Callable
from typing import Any

from smos.faults.observability.relay import After, Answered, Asked, relay
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault

CHECK = "OBS-10"
OLD_MS = 600_000


def _with(work: ObservabilityWork, **changes: Any) -> None:
    from smos.observability.verify.metrics import Options  # not everybody has what it imports

    work.lab = work.lab.but(options=Options(**changes))


def _collector(work: ObservabilityWork, after: After) -> None:
    """Put something before the collector's own metrics."""
    base, _, path = work.stand.subject.collector.metrics.rpartition("/")
    place = work.undo.enter_context(relay(base, after=after))
    _with(work, metrics=f"http://{place}/{path}", vault=False)


def _vault(work: ObservabilityWork, change: Callable[[str], str]) -> None:
    """Put something between the collector and Vault that changes its metrics."""

    def after(asked: Asked, answered: Answered) -> None:
        if "sys/metrics" in asked.path and answered.status == 200:
            answered.body = change(answered.body.decode()).encode()

    def before(place: str, scheme: str) -> tuple[str, str]:
        return work.undo.enter_context(relay(f"{scheme}://{place}", after=after)), "http"

    _with(work, before=before)


@fault(
    "F360a",
    "The collector's metrics come from a cache",
    "metrics",
    caught(CHECK, "collector-metrics-do-not-count", "rose by 0"),
)
def cached(work: ObservabilityWork) -> None:
    """Give the first answer for ever."""
    kept: list[bytes] = []

    def after(_asked: Asked, answered: Answered) -> None:
        kept.append(answered.body)
        answered.body = kept[0]

    _collector(work, after)


@fault(
    "F360b",
    "The collector's metrics are no metrics",
    "metrics",
    caught(CHECK, "collector-metrics-unreadable"),
)
def unreadable(work: ObservabilityWork) -> None:
    """Answer with a page."""

    def after(_asked: Asked, answered: Answered) -> None:
        answered.body = b"<html><body>Sign in</body></html>\n"

    _collector(work, after)


@fault(
    "F360c",
    "The collector gives up on spans",
    "metrics",
    caught(CHECK, "collector-loses", "send_failed_spans"),
)
def gives_up(work: ObservabilityWork) -> None:
    """Count failures after the first answer."""
    number = 0

    def after(_asked: Asked, answered: Answered) -> None:
        nonlocal number
        number += 1
        answered.body += b'otelcol_exporter_send_failed_spans{exporter="other"} %d\n' % number

    _collector(work, after)


@fault("F361a", "Vault is scraped without a token", "scrape", caught(CHECK, "vault-not-scraped", "up is 0"))
def no_token(work: ObservabilityWork) -> None:
    """Show none that is right."""
    _with(work, token="unset")  # noqa: S106  (what the stack shows where no token is set)


@fault(
    "F361b", "Vault's samples are ten minutes old", "scrape", caught(CHECK, "vault-metrics-stale", "s old")
)
def stale(work: ObservabilityWork) -> None:
    """Give every sample an old time stamp, as a cache or a gateway does."""
    import time

    def change(text: str) -> str:
        stamp = round(time.time() * 1000) - OLD_MS
        return re.sub(r"(?m)^([a-z][^#\n]*\S)$", rf"\1 {stamp}", text)

    _vault(work, change)


@fault(
    "F361c", "Vault is scraped where nobody listens", "scrape", caught(CHECK, "vault-not-scraped", "up is 0")
)
def nobody(work: ObservabilityWork) -> None:
    """Name another port."""
    _with(work, before=lambda _place, scheme: ("127.0.0.1:9", scheme))


@fault(
    "F361d",
    "The metric that alarms need is gone",
    "scrape",
    caught(CHECK, "vault-metric-missing", "vault_core_unsealed"),
)
def missing(work: ObservabilityWork) -> None:
    """Leave it out."""
    _vault(work, lambda text: re.sub(r"(?m)^.*vault_core_unsealed.*\n", "", text))


@fault(
    "F361e",
    "Vault's metrics come from a cache",
    "scrape",
    caught(CHECK, "vault-metrics-stand-still", "vault_core_handle_request"),
)
def still(work: ObservabilityWork) -> None:
    """Give the first answer for ever."""
    kept: list[str] = []

    def change(text: str) -> str:
        kept.append(text)
        return kept[0]

    _vault(work, change)


@fault(
    "F362",
    "What a drill leaves for Prometheus is cut off",
    "metrics",
    caught(CHECK, "drill-metrics-unreadable"),
)
def cut_off(work: ObservabilityWork) -> None:
    """Cut it."""
    _with(work, drill=lambda: '# TYPE smos_proven gauge\nsmos_proven{target="x', vault=False)
