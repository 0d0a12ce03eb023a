"""F320 to F325: queues that forget, refuse or repeat."""

import shutil
from collections.abc import Callable
from typing import Any

from smos.faults.observability.proxy import Act, Insert, proxy
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault
from smos.observability.verify.counters import read_counters
from smos.observability.verify.outage import Outage
from smos.observability.verify.stand import Stand

CHECK = "OBS-03"


def _exporter(work: ObservabilityWork, change: Callable[[dict[str, Any]], object]) -> None:
    work.private(configure=lambda given: change(given["exporters"]["clickhouse"]))


@fault("F320", "The queue is in memory", "collector", caught(CHECK, "outage-lost", "2000 of 2000"))
def in_memory(work: ObservabilityWork) -> None:
    """Take its storage away."""
    _exporter(work, lambda exporter: exporter["sending_queue"].pop("storage"))


@fault("F321", "There is no queue", "collector", caught(CHECK, "outage-refused", "traces"))
def no_queue(work: ObservabilityWork) -> None:
    """Export while the sender waits, without trying again."""

    def change(exporter: dict[str, Any]) -> None:
        exporter["sending_queue"] = {"enabled": False}
        exporter["retry_on_failure"]["enabled"] = False

    _exporter(work, change)


@fault(
    "F322a", "The collector gives up after half a second", "collector", caught(CHECK, "outage-lost", "logs")
)
def gives_up(work: ObservabilityWork) -> None:
    """Limit how long it tries; the outage lasts until it has given up."""
    times = {"initial_interval": "100ms", "max_interval": "200ms", "max_elapsed_time": "500ms"}
    _exporter(work, lambda exporter: exporter["retry_on_failure"].update(times))
    work.lab = work.lab.but(options=Outage(lasts=_gave_up))


def _gave_up(stand: Stand) -> bool:
    """Tell whether the collector has thrown away what it held of every signal."""
    counted = read_counters(stand.subject.collector)
    return counted is not None and all(item.failed and not item.queued for item in counted.values())


@fault(
    "F322b",
    "The collector gives up after five minutes",
    "collector",
    caught(CHECK, "outage-gives-up", "five minutes"),
)
def gives_up_by_default(work: ObservabilityWork) -> None:
    """Leave the limit to the maker's default."""
    _exporter(work, lambda exporter: exporter["retry_on_failure"].pop("max_elapsed_time"))


@fault(
    "F323",
    "The queue's disk goes with the container",
    "collector",
    caught(CHECK, "outage-lost", "2000 of 2000"),
)
def no_volume(work: ObservabilityWork) -> None:
    """Empty its directory while the collector is dead, as a container without a volume does."""

    def between(stand: Stand) -> None:
        folder = stand.collector.queue_dir  # type: ignore[attr-defined]  # only the real collector has one
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    work.lab = work.lab.but(options=Outage(between=between))


@fault(
    "F324",
    "The queue is smaller than the outage",
    "collector",
    caught(CHECK, "outage-refused", "not accepted"),
)
def small_queue(work: ObservabilityWork) -> None:
    """Let it hold fewer items than are sent."""

    def change(exporter: dict[str, Any]) -> None:
        exporter["sending_queue"]["queue_size"] = 1500
        exporter["sending_queue"]["batch"].update(min_size=100, max_size=500)

    _exporter(work, change)


@fault("F325", "What was queued is stored twice", "store", caught(CHECK, "outage-duplicated", "came twice"))
def repeated(work: ObservabilityWork) -> None:
    """Lose ClickHouse's answer to the first insert of spans: the collector repeats it."""

    def decide(insert: Insert) -> Act:
        return Act.LATE if insert == Insert("otel_traces", 0) else Act.PASS

    work.private(between=lambda clickhouse: proxy(clickhouse, decide))
