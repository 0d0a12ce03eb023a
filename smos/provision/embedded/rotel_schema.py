"""The tables that rotel writes to: it creates none, and its RowBinary rows fix the types.

They are those of the collector's ClickHouse exporter as rotel knows it (times in nanoseconds everywhere), so the
dashboards' queries run on both. Source: github.com/streamfold/rotel, clickhouse exporter.
"""

ATTRIBUTES = "Map(LowCardinality(String), String)"
RESOURCE = f"""ResourceAttributes {ATTRIBUTES}, ResourceSchemaUrl String, ScopeName String, ScopeVersion String,
    ScopeAttributes {ATTRIBUTES}, ScopeDroppedAttrCount UInt32, ScopeSchemaUrl String,
    ServiceName LowCardinality(String),
    MetricName LowCardinality(String), MetricDescription String, MetricUnit String, Attributes {ATTRIBUTES},
    StartTimeUnix DateTime64(9), TimeUnix DateTime64(9)"""
EXEMPLARS = f"""Exemplars Nested (FilteredAttributes {ATTRIBUTES}, TimeUnix DateTime64(9), Value Float64,
    SpanId String, TraceId String)"""
COUNTED = "Count UInt64, Sum Float64"
BOUNDS = "Min Float64, Max Float64, AggregationTemporality Int32"
METRICS = {
    "gauge": f"Value Float64, Flags UInt32, {EXEMPLARS}",
    "sum": f"Value Float64, Flags UInt32, AggregationTemporality Int32, IsMonotonic Bool, {EXEMPLARS}",
    "histogram": f"{COUNTED}, BucketCounts Array(UInt64), ExplicitBounds Array(Float64), Flags UInt32, {BOUNDS}, "
    f"{EXEMPLARS}",
    "exponential_histogram": f"{COUNTED}, Scale Int32, ZeroCount UInt64, PositiveOffset Int32, "
    f"PositiveBucketCounts Array(UInt64), NegativeOffset Int32, NegativeBucketCounts Array(UInt64), Flags UInt32, "
    f"{BOUNDS}, {EXEMPLARS}",
    # rotel misspells the second column; with its spelling the rows arrive.
    "summary": f"{COUNTED}, `ValueAtQuantiles.Quantile` Array(Float64), `ValueAtQauntiles.Value` Array(Float64), "
    "Flags UInt32",
}
TRACES = f"""Timestamp DateTime64(9), TraceId String, SpanId String, ParentSpanId String, TraceState String,
    SpanName LowCardinality(String), SpanKind LowCardinality(String), ServiceName LowCardinality(String),
    ResourceAttributes {ATTRIBUTES}, ScopeName String, ScopeVersion String, SpanAttributes {ATTRIBUTES},
    Duration UInt64, StatusCode LowCardinality(String), StatusMessage String,
    Events Nested (Timestamp DateTime64(9), Name LowCardinality(String), Attributes {ATTRIBUTES}),
    Links Nested (TraceId String, SpanId String, TraceState String, Attributes {ATTRIBUTES}),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1"""
LOGS = f"""Timestamp DateTime64(9), TraceId String, SpanId String, TraceFlags UInt8,
    SeverityText LowCardinality(String), SeverityNumber UInt8, ServiceName LowCardinality(String), Body String,
    ResourceSchemaUrl LowCardinality(String), ResourceAttributes {ATTRIBUTES}, ScopeSchemaUrl LowCardinality(String),
    ScopeName String, ScopeVersion LowCardinality(String), ScopeAttributes {ATTRIBUTES}, LogAttributes {ATTRIBUTES},
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1"""


def statements(database: str, ttl_seconds: int) -> list[str]:
    """Return the statements that create the database and its tables where they are missing."""

    def table(name: str, columns: str, time: str, order: str) -> str:
        return (
            f"CREATE TABLE IF NOT EXISTS `{database}`.`{name}` ({columns}) ENGINE = MergeTree "
            f"PARTITION BY toDate({time}) ORDER BY ({order}) "
            f"TTL toDateTime({time}) + toIntervalSecond({ttl_seconds}) SETTINGS ttl_only_drop_parts = 1"
        )

    series = "ServiceName, MetricName, Attributes, toUnixTimestamp64Nano(TimeUnix)"
    return [
        f"CREATE DATABASE IF NOT EXISTS `{database}`",
        table("otel_traces", TRACES, "Timestamp", "ServiceName, SpanName, toDateTime(Timestamp)"),
        table("otel_logs", LOGS, "Timestamp", "ServiceName, toDateTime(Timestamp), Timestamp"),
        *(
            table(f"otel_metrics_{kind}", f"{RESOURCE}, {columns}", "TimeUnix", series)
            for kind, columns in METRICS.items()
        ),
    ]
