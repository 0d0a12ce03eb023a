"""Reading a folder that somebody else filled: nothing is followed, waited for, or read without a limit.

A pipe in the place of a file would block for ever, a link could name any file, and a sparse file takes no room but
hours to read.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_FILE = 2 * 2**30
"""Bytes of an evidence file; real ones have some MB. A larger one is refused unread."""
LARGEST_READ = 256 * 2**20
"""Bytes of a file that is read whole."""
CHUNK = 2**20
TOO_LARGE, UNREADABLE = "too large", "unreadable"
"""Stand in the place of a digest, which no file has."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in a folder. digests: SHA-256 of every regular file by its path. strange: sentences on all else."""

    digests: dict[str, str]
    strange: tuple[str, ...]


def survey(folder: Path, *, skip: Iterable[str] = ()) -> Survey:
    """Look at everything below a folder. skip: files that are not digested."""
    digests: dict[str, str] = {}
    strange: list[str] = []
    refused: list[OSError] = []
    for base, folders, names in os.walk(folder, onerror=refused.append, followlinks=False):
        if not folders and not names and Path(base) != folder:
            strange.append(f"{_name(folder, Path(base))} is an empty folder, which nothing names")
        for name in [*folders, *names]:
            path = Path(base, name)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            relative = _name(folder, path)
            if not stat.S_ISREG(mode):
                strange.append(f"{relative} is no regular file")
            elif relative not in skip:
                digests[relative] = _digest(path, relative, strange)
    strange += [
        f"{_name(folder, Path(str(error.filename)))} can't be read: {error.strerror}" for error in refused
    ]
    return Survey(digests, tuple(sorted(strange)))


def read(path: Path, limit: int = LARGEST_READ) -> bytes:
    """Return the bytes of a regular file. Raises OSError, also for a link; ValueError when it is too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as handle:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(f"{path.name} is no regular file")
        if found.st_size > limit:
            raise ValueError("it is too large")
        return handle.read(limit)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises OSError, ValueError (also for a key that stands there twice)."""
    document = parse(read(path))
    if not isinstance(document, dict):
        raise ValueError("it holds no object")  # noqa: TRY004  (a bad value of a file, not of an argument)
    return document


def parse(data: bytes) -> Any:
    """Return a JSON document in which no object has a key twice: readers differ in which one they take.

    Raises ValueError, RecursionError.
    """
    return json.loads(data, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {double!r} stands in it twice")
    return found


def _digest(path: Path, name: str, strange: list[str]) -> str:
    total = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as handle:
            if os.fstat(descriptor).st_size > LARGEST_FILE:
                strange.append(f"{name} is too large to be evidence")
                return TOO_LARGE
            while chunk := handle.read(CHUNK):
                total.update(chunk)
    except OSError as error:
        strange.append(f"{name} can't be read: {error.strerror}")
        return UNREADABLE
    return total.hexdigest()


def _name(folder: Path, path: Path) -> str:
    """Return a path below the folder, with what is no text (names are bytes) made visible."""
    text = path.relative_to(folder).as_posix()
    return text.encode("utf-8", "backslashreplace").decode()
