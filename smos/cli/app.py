"""Entry point of the `smos` command. Every command imports what it needs when it runs, so `--help` is quick."""

import sys
from typing import Annotated, Any

import typer

from smos.cli import (
    backup,
    config,
    console,
    demo,
    deploy,
    drill,
    evidence,
    health,
    mcp,
    notify,
    restore,
    rls,
    services,
    tenants,
    vault,
    vaultinit,
    version,
)
from smos.i18n import LANGUAGES, language, translate, translate_help

app = typer.Typer(
    name="smos",
    help="SmarterOS Verify: proves on real servers that backups restore.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
heartbeat_app = typer.Typer(
    help="Recovery point evidence: one row per beat, in the database itself.", no_args_is_help=True
)
app.command("init")(config.init)
app.command("drill")(drill.drill)
app.command("version")(version.version)
app.command("rls")(rls.rls)
app.command("health")(health.health)
app.add_typer(services.app, name="services")
app.add_typer(deploy.app, name="deploy")
app.add_typer(config.app, name="config")
vault.app.command("init")(vaultinit.init)
app.add_typer(vault.app, name="vault")
app.add_typer(tenants.app, name="tenants")
app.add_typer(mcp.app, name="mcp")
app.add_typer(demo.app, name="demo")
app.add_typer(evidence.app, name="evidence")
app.add_typer(notify.app, name="notify")
backup.app.command("restore")(restore.restore)
app.add_typer(backup.app, name="backup")
app.add_typer(heartbeat_app, name="heartbeat")


def main() -> None:
    """Run the command line; an expected error becomes one clear message and a documented exit code."""
    console.run(_run)


def _run() -> None:
    if sys.argv[1:] == [
        "version"
    ]:  # asked by prompts and scripts: making the whole tree of commands takes longer
        version.version()
    else:
        _command()(standalone_mode=True)


def _command() -> Any:
    """Return the commands, with their help in the language in use."""
    from typer.main import get_command

    command = get_command(app)
    if language() != "en":
        _translate_help(command)
    return command


def _translate_help(command: Any) -> None:
    if command.help:
        command.help = translate_help(command.help)
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = translate(parameter.help)
    for child in getattr(command, "commands", {}).values():
        _translate_help(child)


@app.callback()
def root(
    lang: Annotated[str | None, typer.Option(help="Language of the messages: en or es.")] = None,
) -> None:
    """SmarterOS Verify: proves on real servers that backups restore."""
    from smos.errors import TargetError

    if lang is not None and lang[:2].lower() not in LANGUAGES:
        raise TargetError(f"There are no messages in {lang}", remedy="en or es")


@app.command()
def doctor(
    *,
    as_json: AsJson = False,
) -> None:
    """Show what is here, what is missing, and what each suite could prove on this machine."""
    from pydantic import TypeAdapter

    from smos.cli.doctor import Diagnosis, diagnose, render

    diagnosis = diagnose()
    text = TypeAdapter(Diagnosis).dump_json(diagnosis, indent=1).decode() if as_json else render(diagnosis)
    typer.echo(text)


@heartbeat_app.command("install")
def heartbeat_install(
    database: Annotated[str, typer.Argument(help="Database that gets the table smos.heartbeat.")],
    host: Annotated[str | None, typer.Option()] = None,
    port: Annotated[int, typer.Option()] = 5432,
    user: Annotated[str, typer.Option()] = "postgres",
    *,
    as_json: AsJson = False,
) -> None:
    """Create the table smos.heartbeat (idempotent). This is the only command that changes a source's schema."""
    from smos.cli.sources import existing_postgres
    from smos.postgres.heartbeat import install

    endpoint, _ = existing_postgres(host, port, user)
    install(endpoint, database)
    console.result(
        f"{database}: smos.heartbeat is there; run `smos heartbeat beat {database}` every minute",
        {"database": database, "table": "smos.heartbeat"},
        as_json=as_json,
    )


@heartbeat_app.command("beat")
def heartbeat_beat(
    database: Annotated[str, typer.Argument(help="Database that has the table smos.heartbeat.")],
    host: Annotated[str | None, typer.Option()] = None,
    port: Annotated[int, typer.Option()] = 5432,
    user: Annotated[str, typer.Option()] = "postgres",
    *,
    as_json: AsJson = False,
) -> None:
    """Write one heartbeat row with the present moment; older rows than a day are removed."""
    from smos.cli.sources import existing_postgres
    from smos.clock import SystemClock
    from smos.postgres.heartbeat import beat

    endpoint, _ = existing_postgres(host, port, user)
    beat(endpoint, database, SystemClock())
    if as_json:
        console.print_json({"database": database, "beat": True})


if __name__ == "__main__":
    main()
