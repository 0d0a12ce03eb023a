"""`smos backup`: takes, lists, verifies, restores and prunes backup sets."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smos.cli import console

if TYPE_CHECKING:
    from smos.backup.model import BackupSet, Catalog
    from smos.backup.verified import Verification
    from smos.restore.plan import Request, RestorePlanned
    from smos.restore.run import Outcome, Where
    from smos.target import Target

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

    found = _find(target, backups)
    verified = _verified(found, reports, read_history)
    catalog = found.catalog
    rows = [_set_document(item, catalog, verified) for item in catalog.sets]
    if as_json:
        problems = [{"code": problem.code, "detail": problem.detail} for problem in catalog.problems]
        console.print_json({"directory": str(catalog.directory), "sets": rows, "problems": problems})
    else:
        columns = ("Set", "Taken (UTC)", "Size", "Holds", "Encrypted", "Signed", "Verified")
        console.print_table("", columns, [_set_row(row) for row in rows])
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

    named = _target_file(target)
    directory = backups or (None if named else _configured_directory())
    if named is None and directory is None:
        raise _no_directory()
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

    found = _find(target, backups)
    catalog = found.catalog
    days = keep_days if keep_days is not None else found.keep_days
    rulings = judge_sets(
        catalog, _verified(found, reports, read_history), keep=timedelta(days=days), now=datetime.now(UTC)
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


@app.command("restore")
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
    home = _home()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(home / ".restore.lock", mode=0o600, timeout=0):
            if undo or finish:
                _after(undo, finish, host, port, user, yes=yes, as_json=as_json)
                return
            found = _find(target, backups, escrow=escrow)
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
    from smos.restore import run

    where = _where(host, port, user, needs_server=host is not None)
    run.mend(where, {}, console.say)
    if undo:
        console.confirm(f"Put back what was in use before restore {undo}?", yes=yes)
        names = run.undo(where, undo)
    else:
        console.confirm(f"Remove the old state that restore {finish} kept, for good?", yes=yes)
        names = run.finish(where, finish or "")
    if as_json:
        console.print_json({"id": undo or finish, "done": "undone" if undo else "finished", "what": names})
    else:
        for item in names:
            console.tell(f"{item}: {'as before' if undo else 'removed'}")


def _restore(found: "_Found", wanted: "_Wanted", *, dry_run: bool, yes: bool, as_json: bool) -> None:
    import signal

    from smos.provision.owner import Owner
    from smos.restore import opening, run

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
        run.mend(where, volumes, console.say)
        with _lock(where):
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
    from smos.restore.run import Where
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
        journals=_home() / "restores",
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


class _Found:
    """The target and what lies in its directory."""

    def __init__(self, target: "Target", catalog: "Catalog", keep_days: float) -> None:
        self.target, self.catalog, self.keep_days = target, catalog, keep_days


def _home() -> Path:
    from smos.config.store import home

    return home(os.environ)


def _target_file(named: Path | None) -> Path | None:
    from smos.config.store import Config

    if named is not None:
        return named
    configured = Config(_home(), os.environ).value("target")
    if configured:
        return Path(configured).expanduser()
    return Path("smos.yml") if Path("smos.yml").is_file() else None


def _configured_directory() -> Path | None:
    from smos.config.store import Config

    named = Config(_home(), os.environ).value("backups.directory")
    return Path(named).expanduser() if named else None


def _no_directory() -> Exception:
    from smos.errors import TargetError

    return TargetError(
        "No backup directory is named",
        remedy="give --backups DIR or --target FILE, or: smos config set backups.directory DIR",
    )


def _find(target: Path | None, backups: Path | None, *, escrow: Path | None = None) -> _Found:
    """Return the target and its catalogue. Raises TargetError where no directory is named."""
    from smos.backup.catalog import read_catalog
    from smos.config.store import Config
    from smos.drill.plan import derive_target
    from smos.target import VaultTarget, load_target

    named = None if backups is not None and target is None else _target_file(target)
    keep: float
    if named is not None:
        declared = load_target(named)
        directory = backups or declared.backups.directory
        keep = declared.backups.schedule.retention_days
    else:
        declared, directory = None, backups or _configured_directory()
        keep = float(Config(_home(), os.environ).value("backups.keep_days"))
    if directory is None:
        raise _no_directory()
    directory = directory.expanduser()
    zone = declared.backups.schedule.timezone if declared else "UTC"
    catalog = read_catalog(directory, timezone=zone, volumes=declared.volumes if declared else ())
    meant = declared or derive_target(directory, catalog)
    if escrow is not None:
        vault = (meant.vault or VaultTarget()).model_copy(update={"escrow": escrow})
        meant = meant.model_copy(update={"vault": vault})
    return _Found(meant, catalog, keep)


def _verified(found: _Found, reports: Path, read: Any) -> "dict[str, Verification]":
    from smos.backup.verified import verifications

    return verifications(read(reports), found.target.name)


def _set_document(
    item: "BackupSet", catalog: "Catalog", verified: "dict[str, Verification]"
) -> dict[str, Any]:
    from smos.backup.manifest import read_manifest
    from smos.errors import BackupError

    encrypted: bool | None = None
    databases, volumes = list(item.databases), list(item.volumes)
    if item.manifested:
        try:
            manifest = read_manifest(catalog.directory / item.id)
        except BackupError:
            manifest = None
        if manifest is not None:
            encrypted = manifest.encryption is not None
            databases = [entry.name for entry in manifest.databases]
            volumes = [entry.name for entry in manifest.volumes]
    if encrypted is None:
        encrypted = bool(item.artifacts) and all(artifact.encryption for artifact in item.artifacts)
    proof = verified.get(item.id)
    return {
        "set": item.id,
        "taken": item.stamp.isoformat() if item.stamp else None,
        "databases": databases,
        "volumes": volumes,
        "vault": item.vault,
        "bytes": item.stored_bytes,
        "encrypted": encrypted,
        "signed": item.signed,
        "manifest": item.manifested,
        "verified": proof is not None,
        "verified_at": proof.at.isoformat() if proof else None,
        "verified_by": proof.run_id if proof else None,
        "problems": [{"code": problem.code, "detail": problem.detail} for problem in item.problems],
    }


def _set_row(row: dict[str, Any]) -> tuple[str, ...]:
    holds = [*row["databases"], *row["volumes"], *(["Vault"] if row["vault"] else [])]
    taken = datetime.fromisoformat(row["taken"]).strftime("%Y-%m-%d %H:%M") if row["taken"] else "unknown"
    proof = (
        f"{row['verified_at'][:16].replace('T', ' ')} ({row['verified_by']})" if row["verified"] else "never"
    )
    return (
        row["set"],
        taken,
        _size(row["bytes"]),
        ", ".join(holds) or "nothing",
        "yes" if row["encrypted"] else "no",
        "yes" if row["signed"] else "no",
        proof,
    )


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError("unreachable")
