"""Archives are put where an unprivileged pg_restore can read them, and shown to be whole before it does.

pg_restore does not miss rows that were cut off the end of a directory's uncompressed data file, and never ends on
a tar that was cut; here both are noticed. Nothing outside the archive is followed: no links, no names with a slash.
"""

import os
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from smos.backup.model import ArtifactKind
from smos.backup.pgdump import ArchiveHeader, TocError
from smos.drill.context import Context
from smos.drill.restore_facts import DumpSource
from smos.drill.textdump import LimitError, Meter, check_limits, read_text
from smos.drill.toc import LONGEST, Entry, contents_of, read_contents
from smos.provision.users import service_user

COPY_TAIL = b"\\.\n\n\n"
"""What pg_dump writes after the rows of a table: where it is missing, rows may be missing."""
SUFFIXES = {".zst": "zstd", ".gz": "gzip", ".lz4": "lz4"}
BLOBS = frozenset({"BLOBS", "BLOB"})
SPARE = 512 * 2**20
"""Bytes that must stay free on the disk of the scratch space."""
LOOK = 64 * 2**20
"""Bytes written between two looks at the free space."""


@dataclass(slots=True)
class Staged:
    """An archive that is ready. path: for pg_restore. meter: bytes that were read. cut: data files that end early."""

    path: Path
    header: ArchiveHeader
    entries: tuple[Entry, ...]
    meter: Meter = field(default_factory=Meter)
    cut: list[str] = field(default_factory=list)


def stage(context: Context, source: DumpSource, folder: Path) -> Staged:
    """Make an archive readable for the service user, copying or decompressing it into `folder` only where needed.

    Raises TocError (TocTooNewError), StreamFault, LimitError, tarfile.TarError or OSError.
    """
    if source.kind is ArtifactKind.PG_DUMP_DIRECTORY:
        return _directory(context, source, folder)
    meter, path = Meter(), source.path
    if source.compression != "none" or not readable(source.path):
        path = folder / "archive"
        _write(path, read_text(source.path, source.compression, context.limits, meter))
        give(folder, path)
    if source.kind is ArtifactKind.PG_DUMP_TAR:
        header, entries, cut = _tar(path)
    else:
        (header, entries), cut = contents_of(path), []
    if not meter.opened:
        meter.stored = meter.opened = path.stat().st_size
    return Staged(path, header, entries, meter, cut)


# --- tar ----------------------------------------------------------------------------------------------------------


def _tar(path: Path) -> tuple[ArchiveHeader, tuple[Entry, ...], list[str]]:
    with tarfile.open(path, "r:") as archive:
        member = archive.next()
        stream = archive.extractfile(member) if member is not None and member.name == "toc.dat" else None
        if member is None or stream is None or member.size > LONGEST:
            raise TocError("its first member is no table of contents")
        header, entries = read_contents(stream.read(member.size))
        members = {item.name: item for item in archive}
        filled = [entry for entry in entries if entry.has_data and entry.file]
        cut = [entry.file for entry in filled if not _member_whole(archive, members, entry)]
    return header, entries, cut


def _member_whole(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], entry: Entry) -> bool:
    """Whether one entry's data are in the tar to their end. Raises TocError when they are not there at all."""
    missing = TocError(f"the data of {entry.kind} {entry.tag[:80]} are missing")
    if entry.kind in BLOBS:
        name = next((name for name in (f"blobs_{entry.id}.toc", "blobs.toc") if name in members), None)
        listing = archive.extractfile(members[name]) if name is not None else None
        if listing is None or not set(_listed(listing.read(LONGEST))) <= members.keys():
            raise missing
        return True
    if entry.file not in members:
        raise missing
    data = archive.extractfile(members[entry.file]) if entry.copy else None
    if data is None:
        return True
    data.seek(max(0, members[entry.file].size - len(COPY_TAIL)))
    return data.read() == COPY_TAIL


def _listed(listing: bytes) -> list[str]:
    """Return the file names in a list of large objects ("oid name" a line)."""
    return [line.split(" ", 1)[-1] for line in listing.decode(errors="replace").splitlines()]


# --- directory ----------------------------------------------------------------------------------------------------


