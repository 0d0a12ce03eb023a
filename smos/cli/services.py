"""`smos services`: the containers of the stack, and the harness' own servers."""

import os
import re
import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smos.cli import console
from smos.i18n import translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

    from smos.services.containers import ContainerFacts
    from smos.verdict import Finding

app = typer.Typer(help="The stack's containers: what runs, how it is, what it says.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Project = Annotated[
    str | None, typer.Option(help="Compose project, or prefix of the names (default: docker.project).")
]
Names = Annotated[list[str] | None, typer.Argument(help="Services or containers (default: all).")]


@app.command("list")
def list_(
    *,
    project: Project = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="The harness' own servers instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the containers of the stack, those that have ended as well.

    Examples: smos services list; smos services list --project smarteros --json
    """
    if embedded:
        _embedded(as_json=as_json)
        return
    with _engine() as client:
        found = _containers(client, project, None)
    if as_json:
        console.print_json([asdict(item) for item in found])
        return
    rows = [
        (item.name, item.service, item.image, item.status, item.health or "no check", ", ".join(item.ports))
        for item in found
    ]
    console.print_table("", ("Container", "Service", "Image", "State", "Health", "Ports"), rows)


@app.command("status")
def status(names: Names = None, *, project: Project = None, as_json: AsJson = False) -> None:
    """Judge them: healthy is only what its own health check calls so; 0 all, 1 one is not, 10 something is not proven.

    Examples: smos services status; smos services status postgres vault
    """
    from smos.services.containers import judge_container
    from smos.verdict import Verdict

    with _engine() as client:
        found = _containers(client, project, names)
    judged = [(item, judge_container(item)) for item in found]
    if as_json:
        console.print_json([_document(item, finding) for item, finding in judged])
    else:
        rows = [
            (i.name, console.verdict(f.verdict), translate(f.message).partition(": ")[2], f.remedy)
            for i, f in judged
        ]
        console.print_table("", ("Container", "Verdict", "What was seen", "What to do"), rows)
    raise typer.Exit(console.exit_of_verdict(Verdict.worst(finding.verdict for _, finding in judged)))


@app.command("logs")
def logs(
    name: Annotated[str, typer.Argument(help="A service or container.")],
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C, or until it ends.")
    ] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="How many lines of the past.")] = 100,
    project: Project = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document: container and lines.")] = False,
) -> None:
    """Print what a service writes, as it wrote it (without colours and control characters).

    Examples: smos services logs vault -n 20; smos services logs -f odoo
    """
    from smos.errors import TargetError

    if as_json and follow:
        raise TargetError("--json gives one document, and --follow never ends")
    with _engine() as client:
        (chosen, *others) = _containers(client, project, [name])
        if others:
            console.say(f"{name} has {len(others) + 1} containers; this is {chosen.name}")
        container = client.containers.get(chosen.name)
        stream = container.logs(stream=True, follow=follow, tail=tail, stdout=True, stderr=True)
        if as_json:
            text = b"".join(stream).decode(errors="replace")
            console.print_json(
                {"container": chosen.name, "lines": [_plain(line) for line in text.splitlines()]}
            )
            return
        pending = b""
        for block in stream:
            pending += block
            *whole, pending = pending.split(b"\n")
            for line in whole:
                sys.stdout.write(_plain(line.decode(errors="replace")) + "\n")
            sys.stdout.flush()
        if pending:
            sys.stdout.write(_plain(pending.decode(errors="replace")) + "\n")


@app.command("restart")
def restart(
    names: Annotated[list[str], typer.Argument(help="Services or containers.")],
    *,
    project: Project = None,
    wait: Annotated[float, typer.Option(min=1, help="Seconds that they may take to be healthy again.")] = 120,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Restart services and wait until they are healthy; a service without a health check stays not proven (10).

    Example: smos services restart n8n --yes
    """
    from smos.services.containers import container_facts, judge_container
    from smos.verdict import Verdict
    from smos.wait import wait_for

    with _engine() as client:
        chosen = _containers(client, project, names)
        console.confirm(f"Restart {', '.join(item.name for item in chosen)}?", yes=yes)
        judged = []
        for item in chosen:
            container = client.containers.get(item.name)
            container.restart()

            def settled(container: Any = container) -> "ContainerFacts | None":
                container.reload()
                facts = container_facts(container.attrs)
                return None if facts.health == "starting" or facts.status == "restarting" else facts

            facts = wait_for(settled, what=f"{item.name} has said how it is", deadline_s=wait) or item
            judged.append((facts, judge_container(facts)))
            console.say(judged[-1][1].message)
    if as_json:
        console.print_json([_document(item, finding) for item, finding in judged])
    raise typer.Exit(console.exit_of_verdict(Verdict.worst(finding.verdict for _, finding in judged)))


def _embedded(*, as_json: bool) -> None:
    from smos.services.embedded import judge_embedded, read_embedded

    found = read_embedded()
    if as_json:
        console.print_json([asdict(item) | {"verdict": judge_embedded(item).verdict.value} for item in found])
        return
    rows = [
        (item.name, item.kind, console.verdict(judge_embedded(item).verdict), item.detail) for item in found
    ]
    console.print_table("", ("Server", "What", "Verdict", "What was seen"), rows)


@contextmanager
def _engine() -> "Iterator[DockerClient]":
    from smos.config.store import Config, home
    from smos.services.engine import engine

    with engine(Config(home(os.environ), os.environ).value("docker.host")) as client:
        yield client


def _containers(
    client: "DockerClient", project: str | None, names: list[str] | None
) -> "tuple[ContainerFacts, ...]":
    from smos.config.store import Config, home
    from smos.errors import SmosError, TargetError
    from smos.services.containers import read_containers

    wanted = project or str(Config(home(os.environ), os.environ).value("docker.project"))
    found = read_containers(client, wanted)
    if not found:
        raise SmosError(
            f"There is no container of the stack {wanted}",
            remedy="start it, or name another: --project NAME, or smos config set docker.project NAME",
        )
    if not names:
        return found
    known = {name for item in found for name in (item.name, item.service)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise TargetError(
            f"There is no service {', '.join(unknown)}", remedy=f"there are: {', '.join(sorted(known))}"
        )
    return tuple(item for item in found if {item.name, item.service} & set(names))


def _document(item: "ContainerFacts", finding: "Finding") -> dict[str, Any]:
    return asdict(item) | {
        "verdict": finding.verdict.value,
        "code": finding.code,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _plain(line: str) -> str:
    """Return a line of somebody's log that can do nothing to a terminal: no colours, no control characters."""
    text = _COLOURS.sub("", line.rstrip("\r"))
    return "".join(char if char.isprintable() or char == "\t" else f"\\x{ord(char):02x}" for char in text)


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
