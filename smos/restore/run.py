"""Does what a plan says, or leaves everything as it was: on an error, on Ctrl-C, and for a killed run at the next one.

Until the swap nothing that is in use is touched. The swap is one transaction over all databases; the volumes are
exchanged while it is open, so that only a kill within these milliseconds leaves both kinds apart, and the journal
tells the next run which way to mend that. After the swap the old state is kept until the new one has answered.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from smos.backup.create import BackupSource, create_backup
from smos.backup.manifest import Manifest
from smos.backup.volumes import Restoration, VolumeFacts
from smos.drill.globals import Globals
from smos.drill.restore_facts import DatabaseRestore
from smos.errors import BackupError, SmosError
from smos.postgres.catalogue import read_catalogue
from smos.postgres.compare import compare_content
from smos.postgres.content import DatabaseContent
from smos.postgres.difference import Difference
from smos.postgres.fingerprint import read_content
from smos.postgres.session import snapshot_session
from smos.provision.base import PostgresEndpoint
from smos.provision.owner import Owner
from smos.restore.exchange import check_exchange
from smos.restore.journal import Journal, SwappedDatabase, SwappedVolume, read_journals, write_journal
from smos.restore.load import JOBS, Load
from smos.restore.mend import SWAPPED, Say, Where, committed, held, put, remove_old, remove_staged, take_back
from smos.restore.plan import RestorePlanned, Step
from smos.restore.server import connect, live_server, read_server
from smos.restore.swap import Names, drop_database, swap

DISK_FULL = "53100"
"""SQLSTATE."""
SHOWN = 12
"""Differences that an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done. done: the steps, in order. safety: the backup that was taken before. notes: what to know."""

    id: str
    set_id: str
    done: tuple[Step, ...]
    safety: Path | None
    roles_created: tuple[str, ...]
    notes: tuple[str, ...]
    rows: int


class _Run:
    """One restore. Every step is told to `step` as it is done."""

    def __init__(self, plan: RestorePlanned, where: Where, manifest: Manifest, say: Say) -> None:
        self.plan, self.where, self.manifest, self.say = plan, where, manifest, say
        self.done: list[Step] = []
        self.notes: list[str] = []
        self.safety: Path | None = None
        self.rows = 0
        self.created: tuple[str, ...] = ()
        self.oids: dict[str, int] = {}
        self._waiting = list(plan.steps)

    def step(self, action: str, subject: str) -> None:
        """Note the next step of the plan as done; what is not planned is never done."""
        if not self._waiting or (self._waiting[0].action, self._waiting[0].subject) != (action, subject):
            raise SmosError(f"{action} of {subject} is not the next step of the plan")
        self.done.append(self._waiting.pop(0))
        self.say(f"{action}: {subject}")

    @property
    def endpoint(self) -> PostgresEndpoint:
        if self.where.endpoint is None:
            raise BackupError("No PostgreSQL is named to restore databases into", remedy="give --host")
        return self.where.endpoint


def execute(plan: RestorePlanned, where: Where, manifest: Manifest, found: Globals, say: Say) -> Outcome:
    """Restore as planned. The caller holds the server's lock. Raises SmosError; everything is then as it was."""
    run = _Run(plan, where, manifest, say)
    with Owner("restore") as owner, ExitStack() as stack:
        try:
            _clean(run)
            _safety(run)
            volumes = _load(run, found, owner, stack)
            _swap(run, volumes)
        except BaseException:
            with _uninterrupted():
                _leave_whole(run)
            raise
        _answers(run)
        _remove_old(run)
    return Outcome(
        id=plan.id, set_id=plan.set_id, done=tuple(run.done), safety=run.safety,
        roles_created=run.created, notes=tuple(run.notes), rows=run.rows,
    )  # fmt: skip


