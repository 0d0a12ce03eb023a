"""Puts the files of a set into envelopes: which is encrypted to what, and what the manifest says of it."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from smos.backup.envelope import SUFFIX, DataKey, Digest, Recipient, seal
from smos.backup.manifest import Artifact, Encryption, Plain, VaultEntry, VolumeEntry
from smos.backup.state import file_sha256

CANARY, SNAPSHOT = Path("vault", "canary.json"), Path("vault", "raft.snap")
_Entry = TypeVar("_Entry", VolumeEntry, VaultEntry)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one set is encrypted with. directory: private, where its files lie until they are encrypted."""

    key: DataKey
    escrow: Recipient
    facts: Encryption
    set_id: str
    directory: Path


def seal_artifact(envelope: Envelope, work: Path, path: Path) -> Artifact:
    """Encrypt one file of the envelope's directory into the set `work`, and remove it there. Raises BackupError."""
    relative = path.relative_to(envelope.directory)
    target = work / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    if relative == CANARY:  # ciphertext and names; a drill reads it before it has any key
        shutil.copyfile(path, target)
        path.unlink()
        with target.open("rb") as file:
            os.fsync(file.fileno())
        name = relative.as_posix()
        return Artifact(path=name, bytes=target.stat().st_size, sha256=file_sha256(target))
    target = target.with_name(target.name + SUFFIX)
    name = target.relative_to(work).as_posix()
    if relative == SNAPSHOT:  # opened without the data key, which only this very snapshot can unwrap
        kind, recipient = "sha256", envelope.escrow
        digest: Digest = hashlib.sha256()
    else:
        kind, recipient = "hmac-sha256", envelope.key.recipient
        digest = envelope.key.digest(envelope.set_id, name)
    done = seal(path, target, recipient, digest)
    path.unlink()
    plain = Plain(bytes=done.plain_bytes, digest=f"{kind}:{done.plain_digest}")
    return Artifact(path=name, bytes=done.bytes, sha256=done.sha256, plain=plain)


def with_suffix(entry: _Entry, *fields: str) -> _Entry:
    """Return the entry with the names that its files have in an encrypted set."""
    return entry.model_copy(update={field: getattr(entry, field) + SUFFIX for field in fields})
