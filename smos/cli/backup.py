"""`smos backup`: takes, lists, verifies, restores and prunes backup sets."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from smos.cli import console
from smos.cli.backupsets import (
    configured_directory,
    find,
    no_directory,
    set_document,
    set_row,
    target_file,
    verified_sets,
)

app = typer.Typer(
    help="Take backups with the manifest that proves them later; list, verify, restore and prune them.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")]
TargetFile = Annotated[
    Path | None, typer.Option(help="The target file (default: smos.yml, else the configuration's).")
]
Directory = Annotated[Path | None, typer.Option(help="The directory of the backup sets.")]
Reports = Annotated[Path, typer.Option(help="Where drills leave their history.")]
DEFAULT_REPORTS = Path("reports")


@app.command("create")
def create(
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
    as_json: AsJson = False,
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
        progress=console.say,
    )
    console.result(str(path), {"path": str(path), "set": path.name}, as_json=as_json)


@app.command("keygen")
def keygen(
    private_key: Annotated[
        Path, typer.Argument(help="Where the private key goes (0600); keep it off the backups.")
    ],
    public_key: Annotated[
        Path, typer.Argument(help="Where the public key goes; name it in the target file.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Make the Ed25519 key pair that signs manifests."""
    from smos.backup.signing import generate_keypair

    generate_keypair(private_key, public_key)
    keys = {"private": str(private_key), "public": str(public_key)}
    console.result(f"private: {private_key} (0600)\npublic:  {public_key}", keys, as_json=as_json)


@app.command("recipient")
def recipient(
    escrow: Annotated[
        Path, typer.Option(help="The escrow file (0600); it gets an identity where it has none.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Print the public half of the escrow's backup identity: all that the host that makes backups needs."""
    from smos.vault.escrow import ensure_recipient

    found = ensure_recipient(escrow)
    console.result(found, {"recipient": found}, as_json=as_json)


@app.command("list")
def list_(
    target: TargetFile = None,
    backups: Directory = None,
    reports: Reports = DEFAULT_REPORTS,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the sets, what they hold, and which drill has shown that they restore.

    Examples: smos backup list --backups /backups; smos backup list --json
    """
    from smos.evidence.history import read_history

    found = find(target, backups)
    verified = verified_sets(found, reports, read_history)
    catalog = found.catalog
    rows = [set_document(item, catalog, verified) for item in catalog.sets]
    if as_json:
        problems = [{"code": problem.code, "detail": problem.detail} for problem in catalog.problems]
        console.print_json({"directory": str(catalog.directory), "sets": rows, "problems": problems})
    else:
        columns = ("Set", "Taken (UTC)", "Size", "Holds", "Encrypted", "Signed", "Verified")
        console.print_table("", columns, [set_row(row) for row in rows])
        for problem in catalog.problems:
            console.say(problem.detail)
        if not rows:
            console.say(f"{catalog.directory}: there is no backup set")
    if not catalog.exists:
        from smos.errors import BackupError

        raise BackupError(
            f"There is no directory {catalog.directory}", remedy="mount it, or name another with --backups"
        )


@app.command("verify")
def verify(
    target: TargetFile = None,
    backups: Directory = None,
    reports: Reports = DEFAULT_REPORTS,
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the closing table.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print verdict.json to stdout, the table to stderr.")
    ] = False,
) -> None:
    """Restore the newest set in an isolated sandbox and compare it: a drill. The history says which set it was.

    Nothing is written to the backups and nothing is asked of the servers in use.

    Example: smos backup verify --backups /backups --reports /srv/evidence
    """
    from smos.cli.drill import drill

    named = target_file(target)
    directory = backups or (None if named else configured_directory())
    if named is None and directory is None:
        raise no_directory()
    drill(
        target=named,
        backups=directory,
        reports=reports,
        provision=None,
        waivers=None,
        quiet=quiet,
        as_json=as_json,
    )


@app.command("prune")
def prune_(
    target: TargetFile = None,
    backups: Directory = None,
    reports: Reports = DEFAULT_REPORTS,
    keep_days: Annotated[
        float | None, typer.Option(min=0, help="Days that sets are kept (default: the target's).")
    ] = None,
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove sets that are older than they are to be kept; never the newest verified one, nor the newest.

    Examples: smos backup prune --target smos.yml --dry-run; smos backup prune --backups /backups --keep-days 7 --yes
    """
    from smos.backup.retention import judge_sets, prune, put_aside_before
    from smos.evidence.history import read_history

    found = find(target, backups)
    catalog = found.catalog
    days = keep_days if keep_days is not None else found.keep_days
    rulings = judge_sets(
        catalog, verified_sets(found, reports, read_history), keep=timedelta(days=days), now=datetime.now(UTC)
    )
    begun = put_aside_before(catalog.directory)
    doomed = {item.set_id for item in rulings if item.remove}
    plan: list[dict[str, Any]] = [
        {"set": name, "action": "remove", "reason": "an interrupted run had begun to"} for name in begun
    ]
    plan += [
        {"set": r.set_id, "action": "remove" if r.remove else "keep", "reason": r.reason, "bytes": r.bytes}
        for r in rulings
    ]
    if not as_json:
        rows = [(item["set"], item["action"], item["reason"]) for item in plan]
        console.print_table("", ("Set", "Action", "Why"), rows)
    removed: tuple[str, ...] = ()
    if (doomed or begun) and not dry_run:
        names = [*begun, *sorted(doomed)]
        console.confirm(f"Remove {len(names)} backup sets for good ({', '.join(names)})?", yes=yes)
        removed = prune(catalog.directory, [item for item in catalog.sets if item.id in doomed])
        console.say(f"removed: {', '.join(removed)}")
    if as_json:
        console.print_json({"directory": str(catalog.directory), "plan": plan, "removed": list(removed)})
