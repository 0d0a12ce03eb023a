"""Look into a raft snapshot without a server: is it whole, what is in it, how many shares open it.

A snapshot is a gzip-compressed tar: `meta.json` (raft index, term, peers), `state.bin` (every stored entry,
length-prefixed protobuf; keys in the clear, values sealed), `SHA256SUMS` of both, `SHA256SUMS.sealed` (the
sums, sealed with the cluster's key). Sums made by whoever made the file show damage, not forgery: forgery is
shown by the signature of the manifest. Source: OpenBao, internal/physical/raft/snapshot/archive.go.
"""

import gzip
import hashlib
import json
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from smos.verdict import Problem

PART_BYTES = 2**20
SMALL_MEMBER_BYTES = 2**20
"""Most bytes of every member but `state.bin`."""
LARGEST_BYTES = 64 * 2**30
"""Default bound of the decompressed size."""
_EXPECTED = frozenset({"meta.json", "state.bin", "SHA256SUMS", "SHA256SUMS.sealed"})
_REQUIRED = frozenset({"meta.json", "state.bin", "SHA256SUMS"})
_KEYRING = "core/keyring"
_SEAL_CONFIG = "core/seal-config"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """What a snapshot file is. Sizes in bytes. `problems` empty: it is whole.

    entries: stored entries; -1 where `state.bin` can't be read as such. keyring: whether the encrypted key
    ring is among them. shares, threshold: what the stored seal configuration asks for; None where unreadable.
    """

    stored_bytes: int
    sha256: str
    state_bytes: int
    raft_index: int
    raft_term: int
    entries: int
    keyring: bool
    seal_type: str | None
    shares: int | None
    threshold: int | None
    problems: tuple[Problem, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing speaks against restoring it."""
        return not self.problems


def inspect_snapshot(path: Path, *, limit_bytes: int = LARGEST_BYTES) -> SnapshotFacts:
    """Read the file once, in bounded memory, and tell what it is. Never raises for what the file holds."""
    seen = _Seen()
    try:
        with path.open("rb") as raw:
            stored = _Hashing(raw)
            _read(cast("IO[bytes]", stored), seen, limit_bytes)
            while stored.read(PART_BYTES):
                pass  # the digest is of the whole file, whatever could be read of it
    except FileNotFoundError:
        seen.problem("snapshot-missing", f"there is no file {path.name}")
        return seen.facts(0, "")
    except OSError as error:
        seen.problem("snapshot-unreadable", f"{path.name}: {error.strerror or type(error).__name__}")
        return seen.facts(0, "")
    return seen.facts(stored.bytes, stored.digest.hexdigest())


class _Hashing:
    """A readable file that counts and hashes what passes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(PART_BYTES if size < 0 else size)
        self.digest.update(part)
        self.bytes += len(part)
        return part


@dataclass(slots=True)
class _Seen:
    sums: dict[str, str] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    state_bytes: int = 0
    entries: int = 0
    keyring: bool = False
    seal: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, code: str, detail: str) -> None:
        self.problems.append(Problem(code, detail))

    def facts(self, stored_bytes: int, sha256: str) -> SnapshotFacts:
        return SnapshotFacts(
            stored_bytes=stored_bytes,
            sha256=sha256,
            state_bytes=self.state_bytes,
            raft_index=_whole(self.meta.get("Index")) or 0,
            raft_term=_whole(self.meta.get("Term")) or 0,
            entries=self.entries,
            keyring=self.keyring,
            seal_type=_word(self.seal.get("type")),
            shares=_whole(self.seal.get("secret_shares")),
            threshold=_whole(self.seal.get("secret_threshold")),
            problems=tuple(self.problems),
        )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _word(value: object) -> str | None:
    return value[:40] if isinstance(value, str) else None


def _read(file: IO[bytes], seen: _Seen, limit_bytes: int) -> None:
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as plain:
            _members(plain, seen, limit_bytes)
            if seen.problems:
                return
            # tar ends before the stream does: only its end carries the checksum of the whole.
            while rest := plain.read(PART_BYTES):
                if rest.strip(b"\0"):
                    seen.problem("snapshot-trailing-data", "there is data after the end of the archive")
                    break
    except EOFError:
        seen.problem("snapshot-truncated", "the compressed stream ends in the middle")
    except (gzip.BadGzipFile, zlib.error) as error:
        seen.problem("snapshot-damaged", f"the compressed stream is damaged: {str(error)[:120]}")
    except tarfile.TarError as error:
        seen.problem("snapshot-damaged", f"the archive is damaged: {str(error)[:120]}")
    if not seen.problems:
        _compare_sums(seen)


