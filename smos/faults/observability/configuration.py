"""F340 to F344: a configuration that is invalid, open, keeps something else, or is not what is built."""

from smos.faults.observability.files import changed, swap
from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault

CHECK = "OBS-06"
CONFIG, MANIFEST, STACK = (
    "observability/otel-collector-config.yaml",
    "observability/builder.yml",
    "observability.yml",
)


def _with(work: ObservabilityWork, name: str, old: str, new: str) -> None:
    from smos.observability.verify.configuration import Options  # not everybody has what it imports

    work.lab = work.lab.but(options=Options(compose=changed(work, name, swap(old, new))))


@fault(
    "F340a",
    "A pipeline names an exporter that nobody configured",
    "configuration",
    caught(CHECK, "configuration-invalid", "nobody"),
)
def unknown_exporter(work: ObservabilityWork) -> None:
    """Name another one."""
    _with(work, CONFIG, "exporters: [clickhouse]", "exporters: [nobody]")


@fault("F340b", "A key is misspelt", "configuration", caught(CHECK, "configuration-invalid", "queue_sice"))
def misspelt(work: ObservabilityWork) -> None:
    """Misspell it."""
    _with(work, CONFIG, "queue_size:", "queue_sice:")


@fault(
    "F341a",
    "A component that is used is not built",
    "manifest",
    caught(CHECK, "components-differ", "prometheus is not built"),
)
def not_built(work: ObservabilityWork) -> None:
    """Take it out of the manifest."""
    line = "  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver v0.161.0\n"
    _with(work, MANIFEST, line, "")


@fault(
    "F341b",
    "A component is built that nothing uses",
    "manifest",
    caught(CHECK, "components-differ", "debug is built for nothing"),
)
def built_for_nothing(work: ObservabilityWork) -> None:
    """Add one."""
    debug = "exporters:\n  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v0.161.0\n"
    _with(work, MANIFEST, "exporters:\n", debug)


@fault(
    "F341c", "A receiver is in no pipeline", "configuration", caught(CHECK, "component-idle", "prometheus")
)
def idle(work: ObservabilityWork) -> None:
    """Take it out of its pipeline."""
    _with(work, CONFIG, "receivers: [otlp, prometheus]", "receivers: [otlp]")


@fault(
    "F341d",
    "The image is of another release than the manifest",
    "stack",
    caught(CHECK, "releases-differ", "0.160.0"),
)
def other_release(work: ObservabilityWork) -> None:
    """Name another image."""
    _with(work, STACK, "contrib:0.161.0", "contrib:0.160.0")


@fault(
    "F342a",
    "OTLP is open to the network by default",
    "configuration",
    caught(CHECK, "open-by-default", "0.0.0.0:4318"),
)
def open_by_default(work: ObservabilityWork) -> None:
    """Change the default."""
    _with(work, CONFIG, ":-127.0.0.1:4318}", ":-0.0.0.0:4318}")


@fault(
    "F342b",
    "The collector's metrics are open to the network, whatever the environment says",
    "configuration",
    caught(CHECK, "listens-outside", "outside loopback: "),
)
def fixed_address(work: ObservabilityWork) -> None:
    """Fix the address."""
    _with(work, CONFIG, "host: ${env:OTELCOL_METRICS_HOST:-127.0.0.1}", "host: 0.0.0.0")


@fault(
    "F342c",
    "Compose publishes ClickHouse to the network",
    "stack",
    caught(CHECK, "port-published", "smarter-clickhouse"),
)
def published(work: ObservabilityWork) -> None:
    """Publish it."""
    _with(work, STACK, '"127.0.0.1:${CLICKHOUSE_PORT:-8123}:8123"', '"${CLICKHOUSE_PORT:-8123}:8123"')


@fault(
    "F343a",
    "The default keeps telemetry for ten days",
    "configuration",
    caught(CHECK, "retention-default", "240h"),
)
def other_default(work: ObservabilityWork) -> None:
    """Change the default."""
    _with(work, CONFIG, "${env:TELEMETRY_TTL:-72h}", "${env:TELEMETRY_TTL:-240h}")


@fault(
    "F343b",
    "The retention is fixed beside the setting",
    "configuration",
    caught(CHECK, "retention-ignored", "26 h"),
)
def fixed_retention(work: ObservabilityWork) -> None:
    """Fix it."""
    _with(work, CONFIG, "ttl: ${env:TELEMETRY_TTL:-72h}", "ttl: 72h")


@fault(
    "F343c",
    "The retention comes from another setting",
    "configuration",
    caught(CHECK, "retention-settings", "OTELCOL_TTL"),
)
def other_setting(work: ObservabilityWork) -> None:
    """Name another variable."""
    _with(work, CONFIG, "${env:TELEMETRY_TTL:-72h}", "${env:OTELCOL_TTL:-72h}")


@fault("F344", "A password has a default", "stack", caught(CHECK, "secret-default", "GRAFANA_PASSWORD"))
def default_password(work: ObservabilityWork) -> None:
    """Give it one."""
    _with(work, STACK, "${GRAFANA_PASSWORD:?set it in .env}", "${GRAFANA_PASSWORD:-admin}")
