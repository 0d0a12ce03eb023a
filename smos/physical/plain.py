"""A store of plain base backups: directories and tars of pg_basebackup, and an archive of the log beside it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smos.errors import BackupError, ProvisionError, UnsafeInputError
from smos.instant import open_instant
from smos.instant.clone import INSTANT_LEVELS
from smos.physical import listing, staging, tools
from smos.physical.agreement import disagreements
from smos.physical.archive import Archive, read_archive
from smos.physical.coverage import Coverage, cover
from smos.physical.fetch import SPACES, Fetched, Fetcher
from smos.physical.store import BaseBackup, Form, chain_of, read_store
from smos.provision.installations import PostgresInstallation, choose_installation
from smos.provision.owner import Owner
from smos.provision.relocate import reachable_installation
from smos.target import Limits
from smos.verdict import Problem

VERIFIER = "pg_verifybackup"
FATAL = frozenset(
    {
        "chain-broken", "chain-link-missing", "entry-refused", "label-damaged", "label-missing", "limit-exceeded",
        "link-refused", "no-installation", "path-refused", "tablespace-missing", "tablespace-outside",
    }
)  # fmt: skip
"""Problems with which recovery is not even tried; the others are damage whose effect is worth seeing."""

NOT_WHOLE = frozenset({"backup-unread", "limit-exceeded", "tablespace-outside"})
"""Problems with which less was fetched than there is: what then lacks says nothing about the backup."""
SMALL = 256 << 20
"""Bytes up to which a chain is fetched into memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A full base backup in the sandbox, ready to be recovered. links: what it was made of. Times in seconds."""

    backup: BaseBackup
    links: tuple[BaseBackup, ...]
    fetched: Fetched | None
    installation: PostgresInstallation | None
    control: tools.Control | None
    verified_with: str
    fetch_s: float
    verify_s: float
    combine_s: float
    problems: tuple[Problem, ...]

    @property
    def usable(self) -> bool:
        """Whether a recovery can be tried."""
        return self.fetched is not None and self.installation is not None and self.control is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSurvey:
    """What a store holds. backups: oldest first; coverages: by their id. tool: what another tool says of itself."""

    backups: tuple[BaseBackup, ...]
    archive: Archive
    coverages: dict[str, Coverage]
    problems: tuple[Problem, ...]
    tool: str = ""


class PlainStore:
    """Reads `path` (one backup, or a directory of them) and `wal`. Nothing is ever written to either."""

    kind = "plain"

    def __init__(
        self,
        owner: Owner,
        path: Path,
        wal: Path | None,
        limits: Limits,
        *,
        instant: bool = False,
        compare: bool = True,
    ) -> None:
        """compare: compare every file with the manifest; without it `verified_with` stays empty."""
        self.owner = owner
        self.instant = instant
        self.compare = compare
        self.path = path
        self.log_places: tuple[Path, ...] = ()
        """Where the restore command of the last `log_for` reads: what is staged, and what is linked there."""
        self.wal = wal
        self.limits = limits
        if wal is None and (path / "wal").is_dir():
            self.wal = path / "wal"

    def listing(self) -> listing.Listing:
        """Return the store and the archive as they stand."""
        return listing.take(self.path, self.wal)

    def survey(self) -> StoreSurvey:
        """Read what is there."""
        backups, problems = read_store(self.path, apart=self.wal)
        archive = read_archive(self.wal)
        return StoreSurvey(
            backups=backups, archive=archive, coverages=coverages(backups, archive), problems=problems
        )

    def prepare(self, backup: BaseBackup, survey: StoreSurvey) -> Prepared:
        """Fetch a backup with every link of its chain, verify each, combine them."""
        problems = list(backup.problems)
        links, missing = chain_of(backup, survey.backups)
        problems += [*missing, *(problem for link in links[:-1] for problem in link.problems)]
        installation, trouble = installation_for(self.owner, backup)
        problems += trouble
        small = _small(links)
        room = self.owner.directory("fetched", memory=small)
        limits = self.limits
        if small:  # whatever the manifests say: memory is not filled with what a tar unpacks to
            limits = limits.model_copy(update={"bytes": min(limits.bytes, 4 * SMALL)})
        fetcher = Fetcher(room, self.path, limits, self.owner.give)
        fetched, fetch_s, verify_s, combine_s, verified = [], 0.0, 0.0, 0.0, bool(links)
        for number, link in enumerate(links):
            one, refused = self._in_place(link) if self.instant and len(links) == 1 else (None, "")
            if one is None:
                one = replace(fetcher.fetch(link, f"link{number}"), refused=refused)
            fetched.append(one)
            fetch_s += one.seconds
            problems += one.problems
            started = time.monotonic()
            elsewhere = any(problem.code in NOT_WHOLE for problem in one.problems)
            if (
                installation is None
                or link.manifest is None
                or not (one.data / "backup_manifest").is_file()
                or elsewhere
                or not self.compare
            ):
                verified = False
            else:
                verified = verified and not link.manifest.unhashed
                problems += tools.unverified(link.id, link.manifest, one.data)
                problems += tools.verify(
                    self.owner,
                    installation,
                    one.view or one.data,
                    parse_log=brings_its_log(link, survey.archive),
                    launcher=one.launcher,
                )
            verify_s += time.monotonic() - started
        last: Fetched | None = fetched[-1]
        if len(links) > 1 and installation is not None and not missing:
            started = time.monotonic()
            last, broken = tools.combine(self.owner, installation, fetched, room / "combined", room)
            problems += broken
            combine_s = time.monotonic() - started
        elif missing:
            last = None
        return finish(
            self.owner,
            backup=backup,
            links=links,
            fetched=last,
            installation=installation,
            verified_with=VERIFIER if verified else "",
            seconds=(fetch_s, verify_s, combine_s),
            problems=problems,
        )

    def _in_place(self, backup: BaseBackup) -> tuple[Fetched | None, str]:
        """Take the backup itself for the fetched one; (None, reason) where it can't be: then it is copied."""
        if backup.form is Form.TAR:
            return None, "the backup is a tar"
        root = self.path.resolve()
        found = {item.name: item.resolve() for item in (backup.place / SPACES).glob("*") if item.is_symlink()}
        spaces = {oid: place for oid, place in found.items() if place.is_relative_to(root)}
        linked = {f"{SPACES}/{oid}": place for oid, place in spaces.items()}
        try:
            tree = open_instant(
                self.owner, backup.place, name="in-place", linked=linked, levels=INSTANT_LEVELS
            )
        except (BackupError, ProvisionError, UnsafeInputError) as error:
            return None, error.message
        return Fetched(
            data=backup.place,
            spaces=spaces,
            files=tree.facts.files,
            bytes=tree.facts.bytes,
            seconds=tree.facts.seconds,
            problems=(),
            view=tree.path,
            launcher=tree.launcher,
            level=tree.facts.level.value,
        ), ""

    def log_for(self, prepared: Prepared, survey: StoreSurvey) -> tuple[str, tuple[Problem, ...]]:
        """Stage the log for one recovery; return the restore command and what could not be staged."""
        place = self.owner.directory("wal")
        self.log_places = (place,)
        coverage = survey.coverages.get(prepared.backup.id)
        if coverage is None or not survey.archive.there:
            return staging.restore_command(place), ()
        self.log_places = (place, Path(survey.archive.directory))
        problems = staging.stage(survey.archive, coverage, place, self.owner.user, self.owner.give)
        return staging.restore_command(place), problems


