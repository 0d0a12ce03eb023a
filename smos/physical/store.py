"""What a directory of base backups holds: plain directories and tars of pg_basebackup, incremental ones as well.

Untrusted: labels and manifests are bounded, links are not followed, names are only compared.
"""

import os
import re
import struct
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from smos.backup.streams import StreamFault
from smos.paths import read_part
from smos.physical.archive import content
from smos.physical.label import (
    LONGEST_LABEL,
    LONGEST_MANIFEST,
    Label,
    LabelError,
    ManifestHead,
    read_label,
    read_manifest_head,
)
from smos.physical.wal import SEGMENT
from smos.verdict import Problem

DEEPEST = 2
BASE_TAR = re.compile(r"base\.tar(\.gz|\.zst|\.lz4|\.bz2|\.xz)?")
WAL_TAR = re.compile(r"pg_wal\.tar(\.gz|\.zst|\.lz4|\.bz2|\.xz)?")
SPACE_TAR = re.compile(r"(?P<oid>[1-9]\d{0,9})\.tar(\.gz|\.zst|\.lz4|\.bz2|\.xz)?")
TAR_BYTES = 1 << 18
"""Bytes of a tar that are asked for at once; tarfile's own 10 KiB cost a third of the time."""
BEGINNING = 4096
"""Members of base.tar that are read for label and version; PostgreSQL writes the label first."""


class Form(StrEnum):
    """How a base backup lies there."""

    DIRECTORY = "directory"
    TAR = "tar"
    PGBACKREST = "pgbackrest"
    BARMAN = "barman"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseBackup:
    """One base backup. started: from its label; None where nothing tells. major: 0 where unknown.

    manifest: None where there is none (or it is no manifest: then among the problems). finished: where known.
    """

    id: str
    form: Form
    place: Path
    major: int = 0
    label: Label | None = None
    manifest: ManifestHead | None = None
    started: datetime | None = None
    finished: datetime | None = None
    system_identifier: int | None = None
    own_segments: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def start_lsn(self) -> int:
        """Where the log must be replayed from; 0 where the label is missing."""
        return self.label.start_lsn if self.label else 0


def read_store(
    path: Path, *, apart: Path | None = None
) -> tuple[tuple[BaseBackup, ...], tuple[Problem, ...]]:
    """Return the backups at `path` (itself one, or a directory of them), oldest first, and what could not be read.

    apart: the log archive, which is no backup where it lies inside.
    """
    if not path.is_dir():
        return (), (Problem("backups-missing", f"there is no directory {path}"),)
    problems: list[Problem] = []
    found = [_read(place, path) for place in _places(path, apart, problems)]
    return tuple(sorted(found, key=lambda item: (item.start_lsn, item.id))), tuple(problems)


def chain_of(
    newest: BaseBackup, backups: tuple[BaseBackup, ...]
) -> tuple[tuple[BaseBackup, ...], tuple[Problem, ...]]:
    """Return the full backup and every incremental one up to `newest`, oldest first; and what is missing."""
    chain = [newest]
    while (label := chain[0].label) is not None and label.parent_lsn is not None:
        wanted = label.parent_lsn
        parents = [
            item
            for item in backups
            if item.label is not None
            and item.label.start_lsn == wanted
            and item.label.timeline == (label.parent_timeline or item.label.timeline)
            and item not in chain
        ]
        if not parents:
            from smos.physical.wal import lsn_text

            detail = f"{chain[0].id} builds on a backup that began at {lsn_text(wanted)}, and none is here"
            return tuple(chain), (Problem("chain-link-missing", detail),)
        chain.insert(0, parents[0])
    return tuple(chain), ()


def _places(path: Path, apart: Path | None, problems: list[Problem], depth: int = 0) -> Iterator[Path]:
    try:
        with os.scandir(path) as entries:
            items = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        problems.append(Problem("backup-unread", f"{path.name}: {error.strerror or error}"))
        return
    names = {item.name for item in items}
    if {"backup_label", "PG_VERSION", "backup_manifest"} & names or any(map(BASE_TAR.fullmatch, names)):
        yield path
        return
    for item in items:
        if item.is_dir(follow_symlinks=False):
            inner = Path(item.path)
            if depth < DEEPEST and inner != apart:
                yield from _places(inner, apart, problems, depth + 1)


