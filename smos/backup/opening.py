"""Opens the files of an encrypted set while they are read: by which key, against which digest, or why not.

The manifest says which files are encrypted and what they hold; the keys come from outside (the escrow and a Vault that
came back). Without a key a set is still read and hashed, and what its files hold stays unproven.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from smos.backup.envelope import FORMAT, SUFFIX, DataKey, Digest, Identity, Opening
from smos.backup.manifest import Artifact, Manifest
from smos.backup.sealing import SNAPSHOT
from smos.verdict import Problem

_FOR_ESCROW = SNAPSHOT.as_posix() + SUFFIX
"""The one file that opens without the data key: the snapshot of the Vault that unwraps it."""
NO_KEY = "no escrow was given that opens it (`vault.escrow` in the target)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetKeys:
    """What is known of the keys of one set; its repr shows none.

    data_key, escrow: None where there is none, for the reason `no_data_key`, `no_escrow`. problems: what is wrong with
    the set itself, for DR-02 (a wrapped key that the recovered Vault refuses).
    """

    data_key: DataKey | None = None
    escrow: Identity | None = None
    no_data_key: str = NO_KEY
    no_escrow: str = NO_KEY
    problems: tuple[Problem, ...] = ()

    def __repr__(self) -> str:
        return "SetKeys(…)"


class SetOpener:
    """Opens the files of one set. copy_to: a private directory that gets the plaintext of all that opens.

    name: of the set's directory, with which the paths that are asked for begin.
    """

    def __init__(self, name: str, manifest: Manifest, keys: SetKeys, copy_to: Path | None = None) -> None:
        self.keys = keys
        self._name = name
        self._set_id = manifest.set_id
        self._copy_to = copy_to
        self._declared: dict[str, Artifact] = {item.path: item for item in manifest.artifacts}

    def opening(self, path: str) -> Opening | Problem:
        """Return how the file `path` (relative to the backup directory) is opened, or why it can't be."""
        relative = path.removeprefix(f"{self._name}/")
        artifact = self._declared.get(relative)
        if artifact is None or artifact.plain is None:
            return not_read(path, "the manifest does not say what it holds")
        kind, _, expected = artifact.plain.digest.partition(":")
        digest: Digest
        if kind == "sha256" and relative != _FOR_ESCROW:
            # Who knows the recipient, which stands in the manifest, can make such a file and its digest.
            text = "encrypted to the escrow's recipient, which is public: nothing shows who wrote it"
            return Problem("encryption-differs", f"{path}: {text}")
        if kind == "sha256":
            if self.keys.escrow is None:
                return not_read(path, self.keys.no_escrow)
            identity, digest = self.keys.escrow, hashlib.sha256()
        else:
            if self.keys.data_key is None:
                return not_read(path, self.keys.no_data_key)
            identity = self.keys.data_key.identity
            digest = self.keys.data_key.digest(self._set_id, relative)
        return Opening(
            identity=identity,
            digest=digest,
            expected_digest=expected,
            expected_bytes=artifact.plain.bytes,
            copy=self.copy_of(path),
        )

    def copy_of(self, path: str) -> Path | None:
        """Return where the plaintext of a file or directory goes; None where no copy is kept."""
        return self._copy_to and self._copy_to / path.removesuffix(SUFFIX)


def not_read(path: str, reason: str) -> Problem:
    """Return the problem of an encrypted file that nobody could open."""
    return Problem("encrypted-not-read", f"{path}: its content was not read: {reason}")


def stored_problems(path: str, encryption: str, opening: Opening | Problem) -> list[Problem]:
    """Say what is wrong with how a file of an encrypted set is stored. encryption: as its first bytes tell."""
    if not encryption:
        return [Problem("not-encrypted", f"{path}: readable without a key, in a set that is encrypted")]
    if encryption != "age":
        text = f"{path}: encrypted by {encryption}, the manifest says {FORMAT}: nothing shows who wrote it"
        return [Problem("encryption-differs", text)]
    return [opening] if isinstance(opening, Problem) else []
