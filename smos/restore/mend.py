"""After a kill, or after a restore that kept the old state: to the end, or back; whole states are left alone."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from smos.clock import Clock
from smos.errors import BackupError
from smos.provision.base import PostgresEndpoint
from smos.provision.installations import PostgresInstallation
from smos.restore.exchange import exchange
from smos.restore.journal import Journal, SwappedVolume, read_journals
from smos.restore.server import ServerFacts
from smos.restore.swap import Names, drop_database, swap_back
from smos.target import Limits

Say = Callable[[str], None]
SWAPPED = "swapped"
"""In a directory of ours: what lies beside it may have been in use. Only the restore of its journal removes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What a restore works on. endpoint, installation, server: None where it restores volumes alone.

    journals: directory of the journals.
    """

    endpoint: PostgresEndpoint | None
    installation: PostgresInstallation | None
    server: ServerFacts | None
    journals: Path
    limits: Limits
    clock: Clock


def put(volume: SwappedVolume) -> None:
    """Put the restored directory in its place, if it still waits: whatever has come there since stays."""
    if not volume.waiting:
        return
    if volume.place.exists():
        exchange(volume.staged, volume.place)
    else:
        volume.staged.rename(volume.place)


def take_back(volume: SwappedVolume) -> None:
    """Put the directory that was in use before back, unless it is there."""
    if not volume.exchanged:
        return
    if volume.exists:
        exchange(volume.staged, volume.place)
    else:
        volume.place.rename(volume.staged)


def remove_staged(folder: Path) -> None:
    """Remove a directory of ours, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold a directory of ours while it is filled; False where a restore that runs holds it. A kill lets it go.

    A POSIX lock: children that outlive a killed run for a moment don't inherit it.
    """
    descriptor = os.open(folder / "held", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def mend(where: Where, volumes: Mapping[str, Path], say: Say) -> None:
    """Finish or take back what a killed run left between its journal and its end; whole states are left alone.

    The caller holds the server's lock, so that no restore of its databases runs.
    """
    server = where.server
    for path, journal in read_journals(where.journals):
        if journal.databases and (server is None or server.system_identifier != journal.identifier):
            continue
        swapped = committed(journal, server)
        for volume in journal.volumes:
            (put if swapped else take_back)(volume)
        if not swapped:
            say(
                f"restore {journal.id} of {journal.set_id} was interrupted before its swap: nothing had been changed"
            )
            _forget(path, journal)
        elif _removal_begun(journal, server):
            say(
                f"restore {journal.id} of {journal.set_id} had ended but for the removal of the old state: removed"
            )
            try:
                _finish(where, path, journal)
            except BackupError as error:  # this one goes on all the same
                say(error.message)
    for place in volumes.values():
        for folder in place.parent.glob(".smos-restore-*"):
            with held(folder) as free:
                if free and not (folder / SWAPPED).exists():
                    say(f"{folder}: left by an interrupted restore, removed")
                    remove_staged(folder)


def committed(journal: Journal, server: ServerFacts | None) -> bool:
    """Tell whether its swap took place: the databases decide, where there are any; else the first volume."""
    if journal.databases and server is not None:
        new = Names(name=journal.databases[0].name, id=journal.id, exists=True).new
        return new not in server.databases
    return any(volume.exchanged or volume.replaced for volume in journal.volumes)


def _removal_begun(journal: Journal, server: ServerFacts | None) -> bool:
    """Tell whether a part of the old state is gone: there is no way back, only to the end."""
    there = set(server.databases) if server else set()
    return any(item.exists and item.old not in there for item in _of(journal)) or any(
        volume.exists and not volume.staged.exists() for volume in journal.volumes
    )


def _forget(path: Path, journal: Journal) -> None:
    for volume in journal.volumes:
        remove_staged(volume.staged.parent.parent)
    path.unlink()


def finish(where: Where, id_: str) -> list[str]:
    """Remove the old state that a restore kept; return what was removed. Raises BackupError."""
    return _finish(where, *_find(where, id_))


def _finish(where: Where, path: Path, journal: Journal) -> list[str]:
    removed = []
    for item in _of(journal):
        if item.exists and where.endpoint is not None:
            remove_old(where.endpoint, item.old)
            removed.append(item.old)
    removed += [f"the old directory of {volume.name}" for volume in journal.volumes if volume.exists]
    _forget(path, journal)
    return removed


def remove_old(endpoint: PostgresEndpoint, name: str) -> None:
    """Drop a database that was in use. Raises BackupError with what holds it: a slot in use, a subscription."""
    try:
        drop_database(endpoint, name)
    except psycopg.Error as error:
        raise BackupError(
            f"{name} could not be removed: {str(error).strip()}",
            remedy="end what uses it (subscriptions, logical replication), then give --finish",
        ) from error


def undo(where: Where, id_: str) -> list[str]:
    """Put back what was in use before a restore that kept it; what it had restored is removed."""
    path, journal = _find(where, id_)
    names = _of(journal)
    _refuse_overtaken(where, path, journal)
    if names and where.server is not None:
        gone = [item.old for item in names if item.exists and item.old not in where.server.databases]
        if gone:
            raise BackupError(
                f"{', '.join(gone)} is not there any more", remedy="restore the safety backup instead"
            )

    def exchange_back() -> None:
        for volume in journal.volumes:
            take_back(volume)

    if names and where.endpoint is not None:
        swap_back(where.endpoint, names, exchange_back)
        for item in names:
            drop_database(where.endpoint, item.new)
    else:
        exchange_back()
    _forget(path, journal)
    return [*(item.name for item in names), *(volume.name for volume in journal.volumes)]


def _refuse_overtaken(where: Where, path: Path, journal: Journal) -> None:
    """Refuse to undo what a later restore, or a person, has replaced since: what belongs together would be parted."""
    mine = {item.name for item in journal.databases}
    for other_path, other in read_journals(where.journals):
        if other.id == journal.id or other.identifier != journal.identifier:
            continue
        later = other_path.stat().st_mtime_ns > path.stat().st_mtime_ns
        if later and mine & {item.name for item in other.databases}:
            raise BackupError(
                f"Restore {other.id} came after {journal.id}", remedy=f"undo {other.id} first, or finish it"
            )
    gone = [str(volume.place) for volume in journal.volumes if volume.replaced]
    if gone:
        raise BackupError(
            f"{', '.join(gone)} was replaced since restore {journal.id}",
            remedy="undo the later restore first; or take the old directory from .smos-restore-… beside it",
        )


def _find(where: Where, id_: str) -> tuple[Path, Journal]:
    for path, journal in read_journals(where.journals):
        if journal.id == id_:
            if journal.databases and (
                where.server is None or where.server.system_identifier != journal.identifier
            ):
                raise BackupError(f"Restore {id_} was of another server", remedy="give its --host and --port")
            return path, journal
    known = ", ".join(journal.id for _, journal in read_journals(where.journals))
    raise BackupError(
        f"There is no restore {id_}", remedy=f"there are: {known}" if known else "there is none"
    )


def _of(journal: Journal) -> list[Names]:
    return [Names(name=item.name, id=journal.id, exists=item.exists) for item in journal.databases]
