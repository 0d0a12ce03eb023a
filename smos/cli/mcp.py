"""`smos mcp`: the platform's MCP providers."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smos.cli import console

if TYPE_CHECKING:
    from smos.mcp.probe import ProviderFacts
    from smos.vault.providers import Registry

app = typer.Typer(
    help="The platform's MCP providers, and whether their credentials work.", no_args_is_help=True
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """Show the registry: tier, category, primary agent, and where Vault keeps the credentials."""
    providers = _registry().providers
    if as_json:
        console.print_json([item.model_dump(mode="json", include=_SHOWN) for item in providers])
        return
    rows = [
        (item.name, item.tier, item.category, item.agent, item.path or "-", ", ".join(item.keys) or "-")
        for item in providers
    ]
    console.print_table("", ("Provider", "Tier", "Category", "Agent", "Secret", "Keys"), rows)


_SHOWN = {"name", "tier", "category", "agent", "path", "keys"}


@app.command("test")
def probe(
    names: Annotated[list[str] | None, typer.Argument(help="Providers; none with --all.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Test every provider.")] = False,
    as_json: AsJson = False,
) -> None:
    """Use the credentials that Vault keeps, once, for a request that changes nothing.

    Examples: smos mcp test github slack; smos mcp test --all --json
    """
    from smos.config.connect import vault_of
    from smos.config.store import Config, home
    from smos.errors import TargetError
    from smos.mcp.judge import judge_provider
    from smos.mcp.probe import probe_all
    from smos.verdict import Verdict

    known = {item.name: item for item in _registry().providers}
    unknown = [name for name in names or () if name not in known]
    if unknown or bool(names) == everything:
        raise TargetError(
            f"There is no provider {', '.join(unknown)}" if unknown else "Name providers, or give --all",
            remedy="smos mcp list shows them",
        )
    config = Config(home(os.environ), os.environ)
    access = vault_of(config)
    chosen = list(known.values()) if everything else [known[name] for name in names or ()]
    facts = probe_all(
        access.endpoint,
        access.token,
        chosen,
        mount=config.value("vault.mount"),
        report=lambda item: None if as_json else console.say(f"{item.name}: asked"),
    )
    findings = [judge_provider(item) for item in facts]
    if as_json:
        console.print_json([_document(item, judge_provider(item)) for item in facts])
    else:
        rows = [
            (
                item.name,
                console.verdict(finding.verdict),
                "" if item.seconds is None else f"{item.seconds:.2f} s",
                finding.message.removeprefix(f"{item.name}: "),
                finding.remedy,
            )
            for item, finding in zip(facts, findings, strict=True)
        ]
        console.print_table("", ("Provider", "Verdict", "Time", "What was seen", "What to do"), rows)
    raise typer.Exit(console.exit_of_verdict(Verdict.worst(item.verdict for item in findings)))


def _registry() -> "Registry":
    from pathlib import Path

    from smos.config.store import Config, home
    from smos.vault.providers import load_registry

    named = Config(home(os.environ), os.environ).value("mcp.registry")
    return load_registry(Path(named) if named else None)


def _document(facts: "ProviderFacts", finding: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(facts) | {
        "verdict": finding.verdict.value,
        "code": finding.code,
        "message": finding.message,
        "remedy": finding.remedy,
    }
