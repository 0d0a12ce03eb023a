"""Says what one thing in a backup directory is, from its first bytes: some 16 KiB each."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from smos.backup.envelope import SUFFIX
from smos.backup.model import ArtifactKind
from smos.backup.names import claimed_compression
from smos.backup.pgdump import (
    ARCHIVE_MAGIC,
    CLUSTER_MARK,
    PLAIN_MARK,
    ArchiveHeader,
    TocError,
    connected_databases,
    is_cluster,
    parse_archive_header,
)
from smos.backup.streams import HEAD_BYTES, Head, read_head
from smos.backup.tarscan import TarScanner, looks_like_tar
from smos.verdict import Problem

MORE_BYTES = 256 << 10
"""Read of a pg_dumpall or a volume archive, whose names lie further inside."""
BLOCK_BYTES = 1 << 20
"""Read where that gave nothing yet: a block of bzip2 (900 kB) or zstd (128 KiB) comes out whole or not at all."""
TOC_NAME = "toc.dat"
SEALED_TOC_NAME = TOC_NAME + SUFFIX
PIECE_BYTES = 4 << 10
"""Of an archive's beginning, read before it is asked whether that says enough: it may hold hundreds of members."""
_VAULT_MEMBERS = {"meta.json", "state.bin", "SHA256SUMS", "SHA256SUMS.sealed"}
_JSON = re.compile(rb"\s*[\[{]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the first bytes say. created: local time of the dumping machine, from an archive's header."""

    kind: ArtifactKind
    compression: str
    encryption: str
    stored_bytes: int
    mtime: datetime
    databases: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    names_complete: bool = True
    created: datetime | None = None
    problems: tuple[Problem, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Content:
    """Kind and names of some content, from its first bytes."""

    kind: ArtifactKind
    databases: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    complete: bool = True
    created: datetime | None = None


def probe_file(path: Path, *, shown: str, stem: str, known_volumes: Collection[str] = ()) -> Probe:
    """Probe a regular file. shown: its name for problems. stem: its name without stamp and suffixes.

    Raises OSError when it can't be read.
    """
    status = os.lstat(path)
    for stored_bytes in (HEAD_BYTES, MORE_BYTES, BLOCK_BYTES):
        head = read_head(path, stored_bytes=stored_bytes, content_bytes=max(8 * HEAD_BYTES, 2 * stored_bytes))
        content = classify(head.content, complete=head.complete, stem=stem, known_volumes=known_volumes)
        if head.complete or head.fault or (head.content and (content.complete or stored_bytes >= MORE_BYTES)):
            break
    problems = list(_problems(head, shown, status.st_size))
    if head.encryption:
        content = Content(ArtifactKind.UNKNOWN, complete=False)
    elif content.kind is ArtifactKind.UNKNOWN and not problems:
        problems.append(
            Problem("unknown-file", f"{shown}: its first bytes are those of no known backup format")
        )
    claimed = claimed_compression(shown)
    if claimed and claimed != head.compression and not head.encryption and status.st_size:
        problems.append(
            Problem("name-differs", f"{shown}: named as {claimed}, its bytes are {head.compression}")
        )
    return Probe(
        kind=content.kind,
        compression=head.compression,
        encryption=head.encryption,
        stored_bytes=status.st_size,
        mtime=datetime.fromtimestamp(status.st_mtime, UTC),
        databases=content.databases,
        volumes=content.volumes,
        names_complete=content.complete,
        created=content.created,
        problems=tuple(problems),
    )


def probe_dump_directory(path: Path, *, stem: str) -> Probe:
    """Probe a directory that holds a `toc.dat`, or an encrypted one. Raises OSError when it can't be read."""
    size, mtime = 0, 0.0
    with os.scandir(path) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            size += status.st_size
            mtime = max(mtime, status.st_mtime)
    plain = (path / TOC_NAME).is_file()
    head = read_head(path / (TOC_NAME if plain else SEALED_TOC_NAME))
    header = _header(head.content)
    database = header.database if header and header.database else stem
    return Probe(
        kind=ArtifactKind.PG_DUMP_DIRECTORY,
        compression="none",
        encryption=head.encryption,
        stored_bytes=size,
        mtime=datetime.fromtimestamp(mtime, UTC),
        databases=(database,) if database else (),
        created=header.created if header else None,
    )


def classify(head: bytes, *, complete: bool, stem: str, known_volumes: Collection[str] = ()) -> Content:
    """Say what decompressed content is, from its beginning. complete: `head` is all of it."""
    if head.startswith(ARCHIVE_MAGIC):
        header = _header(head)
        database = header.database if header and header.database else stem
        return Content(
            ArtifactKind.PG_DUMP_CUSTOM,
            (database,) if database else (),
            created=header.created if header else None,
        )
    if looks_like_tar(head):
        return _classify_tar(head, complete=complete, stem=stem, known_volumes=known_volumes)
    start = head[:2048]
    if CLUSTER_MARK in start or PLAIN_MARK in start:
        names = connected_databases(head)
        if is_cluster(start):
            if complete and not names and b"\\connect " not in head:
                return Content(ArtifactKind.GLOBALS)
            return Content(ArtifactKind.PG_DUMPALL, names, complete=complete)
        return Content(ArtifactKind.PG_DUMP_PLAIN, names[:1] or ((stem,) if stem else ()))
    return Content(ArtifactKind.UNKNOWN)


def looks_like_json(head: bytes) -> bool:
    """Tell whether content begins as a JSON object or list does."""
    return bool(_JSON.match(head))


def _classify_tar(head: bytes, *, complete: bool, stem: str, known_volumes: Collection[str]) -> Content:
    members: list[str] = []
    toc = bytearray()

    def on_member(name: str, _size: int) -> object:
        members.append(name)
        return toc.extend if name == TOC_NAME and len(members) == 1 else None

    scanner = TarScanner(on_member)  # type: ignore[arg-type]  # a bound method of bytearray is a sink
    for start in range(0, len(head), PIECE_BYTES):
        scanner.feed(head[start : start + PIECE_BYTES])
        if _settled(members) and _called_after(stem, known_volumes, dot_root=scanner.facts().dot_root):
            return Content(ArtifactKind.VOLUME_ARCHIVE, volumes=(stem,))
    facts = scanner.facts()
    if toc.startswith(ARCHIVE_MAGIC):
        header = _header(bytes(toc))
        database = header.database if header and header.database else stem
        return Content(
            ArtifactKind.PG_DUMP_TAR,
            (database,) if database else (),
            created=header.created if header else None,
        )
    if members and {name.removeprefix("./") for name in members} <= _VAULT_MEMBERS and "meta.json" in members:
        return Content(ArtifactKind.VAULT_SNAPSHOT)
    names = volume_names(facts.roots, dot_root=facts.dot_root, stem=stem, known_volumes=known_volumes)
    if names is None:
        return Content(ArtifactKind.OTHER_ARCHIVE)
    whole = complete or facts.complete or names == (stem,)
    return Content(ArtifactKind.VOLUME_ARCHIVE, volumes=names, complete=whole)


def _settled(members: list[str]) -> bool:
    """Tell whether an archive with these files is no dump and no snapshot of a Vault, whatever follows."""
    return members[:1] != [TOC_NAME] and any(
        name.removeprefix("./") not in _VAULT_MEMBERS for name in members
    )


def _called_after(stem: str, known_volumes: Collection[str], *, dot_root: bool) -> bool:
    """Tell whether an archive called `stem` holds the volume of that name, whatever directories are in it."""
    if stem.lower().startswith("volume") and stem not in known_volumes:
        return False
    return bool(stem) and (stem in known_volumes or dot_root)


def volume_names(
    roots: tuple[str, ...], *, dot_root: bool, stem: str, known_volumes: Collection[str]
) -> tuple[str, ...] | None:
    """Return the volumes that an archive called `stem` holds, or None when it is no archive of volumes.

    `volumes-…` holds one volume per top-level directory. An archive that is called like a volume, or like
    its only directory, or that was made of `.` (`tar -C DIR .`), holds the volume of that name.
    """
    if stem.lower().startswith("volume") and stem not in known_volumes:
        return roots
    if _called_after(stem, known_volumes, dot_root=dot_root) or (stem and roots in {(stem,), ("_data",)}):
        return (stem,)
    if roots and known_volumes and set(roots) <= set(known_volumes):
        return roots
    return None


def _header(data: bytes) -> ArchiveHeader | None:
    try:
        return parse_archive_header(data)
    except TocError:
        return None


def _problems(head: Head, shown: str, size: int) -> list[Problem]:
    if not size:
        return [Problem("empty-file", f"{shown}: zero bytes")]
    if head.fault:
        return [Problem(head.fault.code, f"{shown}: {head.fault.detail}")]
    if head.complete and not head.content:
        return [Problem("empty-content", f"{shown}: {size} bytes that decompress to nothing")]
    return []


def is_dump_directory(path: Path) -> bool:
    """Tell whether a directory holds a dump's table of contents, encrypted or not."""
    return (path / TOC_NAME).is_file() or (path / SEALED_TOC_NAME).is_file()


def sealed_file(probe: Probe, part: str, name: str) -> Probe:
    """Say what an encrypted file of our own set claims to be by its place; reading it decrypted shows whether it is."""
    kind, volumes = ArtifactKind.UNKNOWN, probe.volumes
    if not part and name.startswith("globals."):
        kind = ArtifactKind.GLOBALS
    elif part == "volumes" and ".jsonl" in name:
        kind = ArtifactKind.VOLUME_ENTRIES
    elif part == "volumes" and ".tar" in name:
        kind, volumes = ArtifactKind.VOLUME_ARCHIVE, (name.partition(".tar")[0],)
    elif part == "vault" and name == "raft.snap":
        kind = ArtifactKind.VAULT_SNAPSHOT
    return replace(probe, kind=kind, volumes=volumes, names_complete=kind is not ArtifactKind.UNKNOWN)
