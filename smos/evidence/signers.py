"""Keys of the evidence: who signs, and whose signature is trusted.

The private key is a file (Ed25519, PEM, 0600) or a key of a signing Vault's transit engine, which never leaves it. It
must not live in the system that the evidence speaks about. The public key stays with whoever verifies.
"""

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, Signer, SSlibKey, VaultSigner

from smos.errors import SmosError, TargetError
from smos.paths import require_regular

VAULT_SCHEME = "hv:"


def load_signer(reference: str) -> Signer:
    """Return the signer that a setting names: a path, or `hv:NAME`. Raises SmosError."""
    if reference.startswith(VAULT_SCHEME):
        return _vault_signer(reference.removeprefix(VAULT_SCHEME))
    path = Path(reference).expanduser()
    remedy = "give the path of an Ed25519 private key (PEM, mode 0600): smos evidence keygen makes one"
    try:
        require_regular(path)
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise SmosError(
                    f"The signing key {path} can be read by other users",
                    remedy=f"chmod 600 {path}, and replace the key if somebody else may have read it",
                )
            key = load_pem_private_key(file.read(), password=None)
    except OSError as error:
        raise SmosError(f"The signing key {path} can't be read: {error.strerror}", remedy=remedy) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SmosError(f"{path} is no private key in PEM without a passphrase", remedy=remedy) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SmosError(f"{path} is no Ed25519 key", remedy=remedy)
    return CryptoSigner(key)


def require_apart(reference: str, *folders: Path) -> None:
    """Raise TargetError when the key lies in a folder whose readers could then sign in your name."""
    if reference.startswith(VAULT_SCHEME):
        return
    key = Path(reference).expanduser()
    for folder in folders:
        inside = folder.resolve()
        if key.resolve().is_relative_to(inside) or key.absolute().is_relative_to(folder.absolute()):
            raise TargetError(
                f"The signing key lies in {folder}, whose readers could then sign in your name",
                remedy="keep it elsewhere, and replace it",
            )


def load_public(path: Path) -> SSlibKey:
    """Return the public key that is trusted. Raises TargetError."""
    remedy = "give the path of the Ed25519 public key (PEM) that belongs to the signing key"
    try:
        require_regular(path)
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise TargetError(f"The public key {path} can't be read: {error.strerror}", remedy=remedy) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TargetError(f"{path} is no public key in PEM", remedy=remedy) from error
    if not isinstance(key, Ed25519PublicKey):
        raise TargetError(f"{path} is no Ed25519 key", remedy=remedy)
    return SSlibKey.from_crypto(key)


def public_pem(reference: str) -> bytes:
    """Return the public half of the key that a setting names, as PEM, to hand to whoever verifies. Raises SmosError."""
    key = load_signer(reference).public_key
    if not isinstance(key, SSlibKey):
        raise SmosError(f"The public half of {reference} can't be shown")
    raw = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))
    return raw.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _vault_signer(name: str) -> Signer:
    """Return a signer of the Vault that VAULT_ADDR and VAULT_TOKEN name: hvac's own settings, as everywhere."""
    remedy = (
        "set VAULT_ADDR and VAULT_TOKEN to a Vault that is not the one under audit, with a transit key of type ed25519"
        " of this name and a policy that allows to read and to use it"
    )
    from hvac.exceptions import VaultError
    from requests.exceptions import RequestException

    try:
        uri, public = VaultSigner.import_(name)
        return VaultSigner.from_priv_key_uri(uri, public)
    except (VaultError, RequestException, KeyError, ValueError, TypeError) as error:
        raise SmosError(
            f"The signing Vault gave no key {name!r}: {type(error).__name__}", remedy=remedy
        ) from error
