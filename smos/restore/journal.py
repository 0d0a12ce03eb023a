"""What a restore is about to swap, written down before it does: whoever comes after a kill knows what to finish.

One file (0600) for each restore that has reached its swap, in `restores/` of the configuration's directory. It goes
when the old state has been removed.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from smos.errors import BackupError


class SwappedDatabase(BaseModel):
    """One database. exists: another of its name was in use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    exists: bool


class SwappedVolume(BaseModel):
    """One volume. place: the directory in use. staged: where the restored one waits, and later the old one.

    inode: of the restored directory: whoever has it at `place` is after the exchange. exists: one was in use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    place: Path
    staged: Path
    inode: int
    exists: bool

    @property
    def exchanged(self) -> bool:
        """Whether the restored directory is in use."""
        try:
            return self.place.stat().st_ino == self.inode
        except OSError:
            return False

    @property
    def waiting(self) -> bool:
        """Whether the restored directory still waits beside its place."""
        try:
            return self.staged.stat().st_ino == self.inode
        except OSError:
            return False

    @property
    def replaced(self) -> bool:
        """Whether the restored directory was in use, and is not any more: a later restore, or a person, changed it."""
        return self.staged.exists() and not self.waiting and not self.exchanged


class Journal(BaseModel):
    """One restore that has reached its swap. host, port, identifier: of the server; None where it has no databases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    set_id: str
    identifier: str | None
    databases: tuple[SwappedDatabase, ...] = ()
    volumes: tuple[SwappedVolume, ...] = ()


def write_journal(directory: Path, journal: Journal) -> Path:
    """Keep it, on disk before this returns. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{journal.id}.json"
    partial = directory / f".{journal.id}.partial"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(journal.model_dump_json(indent=1))
        handle.flush()
        os.fsync(handle.fileno())
    partial.rename(path)
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
    return path


def read_journals(directory: Path) -> Iterator[tuple[Path, Journal]]:
    """Yield what earlier runs wrote. Raises BackupError for a file that is none."""
    for path in sorted(directory.glob("*.json")):
        try:
            yield path, Journal.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise BackupError(
                f"{path} is not the journal of a restore",
                remedy="see which directories it names, then remove it",
            ) from error
