"""Judge of OBS-02: one trace for each request, through both services and the database, in the right order of time."""

from collections import Counter
from collections.abc import Iterator

from smos.observability.verify.context import DATABASE, ContextFacts, SpanFact
from smos.verdict import Finding, Judgement, fail, not_proven

SKEW_S = 0.1
"""Seconds that clocks may differ: both services run on one machine here, so it is small."""
BROKEN = "trace-broken"
MERGED = "trace-merged"
ORPHANED = "trace-orphaned"
INCOMPLETE = "trace-incomplete"
NO_DATABASE = "trace-without-database"
LOGS = "trace-logs-without-context"
SKEW = "trace-skew"
NOTHING = "trace-not-seen"
CODES = (BROKEN, MERGED, ORPHANED, INCOMPLETE, NO_DATABASE, LOGS, SKEW, NOTHING)
PROPAGATE = (
    "set the W3C propagator (OTEL_PROPAGATORS=tracecontext,baggage) in every service, and extract and inject"
)
SAMPLE = "sample by the parent's decision alone (parentbased_*), and filter no single spans"
INSTRUMENT = "instrument the client library of the database"
LOGGING = "log within the span, through the SDK's logging"
CLOCKS = "synchronise the clocks (NTP); no agent may set times"


def judge(facts: ContextFacts) -> Judgement:
    """Judge the traces of every request that was made."""
    if not facts.asked or not facts.spans:
        finding = not_proven(
            NOTHING, "No trace of the requests was seen", "see OBS-01: does anything arrive?"
        )
        return Judgement((finding,), dict(facts.details))
    findings = [
        *_ids(facts),
        *_parents(facts),
        *_services(facts),
        *_database(facts),
        *_logs(facts),
        *_times(facts),
    ]
    shown = {
        "requests": len(facts.asked),
        "traces": len({item.trace for item in facts.spans}),
        "spans": len(facts.spans),
        "log records": len(facts.logs),
        "largest skew, seconds": round(max((_ahead(*pair) for pair in _pairs(facts)), default=0.0), 6),
    }
    return Judgement(tuple(findings), shown | dict(facts.details))


def _ids(facts: ContextFacts) -> Iterator[Finding]:
    asked, seen = Counter(facts.asked), {item.trace for item in facts.spans}
    if repeated := sum(number - 1 for number in asked.values()):
        yield fail(
            MERGED, f"{repeated} of {len(facts.asked)} requests share the trace of another one", PROPAGATE
        )
    if strange := seen - set(asked):
        services = sorted({item.service for item in facts.spans if item.trace in strange})
        yield fail(
            BROKEN,
            f"{len(strange)} traces belong to no request: the context is lost before {', '.join(services)}",
            PROPAGATE,
        )


def _parents(facts: ContextFacts) -> Iterator[Finding]:
    known = {(item.trace, item.span) for item in facts.spans}
    orphans = [item for item in facts.spans if item.parent and (item.trace, item.parent) not in known]
    if orphans:
        names = sorted({f"{item.service}: {item.name}" for item in orphans})
        yield fail(
            ORPHANED, f"{len(orphans)} spans name a parent that is not there ({'; '.join(names)})", SAMPLE
        )
    roots = Counter(item.trace for item in facts.spans if not item.parent)
    if several := sum(number > 1 for number in roots.values()):
        yield fail(MERGED, f"{several} traces have more than one root", PROPAGATE)


def _services(facts: ContextFacts) -> Iterator[Finding]:
    for service in facts.services:
        there = {item.trace for item in facts.spans if item.service == service}
        missing = set(facts.asked) - there
        if missing:
            yield fail(
                INCOMPLETE,
                f"{len(missing)} of {len(set(facts.asked))} traces hold no span of {service}",
                f"{SAMPLE}; {PROPAGATE}",
            )


def _database(facts: ContextFacts) -> Iterator[Finding]:
    if len(facts.written) != len(facts.asked):
        text = f"The database holds {len(facts.written)} of {len(facts.asked)} orders"
        yield not_proven(NOTHING, text, "look at the services' logs")
    called = {item.trace for item in facts.spans if item.name == DATABASE and item.parent}
    if missing := set(facts.written) - called:
        yield fail(
            NO_DATABASE, f"{len(missing)} calls of the database are in no trace of their request", INSTRUMENT
        )


def _logs(facts: ContextFacts) -> Iterator[Finding]:
    spans = {(item.trace, item.span): item.service for item in facts.spans}
    bare = [item for item in facts.logs if not item.trace or not item.span]
    if bare:
        services = ", ".join(sorted({item.service for item in bare}))
        yield fail(LOGS, f"{len(bare)} log records of {services} carry no trace and span id", LOGGING)
    strange = [
        item for item in facts.logs if item not in bare and spans.get((item.trace, item.span)) != item.service
    ]
    if strange:
        services = ", ".join(sorted({item.service for item in strange}))
        yield fail(LOGS, f"{len(strange)} log records of {services} name a span that is not theirs", LOGGING)
    for service in facts.services:
        there = sum(item.service == service for item in facts.logs)
        if there < len(facts.asked):
            text = f"{there} log records of {service} for {len(facts.asked)} requests"
            yield fail(LOGS, text, LOGGING)


def _times(facts: ContextFacts) -> Iterator[Finding]:
    early = [pair for pair in _pairs(facts) if (pair[0].start_ns - pair[1].start_ns) / 1e9 > SKEW_S]
    late = [pair for pair in _pairs(facts) if (pair[1].end_ns - pair[0].end_ns) / 1e9 > SKEW_S]
    for pairs, words in ((early, "start before"), (late, "end after")):
        if pairs:
            worst = max(_ahead(*pair) for pair in pairs)
            services = ", ".join(sorted({child.service for _, child in pairs}))
            yield fail(
                SKEW,
                f"{len(pairs)} spans of {services} {words} the parent that waits for them, by up to {worst:.3f} s",
                CLOCKS,
            )


def _pairs(facts: ContextFacts) -> list[tuple[SpanFact, SpanFact]]:
    """Return every (parent, child) of which both are there."""
    known = {(item.trace, item.span): item for item in facts.spans}
    return [
        (known[item.trace, item.parent], item) for item in facts.spans if (item.trace, item.parent) in known
    ]


def _ahead(parent: SpanFact, child: SpanFact) -> float:
    """Return the seconds by which a child leaves its parent's span of time; at most 0 where it lies within."""
    return max(parent.start_ns - child.start_ns, child.end_ns - parent.end_ns, 0) / 1e9