def _read(place: Path, root: Path) -> BaseBackup:
    names = sorted(item.name for item in place.iterdir())
    tar = next((name for name in names if BASE_TAR.fullmatch(name)), None)
    problems: list[Problem] = []
    identifier = place.name if place == root else str(place.relative_to(root))
    if tar is None:
        form = Form.DIRECTORY
        label_text = _text(place / "backup_label", LONGEST_LABEL, problems)
        version = _text(place / "PG_VERSION", 64, problems) or ""
        own = _segments(place / "pg_wal")
        control = _control_identifier(place / "global" / "pg_control")
    else:
        form = Form.TAR
        label_text, version, own, control = _look_into(place / tar, problems)
        log = next((name for name in names if WAL_TAR.fullmatch(name)), None)
        if log is not None:
            own = (*own, *_tar_names(place / log, problems))
    label = None
    if label_text is None:
        detail = f"{identifier}: without backup_label a server would start at the wrong place of the log"
        problems.append(Problem("label-missing", detail))
    else:
        try:
            label = read_label(label_text)
        except LabelError as error:
            problems.append(Problem("label-damaged", f"{identifier}: {error}"))
    manifest = _manifest(place, identifier, problems)
    started = None
    if label is not None:
        started = label.started or (manifest.label_moment if manifest else None)
    return BaseBackup(
        id=identifier,
        form=form,
        place=place,
        major=int(version) if re.fullmatch(r"\d{2}", version := version.strip()) else 0,
        label=label,
        manifest=manifest,
        started=started,
        system_identifier=control or (manifest.system_identifier if manifest else None),
        own_segments=own,
        problems=tuple(problems),
    )


def _manifest(place: Path, identifier: str, problems: list[Problem]) -> ManifestHead | None:
    path = place / "backup_manifest"
    if not path.exists() and not path.is_symlink():
        return None
    try:
        return read_manifest_head(b"".join(content(path, LONGEST_MANIFEST)))
    except (OSError, ValueError, StreamFault) as error:
        problems.append(Problem("manifest-damaged", f"{identifier}: {error}"))
        return None


def _text(path: Path, limit: int, problems: list[Problem]) -> str | None:
    try:
        return read_part(path, limit).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.append(Problem("backup-unread", f"{path.name}: {error.strerror or error}"))
        return None


def _control_identifier(path: Path) -> int | None:
    """Return the system identifier: the first eight bytes of pg_control."""
    try:
        data = read_part(path, 8)
    except OSError:
        return None
    return int(struct.unpack("=Q", data)[0]) if len(data) == 8 else None


def _segments(directory: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(item.name for item in directory.iterdir() if SEGMENT.fullmatch(item.name)))
    except OSError:
        return ()


def _look_into(path: Path, problems: list[Problem]) -> tuple[str | None, str, tuple[str, ...], int | None]:
    """Return label, version, names of segments and the system identifier from base.tar, in one pass."""
    label: str | None = None
    version = ""
    own: list[str] = []
    control: int | None = None
    try:
        with open_tar(path) as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if not member.isreg():
                    continue
                if name in {"backup_label", "PG_VERSION", "global/pg_control"}:
                    file = tar.extractfile(member)
                    data = file.read(LONGEST_LABEL) if file else b""
                    if name == "backup_label":
                        label = data.decode("utf-8", "replace")
                    elif name == "PG_VERSION":
                        version = data.decode("utf-8", "replace")
                    elif len(data) >= 8:
                        control = int(struct.unpack_from("=Q", data)[0])
                elif name.startswith("pg_wal/") and SEGMENT.fullmatch(name[7:]):
                    own.append(name[7:])
    except (OSError, tarfile.TarError, StreamFault, ValueError, EOFError) as error:
        problems.append(Problem("tar-damaged", f"{path.name}: {error}"))
    return label, version, tuple(own), control


def _tar_names(path: Path, problems: list[Problem]) -> tuple[str, ...]:
    try:
        with open_tar(path) as tar:
            return tuple(sorted(item.name for item in tar if SEGMENT.fullmatch(item.name)))
    except (OSError, tarfile.TarError, StreamFault, ValueError, EOFError) as error:
        problems.append(Problem("tar-damaged", f"{path.name}: {error}"))
        return ()


class _Reader:
    """The file-like face of an iterator of blocks: what tarfile's stream mode asks for."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = bytearray()

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        while len(self._rest) < size:
            block = next(self._blocks, None)
            if block is None:
                break
            self._rest += block
        data = bytes(self._rest[:size])
        del self._rest[:size]
        return data


def open_tar(path: Path, limit: int = 1 << 50) -> tarfile.TarFile:
    """Open a tar, compressed or not, to be read once from front to back. Raises OSError, TarError, StreamFault."""
    reader: Any = _Reader(content(path, limit))  # read() is all that the stream mode asks for
    return tarfile.open(fileobj=reader, mode="r|", bufsize=TAR_BYTES)
