"""Entry point of the `smos` command. Every command imports what it needs when it runs, so `--help` is quick."""

from pathlib import Path
from typing import Annotated

import typer

from smos import __version__
from smos.cli import config, console, demo, drill, evidence, mcp, notify, rls, tenants, vault, vaultinit

app = typer.Typer(
    name="smos",
    help="SmarterOS Verify: proves on real servers that backups restore.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
backup_app = typer.Typer(
    help="Take backups together with the manifest that proves them later.", no_args_is_help=True
)
heartbeat_app = typer.Typer(
    help="Recovery point evidence: one row per beat, in the database itself.", no_args_is_help=True
)
app.command("init")(config.init)
app.command("drill")(drill.drill)
app.command("rls")(rls.rls)
app.add_typer(config.app, name="config")
vault.app.command("init")(vaultinit.init)
app.add_typer(vault.app, name="vault")
app.add_typer(tenants.app, name="tenants")
app.add_typer(mcp.app, name="mcp")
app.add_typer(demo.app, name="demo")
app.add_typer(evidence.app, name="evidence")
app.add_typer(notify.app, name="notify")
app.add_typer(backup_app, name="backup")
app.add_typer(heartbeat_app, name="heartbeat")


def main() -> None:
    """Run the command line; an expected error becomes one clear message and a documented exit code."""
    console.run(lambda: app(standalone_mode=True))


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(f"smarteros-verify {__version__}")


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


@backup_app.command("create")
def backup_create(
    *,
    to: Annotated[Path, typer.Option(help="Directory that keeps the backup sets.")],
    host: Annotated[str | None, typer.Option(help="PostgreSQL's host or socket directory.")] = None,
    port: Annotated[int, typer.Option(help="PostgreSQL's port.")] = 5432,
    user: Annotated[
        str, typer.Option(help="A role that may read everything; password from ~/.pgpass.")
    ] = "postgres",
    database: Annotated[list[str] | None, typer.Option(help="A database to dump; repeatable.")] = None,
    volume: Annotated[list[str] | None, typer.Option(help="NAME=DIRECTORY to archive; repeatable.")] = None,
    name: Annotated[str, typer.Option(help="Name of the source, as in the target file.")] = "source",
    signing_key: Annotated[
        Path | None, typer.Option(help="Ed25519 private key (PEM) for the manifest.")
    ] = None,
    vault_address: Annotated[
        str | None, typer.Option(help="Vault to take a snapshot of; with --encrypt it makes the data key.")
    ] = None,
    approle: Annotated[
        Path | None, typer.Option(help="File (0600) with role_id and secret_id of the role `backup`, JSON.")
    ] = None,
    vault_ca: Annotated[Path | None, typer.Option(help="Authority (PEM) of Vault's certificate.")] = None,
    kv_mount: Annotated[str, typer.Option(help="Vault's KV v2 mount.")] = "smarteros",
    transit_key: Annotated[
        str, typer.Option(help="Vault's transit key that wraps data keys.")
    ] = "smarteros-secrets",
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Encrypt everything; see docs/encryption.md.")
    ] = False,
    recipient: Annotated[
        str | None,
        typer.Option(help="Public half of the escrow's backup identity (age1…), or a file that holds it."),
    ] = None,
    staging: Annotated[
        Path | None,
        typer.Option(help="Private directory for plain text until it is encrypted (default: TMPDIR)."),
    ] = None,
) -> None:
    """Take one backup set with its manifest.

    Example: smos backup create --to /backups --host /run/postgresql --database smarteros --volume n8n_data=/srv/n8n
    --vault-address https://vault:8200 --approle backup.json --encrypt --recipient age1…
    """
    from smos.backup.create import BackupSource, create_backup
    from smos.cli.sources import existing_postgres, existing_vault, parse_volumes
    from smos.clock import SystemClock
    from smos.errors import TargetError

    if (vault_address is None) != (approle is None) or encrypt != (recipient is not None):
        raise TargetError(
            "These options go together: --vault-address and --approle; --encrypt and --recipient",
            remedy="`smos backup recipient --escrow FILE` prints the recipient",
        )
    if encrypt and vault_address is None:
        raise TargetError("--encrypt needs the Vault that makes the data key", remedy="give --vault-address")
    vault = None
    if vault_address is not None and approle is not None:
        vault = existing_vault(
            vault_address,
            approle,
            ca=vault_ca,
            kv_mount=kv_mount,
            transit_key=transit_key,
            recipient=recipient,
        )
    endpoint, installation = existing_postgres(host, port, user) if database else (None, None)
    source = BackupSource(
        name=name,
        postgres=endpoint,
        installation=installation,
        databases=tuple(database or ()),
        volumes=parse_volumes(volume or []),
        vault=vault,
    )
    path = create_backup(
        source,
        to,
        clock=SystemClock(),
        signing_key=signing_key,
        staging=staging,
        progress=lambda text: typer.echo(text, err=True),
    )
    typer.echo(str(path))


@backup_app.command("keygen")
def backup_keygen(
    private_key: Annotated[
        Path, typer.Argument(help="Where the private key goes (0600); keep it off the backups.")
    ],
    public_key: Annotated[
        Path, typer.Argument(help="Where the public key goes; name it in the target file.")
    ],
) -> None:
    """Make the Ed25519 key pair that signs manifests."""
    from smos.backup.signing import generate_keypair

    generate_keypair(private_key, public_key)
    typer.echo(f"private: {private_key} (0600)\npublic:  {public_key}")


@backup_app.command("recipient")
def backup_recipient(
    escrow: Annotated[
        Path, typer.Option(help="The escrow file (0600); it gets an identity where it has none.")
    ],
) -> None:
    """Print the public half of the escrow's backup identity: all that the host that makes backups needs."""
    from smos.vault.escrow import ensure_recipient

    typer.echo(ensure_recipient(escrow))


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
