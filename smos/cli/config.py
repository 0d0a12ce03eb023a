"""`smos config` and `smos init`: where a person's servers are."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from smos.cli import console

if TYPE_CHECKING:
    from smos.config.store import Config, Setting

app = typer.Typer(help="Read and change ~/.smos/config.yml.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="A key, such as vault.address.")],
    *,
    show: Annotated[bool, typer.Option("--show", help="Print a secret too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print one value, and where it comes from with --json.

    Example: smos config get vault.address
    """
    from smos.errors import SmosError

    found = _config().get(name)
    if as_json:
        console.print_json(_document(found, show=show))
    elif found.value is None:
        raise SmosError(f"{name} is not set", remedy=f"smos config set {name} VALUE")
    else:
        typer.echo(str(found.value) if show else found.shown)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="A key, such as vault.address.")],
    value: Annotated[
        str | None, typer.Argument(help="Its value; a secret is read from a prompt or stdin instead.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Keep a value. Comments in the file survive. A secret is never an argument: others could read it there.

    Examples: smos config set vault.address https://vault.example.com
    printf %s "$TOKEN" | smos config set vault.token
    """
    from smos.config.keys import key
    from smos.errors import TargetError

    wanted = key(name)
    if value is None:
        value = console.read_secret(wanted.help) if wanted.secret or not sys.stdin.isatty() else None
    elif wanted.secret:
        raise TargetError(
            f"{name} is a secret: as an argument every user of this machine could have read it",
            remedy=f"change that secret, then: smos config set {name}   (it asks, or reads one line from stdin)",
        )
    if not value:
        raise TargetError(f"There is no value for {name}", remedy=f"smos config set {name} VALUE")
    kept = _config().set(name, value)
    if as_json:
        console.print_json(_document(kept))
    else:
        console.say(f"{name} is kept in {kept.origin}")


@app.command("unset")
def unset(
    name: Annotated[str, typer.Argument(help="A key, such as vault.address.")], *, as_json: AsJson = False
) -> None:
    """Remove a value, so that the default holds again."""
    removed = _config().unset(name)
    if as_json:
        console.print_json({"key": name, "removed": removed})
    else:
        console.say(f"{name} is removed" if removed else f"{name} was not set")


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """Show every key, its value and where it comes from; of a secret only whether there is one."""
    found = _config().all()
    if as_json:
        console.print_json([_document(item) | {"help": item.key.help} for item in found])
    else:
        rows = [(item.key.name, item.shown, item.origin, item.key.help) for item in found]
        console.print_table("", ("Key", "Value", "From", "What it is"), rows)


@app.command("path")
def path(*, as_json: AsJson = False) -> None:
    """Print where the file is (SMOS_HOME changes it)."""
    place = str(_config().path)
    if as_json:
        console.print_json({"path": place})
    else:
        typer.echo(place)


def init(*, yes: Yes = False, as_json: AsJson = False) -> None:
    """Make ~/.smos/config.yml (0600), with what is found on this machine. An existing file is replaced only on demand.

    Examples: smos init; SMOS_HOME=/srv/smos smos init --yes
    """
    from smos.config.discover import discover, starting_text

    config = _config()
    if config.exists:
        console.confirm(f"{config.path} exists. Replace it?", yes=yes)
    found = discover(os.environ)
    config.create(starting_text(found))
    if as_json:
        console.print_json(
            {
                "path": str(config.path),
                "found": {item.key: item.value for item in found},
                "secrets": config.secret_store,
            }
        )
        return
    for item in found:
        console.say(f"found  {item.key} = {item.value}  ({item.how})")
    console.say(f"{config.path} is written; secrets go to: {config.secret_store}")
    console.say("Next: smos config set vault.token, then smos health")


def _config() -> "Config":
    from smos.config.store import Config, home

    return Config(home(os.environ), os.environ)


def _document(item: "Setting", *, show: bool = False) -> dict[str, object]:
    value = item.value if show or not item.key.secret else None
    return {"key": item.key.name, "value": value, "set": item.value is not None, "origin": item.origin}
