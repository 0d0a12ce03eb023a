"""A data directory that starts as a physical backup and keeps what is written to it apart from that backup.

The best way that this system allows is taken, and recorded with the reasons why no better one was:

1. `reflink`: the files share their blocks with the backup's; what is written gets blocks of its own. Needs XFS or
   Btrfs, and a place for the clone on the same file system.
2. `overlay`: overlayfs over the backup, which is only read; a file is copied when the server first opens it for
   writing (it opens a table's files so even to read them), so the start is instant and what is used is paid for.
   By root directly; by an ordinary user in a user namespace (`overlay-user-namespace`), where the kernel allows it.
3. `copy`: every byte is copied first. Not instant, and it says so.

The overlay is mounted by the server's own process (see enter.py), where only it sees it.
"""

import os
import re
import signal
import stat
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from smos.errors import BackupError, ProvisionError, UnsafeInputError
from smos.instant import enter
from smos.instant.copying import CloneRefusedError, clone_tree, copy_tree
from smos.instant.survey import LINKS, Survey, differing, survey
from smos.provision.guard import remove_tree
from smos.provision.owner import Owner

TRY_S = 300
"""Seconds that giving a backup's files to the service user may take (metadata only: some 20,000 files a second)."""
ROOT_OPTIONS = ("volatile", "metacopy=on", "index=off", "xino=off")
"""volatile: no copied file waits for the disk. metacopy: a change of owner copies no contents; it needs rights that a
user namespace does not give."""
USER_OPTIONS = ("volatile", "userxattr", "index=off", "xino=off")
READ_MOST = 1 << 20
_PROVEN: set[tuple[object, ...]] = set()
"""Levels, with the file systems between which this process has seen them work: they are not tried again."""


class Level(StrEnum):
    """How the tree is kept apart from the backup; see the module."""

    REFLINK = "reflink"
    OVERLAY = "overlay"
    OVERLAY_USER = "overlay-user-namespace"
    COPY = "copy"

    @property
    def instant(self) -> bool:
        """Whether nothing was copied before the start."""
        return self is not Level.COPY


INSTANT_LEVELS = (Level.REFLINK, Level.OVERLAY, Level.OVERLAY_USER)
ALL_LEVELS = (Level.REFLINK, Level.OVERLAY, Level.OVERLAY_USER, Level.COPY)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstantFacts:
    """How the tree was made. refused: levels that were tried before, with the reason. seal: see Survey.seal.

    bytes: of the backup's files, tablespaces included. copied: bytes copied before the start. seconds: to make it.
    """

    level: Level
    refused: tuple[tuple[Level, str], ...]
    files: int
    bytes: int
    copied: int
    seconds: float
    seal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UntouchedFacts:
    """Whether the backup is what it was. differing: names of what is not. written: bytes the sandbox has of its own.

    written is None for reflinks: how many blocks are shared can't be asked cheaply.
    """

    before: str
    after: str
    differing: tuple[str, ...]
    written: int | None

    @property
    def unchanged(self) -> bool:
        """Whether names, sizes, owners, modes, times and inodes are the same."""
        return self.before == self.after


