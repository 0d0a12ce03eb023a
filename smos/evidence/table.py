"""The closing table on the terminal: plain text when piped or under NO_COLOR, colours and lines otherwise."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smos.drill.phases import Timing
from smos.evidence.accounting import CheckOutcome, RunOutcome
from smos.evidence.redact import redact
from smos.evidence.run import RunInfo
from smos.evidence.words import count_words, duration, size
from smos.verdict import Verdict

_STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.NOT_PROVEN: "yellow",
    Verdict.ERROR: "magenta",
}


def closing_table(
    info: RunInfo,
    outcome: RunOutcome,
    timing: Timing | None,
    *,
    reports: Sequence[Path],
    color: bool,
    width: int,
) -> str:
    """Return the text, without a final newline. reports: the files and folders that were written."""
    out = StringIO()
    console = Console(
        file=out,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        width=width,
        highlight=False,
        emoji=False,
        markup=False,
    )
    console.print(_checks(info, outcome, color=color))
    if timing is not None:
        console.print(_timing(info, timing, color=color))
    for check_id, why in info.not_required:
        console.print(Text(f"{check_id} is not required: {why}"))
    verdict = Text(f"{outcome.verdict.value.replace('_', ' ')}", style=_STYLE[outcome.verdict])
    console.print(verdict + Text(f"  {count_words(outcome)}", style="default"))
    if outcome.unsettled:
        console.print(Text("The run did not come to its end, so as a whole it proves nothing"))
    console.print(Text(f"Scope    {info.scope_words}"))
    if reports:
        console.print(Text("\n".join(_places(reports))), soft_wrap=True)
    return redact("\n".join(line.rstrip() for line in out.getvalue().splitlines()))


def _places(reports: Sequence[Path]) -> list[str]:
    """Return a line per folder, with the names in it."""
    folders: dict[Path, list[str]] = {}
    for path in reports:
        folders.setdefault(path.parent, []).append(path.name)
    return [f"Reports  {folder}: {', '.join(names)}" for folder, names in folders.items()]


def _checks(info: RunInfo, outcome: RunOutcome, *, color: bool) -> Table:
    table = _table(f"{info.target} ({info.scope})", color=color)
    table.add_column("Check", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Claim")
    for item in outcome.checks:
        table.add_row(item.check.id, _verdict(item), Text(_claim(item)))
    return table


def _claim(item: CheckOutcome) -> str:
    text = item.check.title
    if item.excused and item.waiver is not None:
        waiver = item.waiver
        text += f"\nwaived by {waiver.approver} until {waiver.expires.isoformat()}: {waiver.reason}"
    return text


def _verdict(item: CheckOutcome) -> Text:
    if item.excused:
        return Text(f"{item.verdict.value} (waived)", style="cyan")
    return Text(item.verdict.value, style=_STYLE[item.verdict])


def _timing(info: RunInfo, timing: Timing, *, color: bool) -> Table:
    table = _table(None, color=color)
    table.add_column("Phase", no_wrap=True)
    table.add_column("Time", justify="right", no_wrap=True)
    table.add_column("")
    for phase in timing.phases:
        if phase.seconds is None:
            table.add_row(
                Text(phase.name, style="dim"), "-", Text(f"excluded: {phase.excluded}", style="dim")
            )
        else:
            table.add_row(phase.name, duration(phase.seconds), "")
    table.add_section()
    table.add_row(
        "RTO actual",
        _against(timing.rto_actual_s, info.rto_objective_s),
        f"objective {duration(info.rto_objective_s)}",
    )
    table.add_row(
        "RPO actual",
        _against(timing.rpo_actual_s, info.rpo_objective_s),
        Text(f"objective {duration(info.rpo_objective_s)}, from: {timing.rpo_basis}"),
    )
    if timing.fetched_bytes is not None:
        rate = f"{size(round(timing.fetch_bytes_per_s))}/s" if timing.fetch_bytes_per_s else "none"
        table.add_row("Fetched", size(timing.fetched_bytes), Text(f"bandwidth {rate}"))
    table.add_row("Restored", size(timing.data_bytes), Text(f"set {info.backup_set or 'none'}"))
    return table


def _against(actual: float | None, objective: float) -> Text:
    met = actual is not None and actual <= objective
    return Text(duration(actual), style="green" if met else "bold red")


def _table(title: str | None, *, color: bool) -> Table:
    return Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD if color else None,
        show_edge=False,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
