"""`smos version`: our own at once, and on demand those of everything that is talked to."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smos import __version__
from smos.cli import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBRARIES = (
    "psycopg", "pydantic", "typer", "rich", "httpx", "hvac", "cryptography", "pyrage", "zstandard", "ruamel.yaml",
    "pytest", "docker", "keyring", "slack-sdk",
)  # fmt: skip
"""Distributions that the commands use; those of an extra may be absent."""
TOOLS = (
    ("docker", "--version"),
    ("git", "--version"),
    ("ssh", "-V"),
    ("tar", "--version"),
    ("vercel", "--version"),
)
ASK_S = 10


def version(
    *,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also servers, tools and libraries; asks each of them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the version; with --all those of the servers in the configuration, of tools and libraries.

    Examples: smos version; smos version --all --json
    """
    own = {"smarteros-verify": __version__, "python": ".".join(map(str, sys.version_info[:3]))}
    if not everything:
        if as_json:
            console.print_json(own)
        else:
            typer.echo(f"smarteros-verify {__version__}")
        return
    found = [
        *({"kind": "self", "name": name, "version": own[name], "problem": ""} for name in own),
        *_everything(),
    ]
    if as_json:
        console.print_json(own | {"versions": found})
        return
    rows = [(item["kind"], item["name"], item["version"] or "-", item["problem"]) for item in found]
    console.print_table("", ("Kind", "What", "Version", "Why not"), rows)


def _everything() -> "list[dict[str, str]]":
    from concurrent.futures import ThreadPoolExecutor

    asks: list[tuple[str, Callable[[], Iterator[tuple[str, str, str]]]]] = [
        ("server", _postgres), ("server", _vault), ("server", _docker),
        ("tool", _postgres_tools), ("tool", _openbao), ("tool", _compose), ("tool", _tools), ("library", _libraries),
    ]  # fmt: skip
    with ThreadPoolExecutor(len(asks)) as pool:
        parts = list(pool.map(lambda ask: (ask[0], list(ask[1]())), asks))
    return [
        {"kind": kind, "name": name, "version": number, "problem": problem}
        for kind, part in parts
        for name, number, problem in part
    ]


def _config() -> Any:
    from smos.config.store import Config, home

    return Config(home(os.environ), os.environ)


def _postgres() -> "Iterator[tuple[str, str, str]]":
    from smos.health.postgres import read_postgres

    dsn = _config().value("postgres.dsn")
    if not dsn:
        yield "PostgreSQL", "", "postgres.dsn is not set"
        return
    facts = read_postgres(str(dsn), _config().value("postgres.password"))
    yield f"PostgreSQL {facts.where}", facts.version, facts.detail


def _vault() -> "Iterator[tuple[str, str, str]]":
    from smos.config.connect import vault_endpoint
    from smos.vault.health import read_health

    endpoint = vault_endpoint(_config())
    facts = read_health(endpoint.url, ca=endpoint.ca)
    yield (
        f"Vault {facts.url}",
        facts.version or "",
        "" if facts.version else f"{facts.state} {facts.detail}".strip(),
    )


def _docker() -> "Iterator[tuple[str, str, str]]":
    from smos.errors import SmosError
    from smos.services.engine import engine

    try:
        with engine(_config().value("docker.host")) as client:
            yield "container engine", str(client.version().get("Version", "")), ""
    except SmosError as error:
        yield "container engine", "", error.message


def _postgres_tools() -> "Iterator[tuple[str, str, str]]":
    from smos.provision.installations import find_installations

    for item in find_installations():
        yield f"PostgreSQL's programs ({item.origin})", item.version, ""


def _openbao() -> "Iterator[tuple[str, str, str]]":
    from smos.errors import SmosError
    from smos.provision.embedded.openbao import find_program

    try:
        program = find_program()
    except SmosError as error:
        yield "OpenBao's program", "", error.message
        return
    yield _ask("OpenBao's program", str(program), "version")


def _compose() -> "Iterator[tuple[str, str, str]]":
    from smos.deploy.compose import find_compose
    from smos.errors import SmosError

    try:
        program = find_compose()
    except SmosError as error:
        yield "Compose", "", error.message
        return
    yield _ask("Compose", *program, "version", "--short")


def _tools() -> "Iterator[tuple[str, str, str]]":
    import shutil

    for name, flag in TOOLS:
        found = shutil.which(name)
        yield (name, "", "not installed") if found is None else _ask(name, found, flag)


def _ask(name: str, *command: str) -> tuple[str, str, str]:
    """Return what a program says of its version: the first number with a dot in it."""
    import re
    import subprocess

    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return name, "", f"it does not answer ({type(error).__name__})"
    match = re.search(r"\d+(?:\.\d+)+[\w.+-]*", done.stdout + done.stderr)
    return (name, match[0], "") if match else (name, "", "it names no version")


def _libraries() -> "Iterator[tuple[str, str, str]]":
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    for name in LIBRARIES:
        try:
            yield name, installed(name), ""
        except PackageNotFoundError:
            yield name, "", "not installed"
