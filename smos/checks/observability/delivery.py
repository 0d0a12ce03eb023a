"""Judge of OBS-01: sent = accepted = exported = rows, each item once, under its own name and time."""

from collections.abc import Iterator
from dataclasses import asdict

from smos.observability.verify.delivery import DeliveryFacts, Sending
from smos.verdict import Finding, Judgement, fail, not_proven, note

LOST = "telemetry-lost"
DUPLICATED = "telemetry-duplicated"
REFUSED = "telemetry-refused"
MISATTRIBUTED = "telemetry-resource-lost"
SHIFTED = "telemetry-time-shifted"
GIVEN_UP = "telemetry-export-failed"
MISCOUNTED = "telemetry-miscounted"
NOT_SENT = "telemetry-not-sent"
NOT_COUNTED = "telemetry-not-counted"
ON_THE_WAY = "telemetry-on-the-way"
CODES = (
    LOST, DUPLICATED, REFUSED, MISATTRIBUTED, SHIFTED, GIVEN_UP, MISCOUNTED, NOT_SENT, NOT_COUNTED, ON_THE_WAY,
)  # fmt: skip
PATH = "look for samplers, filters and agents on the way; compare the configuration with the shipped one"
QUEUE = "look at the collector's log, its queue (OTELCOL_QUEUE_SIZE) and its memory limit"
LATE = "give the exporter more time (OTELCOL_EXPORT_TIMEOUT), count uniqExact(SpanId) until then"


def judge(facts: DeliveryFacts) -> Judgement:
    """Judge what was sent and counted."""
    findings = [item for sending in facts.sendings for item in _of(sending, settled=facts.settled)]
    findings += _account(facts)
    if not facts.sendings:
        findings.append(not_proven(NOT_SENT, "Nothing was sent", "run the check again"))
    shown = {
        "sent": [asdict(item) for item in facts.sendings],
        "counted by the collector": {signal: asdict(item) for signal, item in (facts.counted or {}).items()},
        "seconds": facts.seconds,
    }
    return Judgement(tuple(findings), shown | facts.details)


def _of(item: Sending, *, settled: bool) -> Iterator[Finding]:
    what = f"{item.signal} over OTLP/{'gRPC' if item.protocol == 'grpc' else 'HTTP'}"
    rows = item.rows
    if item.error:
        yield not_proven(NOT_SENT, f"{what}: {item.error}", "is the collector reachable at this address?")
        return
    if item.sent == 0:
        yield not_proven(NOT_SENT, f"{what}: nothing was sent", "run the check again")
        return
    if item.accepted < item.sent:
        yield fail(REFUSED, f"{what}: {item.sent - item.accepted} of {item.sent} were refused", QUEUE)
    missing = item.accepted - rows.distinct - item.elsewhere
    if missing > 0:
        text = f"{what}: {missing} of {item.accepted} accepted items are not there"
        if settled:
            yield fail(LOST, text, PATH)
        else:
            yield not_proven(ON_THE_WAY, f"{text}, and the collector may still hold them", QUEUE)
    if rows.distinct > item.accepted and item.accepted == item.sent:
        yield fail(DUPLICATED, f"{what}: {rows.distinct} different items of {item.sent} sent", LATE)
    if rows.rows > rows.distinct:
        yield fail(DUPLICATED, f"{what}: {rows.rows} rows are {rows.distinct} items: some came twice", LATE)
    if item.elsewhere:
        yield fail(
            MISATTRIBUTED, f"{what}: {item.elsewhere} rows bear the name of another service, or none", PATH
        )
    if rows.in_time < rows.rows:
        yield fail(
            SHIFTED,
            f"{what}: {rows.rows - rows.in_time} of {rows.rows} rows have another time than was sent",
            "compare the clocks on the way (NTP); no agent may set times",
        )


def _account(facts: DeliveryFacts) -> Iterator[Finding]:
    """Compare with the collector's own account."""
    if facts.counted is None:
        yield not_proven(
            NOT_COUNTED,
            "The collector gives no account of its own: accepted, exported and dropped items are not known",
            "name its metrics (observability.collector_metrics), or run the real collector",
        )
        return
    for signal, item in facts.counted.items():
        accepted = sum(one.accepted for one in facts.sendings if one.signal == signal)
        if item.refused:
            yield fail(REFUSED, f"{signal}: the collector counts {item.refused:g} items refused", QUEUE)
        if item.failed or item.dropped:
            yield fail(
                GIVEN_UP,
                f"{signal}: the collector gave up {item.failed:g} items and queued {item.dropped:g} not at all",
                "keep retry_on_failure and the queue on disk as shipped; look at ClickHouse's errors",
            )
        if facts.settled and (_differs(item.accepted, accepted, facts.live)):
            yield fail(
                MISCOUNTED,
                f"{signal}: {accepted} acknowledged, the collector accepted {item.accepted:g}",
                PATH,
            )
        expected = item.accepted + item.other
        if facts.settled and not facts.live and item.exported != expected and not item.failed + item.dropped:
            yield fail(
                MISCOUNTED, f"{signal}: accepted {expected:g}, exported {item.exported:g}", "report this"
            )
    if facts.live:
        yield note(
            "telemetry-live", "Others may have sent meanwhile: the collector's counts are lower bounds"
        )


def _differs(counted: float, acknowledged: int, live: bool) -> bool:  # noqa: FBT001  (one private caller)
    return counted < acknowledged or (not live and counted != acknowledged)
