"""Judge of OBS-05: every table keeps its rows for the declared time, by its definition and in fact."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from smos.observability.verify.retention import Aged, RetentionFacts, Table, ages_s
from smos.verdict import Finding, Judgement, fail, not_proven

EXPECTED = ("otel_traces", "otel_logs", "otel_metrics_sum", "otel_metrics_gauge", "otel_metrics_histogram")
SLACK = timedelta(hours=30)
"""Rows go by whole parts (a day each) and when ClickHouse merges: so much later than declared is no finding."""
WRONG = "retention-wrong"
NONE = "retention-none"
STAYS = "retention-rows-stay"
GONE = "retention-rows-gone"
IGNORED = "retention-setting-ignored"
OVERDUE = "retention-overdue"
MISSING = "retention-table-missing"
NOT_TRIED = "retention-not-tried"
CODES = (WRONG, NONE, STAYS, GONE, IGNORED, OVERDUE, MISSING, NOT_TRIED)
ALTER = (
    "a table that exists keeps its own: ALTER TABLE … MODIFY TTL, for each (docs/observability.md, Retention)"
)
SETTING = "set TELEMETRY_TTL, and give every exporter's `ttl` that one variable"
MERGES = "look for SYSTEM STOP TTL MERGES and at the merges in system.merges; then OPTIMIZE TABLE … FINAL"


def judge(facts: RetentionFacts) -> Judgement:
    """Judge definitions, what a clean-up left, and what the one setting does."""
    findings = [*_definitions(facts), *_missing(facts.tables)]
    for item in facts.aged:
        findings += _aged(item, facts.declared_s)
    if facts.live:
        findings += _overdue(facts)
        findings.append(
            not_proven(
                "observability-live",
                "Aged rows are put into no live stack, and a clean-up is forced in none",
                "run this check with --provision embedded as well; it then speaks about the stack as shipped",
            )
        )
    else:
        if not facts.aged:
            text = "No row of the past was put in"
            findings.append(not_proven(NOT_TRIED, text, "run the check again"))
        findings += _setting(facts)
    shown = {
        "declared, seconds": facts.declared_s,
        "tables": [asdict(item) for item in facts.tables],
        "ages put in": [_hours(age) for age in ages_s(facts.declared_s)],
        "ages left": {item.table: [_hours(age) for age in item.left] for item in facts.aged},
    }
    return Judgement(tuple(findings), shown | dict(facts.details))


def _definitions(facts: RetentionFacts) -> Iterator[Finding]:
    for item in facts.tables:
        if item.ttl_s is None:
            rest = f" (it says: {item.definition})" if item.definition else ""
            yield fail(NONE, f"{item.name} has no time to live that removes all rows{rest}", ALTER)
        elif item.ttl_s != facts.declared_s:
            text = f"{item.name} keeps rows {_hours(item.ttl_s)}, declared are {_hours(facts.declared_s)}"
            yield fail(WRONG, text, ALTER)


def _missing(tables: Iterable[Table]) -> Iterator[Finding]:
    there = {item.name for item in tables}
    if missing := [name for name in EXPECTED if name not in there]:
        yield not_proven(
            MISSING, f"There is no table {', '.join(missing)}", "let the collector create its tables"
        )


def _aged(item: Aged, declared_s: int) -> Iterator[Finding]:
    if item.error:
        yield not_proven(NOT_TRIED, f"{item.table}: no row of the past could be put in: {item.error}", MERGES)
        return
    stay = [age for age in item.left if age > declared_s]
    gone = [age for age in ages_s(declared_s) if age < declared_s and age not in item.left]
    if stay:
        text = f"{item.table}: rows of {_list(stay)} are still there after a forced clean-up"
        yield fail(STAYS, text, MERGES)
    if gone:
        yield fail(GONE, f"{item.table}: rows of {_list(gone)} are gone before their time", ALTER)


def _setting(facts: RetentionFacts) -> Iterator[Finding]:
    """Compare the tables of a stack that was made with another value of the one setting."""
    if not facts.other:
        yield not_proven(NOT_TRIED, "No stack was made with another setting", "run the check again")
    for item in facts.other:
        if item.ttl_s != facts.other_s:
            found = "for ever" if item.ttl_s is None else _hours(item.ttl_s)
            text = f"A stack that is set to {_hours(facts.other_s)} keeps the rows of {item.name} {found}"
            yield fail(IGNORED, text, SETTING)


def _overdue(facts: RetentionFacts) -> Iterator[Finding]:
    """Compare the oldest day of each table with the declared time."""
    now = datetime.fromtimestamp(facts.now_s, tz=UTC)
    for item in facts.tables:
        if not item.oldest:
            continue
        end = datetime.fromisoformat(item.oldest).replace(tzinfo=UTC) + timedelta(days=1)
        if now - end > timedelta(seconds=facts.declared_s) + SLACK:
            text = f"{item.name} holds rows of {item.oldest}, declared are {_hours(facts.declared_s)}"
            yield fail(OVERDUE, text, MERGES)


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:g} h"


def _list(ages: list[int]) -> str:
    return ", ".join(_hours(age) for age in ages)
