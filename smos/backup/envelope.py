"""The envelope of encrypted backups: age files (age-encryption.org/v1), and a keyed digest of what is in them.

One data key of 64 bytes per set, made by Vault (`transit/datakey/plaintext`), never written anywhere: its first half
is an age X25519 identity, to which every artifact of the set is encrypted; its second half is the key of an
HMAC-SHA-256 over set, name and plaintext of each artifact, which stands in the manifest. age (through `pyrage`, the
bindings of its Rust implementation) cuts a file into chunks of 64 KiB, each authenticated and numbered, the last one
marked: a chunk that is changed, moved, repeated or missing is refused. The digest ties a file to its name and set, so
that whole files can't change places, also where nobody signs the manifest. docs/encryption.md: by hand.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO, Any, Protocol, Self, TypeAlias

import pyrage

from smos.backup.streams import StreamFault, detect_encryption
from smos.errors import BackupError

SUFFIX = ".age"
FORMAT = "age-v1"
KEY_BYTES = 64
_HALF = 32
_BLOCK_BYTES = 1 << 18
_WAITING_BLOCKS = 4
_CONTEXT = b"smos-envelope-v1"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_IDENTITY_PREFIX = "age-secret-key-"

Identity: TypeAlias = Any
Recipient: TypeAlias = Any
"""Secret and public half of an age key pair: pyrage's classes, which come without types."""


class Digest(Protocol):
    """A running digest, as hashlib and hmac make them."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""
        ...


class DataKey:
    """The key of one set, in memory only; its repr shows nothing."""

    __slots__ = ("_digest_key", "identity")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise BackupError(f"a data key has {KEY_BYTES} bytes, this one has {len(secret)}")
        self.identity = pyrage.x25519.Identity.from_str(_identity_text(secret[:_HALF]))
        self._digest_key = secret[_HALF:]

    @classmethod
    def from_base64(cls, text: str) -> Self:
        """Decode what Vault hands out. Raises BackupError, without the text, for what is no data key."""
        try:
            return cls(base64.b64decode(text, validate=True))
        except binascii.Error:
            raise BackupError("what Vault returned is no base64") from None

    def __repr__(self) -> str:
        return "DataKey(…)"

    @property
    def recipient(self) -> Recipient:
        """What artifacts are encrypted to."""
        return self.identity.to_public()

    def digest(self, set_id: str, path: str) -> Digest:
        """Return a running HMAC over set, path (relative to the set) and the plaintext that is fed to it."""
        start = b"\0".join((_CONTEXT, set_id.encode(), path.encode(), b""))
        return hmac.new(self._digest_key, start, hashlib.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """One encrypted file. bytes, sha256: of the ciphertext; plain_bytes, plain_digest: of what is in it."""

    bytes: int
    sha256: str
    plain_bytes: int
    plain_digest: str


def seal(plain: Path, sealed: Path, recipient: Recipient, digest: Digest) -> Sealed:
    """Encrypt a file into a new one, 0600 and synced, in constant memory. Raises BackupError."""
    try:
        with plain.open("rb") as source, open(sealed, "xb", opener=_private) as target:
            reader, writer = _Reader(_blocks(source), digest), _HashingWriter(target)
            pyrage.encrypt_io(reader, writer, [recipient])
            if reader.error is not None:
                raise reader.error
            target.flush()
            os.fsync(target.fileno())
    except (OSError, pyrage.EncryptError) as error:
        sealed.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BackupError(f"{plain.name} could not be encrypted: {reason}") from error
    return Sealed(
        bytes=writer.bytes,
        sha256=writer.sha256.hexdigest(),
        plain_bytes=reader.bytes,
        plain_digest=digest.hexdigest(),
    )


@dataclass(slots=True, kw_only=True)
class Opening:
    """How one file is opened, and what showed while it was.

    identity: opens it. digest: running, over the plaintext. expected: what it and the size must be in the end.
    copy: a new file that gets the plaintext; it is removed unless everything fits. opened: authenticated to its end,
    and the plaintext that was declared.
    """

    identity: Identity
    digest: Digest
    expected_digest: str
    expected_bytes: int
    copy: Path | None = None
    plain_bytes: int = 0
    opened: bool = False

    def plain(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the plaintext of an age file that comes in `blocks`, each chunk only after it was authenticated.

        Must be read to its end. Raises StreamFault: `decryption-failed`, `plaintext-differs`, `sandbox-full`.
        """
        with _Copy(self.copy) as copy, closing(_decrypt(blocks, self.identity)) as pieces:
            for block in pieces:
                self.digest.update(block)
                self.plain_bytes += len(block)
                copy.write(block)
                yield block
            fits = hmac.compare_digest(self.digest.hexdigest(), self.expected_digest)
            if not fits or self.plain_bytes != self.expected_bytes:
                raise StreamFault(
                    "plaintext-differs",
                    "it opens, and holds something else than was put under this name in this set",
                )
            copy.keep()
            self.opened = True


def is_sealed(head: bytes) -> bool:
    """Tell from its first bytes whether a file is in age's format."""
    return detect_encryption(head[:64]) == "age"


