"""F332 to F339: telemetry that is kept for ever, too long, too short, or not as the one setting says."""

from typing import Any, Literal

from smos.faults.observability.work import ObservabilityWork
from smos.faults.registry import caught, fault
from smos.observability.verify.retention import Options
from smos.provision.embedded.otelcol import EmbeddedOtelcol
from smos.provision.telemetry import Collector

CHECK = "OBS-05"


def _look(work: ObservabilityWork, only: Literal["definitions", "rows", "setting"]) -> None:
    work.lab = work.lab.but(options=Options(only=only))


@fault("F332", "There is no time to live", "retention", caught(CHECK, "retention-none", "otel_traces"))
def none_at_all(work: ObservabilityWork) -> None:
    """Set it to nothing."""
    _look(work, "definitions")
    work.recipe(ttl="0s")


@fault(
    "F333a",
    "Telemetry is kept a day",
    "retention",
    caught(CHECK, "retention-wrong", "otel_metrics_sum", "24 h"),
)
def a_day(work: ObservabilityWork) -> None:
    """Set 24 hours."""
    _look(work, "definitions")
    work.recipe(ttl="24h")


@fault(
    "F333b", "Telemetry is kept a month", "retention", caught(CHECK, "retention-wrong", "otel_logs", "720 h")
)
def a_month(work: ObservabilityWork) -> None:
    """Set 720 hours."""
    _look(work, "definitions")
    work.recipe(ttl="720h")


@fault(
    "F334",
    "Rows are gone before their time",
    "retention",
    caught(CHECK, "retention-rows-gone", "otel_traces", "71 h"),
)
def gone_early(work: ObservabilityWork) -> None:
    """Set 24 hours: the definition is wrong, and rows are gone."""
    _look(work, "rows")
    work.recipe(ttl="24h")


@fault(
    "F335",
    "The setting was changed after the tables were made",
    "retention",
    caught(CHECK, "retention-wrong", "otel_metrics_gauge", "720 h"),
)
def made_before(work: ObservabilityWork) -> None:
    """Start a collector with 720 hours, then with 72: tables that exist keep what they have."""
    _look(work, "definitions")
    stand = work.recipe(ttl="720h")
    stand.subject  # noqa: B018  (starts it)
    _restarted(stand.collector, "72h")


def _restarted(collector: Collector, ttl: str) -> None:
    collector.stop()
    if isinstance(collector, EmbeddedOtelcol):
        collector.ttl = ttl
    collector.start()


@fault(
    "F336",
    "One table of metrics is kept for ever",
    "retention",
    caught(CHECK, "retention-none", "otel_metrics_histogram"),
)
def one_table(work: ObservabilityWork) -> None:
    """Remove the rule of one table."""
    _look(work, "definitions")
    work.execute(
        "ALTER TABLE otel_metrics_histogram REMOVE TTL",
        undo="ALTER TABLE otel_metrics_histogram MODIFY TTL toDateTime(TimeUnix) + toIntervalDay(3)",
    )


@fault(
    "F337", "The rule spares some rows", "retention", caught(CHECK, "retention-none", "otel_logs", "WHERE")
)
def spared(work: ObservabilityWork) -> None:
    """Let log records of warnings and errors stay for ever."""
    _look(work, "definitions")
    work.execute(
        "ALTER TABLE otel_logs MODIFY TTL toDateTime(Timestamp) + toIntervalDay(3) DELETE WHERE SeverityNumber < 13",
        undo="ALTER TABLE otel_logs MODIFY TTL toDateTime(Timestamp) + toIntervalDay(3)",
    )


@fault(
    "F338",
    "The rule counts from another time",
    "retention",
    caught(CHECK, "retention-rows-stay", "otel_traces", "73 h, 100 h"),
)
def other_column(work: ObservabilityWork) -> None:
    """Count from the moment of the insert: what was queued for days is kept for days more."""
    _look(work, "rows")
    work.execute("ALTER TABLE otel_traces ADD COLUMN Stored DateTime DEFAULT now()")
    work.undo.callback(work.execute, "ALTER TABLE otel_traces DROP COLUMN Stored")
    work.execute(
        "ALTER TABLE otel_traces MODIFY TTL Stored + toIntervalDay(3)",
        undo="ALTER TABLE otel_traces MODIFY TTL toDateTime(Timestamp) + toIntervalDay(3)",
    )


@fault(
    "F339",
    "The exporter does not read the one setting",
    "retention",
    caught(CHECK, "retention-setting-ignored", "30 h"),
)
def not_read(work: ObservabilityWork) -> None:
    """Write the time into the configuration."""
    _look(work, "setting")

    def configure(given: dict[str, Any]) -> None:
        given["exporters"]["clickhouse"]["ttl"] = "72h"

    work.private(configure=configure)