@contextmanager
def _uninterrupted(*, later: bool = False) -> Iterator[None]:
    """Let no Ctrl-C break what is short and must be whole. later: it counts when that is done; else it is forgotten."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda signum, _frame: asked.append(signum))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked and later:
        raise KeyboardInterrupt


# --- before -----------------------------------------------------------------------------------------------------------


def _clean(run: _Run) -> None:
    for item in run.plan.clean:
        drop_database(run.endpoint, item.database)
        run.step("clean", item.database)


def _safety(run: _Run) -> None:
    request = run.plan.request
    databases = tuple(names.name for _, names in run.plan.dumps if names.exists)
    volumes = {source.name: place for source, place in run.plan.volumes if place.exists()}
    if request.safety is None or not (databases or volumes):
        return
    request.safety.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = BackupSource(
        name="before-restore",
        postgres=run.where.endpoint if databases else None,
        installation=run.where.installation if databases else None,
        databases=databases,
        volumes=volumes,
    )
    try:
        run.safety = create_backup(source, request.safety, clock=run.where.clock, progress=run.say)
    except SmosError as error:
        raise BackupError(
            f"The safety backup failed, so nothing was restored: {error.message}",
            remedy="repair that first; or, where what is in use is lost anyway, give --no-safety --keep-old",
            log=error.log,
        ) from error
    run.step("safety-backup", ", ".join([*databases, *volumes]))


# --- loading and verifying, beside what is in use ---------------------------------------------------------------------


def _load(run: _Run, found: Globals, owner: Owner, stack: ExitStack) -> tuple[SwappedVolume, ...]:
    plan = run.plan
    staged: list[tuple[Restoration, str, Path, Path]] = []
    if plan.dumps:
        _databases(run, found, owner, lambda: staged.extend(_volumes(run, stack)))
    else:
        staged.extend(_volumes(run, stack))
    for restoration, name, _place, _folder in staged:
        _check_volume(run, restoration.verify(), name)
        run.step("verify", name)
    return tuple(
        SwappedVolume(
            name=name, place=place, staged=folder, inode=folder.stat().st_ino, exists=place.exists()
        )
        for _, name, place, folder in staged
    )


def _databases(run: _Run, found: Globals, owner: Owner, between: Callable[[], None]) -> None:
    plan, where = run.plan, run.where
    if where.server is None or where.installation is None:
        raise BackupError("No PostgreSQL is named to restore databases into", remedy="give --host")
    scratch = owner.directory("restore")
    server = live_server(run.endpoint, where.installation, where.server, scratch)
    load = Load(
        server, where.server, found, limits=where.limits, scratch=scratch,
        with_logins=plan.request.with_logins, progress=run.say,
    )  # fmt: skip
    complete = False
    try:
        load.prepare()
        for role in plan.roles:
            load.ensure_roles([role])
            run.step("create-role", role)
        for (_, names), facts in zip(
            plan.dumps, load.run([(source, names.new) for source, names in plan.dumps]), strict=True
        ):
            _check_load(names, facts)
            run.notes += [f"{names.name}: {note.detail}" for note in facts.gaps]
            run.step("restore-database", names.name)
        between()
        for _, names in plan.dumps:
            _compare(run, load, server.endpoint, names)
            run.step("verify", names.name)
        run.created = load.created
        complete = True
    finally:
        with _uninterrupted():
            if not complete:
                for _, names in plan.dumps:
                    drop_database(run.endpoint, names.new)
            load.close(failed=not complete)


def _check_load(names: Names, facts: DatabaseRestore) -> None:
    if facts.refused:
        refused = "; ".join(problem.detail for problem in facts.refused[:SHOWN])
        raise BackupError(
            f"{names.name}: the dump holds what no restore may execute: {refused}",
            remedy="treat the set as tampered with: take it from another copy, and find out who wrote there",
        )
    if not facts.restored or facts.complete is False:
        errors = "; ".join(f"{e.kind} {e.subject}: {e.code}" for e in facts.errors[:SHOWN])
        problems = "; ".join(p.detail for p in (*facts.gaps, *facts.notes)[:SHOWN])
        if any(e.code == DISK_FULL for e in facts.errors):
            raise BackupError(
                f"{names.name} could not be restored: the server's disk is full",
                remedy="make room for a second copy of the database, then restore again",
            )
        raise BackupError(
            f"{names.name} could not be restored: {errors or problems or 'the dump is not complete'}",
            remedy="`smos backup verify` shows whether the set can be restored at all",
        )


def _compare(run: _Run, load: Load, endpoint: PostgresEndpoint, names: Names) -> None:
    """Hold what came back against the manifest. Read as the reader: a cast in the dump may run code."""
    entry = next(item for item in run.manifest.databases if item.name == names.name)
    try:
        expected = DatabaseContent.from_json(entry.content)
    except ValueError as error:
        raise BackupError(f"{names.name}: what the manifest says of its content can't be read") from error
    # Names and definitions as the administrator, who sees them all (no code of the dump runs for that).
    with snapshot_session(lambda: connect(run.endpoint, names.new), None) as connection:
        catalogue = read_catalogue(connection)
    load.let_reader_in(names.new)
    conninfo = endpoint.conninfo(names.new, load.reader, password=endpoint.env().get("PGPASSWORD", ""))
    try:
        content = read_content(lambda: psycopg.connect(conninfo), jobs=JOBS, mode=expected.mode, probe=False)
    finally:
        load.keep_reader_out(names.new)
    compared = compare_content(expected, replace(content, catalogue=catalogue))
    run.rows += content.rows
    with connect(run.endpoint) as connection:
        row = connection.execute(
            "SELECT oid::bigint FROM pg_database WHERE datname = %s", [names.new]
        ).fetchone()
    run.oids[names.name] = int(row[0]) if row else 0
    _judge(run, names.name, [item for item in compared if not item.uncertain])


def _judge(run: _Run, name: str, differences: list[Difference]) -> None:
    if not differences:
        return
    shown = "; ".join(f"{d.code} {d.object} ({d.detail})" for d in differences[:SHOWN])
    text = f"{name} is not what the manifest promises ({len(differences)} differences): {shown}"
    if not run.plan.request.accept_differences:
        raise BackupError(text, remedy="take another set; or accept it as it is with --accept-differences")
    run.notes.append(text)


def _volumes(run: _Run, stack: ExitStack) -> Iterator[tuple[Restoration, str, Path, Path]]:
    for source, place in run.plan.volumes:
        folder = place.parent / f".smos-restore-{run.plan.id}-{source.name}"
        folder.mkdir(mode=0o700)
        stack.enter_context(held(folder))
        if place.exists():
            check_exchange(folder)
        restoration = stack.enter_context(
            Restoration(
                source.archive, folder / "content", volumes=(source.name,), limits=run.where.limits,
                entries={source.name: source.entries} if source.entries else {}, compression=source.compression,
            )
        )  # fmt: skip
        restoration.restore()
        run.step("restore-volume", source.name)
        yield restoration, source.name, place, folder / "content" / source.name


def _check_volume(run: _Run, facts: tuple[VolumeFacts, ...], name: str) -> None:
    for item in facts:
        problems = [problem.detail for problem in item.problems]
        problems += [f"{d.kind}: {d.count}" for d in item.differences]
        if not item.restored or not item.compared:
            problems.append("it could not be compared with its list of entries")
        if not problems:
            continue
        text = f"Volume {name} is not what the set promises: {'; '.join(problems[:SHOWN])}"
        if not item.restored or not run.plan.request.accept_differences:
            raise BackupError(
                text, remedy="take another set; or accept it as it is with --accept-differences"
            )
        run.notes.append(text)


# --- the swap ---------------------------------------------------------------------------------------------------------


def _swap(run: _Run, volumes: tuple[SwappedVolume, ...]) -> None:
    names = [names for _, names in run.plan.dumps]
    journal = Journal(
        id=run.plan.id,
        set_id=run.plan.set_id,
        identifier=run.where.server.system_identifier if run.where.server else None,
        databases=tuple(SwappedDatabase(name=item.name, exists=item.exists) for item in names),
        volumes=volumes,
    )
    # In this order: a directory that is marked without a journal would never be removed by anybody.
    write_journal(run.where.journals, journal)
    for volume in volumes:
        (volume.staged.parent.parent / SWAPPED).touch()

    def exchange_volumes() -> None:
        for volume in volumes:
            put(volume)

    with _uninterrupted(later=True):  # a few milliseconds, and then everything is new
        if names:
            swap(run.endpoint, names, exchange_volumes)
        else:
            exchange_volumes()
    for item in names:
        run.step("swap-database", item.name)
    for volume in volumes:
        run.step("swap-volume", volume.name)


def _answers(run: _Run) -> None:
    """Ask each database, by the name that applications use, whether it is the one that was verified."""
    for name, oid in run.oids.items():
        with connect(run.endpoint, name) as connection:
            row = connection.execute(
                "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
            ).fetchone()
        if row is None or int(row[0]) != oid:
            raise BackupError(
                f"{name} answers, but it is not the database that was verified",
                remedy=f"smos backup restore --undo {run.plan.id} puts the old one back",
            )


def _remove_old(run: _Run) -> None:
    if run.plan.request.keep_old:
        run.notes.append(
            f"the old state is kept: `smos backup restore --finish {run.plan.id}` removes it,"
            f" `--undo {run.plan.id}` puts it back"
        )
        return
    whole = True
    for _, names in run.plan.dumps:
        if not names.exists:
            continue
        try:
            remove_old(run.endpoint, names.old)
        except BackupError as error:
            whole = False
            run.notes.append(f"{error.message}; {error.remedy} {run.plan.id}")
        run.step("remove-old", names.name)
    for source, place in run.plan.volumes:
        if any(step.action == "remove-old" and step.subject == source.name for step in run.plan.steps):
            run.step("remove-old", source.name)
        remove_staged(place.parent / f".smos-restore-{run.plan.id}-{source.name}")
    if whole:
        (run.where.journals / f"{run.plan.id}.json").unlink(missing_ok=True)


def _leave_whole(run: _Run) -> None:
    """Leave everything as it was; or as it is now, where the server had accepted the swap before we broke off."""
    for path, journal in read_journals(run.where.journals):
        if journal.id != run.plan.id:
            continue
        if committed(journal, read_server(run.endpoint) if journal.databases else None):
            for volume in journal.volumes:
                put(volume)
            run.say(f"interrupted after the swap: {journal.set_id} is in use, the old state is kept.")
            run.say(f"smos backup restore --finish {journal.id} removes it, --undo {journal.id} puts it back")
            return
        for volume in journal.volumes:
            take_back(volume)
        path.unlink()
    for _, names in run.plan.dumps:
        drop_database(run.endpoint, names.new)
    for source, place in run.plan.volumes:
        remove_staged(place.parent / f".smos-restore-{run.plan.id}-{source.name}")
