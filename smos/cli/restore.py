"""`smos backup restore`: puts a set back where it is used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smos.cli import console
from smos.cli.backupsets import Found, find, home_directory

if TYPE_CHECKING:
    from smos.restore.mend import Where
    from smos.restore.plan import Request, RestorePlanned
    from smos.restore.run import Outcome

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")]
TargetFile = Annotated[
    Path | None, typer.Option(help="The target file (default: smos.yml, else the configuration's).")
]
Directory = Annotated[Path | None, typer.Option(help="The directory of the backup sets.")]


def restore(  # the words of a restore
    name: Annotated[str | None, typer.Argument(help="The set (default: the newest).")] = None,
    target: TargetFile = None,
    backups: Directory = None,
    host: Annotated[str | None, typer.Option(help="PostgreSQL's host or socket directory.")] = None,
    port: Annotated[int, typer.Option(help="PostgreSQL's port.")] = 5432,
    user: Annotated[str, typer.Option(help="A superuser; password from ~/.pgpass.")] = "postgres",
    database: Annotated[
        list[str] | None, typer.Option(help="A database to restore; repeatable (default: all of the set).")
    ] = None,
    volume: Annotated[
        list[str] | None, typer.Option(help="NAME=DIRECTORY to restore a volume to; repeatable.")
    ] = None,
    escrow: Annotated[Path | None, typer.Option(help="The escrow file that opens an encrypted set.")] = None,
    safety: Annotated[
        Path | None,
        typer.Option(help="Where the backup goes that is taken before (default: BACKUPS-safety)."),
    ] = None,
    undo: Annotated[
        str | None, typer.Option(metavar="ID", help="Put back what was in use before that restore.")
    ] = None,
    finish: Annotated[
        str | None, typer.Option(metavar="ID", help="Remove the old state that this restore kept.")
    ] = None,
    *,
    no_safety: Annotated[bool, typer.Option("--no-safety", help="Take no backup before.")] = False,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Keep the old state until --finish.")] = False,
    with_logins: Annotated[
        bool,
        typer.Option(
            "--with-logins", help="Missing roles get login, password and memberships of the backup."
        ),
    ] = False,
    accept_differences: Annotated[
        bool, typer.Option("--accept-differences", help="Use a set although not all of it came back.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put a set back where it is used: restored beside it, verified there, then swapped in one step.

    Whatever fails before the swap, Ctrl-C and a kill as well, leaves everything as it was; the next run removes what
    was left. Volumes only where they are named; Vault never (see `smos vault`).

    Examples: smos backup restore --backups /backups --host /run/postgresql --dry-run
    smos backup restore smos-20261123_020000 --database smarteros --volume n8n_data=/srv/n8n --keep-old
    """
    from filelock import FileLock, Timeout

    from smos.errors import SmosError, TargetError

    if undo and finish:
        raise TargetError("--undo and --finish contradict each other")
    home = home_directory()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(home / ".restore.lock", mode=0o600, timeout=0):
            if undo or finish:
                _after(undo, finish, host, port, user, yes=yes, as_json=as_json)
                return
            found = find(target, backups, escrow=escrow)
            wanted = _Wanted(
                name, tuple(database or ()), tuple(volume or ()), host, port, user,
                None if no_safety else safety or _beside(found.catalog.directory),
                keep_old=keep_old, with_logins=with_logins, accept=accept_differences,
            )  # fmt: skip
            _restore(found, wanted, dry_run=dry_run, yes=yes, as_json=as_json)
    except Timeout:
        raise SmosError(
            "Another restore runs here", remedy="wait until it has ended, then try again"
        ) from None
    except OSError as error:
        raise SmosError(
            f"{error.filename or home}: {error.strerror}", remedy="see who may write there"
        ) from error


def _after(
    undo: str | None, finish: str | None, host: str | None, port: int, user: str, *, yes: bool, as_json: bool
) -> None:
    from smos.restore import mend

    where = _where(host, port, user, needs_server=host is not None)
    with _lock(where):
        if undo:
            console.confirm(f"Put back what was in use before restore {undo}?", yes=yes)
        else:
            console.confirm(f"Remove the old state that restore {finish} kept, for good?", yes=yes)
        if undo:
            mend.mend(where, {}, console.say)
        names = mend.undo(where, undo) if undo else mend.finish(where, finish or "")
    if as_json:
        console.print_json({"id": undo or finish, "done": "undone" if undo else "finished", "what": names})
    else:
        for item in names:
            console.tell(f"{item}: {'as before' if undo else 'removed'}")


