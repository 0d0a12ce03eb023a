"""`smos deploy`: the back end by Compose, the front end by Vercel, or both."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smos.cli import console

if TYPE_CHECKING:
    from smos.deploy.backend import DeployPlan
    from smos.deploy.compose import Compose

app = typer.Typer(help="Deploy, wait for evidence that it works, or go back.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")]
File = Annotated[
    Path | None, typer.Option("--file", "-f", help="Compose file (default: deploy.compose_file).")
]
Project = Annotated[str | None, typer.Option(help="Compose project (default: the file's own).")]
Context = Annotated[str | None, typer.Option(help="Docker context (default: deploy.context).")]
Host = Annotated[str | None, typer.Option(help="Engine, as ssh://user@host (default: docker.host).")]
Url = Annotated[str | None, typer.Option(help="Address that shows it works (default: deploy.health_url).")]
Gate = Annotated[float, typer.Option(min=1, help="Seconds until everything must have shown that it works.")]
Pull = Annotated[bool, typer.Option("--pull/--no-pull", help="Pull images first.")]


@app.command("backend")
def backend(
    *,
    file: File = None,
    project: Project = None,
    context: Context = None,
    host: Host = None,
    health_url: Url = None,
    gate: Gate = 180,
    pull: Pull = True,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Start the compose file's services; when they don't show that they work, the images before run again (exit 1).

    Examples: smos deploy backend --file compose.yml --dry-run; smos deploy backend --host ssh://deploy@prod --yes
    """
    document = _backend(
        file, project, context, host, health_url, gate, pull=pull, dry_run=dry_run, yes=yes, plain=not as_json
    )
    if as_json:
        console.print_json(document)


@app.command("frontend")
def frontend(*, dry_run: DryRun = False, yes: Yes = False, as_json: AsJson = False) -> None:
    """Deploy the front end to production by the Vercel CLI, and see that its address answers.

    Example: smos deploy frontend --yes
    """
    document = _frontend(dry_run=dry_run, yes=yes, plain=not as_json)
    if as_json:
        console.print_json(document)


@app.command("all")
def everything(
    *,
    file: File = None,
    project: Project = None,
    context: Context = None,
    host: Host = None,
    health_url: Url = None,
    gate: Gate = 180,
    pull: Pull = True,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Deploy the back end, then the front end; that one only when the back end works.

    Example: smos deploy all --dry-run
    """
    from smos.deploy.frontend import check_directory, find_vercel

    check_directory(_value("deploy.frontend"))
    find_vercel()  # before anything is changed
    document: dict[str, Any] = {
        "backend": _backend(
            file,
            project,
            context,
            host,
            health_url,
            gate,
            pull=pull,
            dry_run=dry_run,
            yes=yes,
            plain=not as_json,
        )
    }
    document["frontend"] = _frontend(dry_run=dry_run, yes=yes, plain=not as_json)
    if as_json:
        console.print_json(document)


def _backend(
    file: Path | None, project: str | None, context: str | None, host: str | None, health_url: str | None,
    gate: float, *, pull: bool, dry_run: bool, yes: bool, plain: bool,
) -> dict[str, Any]:  # fmt: skip
    from smos.clock import SystemClock
    from smos.deploy.backend import deploy, make_plan

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a plain `kill` goes back as well
    compose = _compose(file, project, context, host)
    plan = make_plan(compose, health_url=health_url or _value("deploy.health_url"), gate_s=gate, pull=pull)
    if plain:
        _show(plan)
    if dry_run:
        return plan.to_json() | {"dry_run": True}
    console.confirm(f"Deploy {', '.join(plan.before)}?", yes=yes)
    states = deploy(compose, plan, SystemClock(), console.say)
    if plain:
        rows = [
            (item.service, item.name, item.status, item.health or "no check", item.image_id[:19])
            for item in states
        ]
        console.print_table("", ("Service", "Container", "State", "Health", "Image"), rows)
    after = {item.service: item.image_id for item in states}
    return plan.to_json() | {"done": [step.action for step in plan.steps], "after": after}


def _frontend(*, dry_run: bool, yes: bool, plain: bool) -> dict[str, Any]:
    from smos.clock import SystemClock
    from smos.deploy.frontend import check_directory, deploy_frontend, find_vercel
    from smos.errors import SmosError
    from smos.live.addresses import ask_address
    from smos.live.declared import Service

    directory = check_directory(_value("deploy.frontend"))
    program = find_vercel()
    steps = [{"action": "deploy", "subject": str(directory)}, {"action": "gate", "subject": "its address"}]
    if plain:
        console.print_table("", ("Step", "What"), [(step["action"], step["subject"]) for step in steps])
    if dry_run:
        return {"steps": steps, "dry_run": True}
    console.confirm(f"Deploy {directory} to production?", yes=yes)
    url = deploy_frontend(program, directory)
    state = ask_address(Service(name="front end", kind="http", url=url), SystemClock())
    if state.healthy is not True:
        raise SmosError(f"{url} was deployed and does not work: {state.detail}", remedy="vercel rollback")
    if plain:
        console.tell(f"{url}: deployed, {state.detail}")
    return {"steps": steps, "url": url, "seen": state.detail}


def _compose(file: Path | None, project: str | None, context: str | None, host: str | None) -> "Compose":
    from smos.deploy.compose import Compose, context_host, find_compose
    from smos.errors import TargetError

    named = file or (Path(found).expanduser() if (found := _value("deploy.compose_file")) else None)
    if named is None or not named.is_file():
        raise TargetError(
            f"There is no compose file {named}" if named else "No compose file is named",
            remedy="give --file FILE, or: smos config set deploy.compose_file FILE",
        )
    if context and host:
        raise TargetError("--context and --host name two engines")
    context = context or (None if host else _value("deploy.context"))
    context_host(context)  # a name that nobody knows is said now, not in the middle
    return Compose(
        file=named,
        project=project,
        context=context,
        host=None if context else host or _value("docker.host"),
        program=find_compose(),
    )


def _value(name: str) -> str | None:
    from smos.config.store import Config, home

    found = Config(home(os.environ), os.environ).value(name)
    return str(found) if found else None


def _show(plan: "DeployPlan") -> None:
    console.print_table("", ("Step", "What", "How"), [(s.action, s.subject, s.detail) for s in plan.steps])
    if plan.orphans:
        console.say(f"{', '.join(plan.orphans)}: not in the compose file, left alone")
