#!/usr/bin/env python3
"""A safe `archive_command`: `archive_command = 'python3 -I -S /path/archive_wal.py "%p" "/archive/%f"'`.

What the manual asks of one (continuous archiving, "Setting Up WAL Archiving"): it never replaces a file that holds
something else, it says that it succeeded only when the segment is on the disk, and it succeeds when the very same
segment is there already (the server repeats a command whose answer it did not see). A file appears under its name
whole or not at all: it is written under another name, flushed, given its name without replacing anything (a hard
link; where the file system has none, an exclusive lock file holds others off), and the directory is flushed.

Needs nothing but Python's standard library, and imports nothing of this package: it may be copied to a server.
Exit codes: 0 archived; 1 not archived, the server tries again; the reason is on standard error.
"""

# Paths are plain strings: pathlib would double the start of a program that runs for every segment.
# ruff: noqa: PTH104, PTH108, PTH113, PTH114, PTH118, PTH119, PTH120, PTH123

import contextlib
import errno
import os
import sys

CHUNK = 1 << 20
ARGUMENTS = 3
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def archive(source: str, destination: str) -> None:
    """Copy the file `source` to the path `destination`, which must not exist or hold the same.

    Raises FileExistsError when it holds something else, OSError when the disk says no.
    """
    directory = os.path.dirname(destination) or "."
    if os.path.lexists(destination):
        _require_same(source, destination)
        _flush(destination)
        _flush(directory)
        return
    temporary = os.path.join(directory, f".{os.path.basename(destination)}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # of an earlier process that had this number and was killed
    try:
        handle = os.open(temporary, flags, 0o600)
        try:
            _copy(source, handle)
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            _name(temporary, destination)
        except FileExistsError:  # somebody else was quicker
            _require_same(source, destination)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    _flush(directory)


def _name(temporary: str, destination: str) -> None:
    """Give the file its name. Raises FileExistsError when the name is taken."""
    try:
        os.link(temporary, destination, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        lock = os.open(destination + ".lock", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if os.path.lexists(destination):
                raise FileExistsError(errno.EEXIST, "the name is taken", destination) from None
            os.rename(temporary, destination)
        finally:
            os.close(lock)
            os.unlink(destination + ".lock")


def _copy(source: str, handle: int) -> None:
    with open(source, "rb", buffering=0) as file:
        while data := file.read(CHUNK):
            while data:
                data = data[os.write(handle, data) :]


def _require_same(source: str, destination: str) -> None:
    if os.path.islink(destination) or not os.path.isfile(destination):
        raise FileExistsError(errno.EEXIST, "something that is no file has this name", destination)
    with open(source, "rb") as one, open(destination, "rb") as other:
        while True:
            left, right = one.read(CHUNK), other.read(CHUNK)
            if left != right:
                raise FileExistsError(
                    errno.EEXIST, "the archive holds another content under this name", destination
                )
            if not left:
                return


def _flush(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    if len(arguments) != ARGUMENTS:
        sys.stderr.write("usage: archive_wal.py SOURCE DESTINATION\n")
        return 1
    try:
        archive(arguments[1], arguments[2])
    except OSError as error:
        sys.stderr.write(f"not archived: {error.strerror or error}: {error.filename or arguments[2]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