def _restore(found: "Found", wanted: "_Wanted", *, dry_run: bool, yes: bool, as_json: bool) -> None:
    import signal

    from smos.provision.owner import Owner
    from smos.restore import mend, opening, run

    # A plain `kill` goes the same way back as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    volumes = _places(wanted.volumes)
    with Owner("opening") as owner:
        opened = opening.open_set(
            found.catalog.directory, wanted.name, found.target, owner, console.say, accept=wanted.accept
        )
        databases = wanted.databases
        if not databases and wanted.host is not None:
            databases = tuple(entry.name for entry in opened.manifest.databases if entry.name != "postgres")
        where = _where(wanted.host, wanted.port, wanted.user, needs_server=bool(databases))
        request = _request(wanted, databases, volumes)
        with _lock(where):
            if not dry_run:
                mend.mend(where, volumes, console.say)
            where = _where(wanted.host, wanted.port, wanted.user, needs_server=bool(databases))
            plan = _plan(opened, request, where)
            if not as_json:
                _show_plan(plan)
            if dry_run:
                if as_json:
                    console.print_json(plan.to_json() | {"dry_run": True})
                return
            names = ", ".join([*databases, *volumes])
            console.confirm(f"Replace {names} by what {plan.set_id} holds?", yes=yes)
            outcome = run.execute(plan, where, opened.manifest, opened.globals_, console.say)
    if as_json:
        console.print_json(plan.to_json() | _outcome_document(outcome))
    else:
        for note in (*opened.findings, *outcome.notes):
            console.say(note)
        console.tell(f"{names}: restored from {plan.set_id}, {outcome.rows} rows compared with the manifest")


def _plan(opened: Any, request: "Request", where: "Where") -> "RestorePlanned":
    from smos.restore.load import needed_roles
    from smos.restore.plan import make_restore_plan

    chosen = [source for source in opened.plan.dumps if source.database in request.databases]
    roles: set[str] = set()
    for source in chosen:
        roles |= needed_roles(source.path)
    return make_restore_plan(
        opened.manifest,
        opened.signature,
        opened.plan.dumps,
        opened.plan.volumes,
        sorted(roles),
        request,
        where.server,
    )


def _show_plan(plan: "RestorePlanned") -> None:
    console.say(f"{plan.set_id}, taken {plan.taken}, signature: {plan.signature}")
    if plan.signature == "not-required":
        console.say(
            "Nothing shows who made this set: pin backups.manifest_public_key in the target (docs/target.md)"
        )
    for item in plan.kept:
        console.say(f"{item.database} is kept from restore {item.id}: --finish or --undo {item.id}")
    for database, what in plan.attached:
        console.say(f"{database}: {what} stays with the old database and is lost with it: make it again")
    rows = [
        (number, step.action, step.subject, step.detail) for number, step in enumerate(plan.steps, start=1)
    ]
    console.print_table("", ("", "Step", "What", "How"), rows)


def _outcome_document(outcome: "Outcome") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "id": outcome.id,
        "done": [asdict(step) for step in outcome.done],
        "safety_backup": None if outcome.safety is None else str(outcome.safety),
        "roles_created": list(outcome.roles_created),
        "rows": outcome.rows,
        "notes": list(outcome.notes),
    }


def _request(wanted: "_Wanted", databases: tuple[str, ...], volumes: dict[str, Path]) -> "Request":
    from smos.errors import TargetError
    from smos.restore.plan import Request

    if not databases and not volumes:
        raise TargetError(
            "Nothing to restore is named",
            remedy="give --host (and --database) for databases, --volume NAME=DIRECTORY for volumes",
        )
    return Request(
        databases=databases,
        volumes=volumes,
        safety=wanted.safety,
        keep_old=wanted.keep_old,
        with_logins=wanted.with_logins,
        accept_differences=wanted.accept,
    )


def _where(host: str | None, port: int, user: str, *, needs_server: bool) -> "Where":
    from smos.cli.sources import client_tools
    from smos.clock import SystemClock
    from smos.provision.base import PostgresEndpoint
    from smos.restore.mend import Where
    from smos.restore.server import read_server
    from smos.target import Limits

    endpoint = server = installation = None
    if needs_server:
        endpoint = PostgresEndpoint(host=host or "localhost", port=port, superuser=user, version_num=0)
        server = read_server(endpoint)
        endpoint = PostgresEndpoint(
            host=endpoint.host, port=port, superuser=user, version_num=server.version_num
        )
        installation = client_tools(server.version_num // 10000)
    return Where(
        endpoint=endpoint,
        installation=installation,
        server=server,
        journals=home_directory() / "restores",
        limits=Limits(),
        clock=SystemClock(),
    )


def _lock(where: "Where") -> Any:
    from contextlib import nullcontext

    from smos.restore.server import only_one

    return nullcontext() if where.endpoint is None else only_one(where.endpoint)


def _places(words: tuple[str, ...]) -> dict[str, Path]:
    from smos.errors import TargetError

    places = {}
    for word in words:
        name, separator, path = word.partition("=")
        if not separator or not name or not path:
            raise TargetError(f"--volume {word}: not NAME=DIRECTORY")
        places[name] = Path(path).absolute()
    return places


def _beside(directory: Path) -> Path:
    resolved = directory.absolute()
    return resolved.with_name(f"{resolved.name}-safety")


class _Wanted:
    """What `restore` was asked for."""

    def __init__(
        self,
        name: str | None,
        databases: tuple[str, ...],
        volumes: tuple[str, ...],
        host: str | None,
        port: int,
        user: str,
        safety: Path | None,
        *,
        keep_old: bool,
        with_logins: bool,
        accept: bool,
    ) -> None:
        self.name, self.databases, self.volumes = name, databases, volumes
        self.host, self.port, self.user, self.safety = host, port, user, safety
        self.keep_old, self.with_logins, self.accept = keep_old, with_logins, accept
        if databases and host is None:
            self.host = "localhost"
