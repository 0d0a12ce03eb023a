"""`smos tenants`: tenants in PostgreSQL and Vault together, all or nothing."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smos.cli import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smos.tenants.service import TenantFacts, Tenants
    from smos.tenants.vault_side import Credentials

app = typer.Typer(
    help="Tenants: a row in PostgreSQL, a path, policy and login in Vault.", no_args_is_help=True
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")]


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """Show every tenant that PostgreSQL or Vault knows; ends with 1 when one is not whole."""
    with _tenants() as tenants:
        found, unseen = tenants.all(), tenants.unseen()
    if as_json:
        console.print_json([_document(item) for item in found])
    else:
        rows = [
            (
                item.id,
                item.row.name if item.row else "",
                item.row.rut if item.row else "",
                _state(item),
                "; ".join(item.problems),
            )
            for item in found
        ]
        console.print_table("", ("Tenant", "Name", "RUT", "State", "What does not fit"), rows)
    if unseen:
        console.say(
            f"The token may not list Vault's {', '.join(unseen)}: tenants that only Vault knows are not seen"
        )
    if any(item.problems for item in found):
        raise typer.Exit(1)
    if unseen:
        raise typer.Exit(10)


@app.command("info")
def info(tenant: Id, *, as_json: AsJson = False) -> None:
    """Show one tenant: its row, what Vault holds of it, and what does not fit."""
    with _tenants() as tenants:
        found = tenants.info(tenant)
    if as_json:
        console.print_json(_document(found))
    else:
        rows = [(name, value) for name, value in _document(found).items() if value]
        console.print_table(
            "", ("What", "Value"), [(n, ", ".join(v) if isinstance(v, tuple) else v) for n, v in rows]
        )
    if found.problems:
        raise typer.Exit(1)


@app.command("create")
def create(
    tenant: Id,
    name: Annotated[str, typer.Option(help="The name of the company or person.")],
    rut: Annotated[str, typer.Option(help="RUT with its check digit, with or without dots.")],
    credentials: Annotated[
        Path | None, typer.Option(help="New file (0600) for the login: role ID and secret ID.")
    ] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be made, make nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a tenant: all of it or nothing. Running it again makes what is missing and changes nothing else.

    Example: smos tenants create cl-0003 --name "Panadería Ñuñoa SpA" --rut 76.543.210-3 --credentials login.json
    """
    from smos.errors import TargetError
    from smos.tenants.rut import parse_rut

    number = parse_rut(rut)
    if credentials is not None and credentials.exists():
        raise TargetError(f"{credentials} exists; it is not overwritten", remedy="name a new file")
    with _tenants() as tenants:
        if dry_run:
            plan = tenants.missing(tenant, name, number)
            console.print_json({"tenant": tenant, "would_make": plan}) if as_json else console.say(
                f"{tenant}: would make {', '.join(plan) or 'nothing'}"
            )
            return
        report = (lambda _text: None) if as_json else console.say
        done = tenants.create(tenant, name, number, credentials=credentials is not None, report=report)
    if credentials is not None and done.credentials is not None:
        _write_credentials(credentials, done.credentials)
    if as_json:
        console.print_json({"tenant": done.tenant.id, "rut": done.tenant.rut, "made": done.made})
    else:
        console.say(f"{tenant}: {'made ' + ', '.join(done.made) if done.made else 'everything was there'}")


@app.command("suspend")
def suspend(tenant: Id, *, as_json: AsJson = False) -> None:
    """Refuse everything to a tenant from now on, also to tokens that are out. Its data and secrets stay."""
    with _tenants() as tenants:
        tenants.suspend(tenant)
    _done(tenant, "suspended", as_json=as_json)


@app.command("resume")
def resume(tenant: Id, *, as_json: AsJson = False) -> None:
    """Give a suspended tenant its rights back."""
    with _tenants() as tenants:
        tenants.resume(tenant)
    _done(tenant, "active", as_json=as_json)


@app.command("delete")
def delete(
    tenant: Id,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, remove nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a tenant for good: its login, policy and every version of its secrets, then its row."""
    with _tenants() as tenants:
        found = tenants.info(tenant)
        parts = (*found.parts, *(("row",) if found.row else ()))
        if dry_run:
            console.print_json({"tenant": tenant, "would_remove": parts}) if as_json else console.say(
                f"{tenant}: would remove {', '.join(parts)}"
            )
            return
        console.confirm(f"Remove tenant {tenant} for good ({', '.join(parts)})?", yes=yes)
        tenants.delete(tenant, report=(lambda _text: None) if as_json else console.say)
    _done(tenant, "removed", as_json=as_json)


def _done(tenant: str, state: str, *, as_json: bool) -> None:
    if as_json:
        console.print_json({"tenant": tenant, "state": state})
    else:
        console.say(f"{tenant}: {state}")


def _state(facts: "TenantFacts") -> str:
    return facts.row.state if facts.row else "only in Vault"


def _document(facts: "TenantFacts") -> dict[str, Any]:
    row = facts.row
    return {
        "tenant": facts.id,
        "name": row.name if row else None,
        "rut": row.rut if row else None,
        "state": _state(facts),
        "created": row.created.isoformat() if row else None,
        "vault": facts.parts,
        "problems": facts.problems,
    }


def _write_credentials(path: Path, credentials: "Credentials") -> None:
    import json

    text = json.dumps({"role_id": credentials.role_id, "secret_id": credentials.secret_id}, indent=1)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text + "\n")
    console.say(f"the login is in {path} (0600): hand it over, then remove the file")


@contextmanager
def _tenants() -> "Iterator[Tenants]":
    from smos.config.connect import vault_of
    from smos.config.store import Config, home
    from smos.errors import TargetError
    from smos.tenants.journal import Journal
    from smos.tenants.service import Tenants
    from smos.vault.kv import session

    config = Config(home(os.environ), os.environ)
    dsn = config.value("postgres.dsn")
    if not dsn:
        raise TargetError(
            "There is no database for tenants",
            remedy='smos config set postgres.dsn "host=… dbname=smarteros user=…"',
        )
    access = vault_of(config)
    with session(access.endpoint, access.token) as client:
        tenants = Tenants(
            str(dsn),
            config.value("postgres.password"),
            client,
            mount=config.value("vault.mount"),
            journal=Journal(config.directory / "journal"),
        )
        for name in tenants.recover():
            console.say(f"{name}: what an interrupted run had half made was taken back")
        yield tenants
