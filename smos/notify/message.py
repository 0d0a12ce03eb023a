"""What a channel is told of a run: verdict, times against objectives, what failed and what to do. Pure.

Read from the reports directory, so that it says just what the evidence says. Block Kit's limits:
https://docs.slack.dev/reference/block-kit/blocks
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smos.evidence.redact import redact, visible
from smos.evidence.words import duration
from smos.verdict import Verdict

SECTION_LIMIT = 2900
"""Characters of one section; Slack refuses more than 3,000."""
HEADER_LIMIT = 150
SHOWN = 10
"""Failed checks that are listed; the others are counted."""
_SIGN = {Verdict.PASS: ":white_check_mark:", Verdict.FAIL: ":x:", Verdict.NOT_PROVEN: ":warning:"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent. text: the same in one line, for notifications and screen readers. verdict: of the run."""

    text: str
    blocks: tuple[Mapping[str, Any], ...]
    verdict: Verdict


def compose(reports: Path, *, link: str | None = None, title: str | None = None) -> Message:
    """Return the message on the run in `reports`. A run without a readable verdict is an ERROR, never silence."""
    verdict = _read(reports / "verdict.json")
    times = _read(reports / "rto.json")
    if verdict is None or verdict.get("verdict") not in list(Verdict):
        return _broken(reports, link, title)
    outcome = Verdict(verdict["verdict"])
    checks = [item for item in verdict.get("checks", []) if isinstance(item, Mapping)]
    head = f"{title or 'Recovery drill'}: {outcome.value.replace('_', ' ')}"
    target = f"{verdict.get('target', '?')} ({verdict.get('scope', '?')})"
    mine = times if times is not None and times.get("run_id") == verdict.get("run_id") else None
    blocks: list[Mapping[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": head[:HEADER_LIMIT]}},
        _section(f"{_SIGN.get(outcome, ':boom:')} *{_plain(target)}*\n{_counts(checks)}"),
        {"type": "section", "fields": _times(mine)},
    ]
    bad = [item for item in checks if item.get("verdict") != Verdict.PASS.value]
    if bad:
        blocks += _list(bad)
    if link:
        blocks.append(_section(f"<{link}|Evidence of this run>"))
    context = f"run {verdict.get('run_id', '?')}, started {verdict.get('started', '?')}"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": _plain(context)}]})
    text = f"{head}, {target}: {_counts(checks)}"
    return Message(text=_plain(text), blocks=tuple(blocks), verdict=outcome)


def _broken(reports: Path, link: str | None, title: str | None) -> Message:
    head = f"{title or 'Recovery drill'}: ERROR"
    text = f"The run left no readable verdict in {reports.name}/: nothing is known about the backups"
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": head[:HEADER_LIMIT]}},
        _section(f":boom: {_plain(text)}"),
    ]
    if link:
        blocks.append(_section(f"<{link}|Log of this run>"))
    return Message(text=f"{head}. {text}", blocks=tuple(blocks), verdict=Verdict.ERROR)


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, Mapping) else None


def _counts(checks: Sequence[Mapping[str, Any]]) -> str:
    words = {
        Verdict.PASS: "proven",
        Verdict.FAIL: "failed",
        Verdict.NOT_PROVEN: "not proven",
        Verdict.ERROR: "broken",
    }
    counts = {
        word: sum(item.get("verdict") == verdict.value and not _excused(item) for item in checks)
        for verdict, word in words.items()
    } | {"waived": sum(map(_excused, checks))}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing was checked"


def _excused(check: Mapping[str, Any]) -> bool:
    """Tell whether a waiver sets a check aside: an error it never does."""
    return bool(check.get("waiver")) and check.get("verdict") in {
        Verdict.FAIL.value,
        Verdict.NOT_PROVEN.value,
    }


def _times(times: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for name in ("rto", "rpo"):
        actual, objective = (times or {}).get(f"{name}_actual_s"), (times or {}).get(f"{name}_objective_s")
        told = (
            f"{duration(actual)} (objective {duration(objective)})"
            if objective is not None
            else "not measured"
        )
        rows.append({"type": "mrkdwn", "text": f"*{name.upper()} actual*\n{told}"})
    return rows


def _list(checks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return a section for each of the first checks, and how many more there are."""
    blocks = []
    for item in checks[:SHOWN]:
        waived = " (waived)" if _excused(item) else ""
        lines = [
            f"*{_plain(item.get('id', '?'))}* {item.get('verdict')}{waived}: {_plain(item.get('title', ''))}"
        ]
        findings = [one for one in item.get("findings", []) if one.get("verdict") != Verdict.PASS.value]
        for finding in findings[:3]:
            remedy = f" _{_plain(finding['remedy'])}_" if finding.get("remedy") else ""
            lines.append(f"• {_plain(finding.get('message', ''))[:300]}{remedy}")
        if len(findings) > 3:
            lines.append(f"… and {len(findings) - 3} more findings")
        blocks.append(_section("\n".join(lines)))
    if len(checks) > SHOWN:
        blocks.append(_section(f"… and {len(checks) - SHOWN} more checks"))
    return blocks


def _plain(text: Any) -> str:
    """Return text in which nothing is markup of Slack's (a finding may quote a hostile name), without secrets."""
    safe = visible(redact(str(text))).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("\n", " ")


def _section(text: str) -> Mapping[str, Any]:
    cut = text if len(text) <= SECTION_LIMIT else text[:SECTION_LIMIT].rpartition("\n")[0] + "\n…"
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut}}
