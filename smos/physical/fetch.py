"""Bring one base backup into the sandbox: a directory copied, tars unpacked, tablespaces put where the sandbox is.

Untrusted input: no link is followed but those of tablespaces that stay inside of the store; nothing is written outside
of the destination; what is neither file nor directory is refused; sizes are bounded.
"""

import errno
import os
import re
import stat
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from smos.backup.streams import StreamFault
from smos.physical.store import BASE_TAR, SPACE_TAR, WAL_TAR, BaseBackup, Form, open_tar
from smos.target import Limits
from smos.verdict import Problem

SPACES = "pg_tblspc"
_LINE = re.compile(r"(?P<oid>[1-9]\d{0,9}) (?P<path>.+)")
_COPY_BYTES = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
DEEPEST = 32
"""Directories inside of directories: PostgreSQL needs four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A base backup in the sandbox. data: its directory; spaces: OID to directory. seconds: copying or unpacking.

    view, launcher: where and through which program the server's user sees it, when that is not `data` itself (see
    smos/instant). level: "full", or how it is kept apart from the backup that it is. refused: why it is not instant.
    """

    data: Path
    spaces: dict[str, Path]
    files: int
    bytes: int
    seconds: float
    problems: tuple[Problem, ...]
    view: Path | None = None
    launcher: tuple[str, ...] = ()
    level: str = "full"
    refused: str = ""


class _Over(Exception):  # noqa: N818  (not an error: the reason to stop)
    """A limit was reached."""


