"""F300 to F309: telemetry that is lost, doubled, refused, renamed or moved in time on its way."""

from typing import Any

from smos.faults.observability.agent import Change, agent, items, keep, resources
from smos.faults.observability.proxy import Act, Insert, proxy
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault
from smos.verdict import Verdict

CHECK = "OBS-01"
HOUR_NS = 3600 * 10**9


def _agent(work: ObservabilityWork, change: Change) -> None:
    work.front(lambda collector: agent(collector, change))


def _sampled(work: ObservabilityWork, wanted: str) -> None:
    """Swallow one item of ten of one signal, and acknowledge all."""

    def change(signal: str, request: Any) -> list[Any]:
        if signal == wanted:
            for _, field in items(signal, request):
                for place in reversed(range(0, len(field), 10)):
                    del field[place]
        return [request]

    _agent(work, change)


@fault(
    "F300a",
    "A sampler keeps nine spans of ten",
    "way in",
    caught(CHECK, "telemetry-lost", "traces", "250 of 2500"),
)
def sampled_spans(work: ObservabilityWork) -> None:
    """Swallow spans."""
    _sampled(work, "traces")


@fault(
    "F300b",
    "A filter drops points of metrics",
    "way in",
    caught(CHECK, "telemetry-lost", "metrics", "250 of 2500"),
)
def filtered_points(work: ObservabilityWork) -> None:
    """Swallow points."""
    _sampled(work, "metrics")


@fault(
    "F300c", "A filter drops log records", "way in", caught(CHECK, "telemetry-lost", "logs", "250 of 2500")
)
def filtered_records(work: ObservabilityWork) -> None:
    """Swallow records."""
    _sampled(work, "logs")


@fault(
    "F301",
    "An agent sends some requests twice",
    "way in",
    caught(CHECK, "telemetry-duplicated", "gRPC", "3500 rows"),
)
def repeated(work: ObservabilityWork) -> None:
    """Pass the first request of each kind on twice, as a sender does that misses the answer."""
    seen: set[tuple[str, str]] = set()

    def change(signal: str, request: Any) -> list[Any]:
        service = next(name for name, _ in items(signal, request))
        if (signal, service) in seen:
            return [request]
        seen.add((signal, service))
        return [request, request]

    _agent(work, change)


@fault(
    "F302",
    "ClickHouse's answers are lost, inserts are repeated",
    "store",
    caught(CHECK, "telemetry-duplicated", "came twice"),
)
def answers_lost(work: ObservabilityWork) -> None:
    """Carry the first insert of spans out and never answer it: the collector tries again."""

    def decide(insert: Insert) -> Act:
        return Act.LATE if insert == Insert("otel_traces", 0) else Act.PASS

    work.recipe(between=lambda clickhouse: proxy(clickhouse, decide))


@fault("F303", "Inserts are acknowledged and thrown away", "store", caught(CHECK, "telemetry-lost", "logs"))
def inserts_lost(work: ObservabilityWork) -> None:
    """Answer inserts of log records with success."""

    def decide(insert: Insert) -> Act:
        return Act.LOSE if insert.table == "otel_logs" else Act.PASS

    work.recipe(between=lambda clickhouse: proxy(clickhouse, decide))


@fault(
    "F304",
    "What ClickHouse refuses once is given up",
    "store",
    caught(CHECK, "telemetry-export-failed", "traces", "gave up"),
)
def no_retry(work: ObservabilityWork) -> None:
    """Turn retries off and refuse one insert."""

    def decide(insert: Insert) -> Act:
        return Act.REFUSE if insert == Insert("otel_traces", 0) else Act.PASS

    def configure(given: dict[str, Any]) -> None:
        given["exporters"]["clickhouse"]["retry_on_failure"]["enabled"] = False

    work.recipe(between=lambda clickhouse: proxy(clickhouse, decide), configure=configure)


@fault(
    "F305", "The queue is too small", "collector", caught(CHECK, "telemetry-refused", "traces over OTLP/gRPC")
)
def small_queue(work: ObservabilityWork) -> None:
    """Let it hold fewer items than one request has."""

    def configure(given: dict[str, Any]) -> None:
        queue = given["exporters"]["clickhouse"]["sending_queue"]
        queue["queue_size"] = 500
        queue["batch"] |= {"min_size": 100, "max_size": 500}

    work.recipe(configure=configure)


@fault(
    "F306",
    "An agent drops the attribute that scopes a run",
    "way in",
    caught(CHECK, "telemetry-lost", "2500 of 2500"),
)
def run_dropped(work: ObservabilityWork) -> None:
    """Remove the run's id from the resource."""

    def change(_signal: str, request: Any) -> list[Any]:
        for resource in resources(request):
            keep(resource.attributes, lambda item: item.key != "smos.run")
        return [request]

    _agent(work, change)


@fault("F307", "An agent drops the name of the service", "way in", caught(CHECK, "telemetry-resource-lost"))
def service_dropped(work: ObservabilityWork) -> None:
    """Remove the name from the resource of some requests."""

    def change(_signal: str, request: Any) -> list[Any]:
        for resource in resources(request):
            keep(resource.attributes, lambda item: item.key != "service.name")
        return [request]

    _agent(work, change)


@fault("F308", "An agent's clock is an hour off", "way in", caught(CHECK, "telemetry-time-shifted", "logs"))
def clock_off(work: ObservabilityWork) -> None:
    """Set the time of log records an hour back."""

    def change(signal: str, request: Any) -> list[Any]:
        if signal == "logs":
            for _, field in items(signal, request):
                for record in field:
                    record.time_unix_nano -= HOUR_NS
        return [request]

    _agent(work, change)


@fault(
    "F309",
    "OTLP over HTTP is not served",
    "collector",
    caught(CHECK, "telemetry-not-sent", "OTLP/HTTP", verdict=Verdict.NOT_PROVEN),
)
def no_http(work: ObservabilityWork) -> None:
    """Take it out of the configuration."""

    def configure(given: dict[str, Any]) -> None:
        del given["receivers"]["otlp"]["protocols"]["http"]

    work.recipe(configure=configure)
