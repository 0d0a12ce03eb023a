"""A second tree of the same files: shared blocks where the file system can (FICLONE), else a full copy.

Never hard links: the server writes in place. What is made is the service user's, and only what `survey` saw: a
name that has meanwhile become something else is an error, no path is followed.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from smos.errors import BackupError, ProvisionError
from smos.instant.survey import Entry, Survey
from smos.provision.users import ServiceUser

FICLONE = 0x40049409
"""ioctl that lets a file share another one's blocks. Source: linux/fs.h; mips and ppc differ."""
REFUSED = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM})
"""How a file system says that it does not share blocks, or not with that one. Source: ioctl_ficlone(2)."""
CHUNK_BYTES = 16 << 20
ROOM_BYTES = 256 << 20
"""Bytes that must stay free beside a full copy."""


class CloneRefusedError(Exception):
    """The file system can't share blocks between these two places; the text says why."""


def clone_tree(tree: Survey, target: Path, user: ServiceUser | None) -> None:
    """Make `target` (an empty directory) a clone that shares every block. Raises CloneRefusedError, BackupError."""
    if not tree.files:
        raise CloneRefusedError("there is no file to try it with")

    def one(source: int, copy: int, _size: int) -> None:
        try:
            fcntl.ioctl(copy, FICLONE, source)
        except OSError as error:
            if error.errno in REFUSED:
                raise CloneRefusedError(os.strerror(error.errno)) from error
            raise

    _fill(tree, target, user, one, sorted(tree.files, key=lambda item: -item.bytes), jobs=1)


def copy_tree(tree: Survey, target: Path, user: ServiceUser | None, *, jobs: int = 2) -> None:
    """Copy every byte into `target` (an empty directory), nothing made durable.

    Raises ProvisionError when the disk has no room, BackupError when the backup can't be read.
    """
    state = os.statvfs(target)
    free = state.f_bavail * state.f_frsize
    if free < tree.bytes + ROOM_BYTES:
        raise ProvisionError(
            f"A full copy takes {tree.bytes:,} bytes, and {target} has {free:,} free",
            remedy="give the harness a larger place, or a file system that shares blocks (XFS, Btrfs)",
        )
    _fill(tree, target, user, _copy, sorted(tree.files, key=lambda item: -item.bytes), jobs=jobs)


def _fill(
    tree: Survey,
    target: Path,
    user: ServiceUser | None,
    transfer: Callable[[int, int, int], None],
    files: Iterable[Entry],
    *,
    jobs: int,
) -> None:
    for entry in tree.entries:
        if entry.kind == "d" and entry.path:
            Path(target, entry.path).mkdir(mode=0o700)
            _give(Path(target, entry.path), user)

    def one(entry: Entry) -> None:
        source = os.open(tree.root / entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(source).st_ino != entry.inode:
                raise BackupError(
                    f"{entry.path} was replaced while it was read", remedy="take a backup at rest"
                )
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            copy = os.open(target / entry.path, flags, 0o600)
            try:
                transfer(source, copy, entry.bytes)
                if user is not None:
                    os.fchown(copy, user.uid, user.gid)
            finally:
                os.close(copy)
        finally:
            os.close(source)

    try:
        if jobs == 1:
            for entry in files:
                one(entry)
            return
        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(one, files):
                pass
    except OSError as error:
        raise BackupError(
            f"The backup can't be copied: {error.strerror}", remedy="look at its rights and at the free space"
        ) from error


def _copy(source: int, copy: int, size: int) -> None:
    done = 0
    while done < size:
        count = os.sendfile(copy, source, done, min(CHUNK_BYTES, size - done))
        if count == 0:
            raise OSError(errno.EIO, "a file ended early")
        done += count


def _give(path: Path, user: ServiceUser | None) -> None:
    if user is not None:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)