def new_identity() -> str:
    """Return a new age identity (`AGE-SECRET-KEY-1…`)."""
    return str(pyrage.x25519.Identity.generate())


def parse_identity(text: str) -> Identity:
    """Read an age identity. Raises BackupError, without the text."""
    try:
        return pyrage.x25519.Identity.from_str(text.strip())
    except pyrage.IdentityError:
        raise BackupError(
            "The escrow's backup identity is no age identity",
            remedy="it reads AGE-SECRET-KEY-1… (age-keygen makes one)",
        ) from None


def parse_recipient(text: str) -> Recipient:
    """Read an age recipient. Raises BackupError, without the text: somebody may have given the wrong half."""
    try:
        return pyrage.x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise BackupError(
            "What was given is no age recipient",
            remedy="it reads age1…, the public half of the escrow's backup identity (`smos backup recipient`)",
        ) from None


def _identity_text(secret: bytes) -> str:
    """Spell an X25519 secret as age does: Bech32 (BIP-173), which is only an encoding with a checksum."""
    number = int.from_bytes(secret, "big") << 4  # 256 bits in 52 digits of 5
    digits = [number >> (5 * place) & 31 for place in reversed(range(52))]
    prefix = (
        [ord(char) >> 5 for char in _IDENTITY_PREFIX] + [0] + [ord(char) & 31 for char in _IDENTITY_PREFIX]
    )
    check = 1
    for value in (*prefix, *digits, 0, 0, 0, 0, 0, 0):
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, term in enumerate(_GENERATOR):
            check ^= term if top >> place & 1 else 0
    check ^= 1
    digits += [check >> (5 * place) & 31 for place in reversed(range(6))]
    return (_IDENTITY_PREFIX + "1" + "".join(_BECH32[digit] for digit in digits)).upper()


def _decrypt(blocks: Iterable[bytes], identity: Identity) -> Generator[bytes]:
    """Yield plaintext. pyrage pushes and the readers of content pull: a thread with a short queue joins them."""
    queue: Queue[bytes | Exception | None] = Queue(_WAITING_BLOCKS)
    reader, writer = _Reader(blocks), _Pusher(queue)

    def push() -> None:
        try:
            pyrage.decrypt_io(reader, writer, [identity])
            writer.flush()
        except (OSError, pyrage.DecryptError) as error:
            queue.put(reader.error or StreamFault("decryption-failed", f"age: {error}"))
        except Exception as error:  # noqa: BLE001  (handed over to the thread that reads)
            queue.put(reader.error or error)
        else:
            queue.put(reader.error)

    thread = Thread(target=push, name="decrypt", daemon=True)
    thread.start()
    try:
        while isinstance(piece := queue.get(), bytes):
            yield piece
    finally:
        writer.stopped = True
        while thread.is_alive():  # it may wait for room in the queue
            while not queue.empty():
                queue.get()
            thread.join(0.01)
    if piece is not None:
        raise piece


class _Reader:
    """Gives pyrage bytes of an iterable, as many as it asks for; keeps what the iterable raised."""

    def __init__(self, blocks: Iterable[bytes], digest: Digest | None = None) -> None:
        self._blocks = iter(blocks)
        self._digest = digest
        self._rest = memoryview(b"")
        self.bytes = 0
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._blocks))
        except StopIteration:
            return b""
        except Exception as error:
            self.error = error
            raise
        piece, self._rest = bytes(self._rest[:size]), self._rest[size:]
        self.bytes += len(piece)
        if self._digest is not None:
            self._digest.update(piece)
        return piece


class _Pusher:
    """Takes pyrage's small pieces and queues larger ones."""

    def __init__(self, queue: "Queue[bytes | Exception | None]") -> None:
        self._queue = queue
        self._buffer = bytearray()
        self.stopped = False

    def write(self, data: bytes) -> int:
        if self.stopped:
            raise OSError("nobody reads on")
        self._buffer += data
        if len(self._buffer) >= _BLOCK_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._buffer:
            self._queue.put(bytes(self._buffer))
            self._buffer.clear()


class _HashingWriter:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class _Copy:
    """A file that exists only once `keep` was called; none at all where no path is given."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._kept = False

    def __enter__(self) -> Self:
        if self._path is not None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = open(self._path, "xb", opener=_private)
        return self

    def write(self, data: bytes) -> None:
        if self._file is not None:
            try:
                self._file.write(data)
            except OSError as error:
                raise StreamFault(
                    "sandbox-full", f"its plaintext can't be written in the sandbox: {error.strerror}"
                ) from error

    def keep(self) -> None:
        self._kept = True

    def __exit__(self, *_: object) -> None:
        if self._file is None or self._path is None:
            return
        try:
            self._file.close()
        except OSError as error:
            self._kept = False
            raise StreamFault(
                "sandbox-full", f"its plaintext can't be written in the sandbox: {error.strerror}"
            ) from error
        finally:
            if not self._kept:
                self._path.unlink(missing_ok=True)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
