"""Entry point of the `smos` command. Every command imports what it needs when it runs, so `--help` is quick."""

from typing import Annotated

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
    rls,
    services,
    tenants,
    vault,
    vaultinit,
    version,
)

app = typer.Typer(
    name="smos",
    help="SmarterOS Verify: proves on real servers that backups restore.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
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
app.add_typer(backup.app, name="backup")
app.add_typer(heartbeat_app, name="heartbeat")


def main() -> None:
    """Run the command line; an expected error becomes one clear message and a documented exit code."""
    console.run(lambda: app(standalone_mode=True))


@app.command()
def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
) -> None:
    """Create the table smos.heartbeat (idempotent). This is the only command that changes a source's schema."""
    from smos.cli.sources import existing_postgres
    from smos.postgres.heartbeat import install

    endpoint, _ = existing_postgres(host, port, user)
    install(endpoint, database)
    typer.echo(f"{database}: smos.heartbeat is there; run `smos heartbeat beat {database}` every minute")


@heartbeat_app.command("beat")
def heartbeat_beat(
    database: Annotated[str, typer.Argument(help="Database that has the table smos.heartbeat.")],
    host: Annotated[str | None, typer.Option()] = None,
    port: Annotated[int, typer.Option()] = 5432,
    user: Annotated[str, typer.Option()] = "postgres",
) -> None:
    """Write one heartbeat row with the present moment; older rows than a day are removed."""
    from smos.cli.sources import existing_postgres
    from smos.clock import SystemClock
    from smos.postgres.heartbeat import beat

    endpoint, _ = existing_postgres(host, port, user)
    beat(endpoint, database, SystemClock())


if __name__ == "__main__":
    main()
