"""Judge of OBS-03: what was accepted while ClickHouse was down is there after both were started again, once."""

from collections.abc import Iterator
from dataclasses import asdict

from smos.observability.verify.outage import OutageFacts, Survived
from smos.verdict import Finding, Judgement, fail, not_proven

LOST = "outage-lost"
REFUSED = "outage-refused"
DUPLICATED = "outage-duplicated"
NOT_DOWN = "outage-not-down"
NOT_WHOLE = "outage-not-whole"
GIVES_UP = "outage-gives-up"
NEVER = {"0", "0s", "0m"}
CODES = (GIVES_UP, LOST, REFUSED, DUPLICATED, NOT_DOWN, NOT_WHOLE)
QUEUE = (
    "keep sending_queue with its storage on a disk that outlives the container, and max_elapsed_time: 0s,"
    " as shipped"
)
SIZE = "keep the queue, and make it large enough for the longest outage (OTELCOL_QUEUE_SIZE)"
AGAIN = "run it again on a quiet machine; the stack must be whole before it is broken"


def judge(facts: OutageFacts) -> Judgement:
    """Judge what came through."""
    findings = [finding for item in facts.survived for finding in _of(item)]
    if facts.gives_up not in NEVER:
        after = facts.gives_up or "five minutes (its default)"
        findings.append(
            fail(GIVES_UP, f"After {after} of outage the collector throws away what it holds", QUEUE)
        )
    if not facts.down or not facts.survived or any(item.before for item in facts.survived):
        findings.append(not_proven(NOT_DOWN, "ClickHouse was not down while telemetry was sent", AGAIN))
    elif not facts.attempts and not findings:
        findings.append(not_proven(NOT_DOWN, "The collector never noticed that ClickHouse was down", AGAIN))
    shown = {
        "survived": [asdict(item) for item in facts.survived],
        "vain attempts": facts.attempts,
        "seconds until all was there": facts.recovered_s,
    }
    return Judgement(tuple(findings), shown | dict(facts.details))


def _of(item: Survived) -> Iterator[Finding]:
    what = f"{item.signal} over OTLP/{'gRPC' if item.protocol == 'grpc' else 'HTTP'}"
    if item.accepted < item.sent:
        why = f": {item.error}" if item.error else ""
        text = f"{what}: {item.sent - item.accepted} of {item.sent} were not accepted during the outage{why}"
        yield fail(REFUSED, text, SIZE)
    if item.distinct < item.accepted:
        lost = item.accepted - item.distinct
        yield fail(LOST, f"{what}: {lost} of {item.accepted} accepted items are lost", QUEUE)
    if item.rows > item.distinct:
        text = f"{what}: {item.rows} rows are {item.distinct} items: some came twice"
        yield fail(DUPLICATED, text, "count uniqExact(SpanId); look at ClickHouse's errors")