def _directory(context: Context, source: DumpSource, folder: Path) -> Staged:
    header, entries = contents_of(source.path / "toc.dat")
    if any("/" in entry.file for entry in entries):
        raise TocError("a data file's name leads out of the directory")
    files = sorted(source.path.iterdir(), key=lambda path: -path.lstat().st_size)
    for path in files:
        if path.is_symlink() or not path.is_file():
            raise TocError(f"{path.name} is no regular file")
    copied = {entry.file for entry in entries if entry.copy}
    packed = any(path.suffix in SUFFIXES for path in files)
    staged = Staged(source.path, header, entries)
    if packed or not readable(source.path) or not all(readable(path) for path in files):
        staged.path = folder / "directory"
        staged.path.mkdir(mode=0o700)
        with ThreadPoolExecutor(max(1, context.jobs)) as pool:
            for name, tail, meter in pool.map(lambda path: _unpack(context, path, staged.path), files):
                staged.meter.stored += meter.stored
                staged.meter.opened += meter.opened
                check_limits(staged.meter, context.limits)
                if name in copied and tail != COPY_TAIL:
                    staged.cut.append(name)
        _say_uncompressed(staged.path / "toc.dat")
        give(folder, staged.path)
    else:
        staged.meter.stored = staged.meter.opened = sum(path.stat().st_size for path in files)
        staged.cut = [
            name
            for name in sorted(copied)
            if (source.path / name).is_file() and not _ends(source.path / name)
        ]
    for path in staged.path.glob("blobs*.toc"):
        if any("/" in name for name in _listed(path.read_bytes()[:LONGEST])):
            raise TocError("a large object's name leads out of the directory")
    return staged


def _unpack(context: Context, path: Path, folder: Path) -> tuple[str, bytes, Meter]:
    """Copy one file, decompressed; return its new name and its last bytes."""
    compression = SUFFIXES.get(path.suffix, "none")
    name = path.name.removesuffix(path.suffix) if compression != "none" else path.name
    meter = Meter()
    tail = _write(folder / name, read_text(path, compression, context.limits, meter))
    give(folder / name)
    return name, tail, meter


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(COPY_TAIL)))
        return file.read() == COPY_TAIL


def _say_uncompressed(path: Path) -> None:
    """Make a staged table of contents say "not compressed", as its data files now are (byte 11 since format 1.15)."""
    with path.open("r+b") as file:
        head = file.read(12)
        if head[:5] == b"PGDMP" and (head[5], head[6]) >= (1, 15):
            file.seek(11)
            file.write(b"\0")


# --- files --------------------------------------------------------------------------------------------------------


def _write(path: Path, pieces: Iterable[bytes]) -> bytes:
    """Write a file and return its last bytes. Raises LimitError when the disk gets full."""
    tail, since = b"", LOOK
    with path.open("xb") as file:
        for piece in pieces:
            since += len(piece)
            if since > LOOK:
                since, state = 0, os.statvfs(path.parent)
                if state.f_bavail * state.f_frsize < SPARE:
                    raise LimitError("the disk of the scratch space is full")
            file.write(piece)
            tail = (tail + piece[-len(COPY_TAIL) :])[-len(COPY_TAIL) :]
    return tail


def give(*paths: Path) -> None:
    """Make files the service user's."""
    user = service_user()
    for path in paths:
        if user is not None:
            os.chown(path, user.uid, user.gid, follow_symlinks=False)


def readable(path: Path) -> bool:
    """Whether the service user may read a file or directory, as far as the permissions on its path tell."""
    user = service_user()
    if user is None:
        return os.access(path, os.R_OK)
    whole = path.absolute()
    for part in (whole, *whole.parents):
        info = part.stat()
        need = 0o1 if part != whole else 0o5 if path.is_dir() else 0o4
        shift = 6 if info.st_uid == user.uid else 3 if info.st_gid == user.gid else 0
        if (info.st_mode >> shift) & need != need:
            return False
    return True


def remove(folder: Path) -> None:
    """Remove a scratch folder with all that lies in it, following no link."""
    for root, folders, names in os.walk(folder, topdown=False):
        for name in names:
            Path(root, name).unlink()
        for name in folders:
            Path(root, name).rmdir()
    folder.rmdir()
