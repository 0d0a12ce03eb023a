"""Write a directory as compressed pieces, several at a time, in constant memory, the manifest last."""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import zstandard

from smos.errors import BackupError
from smos.instant.survey import Entry, survey
from smos.pieces.manifest import (
    MANIFEST,
    PIECE_BYTES,
    PackedFile,
    Piece,
    PieceManifest,
    PiecesError,
    piece_name,
)

CHUNK_BYTES = 1 << 20
LEVEL = 1
"""Of zstd: pages of a database shrink by a further 5 % with level 3, which takes half as long again."""


def pack(
    root: Path, folder: Path, *, jobs: int = 2, level: int = LEVEL, piece_bytes: int = PIECE_BYTES
) -> PieceManifest:
    """Write the directory `root` into the empty directory `folder`; return the manifest as it was written.

    `root` must be at rest: a file that shrinks or grows meanwhile is an error. jobs: workers, each with some 10 MB.
    Durable when it returns. Raises BackupError, UnsafeInputError (see `survey`), PiecesError (not-empty).
    """
    if any(folder.iterdir()):
        raise PiecesError("not-empty", f"{folder} is not empty", remedy="pack into a new directory")
    tree = survey(root)
    work = _plan(tree.files, piece_bytes)
    stop = Event()

    def one(lane: tuple[int, tuple[Entry, ...]]) -> tuple[list[PackedFile], list[Piece]]:
        try:
            return _Lane(root, folder, lane[0], level, piece_bytes, stop).write(lane[1])
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        done = list(pool.map(one, work))
    manifest = PieceManifest(
        piece_bytes=piece_bytes,
        directories=tuple(
            (entry.path, entry.mode & 0o777)
            for entry in sorted(tree.entries, key=lambda item: item.path)
            if entry.kind == "d" and entry.path
        ),
        links=tree.links,
        files=tuple(
            [file for files, _ in done for file in files]
            + [
                PackedFile(entry.path, entry.mode & 0o777, 0, hashlib.sha256().hexdigest(), 0, 0)
                for entry in tree.files
                if not entry.bytes
            ]
        ),
        pieces=tuple(sorted((piece for _, pieces in done for piece in pieces), key=lambda item: item.number)),
    )
    text = manifest.text().encode()
    fresh = folder / f".{MANIFEST}"
    with fresh.open("xb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(folder / MANIFEST)
    _fsync_directory(folder)
    return PieceManifest(
        piece_bytes=manifest.piece_bytes,
        directories=manifest.directories,
        links=manifest.links,
        files=manifest.files,
        pieces=manifest.pieces,
        sha256=hashlib.sha256(text).hexdigest(),
    )


def _plan(files: Iterable[Entry], piece_bytes: int) -> list[tuple[int, tuple[Entry, ...]]]:
    """Return lanes as (number of the first piece, files): large files alone and first, small ones together."""
    present = [entry for entry in files if entry.bytes]
    large = sorted((item for item in present if item.bytes > piece_bytes), key=lambda item: -item.bytes)
    plan: list[tuple[int, tuple[Entry, ...]]] = []
    number = 0
    for entry in large:
        plan.append((number, (entry,)))
        number += -(-entry.bytes // piece_bytes)
    batch: list[Entry] = []
    size = 0
    for entry in (item for item in present if item.bytes <= piece_bytes):
        if batch and size + entry.bytes > piece_bytes:
            plan.append((number, tuple(batch)))
            number, batch, size = number + 1, [], 0
        batch.append(entry)
        size += entry.bytes
    if batch:
        plan.append((number, tuple(batch)))
    return plan


class _Lane:
    """Writes the pieces of one lane."""

    def __init__(
        self, root: Path, folder: Path, number: int, level: int, piece_bytes: int, stop: Event
    ) -> None:
        self._root, self._folder, self._number, self._piece_bytes = root, folder, number, piece_bytes
        self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        self._stop = stop
        self._pieces: list[Piece] = []

    def write(self, entries: tuple[Entry, ...]) -> tuple[list[PackedFile], list[Piece]]:
        """Write these files; return what the manifest says of them, and the pieces."""
        files: list[PackedFile] = []
        first = self._number
        offset = 0
        self._open()
        try:
            for entry in entries:
                digest = self._file(entry)
                files.append(PackedFile(entry.path, entry.mode & 0o777, entry.bytes, digest, first, offset))
                offset += entry.bytes
            self._close()
        finally:
            self._output.close()
        return files, self._pieces

    def _file(self, entry: Entry) -> str:
        digest = hashlib.sha256()
        left = entry.bytes
        buffer = memoryview(bytearray(min(CHUNK_BYTES, left)))
        try:
            handle = os.open(self._root / entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                while left and not self._stop.is_set():
                    if self._bytes == self._piece_bytes:
                        self._close()
                        self._number += 1
                        self._open()
                    count = os.readv(handle, [buffer[: min(left, self._piece_bytes - self._bytes)]])
                    if not count:
                        break
                    digest.update(buffer[:count])
                    self._store(self._stream.compress(buffer[:count]))
                    self._bytes += count
                    left -= count
                if not self._stop.is_set() and (left or os.fstat(handle).st_size != entry.bytes):
                    raise BackupError(
                        f"{entry.path} changed while it was read", remedy="pack a backup at rest"
                    )
            finally:
                os.close(handle)
        except OSError as error:
            raise BackupError(f"{entry.path} can't be packed: {error.strerror}") from error
        return digest.hexdigest()

    def _open(self) -> None:
        self._output = (self._folder / piece_name(self._number)).open("xb")
        self._stream = self._compressor.compressobj()
        self._digest = hashlib.sha256()
        self._bytes = self._stored = 0

    def _store(self, data: bytes) -> None:
        self._output.write(data)
        self._digest.update(data)
        self._stored += len(data)

    def _close(self) -> None:
        self._store(self._stream.flush())
        self._output.flush()
        os.fsync(self._output.fileno())
        self._output.close()
        self._pieces.append(Piece(self._number, self._digest.hexdigest(), self._stored, self._bytes))


def _fsync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
