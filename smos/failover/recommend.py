"""Which mode meets the objectives, and what it costs: a pure function of what one run measured."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from smos.failover.facts import Campaign, Disaster, Mode

SCHEMA = 1
"""Version of reports/failover.json; docs/failover.schema.json describes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Seconds over several runs. p95: nearest rank, so it is a value that was measured (n < 20: the maximum)."""

    n: int
    median: float
    p95: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeMeasure:
    """What was measured of one mode.

    rto: of the failovers that led to a write; unfinished: of those that did not. lost: acknowledged commits that were
    lost, in all failovers. lost_when_cut: of those that were acknowledged after replication had been cut.
    rpo_s: the worst. latency: of acknowledged commits before the disaster. stalls: a commit waits while one standby is
    frozen; None where that was not tried.
    """

    mode: Mode
    failovers: int
    unfinished: int
    rto: Distribution | None
    rpo_s: float
    acknowledged: int
    unknown: int
    lost: int
    lost_when_cut: int
    latency: Distribution | None
    stalls: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A mode held against the objectives. reasons: why it does not meet them; empty where it does.

    cost_s: median commit latency above that of the asynchronous mode; None where that was not measured.
    """

    measure: ModeMeasure
    reasons: tuple[str, ...]
    cost_s: float | None

    @property
    def fits(self) -> bool:
        """Whether it meets the objectives."""
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """mode: the quickest that meets the objectives; None: there is none. lossless: the quickest that lost nothing."""

    mode: Mode | None
    lossless: Mode | None
    options: tuple[Option, ...]
    lines: tuple[str, ...]


def distribution(values: Iterable[float]) -> Distribution | None:
    """Return median, 95th percentile (nearest rank) and maximum; None without a value."""
    ordered = sorted(values)
    if not ordered:
        return None
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    rank = math.ceil(0.95 * len(ordered))
    return Distribution(n=len(ordered), median=median, p95=ordered[rank - 1], maximum=ordered[-1])


def measure(campaign: Campaign) -> tuple[ModeMeasure, ...]:
    """Sum up what a campaign recorded, mode by mode."""
    found = []
    for mode in Mode:
        runs = campaign.of(mode)
        if not runs:
            continue
        stalls = [not item.acknowledged for item in campaign.stalls if item.mode is mode]
        found.append(
            ModeMeasure(
                mode=mode,
                failovers=len(runs),
                unfinished=sum(item.rto_s is None for item in runs),
                rto=distribution(item.rto_s for item in runs if item.rto_s is not None),
                rpo_s=max(item.rpo_s for item in runs),
                acknowledged=sum(item.tally.acknowledged for item in runs),
                unknown=sum(item.tally.unknown for item in runs),
                lost=sum(item.tally.lost for item in runs),
                lost_when_cut=sum(
                    item.tally.lost_after_cut for item in runs if item.disaster is Disaster.LAG
                ),
                latency=distribution(value for item in runs for value in item.latencies),
                stalls=any(stalls) if stalls else None,
            )
        )
    return tuple(found)


def recommend(measures: Sequence[ModeMeasure], rto_s: float, rpo_s: float) -> Recommendation:
    """Hold every mode against the objectives (seconds) and choose the one whose commits are quickest."""
    base = next((item.latency for item in measures if item.mode is Mode.ASYNCHRONOUS and item.latency), None)
    options = tuple(
        Option(
            measure=item,
            reasons=tuple(_reasons(item, rto_s, rpo_s)),
            cost_s=item.latency.median - base.median if item.latency and base else None,
        )
        for item in measures
    )
    fitting = [item for item in options if item.fits]
    kept = [item for item in options if item.measure.lost == 0 and item.measure.unfinished == 0]
    best, safest = _quickest(fitting), _quickest(kept)
    return Recommendation(
        mode=best.measure.mode if best else None,
        lossless=safest.measure.mode if safest else None,
        options=options,
        lines=tuple(_lines(options, best, safest, rto_s, rpo_s)),
    )


