"""`smos vault`: secrets and the state of Vault, by its API."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smos.cli import console

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import hvac

    from smos.config.store import Config

app = typer.Typer(help="Secrets, and the state of Vault.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Path_ = Annotated[str, typer.Argument(metavar="PATH", help="Below the mount, such as mcp/github.")]
Mount = Annotated[str | None, typer.Option(help="KV v2 mount (default: vault.mount of the configuration).")]


@app.command("read")
def read(
    path: Path_,
    mount: Mount = None,
    version: Annotated[int | None, typer.Option(help="An older version.", min=1)] = None,
    key: Annotated[str | None, typer.Option(help="Print this key's value alone; with --show.")] = None,
    *,
    show: Annotated[bool, typer.Option("--show", help="Print the values.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a secret: its keys, and its values only with --show.

    Examples: smos vault read mcp/github; smos vault read mcp/github --key token --show
    """
    from smos.errors import SmosError
    from smos.vault import kv

    config = _config()
    with _session(config) as client:
        found = kv.read(client, mount or config.value("vault.mount"), path, version)
    if key is not None and key not in found.values:
        raise SmosError(f"{path} has no key {key!r}", remedy=f"it has: {', '.join(found.values) or 'none'}")
    values = {
        name: kv.text_of(value) if show else "********"
        for name, value in found.values.items()
        if key in {None, name}
    }
    if as_json:
        console.print_json({"path": path, "version": found.version, "values": values})
    elif key is not None and show:
        typer.echo(values[key])
    else:
        console.print_table(f"{path}, version {found.version}", ("Key", "Value"), list(values.items()))


@app.command("write")
def write(
    path: Path_,
    values: Annotated[list[str], typer.Argument(metavar="KEY[=-|=@FILE]...", help="What is written.")],
    mount: Mount = None,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Drop the keys that are not named.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add or change keys of a secret; the other keys stay. A value is asked for, or read from stdin or a file.

    Examples: smos vault write mcp/github token; smos vault write ssh/deploy private_key=@id_ed25519
    """
    from smos.errors import TargetError
    from smos.vault import kv

    wanted = [kv.parse_assignment(text) for text in values]
    if sum(source == "-" for _, source in wanted) > 1:
        raise TargetError("Only one value can come from stdin")
    found = {name: _value(name, source) for name, source in wanted}
    config = _config()
    with _session(config) as client:
        kept = kv.write(client, mount or config.value("vault.mount"), path, found, replace=replace)
    if as_json:
        console.print_json({"path": path, "version": kept.version, "keys": sorted(kept.values)})
    else:
        console.say(f"{path} is written: version {kept.version}, keys {', '.join(sorted(kept.values))}")


@app.command("list")
def list_(
    path: Annotated[str, typer.Argument(help="Below the mount; none: all.")] = "",
    mount: Mount = None,
    *,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Every secret below it.")] = False,
    as_json: AsJson = False,
) -> None:
    """List secrets by name."""
    from smos.vault import kv

    config = _config()
    with _session(config) as client:
        found = kv.list_paths(
            client, mount or config.value("vault.mount"), path.strip("/"), recursive=recursive
        )
    if as_json:
        console.print_json(found)
    else:
        typer.echo("\n".join(found))


@app.command("status")
def status(*, as_json: AsJson = False) -> None:
    """Show whether Vault is initialised, unsealed and active; ends with 1 when it is not, with 4 when it is silent."""
    from dataclasses import asdict

    from smos.checks.dr.vault_health import judge_health
    from smos.cli.exits import Exit
    from smos.config.connect import vault_endpoint
    from smos.vault.health import HealthState, read_health

    endpoint = vault_endpoint(_config())
    facts = read_health(endpoint.url, ca=endpoint.ca)
    judged = judge_health(facts)
    if as_json:
        console.print_json(asdict(facts) | {"verdict": judged.verdict.value})
    else:
        console.print_table(
            "",
            ("Vault", "State", "Version", "Verdict", "Seen"),
            [(facts.url, facts.state, facts.version or "", console.verdict(judged.verdict), facts.detail)],
        )
        for finding in judged.findings:
            if finding.remedy:
                console.say(f"{finding.message}\nWhat to do: {finding.remedy}")
    silent = facts.state in {HealthState.UNREACHABLE, HealthState.TIMED_OUT}
    raise typer.Exit(Exit.UNREACHABLE if silent else console.exit_of_verdict(judged.verdict))


@app.command("unseal")
def unseal(*, as_json: AsJson = False) -> None:
    """Give key shares, one after the other, from a prompt or one a line on stdin; none is kept or shown."""
    from smos.config.connect import vault_endpoint
    from smos.errors import SmosError
    from smos.vault.kv import anonymous

    with anonymous(vault_endpoint(_config())) as client:
        state = client.seal_status
        while state["sealed"]:
            share = console.read_secret(f"Key share {state['progress'] + 1} of {state['t']}")
            if not share:
                raise SmosError(
                    f"Vault stays sealed: {state['progress']} of {state['t']} shares were given",
                    remedy="run it again with the other shares; Vault remembers these until it restarts",
                )
            state = client.sys.submit_unseal_key(share)
    if as_json:
        console.print_json({"sealed": False, "threshold": state["t"]})
    else:
        console.say("Vault is unsealed")


@app.command("rotate")
def rotate(
    key: Annotated[str, typer.Argument(help="Transit key.")] = "smarteros-secrets", *, as_json: AsJson = False
) -> None:
    """Rotate a transit key: new ciphertext uses the new version, old ciphertext still decrypts."""
    with _session(_config()) as client:
        client.secrets.transit.rotate_key(key)
        latest = client.secrets.transit.read_key(key)["data"]["latest_version"]
    if as_json:
        console.print_json({"key": key, "version": latest})
    else:
        console.say(f"{key} is at version {latest}; rewrap what you store when you like")


def _value(name: str, source: str | None) -> str:
    from smos.errors import TargetError

    if source is None or source == "-":
        return console.read_secret(name)
    try:
        return Path(source[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{source[1:]} can't be read as text: {error}") from error


def _config() -> "Config":
    from smos.config.store import Config, home

    return Config(home(os.environ), os.environ)


def _session(config: "Config") -> "AbstractContextManager[hvac.Client]":
    from smos.config.connect import vault_of
    from smos.vault.kv import session

    access = vault_of(config)
    return session(access.endpoint, access.token)
