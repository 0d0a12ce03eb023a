"""Restore a directory from pieces: several workers, one pass over the bytes, constant memory, durable at the end.

Each worker reads a piece, hashes it, decompresses it into an aligned buffer, hashes the file's content, and writes
it past the page cache into a file whose blocks were reserved before. Nothing is read a second time. Threads are
enough: hashing, decompressing and writing all let go of the interpreter's lock.
"""

import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import zstandard

from smos.durable import synchronise
from smos.pieces.manifest import Lane, PackedFile, Piece, PieceManifest, PiecesError, lanes, read_manifest
from smos.provision.users import ServiceUser

BUFFER_BYTES = 4 << 20
"""Of one worker; a multiple of every file system's block."""
READ_BYTES = 1 << 20
DIRECT_FROM_BYTES = 1 << 20
"""Smaller files go through the page cache: waiting for the disk once each would cost more."""
BLOCK_BYTES = 4096
WINDOW_BYTES = 32 << 20
"""The most memory that a piece may make its decompressor take."""
ROOM_BYTES = 64 << 20
"""Bytes that must stay free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackFacts:
    """What was restored. seconds: in all; durable_seconds: of them for the last synchronisation (0.0: not asked for).

    direct: whether large files were written past the page cache. links: of the manifest; they are not made.
    """

    files: int
    bytes: int
    stored: int
    seconds: float
    durable_seconds: float
    direct: bool
    manifest_sha256: str
    links: tuple[tuple[str, str], ...]


def unpack(
    folder: Path,
    target: Path,
    *,
    jobs: int = 3,
    sha256: str | None = None,
    user: ServiceUser | None = None,
    durable: bool = True,
    most_bytes: int | None = None,
) -> UnpackFacts:
    """Restore the pieces in `folder` into the empty directory `target`, and verify every digest on the way.

    jobs: workers, each with some 10 MB; one more than processors keeps the disk busy. sha256: what the manifest's
    digest must be, where that is known (without it the pieces are only consistent in themselves). user: whose the
    files become. durable: on disk when it returns. most_bytes: more is refused.

    Raises PiecesError naming the piece and the file; what is in `target` is worthless then.
    """
    started = time.monotonic()
    if any(target.iterdir()):
        raise PiecesError("not-empty", f"{target} is not empty", remedy="restore into a new directory")
    manifest = read_manifest(folder, sha256=sha256)
    _room(manifest, target, most_bytes)
    stop = Event()
    direct = _direct_works(target)
    worker = _Worker(folder, target, user, stop, direct=direct)
    try:
        for path, _ in manifest.directories:
            (target / path).mkdir(mode=0o700)
        for file in manifest.files:
            if not file.bytes:
                worker.empty(file)
        _run(manifest, worker, stop, jobs)
        for path, mode in reversed(manifest.directories):
            if user is not None:
                os.chown(target / path, user.uid, user.gid, follow_symlinks=False)
            (target / path).chmod(mode)
        before = time.monotonic()
        if durable:
            synchronise(target)
    except OSError as error:
        code = "no-room" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "target-failed"
        raise PiecesError(
            code, f"{error.filename or target} can't be written: {error.strerror}", remedy="look at the disk"
        ) from error
    return UnpackFacts(
        files=len(manifest.files),
        bytes=manifest.bytes,
        stored=manifest.stored,
        seconds=time.monotonic() - started,
        durable_seconds=time.monotonic() - before if durable else 0.0,
        direct=direct,
        manifest_sha256=manifest.sha256,
        links=manifest.links,
    )


def verify(folder: Path, *, jobs: int = 2, sha256: str | None = None) -> PieceManifest:
    """Read every piece and compare the digests of pieces and files, writing nothing; return the manifest.

    Raises PiecesError for the first damage that is met.
    """
    manifest = read_manifest(folder, sha256=sha256)
    stop = Event()
    _run(manifest, _Worker(folder, None, None, stop, direct=False), stop, jobs)
    return manifest


def _run(manifest: PieceManifest, worker: "_Worker", stop: Event, jobs: int) -> None:
    def one(lane: Lane) -> None:
        if stop.is_set():
            return
        try:
            worker.restore(lane)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        try:
            for _ in pool.map(one, lanes(manifest)):
                pass
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _room(manifest: PieceManifest, target: Path, most: int | None) -> None:
    size = manifest.bytes
    if most is not None and size > most:
        raise PiecesError(
            "no-room", f"The pieces hold {size:,} bytes; {most:,} are allowed", remedy="raise the limit"
        )
    state = os.statvfs(target)
    free = state.f_bavail * state.f_frsize
    if size + ROOM_BYTES > free:
        raise PiecesError("no-room", f"The pieces hold {size:,} bytes; {free:,} are free", remedy="make room")


def _direct_works(target: Path) -> bool:
    """Whether files here can be written past the page cache (not on every file system, and not on macOS)."""
    flag = getattr(os, "O_DIRECT", 0)
    if not flag:
        return False
    probe = target / ".direct"
    try:
        handle = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | flag, 0o600)
    except OSError:
        probe.unlink(missing_ok=True)
        return False
    try:
        with mmap.mmap(-1, BLOCK_BYTES) as page:
            return os.pwrite(handle, page, 0) == BLOCK_BYTES
    except OSError:
        return False
    finally:
        os.close(handle)
        probe.unlink()


class _Source:
    """A piece's file that is hashed while the decompressor reads it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        data = os.read(self._handle, size)
        self.digest.update(data)
        return data


