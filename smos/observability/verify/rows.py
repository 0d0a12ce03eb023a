"""What arrived of one run, counted in ClickHouse; every query is scoped by the run's id and by time."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from smos.observability.clickhouse import ClickHouse

TABLES: Mapping[str, str] = {"traces": "otel_traces", "metrics": "otel_metrics_sum", "logs": "otel_logs"}
TIMES: Mapping[str, str] = {"traces": "Timestamp", "metrics": "TimeUnix", "logs": "Timestamp"}
IDENTITY: Mapping[str, str] = {
    "traces": "SpanId",
    "metrics": "Attributes['number']",
    "logs": "LogAttributes['number']",
}
"""What tells one item of a run from another. Numbers start again with each sender, so those carry one service each."""
WIDE_S = 24 * 3600
"""Seconds around the moment of sending in which rows are looked for; who shifts clocks by more loses them."""
SLACK_S = 1.0
"""Metrics are stored with whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Rows of one run, service and signal. distinct: different items. in_time: rows with the time that was sent."""

    rows: int
    distinct: int
    in_time: int


NOTHING = Arrived(rows=0, distinct=0, in_time=0)


def window(first_ns: int, last_ns: int) -> tuple[float, float]:
    """Return the seconds (epoch) between which the time stamps of items lie that were sent with these."""
    return first_ns / 1e9 - SLACK_S, last_ns / 1e9 + SLACK_S


def arrived(client: ClickHouse, signal: str, run: str, window_s: tuple[float, float]) -> dict[str, Arrived]:
    """Count the rows of a run by service. window_s: epoch seconds of what was sent. Raises ClickHouseError."""
    at = TIMES[signal]
    found = client.rows(
        # Names of tables and columns are constants of this module; values are bound by the server.
        f"SELECT ServiceName AS service, count() AS rows, uniqExact({IDENTITY[signal]}) AS distinct,"  # noqa: S608
        f" countIf({at} >= toDateTime64({{a:Float64}}, 9) AND {at} <= toDateTime64({{b:Float64}}, 9)) AS in_time"
        f" FROM {TABLES[signal]} WHERE ResourceAttributes['smos.run'] = {{run:String}}"
        f" AND {at} >= toDateTime64({{wide_a:Float64}}, 9) AND {at} <= toDateTime64({{wide_b:Float64}}, 9)"
        " GROUP BY service",
        run=run,
        a=window_s[0],
        b=window_s[1],
        wide_a=window_s[0] - WIDE_S,
        wide_b=max(time.time(), window_s[1]) + WIDE_S,
    )
    return {
        str(row["service"]): Arrived(
            rows=int(row["rows"]), distinct=int(row["distinct"]), in_time=int(row["in_time"])
        )
        for row in found
    }