class InstantTree:
    """See the module. `path` and `launcher` are for EmbeddedPostgres(data_dir=…, launcher=…).

    The files are at `path` only for the server when the level is an overlay: change them with the methods, and
    only while no server runs on them.
    """

    def __init__(
        self, path: Path, facts: InstantFacts, surveys: tuple[Survey, ...], launcher: tuple[str, ...]
    ) -> None:
        self.path = path
        self.facts = facts
        self.launcher = launcher
        self._surveys = surveys
        self._changed: set[str] = set()
        self._overlay = bool(launcher)
        self._own = path.with_name("upper") if self._overlay else path

    def read(self, name: str, most: int = READ_MOST) -> bytes | None:
        """Return the first bytes of a file of the data directory, as of before the start; None where there is none."""
        place = self._place(name)
        if self._overlay and name not in self._changed:
            place = self._surveys[0].root / name  # what lies above may be its metadata only
        try:
            handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(handle, "rb") as file:
            return file.read(most) if stat.S_ISREG(os.fstat(handle).st_mode) else None

    def write(self, name: str, content: bytes) -> None:
        """Put a file into the data directory (not into one of its folders), in place of what was there."""
        place = self._place(name)
        place.unlink(missing_ok=True)
        self._changed.add(name)
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        owner = self._own.stat()
        os.chown(place, owner.st_uid, owner.st_gid)

    def remove(self, name: str) -> None:
        """Take a file out of the data directory; nothing happens where there is none."""
        place = self._place(name)
        place.unlink(missing_ok=True)
        self._changed.add(name)
        if self._overlay and os.path.lexists(self._surveys[0].root / name):
            os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))  # overlayfs' sign for "not there"

    def empty(self, name: str) -> None:
        """Have a folder of the data directory hold nothing; nothing happens where there is none."""
        place = self._place(name)
        if not self._overlay:
            if place.is_dir() and not place.is_symlink():
                for item in place.iterdir():
                    remove_tree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
            return
        if not (self._surveys[0].root / name).is_dir():
            return
        if place.is_dir():
            remove_tree(place)
        place.mkdir(mode=0o700)
        owner = self._own.stat()
        os.chown(place, owner.st_uid, owner.st_gid)
        kind = "user" if self.facts.level is Level.OVERLAY_USER else "trusted"
        os.setxattr(place, f"{kind}.overlay.opaque", b"y")  # overlayfs' sign for "nothing from below"

    @property
    def room(self) -> Path:
        """The directory that everything of the sandbox's lies in."""
        return self.path.parent.parent

    def destroy(self) -> None:
        """Remove what the sandbox has of its own, before the owner does. Raises OSError."""
        remove_tree(self.room)

    def untouched(self) -> UntouchedFacts:
        """Look at the backup again, and at what the sandbox has written. Raises BackupError when it can't be read."""
        after = tuple(survey(tree.root) for tree in self._surveys)
        names = [
            str(was.root / name) if number else name
            for number, (was, now) in enumerate(zip(self._surveys, after, strict=True))
            for name in differing(was, now)
        ]
        return UntouchedFacts(
            before=self.facts.seal, after=_seal(after), differing=tuple(names), written=self._written()
        )

    def _written(self) -> int | None:
        if self.facts.level is Level.REFLINK:
            return None
        if not self._overlay:
            return self.facts.copied
        base = self.room
        return sum(
            _room_of(Path(folder, name))
            for number in range(len(self._surveys))
            for folder, _, names in os.walk(base / str(number) / "upper")
            for name in names
        )

    def _place(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name in {".", ".."}:
            raise ValueError(f"{name!r} is no name of a file in a data directory")
        return self._own / name


def _room_of(path: Path) -> int:
    """Return the bytes that a file takes on disk; none when the server, which runs, removed it meanwhile."""
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def open_instant(
    owner: Owner,
    backup: Path,
    *,
    name: str,
    linked: Mapping[str, Path] | None = None,
    levels: tuple[Level, ...] = ALL_LEVELS,
    near: Path | None = None,
    jobs: int = 2,
) -> InstantTree:
    """Make a data directory from the one in `backup` (which holds PG_VERSION), by the best level that works.

    linked: where copies of linked directories lie, e.g. {"pg_tblspc/16390": …, "pg_wal": …}; links of the backup are
    never followed. levels: those that may be tried, in this order. near: a directory on the backup's file system,
    outside of it, in which the harness may make one of its own (for reflinks); default: where the owner works.

    The tree is removed with the owner. Raises BackupError, UnsafeInputError for a hostile tree, ProvisionError when no
    level works.
    """
    started = time.monotonic()
    surveys = _surveys(backup, dict(linked or {}))
    names = ("", *sorted(path for path, _ in surveys[0].links))
    if owner.run_dir.is_relative_to(surveys[0].root) or (
        near and near.resolve().is_relative_to(surveys[0].root)
    ):
        raise BackupError(
            "The sandbox would lie in the backup itself", remedy="give another place for the run"
        )
    refused: list[tuple[Level, str]] = []
    for level in levels:
        base = owner.directory(f"{name}-{level.value}", near=near)
        try:
            launcher = _make(owner, level, surveys, names, base, jobs)
        except (CloneRefusedError, ProvisionError) as error:
            if level is levels[-1]:
                raise ProvisionError(
                    f"No copy of the backup could be made: {level}: {error}",
                    remedy="; ".join(f"{what}: {why}" for what, why in refused) or "allow further levels",
                ) from error
            refused.append((level, _reason(error)))
            continue
        facts = InstantFacts(
            level=level,
            refused=tuple(refused),
            files=sum(len(tree.files) for tree in surveys),
            bytes=sum(tree.bytes for tree in surveys),
            copied=0 if level.instant else sum(tree.bytes for tree in surveys),
            seconds=time.monotonic() - started,
            seal=_seal(surveys),
        )
        return InstantTree(base / "0" / "data", facts, surveys, launcher)
    raise ValueError("no level is given")


def _surveys(backup: Path, linked: dict[str, Path]) -> tuple[Survey, ...]:
    """Read the backup and its linked directories. Raises UnsafeInputError for a link that the caller did not name."""
    main = survey(backup.resolve())
    if "PG_VERSION" not in {entry.path for entry in main.entries if entry.kind == "f"}:
        raise BackupError(f"{backup} holds no PG_VERSION", remedy="name the directory of a physical backup")
    unknown = sorted(path for path, _ in main.links if path not in linked)
    if unknown:
        raise UnsafeInputError(
            f"{', '.join(unknown)} of the backup lead elsewhere",
            remedy="say where the copies of these directories lie; links of a backup are never followed",
        )
    strangers = sorted(path for path in linked if path not in dict(main.links) or not LINKS.fullmatch(path))
    if strangers:
        raise BackupError(f"{', '.join(strangers)} are no links of this backup", remedy="name those it has")
    others = tuple(survey(linked[path].resolve()) for path, _ in sorted(main.links))
    if any(other.links for other in others):
        raise UnsafeInputError("A linked directory of the backup holds links itself")
    return (main, *others)


def _make(
    owner: Owner, level: Level, surveys: tuple[Survey, ...], names: tuple[str, ...], base: Path, jobs: int
) -> tuple[str, ...]:
    """Make the trees below `base`; return what starts the server. Raises CloneRefusedError, ProvisionError."""
    if level in {Level.OVERLAY, Level.OVERLAY_USER}:
        return _overlay(owner, level, surveys, names, base)
    for number, tree in enumerate(surveys):
        place = base / str(number) / "data"
        for folder in (place.parent, place):
            folder.mkdir(mode=0o700)
            owner.give(folder)
        if level is Level.REFLINK:
            clone_tree(tree, place, owner.user)
        else:
            copy_tree(tree, place, owner.user, jobs=jobs)
    _link(owner, names, base, base / "0" / "data")
    return ()


def _overlay(
    owner: Owner, level: Level, surveys: tuple[Survey, ...], names: tuple[str, ...], base: Path
) -> tuple[str, ...]:
    user = level is Level.OVERLAY_USER
    if not sys.platform.startswith("linux"):
        raise CloneRefusedError("this system has no overlayfs")
    if user == (os.geteuid() == 0):
        raise CloneRefusedError("only root mounts directly" if not user else "root needs no user namespace")
    if user and any(entry.uid != os.geteuid() for tree in surveys for entry in tree.entries):
        raise CloneRefusedError("the backup's files belong to another user")
    for number in range(len(surveys)):
        root = base / str(number)
        for folder in (root, *(root / part for part in ("lower", "upper", "work", "data"))):
            folder.mkdir(mode=0o700)
            owner.give(folder)
    # Seen by us, and hidden from the server by the mount: this is the data directory of a cluster.
    version = base / "0" / "data" / "PG_VERSION"
    version.write_bytes((surveys[0].root / "PG_VERSION").read_bytes()[:16])
    owner.give(version)
    _link(owner, names, base, base / "0" / "upper")
    who = (str(owner.user.uid), str(owner.user.gid)) if owner.user else ("-", "-")
    options = ",".join(USER_OPTIONS if user else ROOT_OPTIONS)
    words = (str(base), "user" if user else "mount", *who, str(int(signal.SIGQUIT)), options)
    sources = (str(tree.root) for tree in surveys)
    launcher = (sys.executable, "-I", "-S", str(enter.__file__), *words, *sources, "--")
    places = (level, base.stat().st_dev, *(tree.root.stat().st_dev for tree in surveys))
    if places not in _PROVEN or not _is_ours(owner, surveys):
        owner.run(launcher, timeout_s=TRY_S, as_service_user=False)
        _PROVEN.add(places)
    return launcher


def _is_ours(owner: Owner, surveys: tuple[Survey, ...]) -> bool:
    """Whether the server's user could own every entry as it is."""
    return owner.user is None or all(
        (entry.uid, entry.gid) == (owner.user.uid, owner.user.gid)
        and (entry.kind == "l" or entry.mode & 0o777 == (0o700 if entry.kind == "d" else 0o600))
        for tree in surveys
        for entry in tree.entries
    )


def _link(owner: Owner, names: tuple[str, ...], base: Path, own: Path) -> None:
    """Have the links of the data directory lead to the sandbox's own copies."""
    for number, name in enumerate(names):
        if not name:
            continue
        place = own / name
        if not place.parent.is_dir():
            place.parent.mkdir(mode=0o700)
            owner.give(place.parent)
        place.symlink_to(base / str(number) / "data")
        owner.give(place)


def _seal(surveys: tuple[Survey, ...]) -> str:
    return ":".join(tree.seal() for tree in surveys)


def _reason(error: Exception) -> str:
    if isinstance(error, ProvisionError):
        return (error.log.splitlines() or [error.message])[-1]
    return str(error)
