"""Judge of OBS-04: above its memory limit the collector refuses, lives, loses nothing it accepted, and recovers."""

from collections.abc import Iterator

from smos.observability.verify.memory import FEW, MemoryFacts
from smos.verdict import Finding, Judgement, fail, not_proven

UNLIMITED = "memory-not-limited"
DIED = "memory-process-died"
REFUSES = "memory-always-refuses"
LOST = "memory-lost"
STUCK = "memory-not-recovered"
UNCOUNTED = "memory-not-counted"
CODES = (UNLIMITED, DIED, REFUSES, LOST, STUCK, UNCOUNTED)
LIMITER = "keep memory_limiter as the first processor of every pipeline, with a limit below the container's"


def judge(facts: MemoryFacts) -> Judgement:
    """Judge what happened under pressure."""
    shown = {
        "accepted under pressure": facts.accepted,
        "refused": facts.refused,
        "refused by its own account": facts.counted,
        "arrived": facts.arrived,
    }
    return Judgement(tuple(_findings(facts)), shown | dict(facts.details))


def _findings(facts: MemoryFacts) -> Iterator[Finding]:
    if facts.before < FEW:
        text = f"Before anything pressed, {FEW - facts.before} of {FEW} spans were refused"
        yield fail(REFUSES, text, "give it a limit above what it needs when idle")
        return
    if not facts.lived:
        why = f" ({facts.stopped})" if facts.stopped else ""
        yield fail(DIED, f"The collector died after {facts.accepted} spans were accepted{why}", LIMITER)
        return
    if not facts.refused:
        text = f"{facts.accepted} spans were accepted, none refused: the limit does not hold"
        yield fail(UNLIMITED, text, LIMITER)
        return
    if facts.counted is None:
        yield not_proven(UNCOUNTED, "The collector gives no account of what it refused", LIMITER)
    elif facts.counted < facts.refused:
        text = f"{facts.refused} spans were refused, and the collector counts {facts.counted}"
        yield fail(UNCOUNTED, text, "alert on otelcol_receiver_refused_*; report this")
    if facts.arrived < facts.accepted:
        text = f"{facts.accepted - facts.arrived} of {facts.accepted} spans accepted under pressure are lost"
        yield fail(LOST, text, "keep the queue on disk as shipped")
    if not facts.again:
        yield fail(STUCK, "It still refuses after the pressure has gone", "look at its log and its limit")