class Fetcher:
    """Copies into directories below `room`. give: makes a path the service user's."""

    def __init__(self, room: Path, root: Path, limits: Limits, give: Callable[[Path | str], None]) -> None:
        self._room = room
        self._root = Path(os.path.realpath(root))
        self._limits = limits
        self._give = give
        self._files = 0
        self._bytes = 0
        self._problems: list[Problem] = []

    def fetch(self, backup: BaseBackup, name: str) -> Fetched:
        """Copy a backup to `room/name`, its tablespaces beside it; what was refused is among the problems."""
        started = time.monotonic()
        self._files = self._bytes = 0
        self._problems = []
        data = self._room / name
        self._mkdir(data)
        spaces: dict[str, Path] = {}
        try:
            if backup.form is Form.TAR:
                spaces = self._unpack_all(backup.place, data, name)
            else:
                spaces = self._copy_all(backup.place, data, name)
        except _Over as over:
            self._problems.append(Problem("limit-exceeded", str(over)))
        except OSError as error:
            self._problems.append(Problem("backup-unread", f"{backup.id}: {error.strerror or error}"))
        for oid, place in spaces.items():
            link = data / SPACES / oid
            if not (data / SPACES).is_dir():
                self._mkdir(data / SPACES)
            link.symlink_to(place)
            self._give(link)
        return Fetched(
            data=data,
            spaces=spaces,
            files=self._files,
            bytes=self._bytes,
            seconds=time.monotonic() - started,
            problems=tuple(self._problems),
        )

    # --- a directory -----------------------------------------------------------------------------------------

    def _copy_all(self, place: Path, data: Path, name: str) -> dict[str, Path]:
        spaces: dict[str, Path] = {}
        links: dict[str, str] = {}
        self._copy_tree(place, data, links)
        for relative, target in links.items():
            oid = relative.removeprefix(f"{SPACES}/")
            real = Path(os.path.realpath(place / relative))
            inside = real.is_relative_to(self._root)
            if oid.isdecimal() and relative == f"{SPACES}/{oid}":
                if not inside:
                    detail = (
                        f"{relative} points outside of the store (to {target[:200]}); it was not followed"
                    )
                    self._problems.append(Problem("tablespace-outside", detail))
                elif not real.is_dir():
                    self._problems.append(
                        Problem(
                            "tablespace-missing", f"{relative} points to {target[:200]}, which is not there"
                        )
                    )
                else:
                    spaces[oid] = self._space(name, oid)
                    inner: dict[str, str] = {}
                    self._copy_tree(real, spaces[oid], inner)
                    self._refuse(inner, f"{relative}/")
            elif relative == "pg_wal" and inside and real.is_dir():
                self._mkdir(data / "pg_wal")
                inner = {}
                self._copy_tree(real, data / "pg_wal", inner)
                self._refuse(inner, "pg_wal/")
            else:
                self._refuse({relative: target}, "")
        return spaces

    def _refuse(self, links: dict[str, str], prefix: str) -> None:
        for relative, target in links.items():
            detail = (
                f"{prefix}{relative} is a link to {target[:200]}: PostgreSQL makes none there; not followed"
            )
            self._problems.append(Problem("link-refused", detail))

    def _copy_tree(self, source: Path, target: Path, links: dict[str, str], prefix: str = "") -> None:
        with os.scandir(source) as entries:
            items = sorted(entries, key=lambda entry: entry.name)
        for item in items:
            status = item.stat(follow_symlinks=False)
            relative = f"{prefix}{item.name}"
            if stat.S_ISDIR(status.st_mode) and relative.count("/") >= DEEPEST:
                detail = f"{relative[:200]}… lies deeper than PostgreSQL keeps anything; not copied"
                self._problems.append(Problem("entry-refused", detail))
            elif stat.S_ISDIR(status.st_mode):
                self._mkdir(target / item.name)
                self._copy_tree(Path(item.path), target / item.name, links, f"{relative}/")
            elif stat.S_ISREG(status.st_mode):
                self._copy(item.path, f"{target}/{item.name}")
            elif stat.S_ISLNK(status.st_mode):
                links[relative] = str(Path(item.path).readlink())
            else:
                detail = f"{relative} is neither file nor directory; PostgreSQL keeps none of that kind"
                self._problems.append(Problem("entry-refused", detail))

    # --- tars ------------------------------------------------------------------------------------------------

    def _unpack_all(self, place: Path, data: Path, name: str) -> dict[str, Path]:
        names = sorted(item.name for item in place.iterdir())
        base = next(item for item in names if BASE_TAR.fullmatch(item))
        self._unpack(place / base, data)
        if (log := next((item for item in names if WAL_TAR.fullmatch(item)), None)) is not None:
            self._parents(data, PurePosixPath("pg_wal"))
            self._unpack(place / log, data / "pg_wal")
        declared = self._declared(data)
        tars = {found["oid"]: item for item in names if (found := SPACE_TAR.fullmatch(item))}
        for oid in declared - tars.keys():
            detail = f"tablespace_map names tablespace {oid}, and there is no {oid}.tar"
            self._problems.append(Problem("tablespace-missing", detail))
        spaces = {}
        for oid in sorted(tars):
            spaces[oid] = self._space(name, oid)
            self._unpack(place / tars[oid], spaces[oid])
        manifest = place / "backup_manifest"
        if manifest.is_file() and not manifest.is_symlink():
            self._count(manifest.stat().st_size)
            with manifest.open("rb") as file:
                self._write(data / "backup_manifest", file)
        return spaces

    def _declared(self, data: Path) -> set[str]:
        path = data / "tablespace_map"
        if not path.is_file():
            return set()
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return {found["oid"] for line in lines if (found := _LINE.match(line))}

    def _unpack(self, source: Path, target: Path) -> None:
        try:
            with open_tar(source, self._limits.bytes) as tar:
                for member in tar:
                    self._member(tar, member, target, source.name)
        except (tarfile.TarError, StreamFault, ValueError, EOFError) as error:
            self._problems.append(Problem("tar-damaged", f"{source.name}: {error}"))

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, source: str) -> None:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\0" in member.name:
            self._problems.append(
                Problem("path-refused", f"{source}: {member.name[:200]!r} leaves the directory")
            )
            return
        if len(path.parts) > DEEPEST:
            detail = (
                f"{source}: {member.name[:200]}… lies deeper than PostgreSQL keeps anything; not unpacked"
            )
            self._problems.append(Problem("entry-refused", detail))
            return
        place = target.joinpath(*path.parts)
        if member.isdir():
            self._parents(target, path)
            if not place.is_dir():
                self._mkdir(place)
        elif member.isreg():
            self._parents(target, path.parent)
            self._count(member.size)
            file = tar.extractfile(member)
            if place.exists() or file is None:
                self._problems.append(
                    Problem("tar-damaged", f"{source}: {member.name[:200]!r} is there twice")
                )
                return
            self._write(place, file)
        else:
            detail = f"{source}: {member.name[:200]!r} is neither file nor directory; not unpacked"
            self._problems.append(
                Problem("link-refused" if member.issym() or member.islnk() else "entry-refused", detail)
            )

    def _parents(self, target: Path, path: PurePosixPath) -> None:
        """Make missing parents: tars of other tools may leave directories out. We never make links before this."""
        place = target
        for part in path.parts:
            place /= part
            if not place.is_dir():
                self._mkdir(place)

    # --- both ------------------------------------------------------------------------------------------------

    def _space(self, name: str, oid: str) -> Path:
        place = self._room / f"{name}-{oid}"
        self._mkdir(place)
        return place

    def _mkdir(self, path: Path) -> None:
        path.mkdir(mode=0o700)
        self._give(path)

    def _write(self, path: Path, file: IO[bytes]) -> None:
        handle = os.open(path, _NEW, 0o600)
        with os.fdopen(handle, "wb") as out:
            while block := file.read(_COPY_BYTES):
                out.write(block)
        self._give(path)

    def _copy(self, source: str, target: str) -> None:
        """Copy one file to its end, without the objects of Python's files: a cluster has a thousand small ones."""
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(reader)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "was a regular file a moment ago", source)
            size = status.st_size
            self._count(size)
            step = min(size + 1, _COPY_BYTES)  # no more room is made than it takes
            writer = os.open(target, _NEW, 0o600)
            try:
                while block := os.read(reader, step):
                    size -= len(block)
                    if size < 0:  # it grows under our hands
                        self._add(len(block))
                        step = _COPY_BYTES
                    while block:  # a write may take a part only
                        block = block[os.write(writer, block) :]
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        self._give(target)

    def _count(self, size: int) -> None:
        self._files += 1
        if self._files > self._limits.files:
            raise _Over(f"more than {self._limits.files} files")
        self._add(size)

    def _add(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._limits.bytes:
            raise _Over(f"more than {self._limits.bytes} bytes")
