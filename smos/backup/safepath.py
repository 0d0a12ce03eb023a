"""Reaches entries below one root, component by component, and never through a symbolic link.

Every path that comes from an archive, a list of entries or a database is walked this way: each component is
opened with O_NOFOLLOW relative to its parent, so that no link, wherever it came from, can lead outside of
the root.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

Parts = tuple[bytes, ...]

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""O_NONBLOCK: a FIFO that took a file's place must not hang the reader."""
KEPT_OPEN = 128
"""Levels whose handles are kept; deeper ones are walked again: a deep tree can't use up the handles."""


class PathError(ValueError):
    """A path that is never walked. `code`: path-absolute, path-climbs or name-invalid."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def split_path(path: bytes) -> Parts:
    """Return the components of a relative path without `.` and empty ones; the root is ().

    Raises PathError for an absolute path, for `..` anywhere, and for a NUL byte.
    """
    if path.startswith(b"/"):
        raise PathError("path-absolute", "the path is absolute")
    if b"\0" in path:
        raise PathError("name-invalid", "the path holds a NUL byte")
    parts = path.split(b"/")
    if b".." in parts:
        raise PathError("path-climbs", "the path climbs out of its directory (`..`)")
    return tuple(part for part in parts if part not in {b"", b"."})


class DirTree:
    """Handles of directories below `root`. Use as a context manager; not for several threads."""

    def __init__(self, root: Path) -> None:
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parts: Parts = ()
        self._handles: list[int] = []
        self._deep: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget(0)
        os.close(self.root)

    def open(self, parts: Parts) -> int:
        """Return a handle of the directory `parts`; it stays valid until the next call.

        Raises OSError: ELOOP or ENOTDIR where a component is a link or no directory, ENOENT where it is
        missing.
        """
        if parts == self._parts:
            return self._last()
        common = 0
        for mine, wanted in zip(self._parts[: len(self._handles)], parts, strict=False):
            if mine != wanted:
                break
            common += 1
        self._forget(common)
        handle = self._last()
        for depth in range(common, len(parts)):
            opened = os.open(parts[depth], OPEN_DIRECTORY, dir_fd=handle)
            if depth < KEPT_OPEN:
                self._handles.append(opened)
            else:
                if self._deep is not None:
                    os.close(self._deep)
                self._deep = opened
            handle = opened
            self._parts = parts[: depth + 1]
        return handle

    def _last(self) -> int:
        if self._deep is not None:
            return self._deep
        return self._handles[-1] if self._handles else self.root

    def _forget(self, keep: int) -> None:
        if self._deep is not None:
            os.close(self._deep)
            self._deep = None
        for handle in self._handles[keep:]:
            os.close(handle)
        del self._handles[keep:]
        self._parts = self._parts[:keep]


def walk(
    tree: DirTree, on_vanished: Callable[[Parts], None] | None = None
) -> Iterator[tuple[Parts, int, bytes, os.stat_result]]:
    """Yield (components, handle of the parent, name, lstat) of every entry, the root first: ((), …, b".", …).

    Depth first, the names of a directory in the order of their bytes: two walks over equal trees meet their
    entries in the same order, and `entries.sort_key` gives that order. Only names of open directories are
    held in memory.

    on_vanished: called for what was listed and is gone when it is looked at (a directory: possibly after it
    was yielded); without it that raises OSError.
    """
    yield (), tree.root, b".", os.fstat(tree.root)
    stack: list[tuple[Parts, Iterator[bytes]]] = [((), _names(tree.root))]
    while stack:
        parent, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            continue
        parts = (*parent, name)
        try:
            handle = tree.open(parent)
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
        except FileNotFoundError:
            if on_vanished is None:
                raise
            on_vanished(parts)
            continue
        yield parts, handle, name, status
        if status.st_mode & 0o170000 == 0o040000:
            try:
                stack.append((parts, _names(tree.open(parts))))
            except (FileNotFoundError, NotADirectoryError):
                if on_vanished is None:
                    raise
                on_vanished(parts)
            except OSError as error:
                error.filename = b"/".join(parts)  # its own name alone would not tell where it is
                raise


def _names(handle: int) -> Iterator[bytes]:
    return iter(sorted(os.fsencode(name) for name in os.listdir(handle)))
