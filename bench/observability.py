"""How fast telemetry arrives: spans through the real collector, against inserts into ClickHouse's front directly.

python -m bench.observability [spans]
"""

import secrets
import sys
import time

from smos.observability.clickhouse import ClickHouse
from smos.observability.emit import Emitter
from smos.observability.verify.stand import Stand
from smos.provision.owner import Owner
from smos.wait import wait_for

SPANS = 100_000
PIECE = 10_000
ARRIVE_S = 120.0
COUNT = (
    "SELECT count() AS rows, uniqExact(SpanId) AS ids FROM otel_traces"
    " WHERE ResourceAttributes['smos.run'] = {r:String}"
)


def through_collector(stand: Stand, client: ClickHouse, spans: int, protocol: str) -> tuple[float, int, int]:
    """Send spans; return the seconds until the last row was there, rows, and different ids."""
    run, started = secrets.token_hex(8), time.monotonic()
    with Emitter(stand.subject.collector, run=run, protocol=protocol) as emitter:
        receipt = emitter.spans(spans)
    if receipt.accepted != spans:
        raise RuntimeError(f"{receipt.refused} spans were refused")
    wait_for(lambda: client.rows(COUNT, r=run)[0]["rows"] >= spans, what="all arrive", deadline_s=ARRIVE_S)
    seconds = time.monotonic() - started
    (found,) = client.rows(COUNT, r=run)
    return seconds, int(found["rows"]), int(found["ids"])


def directly(client: ClickHouse, spans: int) -> float:
    """Insert as many rows with the same columns, in pieces; return the seconds."""
    run, started = secrets.token_hex(8), time.monotonic()
    for first in range(0, spans, PIECE):
        at = time.time()
        client.insert(
            "otel_traces",
            (
                {
                    "Timestamp": f"{at:.6f}",
                    "TraceId": secrets.token_hex(16),
                    "SpanId": secrets.token_hex(8),
                    "ParentSpanId": "",
                    "SpanName": "emit.child",
                    "SpanKind": "Internal",
                    "ServiceName": "smos-emitter",
                    "ResourceAttributes": {"service.name": "smos-emitter", "smos.run": run},
                    "SpanAttributes": {"number": str(number)},
                    "Duration": 5_000_000,
                    "StatusCode": "Ok",
                }
                for number in range(first, min(first + PIECE, spans))
            ),
        )
    (found,) = client.rows(COUNT, r=run)
    if found["rows"] != spans:
        raise RuntimeError(f"{found['rows']} of {spans} rows")
    return time.monotonic() - started


def main() -> None:
    """Measure both and print rates and ratios."""
    spans = int(sys.argv[1]) if len(sys.argv) > 1 else SPANS
    with Owner("bench-observability") as owner:
        stand = Stand(owner, name="bench")
        with ClickHouse(stand.subject.clickhouse) as client:
            directly(client, PIECE)  # not counted
            peer = directly(client, spans)
            print(f"inserted directly    {spans} rows in {peer:6.2f} s  {spans / peer:9,.0f}/s")
            for protocol in ("grpc", "http"):
                seconds, rows, ids = through_collector(stand, client, spans, protocol)
                print(
                    f"OTLP/{protocol:<4}            {spans} sent, {rows} rows, {ids} different, in {seconds:6.2f} s"
                    f"  {spans / seconds:9,.0f}/s  ratio {seconds / peer:5.2f}"
                )
        stand.close()


if __name__ == "__main__":
    main()
