"""Volumes of a backup: archived entry by entry, restored into a sandbox, and held against the list.

Example:
    with Restoration(archive, sandbox, volumes=("n8n_data",), limits=limits, entries=lists) as run:
        run.restore()          # writes: the clock of a recovery runs
        facts = run.verify()   # reads back what is on disk, and compares

"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from smos.backup.archive import VolumeSummary, create_volume_archive
from smos.backup.entries import (
    EntriesError,
    Entry,
    EntryDifference,
    EntryType,
    compare_entries,
    read_entries,
)
from smos.backup.extract import extract_archive
from smos.backup.extract_facts import ExtractFacts
from smos.backup.layout import Layout, volume_bytes
from smos.backup.ledger import Ledger
from smos.backup.references import ReferenceFacts, check_references
from smos.backup.tree import read_tree
from smos.target import Limits
from smos.verdict import Problem

__all__ = [
    "ReferenceFacts",
    "Restoration",
    "VolumeFacts",
    "VolumeSummary",
    "check_references",
    "create_volume_archive",
    "restore_archive",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFacts:
    """One volume after its restore.

    archive: name of the file it came from. restored: something of it lies in the sandbox. has_entries: a
    list of entries says what it must hold. compared: both were read to their ends. bytes, files: read back
    from disk (files: every type but directories; hard-linked content counts once for each name).
    listed_files, listed_bytes: what the list names, counted as a manifest counts (what no archive carries or no
    sandbox makes, sockets and device nodes, is counted; hard-linked content once). seconds: extraction of the whole
    archive; verify_seconds: reading back and comparing this volume. differences:
    empty when equal, or not compared. problems: of the archive (they concern every volume in it) and of the
    comparison. owners_checked, modes_checked, xattrs_checked: "disk", or "archive" where some could not be
    set here and the archive's own headers were compared. extraction: the facts of the extraction.
    references: rules of the application about its files.
    """

    name: str
    archive: str
    restored: bool
    has_entries: bool
    compared: bool
    seconds: float
    verify_seconds: float
    bytes: int
    files: int
    listed_files: int = 0
    listed_bytes: int = 0
    differences: tuple[EntryDifference, ...]
    problems: tuple[Problem, ...]
    owners_checked: str
    modes_checked: str
    xattrs_checked: str
    extraction: ExtractFacts | None
    references: tuple[ReferenceFacts, ...] = ()


class Restoration:
    """Restores one archive to `destination`/<volume>/ and compares; a context manager.

    volumes: all the names that the archive holds. entries: volume name to its list. layout: None to tell
    from the archive; an archive with a list of ours lies at its root. The restored files stay; the caller
    removes them.

    Raises UnsafeInputError for a volume's name that is no file name; what is wrong with the archive becomes
    problems.
    """

    def __init__(
        self,
        archive: Path,
        destination: Path,
        *,
        volumes: tuple[str, ...],
        limits: Limits,
        entries: Mapping[str, Path] | None = None,
        layout: Layout | None = None,
        compression: str | None = None,
    ) -> None:
        for name in volumes:
            volume_bytes(name)
        self._archive = archive
        self._destination = destination
        self._volumes = volumes
        self._limits = limits
        self._entries = dict(entries or {})
        ours = len(volumes) == 1 and volumes[0] in self._entries
        self._layout = layout or (Layout.ROOT if ours else None)
        self._compression = compression
        self._ledger = Ledger()
        self.extraction: ExtractFacts | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.close()

    def restore(self) -> ExtractFacts:
        """Extract the archive. Raises OSError when the destination can't be made or is not empty."""
        self.extraction = extract_archive(
            self._archive,
            self._destination,
            volumes=self._volumes,
            limits=self._limits,
            layout=self._layout,
            compression=self._compression,
            ledger=self._ledger,
        )
        return self.extraction

    def verify(self) -> tuple[VolumeFacts, ...]:
        """Read back every volume, and compare those that have a list of entries."""
        return tuple(self._verify(name) for name in self._volumes)

    def _verify(self, name: str) -> VolumeFacts:
        started = time.monotonic()
        extraction = self.extraction
        root = self._destination / name
        restored = extraction is not None and name in extraction.volumes and root.is_dir()
        tally, promised = _Tally(), _Tally()
        differences: tuple[EntryDifference, ...] = ()
        problems = list(extraction.problems if extraction else ())
        listed = self._entries.get(name)
        compared = False
        if restored:
            prefix = volume_bytes(name) + b"/"
            overlay = (
                (lambda entry: self._ledger.apply(prefix, entry)) if self._ledger.has_overlays() else None
            )
            actual = tally.count(read_tree(root, overlay))
            try:
                if listed is None:
                    for _ in actual:
                        pass
                else:
                    differences = compare_entries(
                        promised.count(read_entries(listed, name)),
                        actual,
                        archived_device=lambda path: self._ledger.is_device(prefix + path),
                        other_devices=lambda: self._ledger.unlisted_devices(prefix),
                    )
                    compared = True
            except EntriesError as error:
                problems.append(Problem("entries-damaged", error.message))
            except OSError as error:
                problems.append(Problem("sandbox-unreadable", f"reading back failed: {error.strerror}"))
        gaps = extraction.attribute_gaps if extraction else ()
        return VolumeFacts(
            name=name,
            archive=self._archive.name,
            restored=restored,
            has_entries=listed is not None,
            compared=compared,
            seconds=extraction.seconds if extraction else 0.0,
            verify_seconds=time.monotonic() - started,
            bytes=tally.bytes,
            files=tally.files,
            listed_files=promised.files,
            listed_bytes=promised.content_bytes,
            differences=differences,
            problems=tuple(problems),
            owners_checked=_where(extraction is not None and extraction.owners_restored),
            modes_checked=_where(extraction is not None and not extraction.modes_not_restored),
            xattrs_checked=_where(not gaps),
            extraction=extraction,
        )


def restore_archive(
    archive: Path,
    destination: Path,
    *,
    volumes: tuple[str, ...],
    limits: Limits,
    entries: Mapping[str, Path] | None = None,
    layout: Layout | None = None,
    compression: str | None = None,
) -> tuple[VolumeFacts, ...]:
    """Restore and compare in one go; see `Restoration` for the arguments and errors."""
    with Restoration(
        archive,
        destination,
        volumes=volumes,
        limits=limits,
        entries=entries,
        layout=layout,
        compression=compression,
    ) as run:
        run.restore()
        return run.verify()


class _Tally:
    """Counts what passes by."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.content_bytes = 0

    def count(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if entry.type is not EntryType.DIRECTORY and entry.type is not EntryType.VANISHED:
                self.files += 1
                self.bytes += entry.size
            if entry.type is EntryType.FILE and entry.hardlink is None:
                self.content_bytes += entry.size
            yield entry


def _where(on_disk: bool) -> str:  # noqa: FBT001  (one plain question)
    return "disk" if on_disk else "archive"