def _compare_sums(seen: _Seen) -> None:
    for name in sorted(_REQUIRED - set(seen.sums)):
        seen.problem("snapshot-incomplete", f"{name} is missing in the archive")
    for name in ("meta.json", "state.bin"):
        if name in seen.sums and seen.declared.get(name) != seen.sums[name]:
            seen.problem("snapshot-altered", f"{name} does not have the SHA-256 that SHA256SUMS gives")
    if not seen.problems and not seen.keyring:
        seen.problem("snapshot-empty", "the state holds no key ring: this is not the storage of a Vault")


def _members(plain: gzip.GzipFile, seen: _Seen, limit_bytes: int) -> None:
    with tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            if not member.isreg() or member.name not in _EXPECTED or member.name in seen.sums:
                seen.problem("snapshot-unexpected", f"{member.name[:80]!r} does not belong into the archive")
                return
            limit = limit_bytes if member.name == "state.bin" else SMALL_MEMBER_BYTES
            if member.size > limit:
                seen.problem("snapshot-too-large", f"{member.name} takes {member.size} bytes (limit {limit})")
                return
            content = archive.extractfile(member)
            if content is None:
                raise tarfile.ReadError(member.name)
            _member(member, content, seen)


def _member(member: tarfile.TarInfo, content: IO[bytes], seen: _Seen) -> None:
    digest = hashlib.sha256()
    state = _State(seen) if member.name == "state.bin" else None
    kept = bytearray()
    left = member.size
    while left:
        part = content.read(min(PART_BYTES, left))
        if not part:
            raise EOFError
        left -= len(part)
        digest.update(part)
        if state is not None:
            state.feed(part)
        else:
            kept += part
    seen.sums[member.name] = digest.hexdigest()
    if state is not None:
        seen.state_bytes = member.size
        state.end()
    elif member.name == "meta.json":
        seen.meta = _mapping(bytes(kept))
    elif member.name == "SHA256SUMS":
        for line in kept.decode("utf-8", "replace").splitlines():
            value, _, name = line.partition("  ")
            seen.declared[name] = value


def _mapping(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class _State:
    """Reads `state.bin` as it passes: entries of (varint length, protobuf {1: key, 2: value})."""

    LARGEST_ENTRY = 64 * 2**20

    def __init__(self, seen: _Seen) -> None:
        self._seen = seen
        self._buffer = bytearray()
        self._readable = True

    def feed(self, part: bytes) -> None:
        if not self._readable:
            return
        self._buffer += part
        view, at = self._buffer, 0
        while (length := _varint(view, at)) is not None:
            size, start = length
            if size > self.LARGEST_ENTRY:
                self._give_up()
                return
            if start + size > len(view):
                break
            self._entry(bytes(view[start : start + size]))
            at = start + size
        del self._buffer[:at]

    def end(self) -> None:
        if self._readable and self._buffer:
            self._give_up()

    def _give_up(self) -> None:
        # Another version's format: not a fault of the file. The server will tell.
        self._readable = False
        self._buffer.clear()
        self._seen.entries = -1
        self._seen.keyring = True

    def _entry(self, entry: bytes) -> None:
        self._seen.entries += 1
        fields = _fields(entry)
        key = fields.get(1, b"").decode("utf-8", "replace")
        if key == _KEYRING:
            self._seen.keyring = True
        elif key == _SEAL_CONFIG:
            self._seen.seal = _mapping(fields.get(2, b""))


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Return (value, position after it); None when the data ends within it."""
    value = shift = 0
    for position in range(at, min(at + 10, len(data))):
        value |= (data[position] & 0x7F) << shift
        if not data[position] & 0x80:
            return value, position + 1
        shift += 7
    return None


def _fields(entry: bytes) -> dict[int, bytes]:
    """Return the length-delimited fields of a protobuf message; stops at anything else."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(entry):
        tag = _varint(entry, at)
        length = _varint(entry, tag[1]) if tag and tag[0] & 7 == 2 else None
        if tag is None or length is None:
            break
        at = length[1] + length[0]
        found[tag[0] >> 3] = entry[length[1] : at]
    return found
