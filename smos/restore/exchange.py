"""Puts a restored directory in the place of the one in use, in one step (renameat2 with RENAME_EXCHANGE)."""

import ctypes
import errno
import os
import tempfile
from pathlib import Path

from smos.errors import BackupError

RENAME_EXCHANGE = 2
AT_FDCWD = -100


def exchange(one: Path, other: Path) -> None:
    """Let two directories change their names in one step. Raises OSError."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))


def check_place(name: str, place: Path) -> None:
    """Refuse a volume's directory that can't be swapped, before anything is written. Raises BackupError."""
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise BackupError(f"Volume {name}: {place} is no directory", remedy="name the directory itself")
    if os.path.ismount(place):
        raise BackupError(
            f"Volume {name}: {place} is a mount point, which can't change its name",
            remedy="unmount it, restore into the directory above, or name a directory in it",
        )
    if not place.parent.is_dir() or not os.access(place.parent, os.W_OK | os.X_OK):
        raise BackupError(
            f"Volume {name}: {place.parent} can't be written", remedy="create it, or run as its owner"
        )


def check_exchange(folder: Path) -> None:
    """Make sure that the file system of `folder` exchanges directories. Raises BackupError."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="exchange-") as scratch:
        one, other = Path(scratch, "one"), Path(scratch, "other")
        one.mkdir()
        other.mkdir()
        try:
            exchange(one, other)
        except OSError as error:
            raise BackupError(
                f"The file system of {folder} can't exchange two directories in one step: {error.strerror}",
                remedy="restore the volume by hand: tar -p --xattrs --acls -xf ARCHIVE, with the application stopped",
            ) from error
