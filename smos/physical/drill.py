"""One drill of physical backups: survey, fetch, verify, recover to a moment, to the end, and to where it must fail.

Facts only. `Drill` makes what is asked for and no more, so that a check (or a negative control) costs what it needs.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import psycopg

from smos.clock import Clock
from smos.errors import DeadlineError, ProvisionError
from smos.instant import InstantTree, Level, open_instant
from smos.physical import observe, tools
from smos.physical.choose import choose_moment
from smos.physical.facts import AttemptFacts, Known, Outcome, PitrRecord, PreparedFacts
from smos.physical.fetch import SPACES
from smos.physical.listing import Listing, compare
from smos.physical.plain import PlainStore, Prepared, StoreSurvey
from smos.physical.reasons import reason_in
from smos.physical.sandbox import (
    SandboxPostgres,
    SuperuserError,
    brought_by,
    defuse,
    defuse_view,
    settings_for,
)
from smos.physical.store import BaseBackup
from smos.physical.survey import describe_survey
from smos.physical.wal import SEGMENT, lsn_number, segment_name
from smos.postgres.content import DatabaseContent
from smos.provision.owner import Owner
from smos.verdict import Problem

MOMENT, POSITION, END, BEYOND, BEFORE = "moment", "position", "end", "beyond", "before"
ALL = (END, MOMENT, POSITION, BEYOND, BEFORE)
COPY_S = 4 * 3600
FAR = timedelta(hours=1)
"""How far outside of what can be recovered the drill asks, to see that it is refused."""


class Store(Protocol):
    """What the drill asks of a place where physical backups lie."""

    kind: str
    path: Path

    def listing(self) -> Listing:
        """Return store and archive as they stand."""

    def survey(self) -> StoreSurvey:
        """Read what is there."""

    def prepare(self, backup: BaseBackup, survey: StoreSurvey) -> Prepared:
        """Bring a backup into the sandbox."""

    def log_for(self, prepared: Prepared, survey: StoreSurvey) -> tuple[str, tuple[Problem, ...]]:
        """Return the restore command for one recovery, and what is wrong with the log that it will read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. moment, position: None: the drill chooses a moment, and asks for no position.

    expected: content of databases at the moment. settings: added to the sandbox's (faults use it). choose: which
    backup to start from; faults replace it.
    """

    known: Known
    moment: datetime | None = None
    position: str | None = None
    expected: Mapping[str, DatabaseContent] = field(default_factory=dict)
    superuser: str = "postgres"
    restore_s: float = COPY_S
    settings: Mapping[str, str] = field(default_factory=dict)
    choose: "Callable[[tuple[BaseBackup, ...], datetime | None, str | None], BaseBackup | None] | None" = None


def choose_backup(
    backups: tuple[BaseBackup, ...], moment: datetime | None, position: str | None
) -> BaseBackup | None:
    """Return the newest backup from which this can be reached: one that began before it.

    PostgreSQL itself does not refuse a moment before the backup where nothing was committed while the backup ran: it
    would hand over the state of the backup, with what was committed after that moment.
    """
    usable = [item for item in backups if item.label is not None]
    if moment is not None:
        usable = [item for item in usable if item.started is not None and item.started <= moment]
    if position is not None:
        usable = [item for item in usable if item.start_lsn < lsn_number(position)]
    return usable[-1] if usable else None


class Drill:
    """Makes a record step by step. Close it (or its owner) when it is done."""

    def __init__(
        self,
        owner: Owner,
        store: Store,
        question: Question,
        clock: Clock,
        sandbox: Callable[..., SandboxPostgres] = SandboxPostgres,
    ) -> None:
        self._owner = owner
        self._sandbox = sandbox
        self._store = store
        self._question = question
        self._clock = clock
        self._before = store.listing()
        self.survey = store.survey()
        self._prepared: dict[str, Prepared] = {}
        self._described: dict[str, PreparedFacts] = {}
        self._spent: set[str] = set()
        self._attempts: dict[str, AttemptFacts] = {}
        self._log_problems: list[Problem] = []
        self._moment = question.moment

    def prepare_newest(self) -> None:
        """Fetch and verify the newest backup, without recovering it."""
        backup = self._choose(None, None)
        if backup is not None:
            self._prepare(backup)

    def recover(
        self, purpose: str, *, integrity: bool = False, compare: bool = False, last: bool = False
    ) -> AttemptFacts:
        """Make one attempt, once. For a moment that nobody named, the end must have been recovered before.

        last: no attempt is thought to follow, so the fetched backup itself is recovered and not a copy of it; where
        one does follow, it is fetched again.
        """
        if purpose not in self._attempts:
            self._attempts[purpose] = self._recover(purpose, integrity=integrity, compare=compare, last=last)
        return self._attempts[purpose]

    def inspect_end(self) -> None:
        """Recover the end once more and look at indexes and pages there: where no moment could be recovered to."""
        end = self._attempts.get(END)
        if end is not None and end.outcome is Outcome.RECOVERED and not end.inspected:
            self._attempts[END] = self._recover(END, integrity=True, compare=False, last=True)

    def record(self) -> PitrRecord:
        """Return everything that was observed; store and archive are looked at again."""
        changed, gone, added = compare(self._before, self._store.listing())
        facts = describe_survey(
            self._owner, self._store.kind, self._store.path, self.survey, self._log_problems
        )
        return PitrRecord(
            survey=facts,
            known=self._question.known,
            prepared=tuple(self._described.values()),
            attempts=tuple(self._attempts.values()),
            changed=changed,
            gone=gone,
            added=added,
            compared_entries=len(self._before),
        )

    # --- one attempt -----------------------------------------------------------------------------------------

    def _goal(self, purpose: str) -> tuple[datetime | None, str | None, str]:
        """Return (moment, position, the goal in words)."""
        if purpose == END:
            return None, None, "the end of the log"
        if purpose == POSITION:
            return None, self._question.position, f"position {self._question.position}"
        if purpose == BEYOND:
            far = self._clock.now() + FAR
            return far, None, f"{far.isoformat(timespec='seconds')}, after the end of the log"
        if purpose == BEFORE:
            starts = [item.started for item in self.survey.backups if item.started is not None]
            moment = min(starts, default=self._clock.now()) - FAR
            return moment, None, f"{moment.isoformat(timespec='seconds')}, before the oldest backup"
        if self._moment is None:
            end = self._attempts.get(END)
            newest = self._choose(None, None)
            self._moment = choose_moment(end.heartbeats, newest.started if newest else None) if end else None
        if self._moment is None:
            return None, None, "a moment between two heartbeats"
        return self._moment, None, self._moment.isoformat()

    def _choose(self, moment: datetime | None, position: str | None) -> BaseBackup | None:
        return (self._question.choose or choose_backup)(self.survey.backups, moment, position)

    def _recover(self, purpose: str, *, integrity: bool, compare: bool, last: bool) -> AttemptFacts:
        moment, position, words = self._goal(purpose)
        facts = AttemptFacts(purpose=purpose, goal=words, time=moment, backup="", outcome=Outcome.NOT_TRIED)
        if purpose == MOMENT and moment is None:
            return replace(
                facts, code="no-moment", detail="no two heartbeats lie after the newest backup's start"
            )
        if purpose == POSITION and position is None:
            return replace(facts, code="no-position", detail="no position in the log was named")
        backup = self._choose(moment, position)
        if backup is None:
            return self._without_backup(facts, moment)
        facts = replace(facts, backup=backup.id)
        prepared = self._prepare(backup)
        if not prepared.usable:
            problem = next(iter(prepared.problems), Problem("unusable", "it can't be used"))
            return replace(facts, code="backup-unusable", detail=f"{problem.code}: {problem.detail}")
        return self._run(facts, prepared, moment, position, integrity=integrity, compare=compare, last=last)

    def _without_backup(self, facts: AttemptFacts, moment: datetime | None) -> AttemptFacts:
        """Say why there is no backup to start from: none at all, none that tells its start, or none that is older."""
        known = [item for item in self.survey.backups if item.label is not None]
        if not known:
            return replace(facts, code="no-backup", detail="there is no base backup to start from")
        if moment is not None and all(item.started is None for item in known):
            detail = "no label says when its backup began in a zone that means one thing"
            return replace(facts, code="start-unclear", detail=detail)
        oldest = next((item.started for item in known if item.started), None)
        detail = f"the oldest base backup began at {oldest.isoformat() if oldest else known[0].start_lsn}"
        return replace(facts, outcome=Outcome.REFUSED, code="no-older-backup", detail=detail)

    def _prepare(self, backup: BaseBackup) -> Prepared:
        if backup.id not in self._prepared or backup.id in self._spent:
            self._spent.discard(backup.id)
            self._prepared[backup.id] = prepared = self._store.prepare(backup, self.survey)
            self._described.setdefault(backup.id, _describe(prepared))
        return self._prepared[backup.id]

    def _run(
        self,
        facts: AttemptFacts,
        prepared: Prepared,
        moment: datetime | None,
        position: str | None,
        *,
        integrity: bool,
        compare: bool,
        last: bool,
    ) -> AttemptFacts:
        fetched, installation = prepared.fetched, prepared.installation
        assert fetched is not None and installation is not None  # noqa: S101, PT018  (usable)
        command, problems = self._store.log_for(prepared, self.survey)
        self._log_problems += [item for item in problems if item not in self._log_problems]
        tree = self._view(prepared) if fetched.level != "full" else None
        room, data = self._own(prepared, last=last) if tree is None else (tree.room, tree.path)
        try:
            if tree is None:
                defuse(data)
                (data / "recovery.signal").touch(mode=0o600)
                self._owner.give(data / "recovery.signal")
            else:
                defuse_view(tree)
            # The tools of others bring the archive's own log.
            if facts.purpose == END and isinstance(self._store, PlainStore):
                self._leave_to_archive(data, tree, problems)
            if tree is not None:
                tree.write("recovery.signal", b"")
            settings = {
                **settings_for(installation, prepared.control),
                "restore_command": command,
                **({"recovery_target_time": f"{moment:%Y-%m-%d %H:%M:%S.%f}+00"} if moment else {}),
                **({"recovery_target_lsn": position} if position else {}),
                **self._question.settings,
            }
            server = self._sandbox(
                self._owner,
                name=f"recover-{facts.purpose}",
                installation=installation,
                settings=settings,
                data_dir=data,
                superuser=self._question.superuser,
                launcher=tree.launcher if tree else (),
            )
            launcher = tree.launcher if tree else ()
            server.share(*(room / oid for oid in fetched.spaces))
            if isinstance(self._store, PlainStore):
                server.share(*self._store.log_places, read_only=True)
            try:
                facts = self._observe(facts, server, launcher, integrity=integrity, compare=compare)
            finally:
                server.kill()
        finally:
            if tree is None:
                shutil.rmtree(room, ignore_errors=True)
            else:
                tree.destroy()
        return replace(facts, destroyed=not room.exists())

    def _leave_to_archive(self, data: Path, tree: InstantTree | None, problems: tuple[Problem, ...]) -> None:
        """Take out of the sandbox the log that the archive holds as well: the archive's own is what must replay.

        A server takes its own copy, without a word, where the archive's is damaged.
        """
        bad = {item.detail.partition(" ")[0].removesuffix(":") for item in problems}
        archived = {
            item.name for item in self.survey.archive.segments if not item.partial and item.path not in bad
        }
        place = data / "pg_wal"
        if place.is_symlink() or not place.is_dir():
            return
        own = [item for item in place.iterdir() if SEGMENT.fullmatch(item.name)]
        if tree is None:
            for item in own:
                if item.name in archived:
                    item.unlink()
        elif own and archived.issuperset(item.name for item in own):
            tree.empty("pg_wal")

    def _observe(
        self,
        facts: AttemptFacts,
        server: SandboxPostgres,
        launcher: tuple[str, ...],
        *,
        integrity: bool,
        compare: bool,
    ) -> AttemptFacts:
        started = time.monotonic()
        try:
            server.start(self._question.restore_s)
        except DeadlineError as error:
            return replace(facts, outcome=Outcome.LATE, code="late", detail=error.message[:300])
        except SuperuserError as error:
            detail = f"{error.message}; {error.remedy}"
            return replace(facts, outcome=Outcome.NOT_TRIED, code="superuser-unknown", detail=detail)
        except ProvisionError as error:
            code, detail = reason_in(server.logs(), error.message)
            seconds = time.monotonic() - started
            if code == "sandbox-short":
                return replace(facts, outcome=Outcome.NOT_TRIED, code=code, detail=detail)
            return replace(facts, outcome=Outcome.FAILED, code=code, detail=detail, replay_s=seconds)
        seconds = time.monotonic() - started
        try:
            reached, timeline, last_commit = observe.read_progress(server)
            settings = observe.read_settings(server.endpoint)
            databases = observe.read_databases(
                server, self._question.expected, integrity=integrity, compare=compare
            )
        except psycopg.Error as error:
            detail = f"the recovered server does not answer: {type(error).__name__} ({error.sqlstate})"
            return replace(
                facts, outcome=Outcome.FAILED, code="not-answering", detail=detail, replay_s=seconds
            )
        leads_out = server.ways_out()
        pages: tuple[Problem, ...] = ()
        checked = False
        if integrity:
            server.stop()
            control, _ = tools.control(self._owner, server.installation, server.data_dir, launcher)
            if control is not None and control.checksums:
                pages = tools.check_pages(self._owner, server.installation, server.data_dir, launcher)
                checked = not any(item.code == "pages-not-checked" for item in pages)
        size = self.survey.archive.segment_bytes
        name = segment_name(timeline, max(lsn_number(reached) - 1, 0) // size, size) if reached else ""
        return replace(
            facts,
            outcome=Outcome.RECOVERED,
            replay_s=seconds,
            reached=reached,
            reached_file=name,
            timeline=timeline,
            last_commit=last_commit,
            databases=databases,
            pages=pages,
            pages_checked=checked,
            inspected=integrity,
            settings=settings,
            isolation=server.isolation,
            ways_out=leads_out,
        )

    def _view(self, prepared: Prepared) -> InstantTree:
        """Give every attempt a view of its own of a backup that is recovered in place."""
        fetched = prepared.fetched
        assert fetched is not None  # noqa: S101  (usable)
        linked = {f"{SPACES}/{oid}": place for oid, place in fetched.spaces.items()}
        return open_instant(
            self._owner, fetched.data, name="recover", linked=linked, levels=(Level(fetched.level),)
        )

    def _own(self, prepared: Prepared, *, last: bool) -> tuple[Path, Path]:
        """Give an attempt a data directory of its own, tablespaces as well: what was prepared, or a copy of it.

        Every attempt starts from the same; the last one may take it.
        """
        fetched = prepared.fetched
        assert fetched is not None  # noqa: S101  (usable)
        last = last and _apart(list(fetched.spaces.values()))
        if last:
            room = Path(tempfile.mkdtemp(prefix="recover-", dir=fetched.data.parent))
            self._spent.add(prepared.backup.id)
        else:
            room = self._owner.directory("recover", memory=fetched.bytes < 256 << 20)
        data = room / "data"
        spaces = {oid: room / oid for oid in fetched.spaces}
        for source, target in [(fetched.data, data), *((fetched.spaces[oid], spaces[oid]) for oid in spaces)]:
            if last:
                source.rename(target)
            else:
                self._owner.run(["/bin/cp", "-R", "-P", "-p", source, target], timeout_s=COPY_S)
        for oid, place in spaces.items():
            link = data / "pg_tblspc" / oid
            link.unlink()
            link.symlink_to(place)
            self._owner.give(link)
        (data / "tablespace_map").unlink(missing_ok=True)  # the links are right already
        self._owner.give(room)
        return room, data


def _apart(places: list[Path]) -> bool:
    """Tell whether no directory is, or holds, another one: what a backup says of its tablespaces may be anything."""
    return not any(
        one.is_relative_to(other)
        for number, one in enumerate(places)
        for another, other in enumerate(places)
        if number != another
    )


def _describe(prepared: Prepared) -> PreparedFacts:
    control = prepared.control
    return PreparedFacts(
        backup=prepared.backup.id,
        chain=tuple(link.id for link in prepared.links),
        major=prepared.backup.major,
        verified_with=prepared.verified_with,
        checksums=control.checksums if control else None,
        system_identifier=control.system_identifier if control else None,
        files=prepared.fetched.files if prepared.fetched else 0,
        bytes=prepared.fetched.bytes if prepared.fetched else 0,
        fetch_s=prepared.fetch_s,
        verify_s=prepared.verify_s,
        combine_s=prepared.combine_s,
        brought=brought_by(prepared.fetched.data) if prepared.fetched else (),
        problems=prepared.problems,
        level=prepared.fetched.level if prepared.fetched else "full",
        refused=prepared.fetched.refused if prepared.fetched else "",
        usable=prepared.usable,
    )
