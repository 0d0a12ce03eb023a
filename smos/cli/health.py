"""`smos health`: how everything is that the configuration names."""

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smos.cli import console

if TYPE_CHECKING:
    from smos.health.collect import Item

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def health(
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Ask again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two rounds of --watch.")] = 10,
    mcp: Annotated[bool, typer.Option("--mcp", help="Try the MCP providers' credentials as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask PostgreSQL, Vault, the containers, endpoints, backups and MCP providers that the configuration names.

    Green is only what showed that it works: 0 all of it, 1 something is unhealthy, 10 something is not proven, 4 where
    all that is not proven did not answer.

    Examples: smos health; smos health --watch --every 30; smos health --json
    """
    from smos.clock import SystemClock
    from smos.config.store import Config, home
    from smos.health.collect import collect

    while True:
        config = Config(home(os.environ), os.environ)
        began = time.monotonic()
        items = collect(config, SystemClock(), mcp=mcp)
        _show(items, as_json=as_json, again=watch)
        if not watch:
            raise typer.Exit(_exit(items))
        _pause(began + every)


def _pause(until: float) -> None:
    import threading

    threading.Event().wait(max(0.0, until - time.monotonic()))


def _show(items: "tuple[Item, ...]", *, as_json: bool, again: bool) -> None:
    if as_json:
        document = {"verdict": _verdict(items), "items": [_document(item) for item in items]}
        console.print_json(document, lines=again)
        return
    rows = [
        (
            item.kind,
            console.verdict(item.finding.verdict),
            f"{item.seconds:.2f} s",
            item.finding.message,
            item.finding.remedy,
        )
        for item in items
    ]
    if again:
        console.clear()
    if not items:
        console.say("The configuration names nothing: smos init, or smos config set postgres.dsn …")
        return
    console.print_table("", ("What", "Verdict", "Time", "What was seen", "What to do"), rows)


def _document(item: "Item") -> dict[str, Any]:
    return {
        "kind": item.kind,
        "name": item.name,
        "verdict": item.finding.verdict.value,
        "code": item.finding.code,
        "message": item.finding.message,
        "remedy": item.finding.remedy,
        "seconds": round(item.seconds, 3),
    }


def _verdict(items: "tuple[Item, ...]") -> str:
    from smos.verdict import Verdict

    return Verdict.worst(item.finding.verdict for item in items).value if items else Verdict.NOT_PROVEN.value


def _exit(items: "tuple[Item, ...]") -> int:
    """Return the exit code: what is silent ends with 4 only where nothing else is wrong."""
    from smos.cli.exits import Exit
    from smos.verdict import Verdict

    open_ = [item.finding.code for item in items if item.finding.verdict is Verdict.NOT_PROVEN]
    if _verdict(items) == Verdict.NOT_PROVEN and open_ and all(code in SILENT for code in open_):
        return Exit.UNREACHABLE
    return console.exit_of_verdict(Verdict(_verdict(items)))


SILENT = frozenset({
    "postgres-silent", "address-unreachable", "services-silent", "mcp-silent", "vault-unreachable", "vault-timed-out",
})  # fmt: skip
"""Codes of findings on something that does not answer."""
