"""Durations, sizes and counts in words, the same in every report."""

from smos.evidence.accounting import RunOutcome
from smos.verdict import Verdict

NOT_MEASURED = "not measured"


def duration(seconds: float | None) -> str:
    """Return e.g. "0.42 s", "3 min 20 s" or "4 h 0 min"; "not measured" for None."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def size(count: int) -> str:
    """Return e.g. "512 B" or "1.5 MiB"."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def count_words(outcome: RunOutcome) -> str:
    """Return e.g. "6 proven, 1 failed, 1 waived"."""
    waived = sum(item.excused for item in outcome.checks)
    open_ones = [item.verdict for item in outcome.checks if not item.excused]
    names = (
        (Verdict.PASS, "proven"),
        (Verdict.FAIL, "failed"),
        (Verdict.NOT_PROVEN, "not proven"),
        (Verdict.ERROR, "broken"),
    )
    parts = [f"{open_ones.count(verdict)} {word}" for verdict, word in names if verdict in open_ones]
    if waived:
        parts.append(f"{waived} waived")
    return ", ".join(parts) or "nothing was checked"