def coverages(backups: Sequence[BaseBackup], archive: Archive) -> dict[str, Coverage]:
    """Return how far each backup can be rolled forward."""
    return {
        item.id: cover(
            archive,
            start_lsn=item.label.start_lsn,
            timeline=item.label.timeline,
            own_segments=item.own_segments,
        )
        for item in backups
        if item.label is not None
    }


def finish(
    owner: Owner,
    *,
    backup: BaseBackup,
    links: tuple[BaseBackup, ...],
    fetched: Fetched | None,
    installation: PostgresInstallation | None,
    verified_with: str,
    seconds: tuple[float, float, float],
    problems: list[Problem],
) -> Prepared:
    """Read the control file of what was fetched, and say whether recovery can be tried."""
    found = None
    if any(problem.code in FATAL for problem in problems):
        fetched = None
    if fetched is not None and installation is not None:
        found, reason = tools.control(owner, installation, fetched.view or fetched.data, fetched.launcher)
        if found is None:
            problems.append(Problem("control-damaged", f"{backup.id}: pg_control can't be read: {reason}"))
        else:
            problems += disagreements(backup, found, fetched.data)
    return Prepared(
        backup=backup,
        links=links,
        fetched=fetched,
        installation=installation,
        control=found,
        verified_with=verified_with,
        fetch_s=seconds[0],
        verify_s=seconds[1],
        combine_s=seconds[2],
        problems=tuple(dict.fromkeys(problems)),
    )


def installation_for(owner: Owner, backup: BaseBackup) -> tuple[PostgresInstallation | None, list[Problem]]:
    """Return the installation of the backup's own major version; a physical backup runs on no other."""
    if not backup.major:
        return None, [
            Problem("version-unknown", f"{backup.id}: PG_VERSION does not say which version made it")
        ]
    try:
        return reachable_installation(choose_installation(major=backup.major), owner.user), []
    except ProvisionError as error:
        return None, [Problem("no-installation", f"{backup.id}: {error.message}; {error.remedy}")]


def brings_its_log(backup: BaseBackup, archive: Archive) -> bool:
    """Tell whether the backup itself holds the log that it needs, so that its records can be read as well."""
    if backup.manifest is None or backup.label is None or not backup.own_segments:
        return False
    size = archive.segment_bytes
    wanted = 0
    for _, start, end in backup.manifest.ranges:
        wanted += max(end - 1, start) // size - start // size + 1
    return len(backup.own_segments) >= wanted


def _small(links: Sequence[BaseBackup]) -> bool:
    """Tell whether the chain fits in memory: the manifests say so, and so do the files."""
    if any(link.manifest is None for link in links):
        return False
    said = sum(link.manifest.bytes for link in links if link.manifest is not None)
    if said >= SMALL:
        return False
    there = sum(facts[1] for link in links for facts in listing.take(link.place).values() if len(facts) > 1)
    return there < SMALL