class _Worker:
    """Restores lanes; shared by all threads, each call has buffers of its own."""

    def __init__(
        self, folder: Path, target: Path | None, user: ServiceUser | None, stop: Event, *, direct: bool
    ) -> None:
        self._folder, self._target, self._user, self._stop, self._direct = folder, target, user, stop, direct

    def empty(self, file: PackedFile) -> None:
        """Make a file without content."""
        with self._create(file, self._target):
            pass

    def restore(self, lane: Lane) -> None:
        """Restore the files of one lane. Raises PiecesError, and OSError for the target."""
        with mmap.mmap(-1, BUFFER_BYTES) as memory, memoryview(memory) as buffer:
            pieces = iter(lane.pieces)
            with contextlib.ExitStack() as stack:
                reader = stack.enter_context(_Reader(self._folder, next(pieces)))
                for file in lane.files:
                    digest = hashlib.sha256()
                    done = 0
                    with self._create(file, self._target) as handle:
                        while done < file.bytes and not self._stop.is_set():
                            if not reader.left:
                                reader.finish()
                                stack.pop_all().close()
                                reader = stack.enter_context(_Reader(self._folder, next(pieces)))
                            with buffer[: min(BUFFER_BYTES, file.bytes - done, reader.left)] as part:
                                reader.fill(part, file)
                                digest.update(part)
                                if handle is not None:
                                    _write(handle, part, done)
                                done += len(part)
                    if self._stop.is_set():
                        return
                    if digest.hexdigest() != file.sha256:
                        raise PiecesError(
                            "file-damaged", f"{file.path} is not what was packed", file=file.path
                        )
                reader.finish()

    @contextlib.contextmanager
    def _create(self, file: PackedFile, target: Path | None) -> Iterator[int | None]:
        if target is None:
            yield None
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        if self._direct and file.bytes >= DIRECT_FROM_BYTES:
            flags |= os.O_DIRECT
        handle = os.open(target / file.path, flags, 0o600)
        try:
            if file.bytes >= DIRECT_FROM_BYTES:
                with contextlib.suppress(
                    OSError
                ):  # some file systems can't: then blocks are found as they come
                    os.posix_fallocate(handle, 0, file.bytes)
            yield handle
            if self._user is not None:
                os.fchown(handle, self._user.uid, self._user.gid)
            os.fchmod(handle, file.mode)
        finally:
            os.close(handle)


class _Reader(contextlib.AbstractContextManager["_Reader"]):
    """One piece, decompressed and judged. left: bytes of content that are still to come."""

    def __init__(self, folder: Path, piece: Piece) -> None:
        self._piece = piece
        self.left = piece.bytes
        try:
            self._handle = os.open(
                folder / piece.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            )
        except OSError as error:
            detail = f"{piece.name} can't be read: {error.strerror}"
            raise PiecesError("piece-missing", detail, piece=piece.name) from error
        facts = os.fstat(self._handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != piece.stored:
            os.close(self._handle)
            raise self._damaged(f"it has {facts.st_size:,} bytes instead of {piece.stored:,}")
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        self._source = _Source(self._handle)
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
        self._stream = decompressor.stream_reader(self._source, read_size=READ_BYTES)  # type: ignore[arg-type]  # it reads only

    def __exit__(self, *_: object) -> None:
        self._stream.close()  # type: ignore[no-untyped-call]  # not annotated there
        os.close(self._handle)

    def fill(self, part: memoryview, file: PackedFile) -> None:
        """Fill `part` with the next bytes of content, which belong to `file`."""
        done = 0
        try:
            while done < len(part):
                with part[done:] as rest:
                    count = self._stream.readinto(rest)
                if not count:
                    raise self._damaged("it ends early", file.path)
                done += count
        except zstandard.ZstdError as error:
            raise self._damaged("it can't be decompressed", file.path) from error
        except OSError as error:
            raise self._damaged(f"it can't be read: {error.strerror}", file.path) from error
        self.left -= done

    def finish(self) -> None:
        """Read what is left and compare the digest."""
        try:
            more = self._stream.read(1)
            while self._source.read(READ_BYTES):
                pass
        except (zstandard.ZstdError, OSError) as error:
            raise self._damaged("its end can't be read") from error
        if more or self._source.digest.hexdigest() != self._piece.sha256:
            raise self._damaged("its digest is not the recorded one")

    def _damaged(self, detail: str, file: str = "") -> PiecesError:
        name = self._piece.name
        return PiecesError("piece-damaged", f"{name} is damaged: {detail}", piece=name, file=file)


def _write(handle: int, part: memoryview, offset: int) -> None:
    """Write all of it. What is no multiple of a block can't pass by the page cache: only a file's end is like that."""
    whole = len(part) - len(part) % BLOCK_BYTES
    done = 0
    while done < len(part):
        if done == whole and whole < len(part) and hasattr(os, "O_DIRECT"):
            flags = fcntl.fcntl(handle, fcntl.F_GETFL)
            if flags & os.O_DIRECT:
                fcntl.fcntl(handle, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        with part[done : whole if done < whole else None] as rest:
            done += os.pwrite(handle, rest, offset + done)
