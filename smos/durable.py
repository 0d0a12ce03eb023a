"""Puts a directory tree on disk, so that a power cut right afterwards loses nothing of it."""

import ctypes
import os
from pathlib import Path


def synchronise(root: Path) -> None:
    """Write a directory tree to disk: in one call where the system has it, else file by file. Raises OSError."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is not None:
            if syncfs(handle) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            return
    finally:
        os.close(handle)
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                _fsync(path, os.O_RDWR)
        _fsync(Path(folder), os.O_RDONLY | os.O_DIRECTORY)


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
