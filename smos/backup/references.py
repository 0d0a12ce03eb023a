"""Rules of an application about its files: every file that a database names exists in a volume.

The names come from a restored database, so they are untrusted, and they can be personal data: they are
walked to without leaving the volume, and only counts and short digests of them are kept.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from smos.backup.safepath import DirTree, Parts, PathError, split_path

EXAMPLES = 10
MOST_LINKS = 40
"""Symbolic links in one path, as Linux counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFacts:
    """One rule, checked.

    missing: names without a regular file; refused: names that leave the volume or are no path. examples: the
    first 12 hex digits of the SHA-256 of missing and refused names. unreadable: why the rule could not be
    checked; None when it was.
    """

    rule: str
    volume: str
    checked: int
    missing: int
    refused: int
    examples: tuple[str, ...]
    unreadable: str | None = None


def check_references(
    root: Path, names: Iterable[str], *, rule: str, volume: str, prefix: str = ""
) -> ReferenceFacts:
    """Look for each of `names`, relative to `prefix` inside of the volume at `root`.

    Symbolic links are followed inside of the volume only. Memory does not grow with the number of names.
    Never raises for a name; a volume that can't be read becomes `unreadable`.
    """
    checked = missing = refused = 0
    examples: list[str] = []
    try:
        base = split_path(os.fsencode(prefix))
        with DirTree(root) as tree:
            for name in names:
                checked += 1
                try:
                    found = _is_file(tree, (*base, *_parts(name)))
                except PathError:
                    refused += 1
                else:
                    if found:
                        continue
                    missing += 1
                if len(examples) < EXAMPLES:
                    raw = name.encode("utf-8", "surrogatepass")
                    examples.append(hashlib.sha256(raw).hexdigest()[:12])
    except PathError as error:
        return unchecked(rule, volume, f"the rule's prefix: {error}")
    except OSError as error:
        return unchecked(rule, volume, f"the restored volume can't be read: {error.strerror}")
    return ReferenceFacts(
        rule=rule, volume=volume, checked=checked, missing=missing, refused=refused, examples=tuple(examples)
    )


def unchecked(rule: str, volume: str, why: str) -> ReferenceFacts:
    """Return the facts of a rule that could not be checked."""
    return ReferenceFacts(
        rule=rule, volume=volume, checked=0, missing=0, refused=0, examples=(), unreadable=why
    )


def _parts(name: str) -> Parts:
    try:
        parts = split_path(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError as error:
        raise PathError("name-invalid", "it is no text") from error
    if not parts:
        raise PathError("name-invalid", "it is empty")
    return parts


def _is_file(tree: DirTree, parts: Parts) -> bool:
    """Tell whether a path leads to a regular file; links are resolved here, so that none can lead outside."""
    todo = list(reversed(parts))
    done: list[bytes] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == b"..":
            if not done:
                return False
            done.pop()
            continue
        found = _look(tree, tuple(done), part)
        if isinstance(found, bytes):
            links += 1
            if links > MOST_LINKS or found.startswith(b"/"):
                return False
            todo.extend(step for step in reversed(found.split(b"/")) if step not in {b"", b"."})
        elif not todo:
            return stat.S_ISREG(found)
        elif stat.S_ISDIR(found):
            done.append(part)
        else:
            return False
    return False


def _look(tree: DirTree, parent: Parts, name: bytes) -> int | bytes:
    """Return the mode of an entry (0: there is none), or the target of a symbolic link."""
    try:
        handle = tree.open(parent)
        mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
        return os.fsencode(os.readlink(name, dir_fd=handle)) if stat.S_ISLNK(mode) else mode
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}:
            return 0
        raise
