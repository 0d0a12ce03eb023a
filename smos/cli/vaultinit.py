"""`smos vault init`: set a Vault up as the platform needs it (smos/vault/bootstrap.py)."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from smos.cli import console

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def init(
    escrow: Annotated[
        Path, typer.Option(help="File (0600) that gets the key shares and the roles' credentials.")
    ],
    address: Annotated[str, typer.Option(help="The Vault's address.")] = "https://127.0.0.1:8200",
    ca: Annotated[Path | None, typer.Option(help="PEM file of the authority to trust.")] = None,
    policies: Annotated[
        Path | None, typer.Option(help="Folder of policies (default: the shipped ones).")
    ] = None,
    tenant: Annotated[list[str] | None, typer.Option(help="A tenant that gets a role; repeatable.")] = None,
    *,
    synthetic_secrets: Annotated[
        bool,
        typer.Option("--synthetic-secrets", help="Fill missing secrets with values that say they are none."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Initialise, unseal and set a Vault up; may be run again, and goes on where it stopped.

    Example: smos vault init --address https://127.0.0.1:8200 --ca ca.pem --escrow ~/escrow.json --tenant cl-0001
    """
    from dataclasses import asdict

    from smos.errors import TargetError
    from smos.provision.base import VaultEndpoint
    from smos.vault.bootstrap import bootstrap

    url = urlsplit(address)
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in LOOPBACK):
        raise TargetError(
            f"{address} is not https://: key shares are sent there",
            remedy="give the address with TLS; plain HTTP is taken on loopback only",
        )
    facts = bootstrap(
        VaultEndpoint(url=address.rstrip("/"), ca=ca),
        escrow=escrow,
        policies_dir=policies,
        secret_keys=None if synthetic_secrets else {},
        tenants=tuple(tenant or ()),
    )
    if as_json:
        console.print_json(asdict(facts))
    else:
        done = [*facts.changes] or ["nothing: all was there"]
        typer.echo("\n".join(f"  {item}" for item in done))
    console.say(
        f"\n!! {escrow} holds ALL key shares and every role's credentials. Move it off this machine NOW: give the\n"
        "!! shares to different people, keep it away from the backups, and delete it here.\n"
    )
