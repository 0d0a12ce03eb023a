"""The manifest of a set of pieces: which files there are, in which piece their bytes lie, and every digest.

`pieces.json` is written last, so a set without one is not complete. Pieces are named by their number. What a manifest
says is untrusted: names that lead elsewhere, overlaps, gaps and sizes that do not add up are refused when it is read.

A *lane* is what one worker does from beginning to end: the pieces of one large file one after the other, or one piece
that holds many small files. So a file's SHA-256 is the usual one, computed in one go.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from smos.errors import BackupError

MANIFEST = "pieces.json"
FORMAT = "smos-pieces/1"
PIECE_BYTES = 64 << 20
"""Bytes of content in one piece, at most."""
MOST_MANIFEST_BYTES = 1 << 30
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = frozenset({"format", "piece_bytes", "directories", "links", "files", "pieces"})


class PiecesError(BackupError):
    """A set of pieces that can't be restored. code: a stable word; piece, file: the names of what is damaged.

    Codes: manifest-missing, manifest-damaged, piece-missing, piece-damaged, file-damaged, no-room, not-empty.
    """

    def __init__(self, code: str, detail: str, *, piece: str = "", file: str = "", remedy: str = "") -> None:
        super().__init__(detail, remedy=remedy or "use another copy of the backup")
        self.code = code
        self.piece = piece
        self.file = file


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece. sha256, stored: of the compressed file; bytes: of the content in it."""

    number: int
    sha256: str
    stored: int
    bytes: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return piece_name(self.number)


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One file. path: relative, with `/`. first: the piece its content begins in, `offset` bytes after that's start."""

    path: str
    mode: int
    bytes: int
    sha256: str
    first: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceManifest:
    """See the module. directories: (path, mode), parents first. links: (path, target). sha256: of the manifest file."""

    piece_bytes: int
    directories: tuple[tuple[str, int], ...]
    links: tuple[tuple[str, str], ...]
    files: tuple[PackedFile, ...]
    pieces: tuple[Piece, ...]
    sha256: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def stored(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.stored for piece in self.pieces)

    def text(self) -> str:
        """Return the manifest as it is written, in ASCII."""
        data = {
            "format": FORMAT,
            "piece_bytes": self.piece_bytes,
            "directories": [[path, mode] for path, mode in self.directories],
            "links": [[path, target] for path, target in self.links],
            "files": [[f.path, f.mode, f.bytes, f.sha256, f.first, f.offset] for f in self.files],
            "pieces": [[p.sha256, p.stored, p.bytes] for p in self.pieces],
        }
        return json.dumps(data, separators=(",", ":"), ensure_ascii=True) + "\n"


@dataclass(frozen=True, slots=True)
class Lane:
    """Work that is done in one go: `pieces` one after the other; `files` lie in them without gaps, in this order."""

    pieces: tuple[Piece, ...]
    files: tuple[PackedFile, ...]

    @property
    def bytes(self) -> int:
        """Bytes of content."""
        return sum(piece.bytes for piece in self.pieces)


def piece_name(number: int) -> str:
    """Return the name of a piece's file."""
    return f"{number:06d}.zst"


def lanes(manifest: PieceManifest) -> list[Lane]:
    """Return the work, the largest first. Raises PiecesError for a manifest whose files do not fill its pieces."""
    found: list[Lane] = []
    number = 0
    files = iter([file for file in manifest.files if file.bytes])
    file = next(files, None)
    while number < len(manifest.pieces):
        first, inside = number, 0
        members: list[PackedFile] = []
        left = manifest.pieces[number].bytes
        while file is not None and (file.first, file.offset) == (first, inside) and left > 0:
            members.append(file)
            inside += file.bytes
            while inside > left:  # the only file of its lane may go on in the next pieces
                number += 1
                if len(members) != 1 or number >= len(manifest.pieces):
                    raise _damaged("a file is longer than its pieces")
                left += manifest.pieces[number].bytes
            file = next(files, None)
            if number > first or inside == left:
                break
        if not members or inside != left:
            raise _damaged(f"the files do not fill piece {piece_name(first)}")
        found.append(Lane(manifest.pieces[first : number + 1], tuple(members)))
        number += 1
    if file is not None:
        raise _damaged("there are files in no piece")
    return sorted(found, key=lambda lane: -lane.bytes)


def read_manifest(folder: Path, *, sha256: str | None = None) -> PieceManifest:
    """Read and judge the manifest in `folder`. sha256: what its digest must be, where that is known.

    Raises PiecesError (manifest-missing, manifest-damaged).
    """
    path = folder / MANIFEST
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise PiecesError("manifest-missing", f"{folder} has no {MANIFEST}: it was never finished") from error
    except OSError as error:
        raise PiecesError("manifest-missing", f"{path} can't be read: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MOST_MANIFEST_BYTES:
            raise _damaged("it is no file of a sensible size")
        text = file.read()
    digest = hashlib.sha256(text).hexdigest()
    if sha256 is not None and digest != sha256:
        raise _damaged("its digest is not the recorded one")
    try:
        return _parsed(json.loads(text), digest)
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(f"it is not what this format says ({type(error).__name__})") from error


def _parsed(data: Any, digest: str) -> PieceManifest:
    if not isinstance(data, Mapping) or data.get("format") != FORMAT or set(data) != _KEYS:
        raise ValueError("another format")
    manifest = PieceManifest(
        piece_bytes=_whole(data["piece_bytes"]),
        directories=tuple((_path(path), _mode(mode)) for path, mode in data["directories"]),
        links=tuple((_path(path), _text(target)) for path, target in data["links"]),
        files=tuple(
            PackedFile(_path(path), _mode(mode), _whole(size), _digest(sha256), _whole(first), _whole(offset))
            for path, mode, size, sha256, first, offset in data["files"]
        ),
        pieces=tuple(
            Piece(number, _digest(sha256), _whole(stored), _whole(size))
            for number, (sha256, stored, size) in enumerate(data["pieces"])
        ),
        sha256=digest,
    )
    _judge_names(manifest)
    if any(not 0 < piece.bytes <= manifest.piece_bytes for piece in manifest.pieces):
        raise ValueError("a piece of a forbidden size")
    lanes(manifest)
    return manifest


def _judge_names(manifest: PieceManifest) -> None:
    """Every name once, and every parent a directory of the manifest: nothing can be written through a link."""
    folders = {""}
    for path, _ in manifest.directories:
        if path in folders or _parent(path) not in folders:
            raise ValueError("a directory twice, or before its parent")
        folders.add(path)
    seen = set(folders)
    for path in _leaves(manifest):
        if path in seen or _parent(path) not in folders:
            raise ValueError("a name twice, or below no directory")
        seen.add(path)


def _leaves(manifest: PieceManifest) -> Iterator[str]:
    yield from (path for path, _ in manifest.links)
    yield from (file.path for file in manifest.files)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _path(value: object) -> str:
    text = _text(value)
    parts = text.split("/")
    if PurePosixPath(text).is_absolute() or any(part in {"", ".", ".."} for part in parts):
        raise ValueError("a path that leads elsewhere")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("no text")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError("no digest")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError("no size")
    return value


def _mode(value: object) -> int:
    mode = _whole(value)
    if mode & ~0o777:
        raise ValueError("a mode with more than rights")
    return mode


def _damaged(detail: str) -> PiecesError:
    return PiecesError("manifest-damaged", f"The manifest is damaged: {detail}")
