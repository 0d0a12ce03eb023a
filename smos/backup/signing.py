"""Ed25519 signatures (RFC 8032) over manifests: who can replace an artifact and its hash still can't sign.

The private key stays where backups are made, the public key where they are verified; neither lies beside
them.
"""

import base64
import binascii
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from smos.errors import BackupError
from smos.paths import require_regular

SIGNATURE_BYTES = 64


def generate_keypair(private_path: Path, public_path: Path) -> None:
    """Write a new key pair as PEM: the private key with mode 0600, the public key with 0644.

    An existing file is never overwritten: it may be the only key that verifies older backups. Raises
    BackupError.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write_new(private_path, private, 0o600)
    try:
        _write_new(public_path, public, 0o644)
    except BackupError:
        private_path.unlink()  # half a pair is of no use
        raise


def sign_manifest(data: bytes, private_key: Path) -> bytes:
    """Return the signature of `data` as one line of base64. Raises BackupError when the key can't be used."""
    try:
        with private_key.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise BackupError(
                    f"The signing key {private_key} can be read by other users",
                    remedy=f"chmod 600 {private_key}, and replace the key if somebody else may have read it",
                )
            key = load_pem_private_key(file.read(), password=None)
    except OSError as error:
        raise BackupError(
            f"The signing key {private_key} can't be read: {error.strerror}",
            remedy="give the path of an Ed25519 private key (PEM, mode 0600)",
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BackupError(
            f"{private_key} is no private key in PEM without a passphrase",
            remedy="give the path of an Ed25519 private key (PEM, mode 0600)",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BackupError(f"{private_key} is no Ed25519 key", remedy="give an Ed25519 private key")
    return base64.b64encode(key.sign(data)) + b"\n"


def verify_manifest(data: bytes, signature: bytes, public_key: Path) -> bool:
    """Tell whether `signature` (base64) was made over `data` with the private half of `public_key` (PEM).

    Raises BackupError when the public key can't be used: then nothing is known about the signature.
    """
    try:
        require_regular(public_key)
        key = load_pem_public_key(public_key.read_bytes())
    except OSError as error:
        raise BackupError(
            f"The public key {public_key} can't be read: {error.strerror}",
            remedy="give the path of the Ed25519 public key (PEM) that belongs to the signing key",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BackupError(
            f"{public_key} is no public key in PEM",
            remedy="give the path of the Ed25519 public key (PEM) that belongs to the signing key",
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise BackupError(f"{public_key} is no Ed25519 key", remedy="give an Ed25519 public key")
    try:
        raw = base64.b64decode(signature.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    # Spelled as `sign_manifest` spells it: base64 has bits that say nothing, and a changed byte is a changed byte.
    if len(raw) != SIGNATURE_BYTES or signature != base64.b64encode(raw) + b"\n":
        return False
    try:
        key.verify(raw, data)
    except InvalidSignature:
        return False
    return True


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise BackupError(
            f"The key file {path} can't be created: {error.strerror}",
            remedy="give a path that does not exist yet, in a folder that this user may write to",
        ) from error
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)  # the umask may have taken bits away