def as_json(
    recommendation: Recommendation, version: str, load: int, rto_s: float, rpo_s: float
) -> dict[str, Any]:
    """Return what stands in reports/failover.json: seconds, rounded to microseconds."""
    return {
        "schema": SCHEMA,
        "postgresql": version,
        "clients": load,
        "objectives": {"rto_s": rto_s, "rpo_s": rpo_s},
        "recommended": recommendation.mode.value if recommendation.mode else None,
        "lossless": recommendation.lossless.value if recommendation.lossless else None,
        "modes": [_option_json(item) for item in recommendation.options],
        "text": list(recommendation.lines),
    }


def _option_json(item: Option) -> dict[str, Any]:
    found = item.measure
    return {
        "mode": found.mode.value,
        "meets_objectives": item.fits,
        "reasons": list(item.reasons),
        "failovers": found.failovers,
        "unfinished": found.unfinished,
        "rto_s": _distribution_json(found.rto),
        "rpo_s": round(found.rpo_s, 6),
        "acknowledged": found.acknowledged,
        "unknown": found.unknown,
        "lost": found.lost,
        "lost_after_cut": found.lost_when_cut,
        "commit_latency_s": _distribution_json(found.latency),
        "cost_s": None if item.cost_s is None else round(item.cost_s, 6),
        "waits_for_a_frozen_standby": found.stalls,
    }


def _distribution_json(found: Distribution | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "n": found.n,
        "median": round(found.median, 6),
        "p95": round(found.p95, 6),
        "max": round(found.maximum, 6),
    }


def _reasons(item: ModeMeasure, rto_s: float, rpo_s: float) -> Iterable[str]:
    if item.unfinished:
        yield f"{item.unfinished} of {item.failovers} failovers led to no write"
    if item.rto is not None and item.rto.maximum > rto_s:
        yield f"RTO {item.rto.maximum:.3f} s, objective {rto_s:g} s"
    if item.rpo_s > rpo_s:
        yield f"RPO {item.rpo_s:.3f} s, objective {rpo_s:g} s"
    if item.rto is None and not item.unfinished:
        yield "not measured"


def _quickest(options: Iterable[Option]) -> Option | None:
    """Return the one with the lowest commit latency; of equals, the later mode, which waits for more."""
    measured = [
        (item.measure.latency.median, -place, item)
        for place, item in enumerate(options)
        if item.measure.latency
    ]
    return min(measured, key=lambda entry: entry[:2])[2] if measured else None


def _lines(
    options: Sequence[Option], best: Option | None, safest: Option | None, rto_s: float, rpo_s: float
) -> Iterable[str]:
    for item in options:
        found = item.measure
        rto, latency = found.rto, found.latency
        yield (
            f"{found.mode}: {found.failovers} failovers"
            + (
                f", RTO median {rto.median:.2f} s, p95 {rto.p95:.2f} s, max {rto.maximum:.2f} s"
                if rto
                else ""
            )
            + f", {found.lost} of {found.acknowledged} acknowledged commits lost ({found.unknown} unknown)"
            + (f", commit {_ms(latency.median)} (p95 {_ms(latency.p95)})" if latency else "")
            + (f", {_signed(item.cost_s)}" if item.cost_s else "")
            + (", waits for a frozen standby" if found.stalls else "")
            + (f"; does not fit: {'; '.join(item.reasons)}" if item.reasons else "")
        )
    objectives = f"RTO {rto_s:g} s and RPO {rpo_s:g} s"
    if best is None:
        yield f"No mode meets {objectives}."
        return
    words = f"Recommended for {objectives}: {best.measure.mode}"
    if best.measure.lost:
        words += "; what it can lose is bounded by nothing but the replication lag, so watch that"
    yield words + "."
    if safest is not None and safest is not best and best.measure.lost:
        cost = f" at {_signed(safest.cost_s)} a commit" if safest.cost_s else ""
        yield f"To lose nothing that was acknowledged: {safest.measure.mode}{cost}."


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _signed(seconds: float | None) -> str:
    return f"{(seconds or 0.0) * 1000:+.2f} ms"
