"""The escrow file: what opens Vault again after a disaster. Written once, 0600, kept away from the backups.

    {"schema": 1, "cluster_id": …, "threshold": 3, "key_shares": [5 shares, base64],
     "approles": {"ci": {"role_id": …, "secret_id": …}, …},
     "canary": {"ciphertext": …, "salt": …, "digest": …}, "backup_identity": "AGE-SECRET-KEY-1…", "root_token": null}

`backup_identity` opens Vault's own snapshot in encrypted backups: it depends on no Vault. Its public half
(`smos backup recipient`) is all that the host that makes backups needs.
`root_token` is there only while the set-up runs (so that an interrupted one can be continued); the set-up
ends with its revocation. Shares in one file defeat the point of shares: in production split it among people.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_serializer

from smos.backup.envelope import new_identity, parse_identity
from smos.errors import BackupError
from smos.paths import require_regular
from smos.vault.model import VaultError

LARGEST_BYTES = 8 * 2**20


class _Model(BaseModel):
    # Errors of validation quote their input by default: never here.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class AppRoleCredential(_Model):
    """What one role logs in with."""

    role_id: SecretStr
    secret_id: SecretStr

    @field_serializer("role_id", "secret_id", when_used="json")
    def _plain(self, value: SecretStr) -> str:
        return value.get_secret_value()


class EscrowCanary(_Model):
    """A ciphertext of the first day: whatever Vault is restored, it must still open this.

    digest: HMAC-SHA-256 of the plaintext under `salt`. The plaintext itself is kept nowhere.
    """

    key: str
    ciphertext: str
    salt: str
    digest: str


class Escrow(_Model):
    """All that a recovery needs besides the snapshot."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    created: datetime
    cluster_id: str | None = None
    threshold: Annotated[int, Field(ge=1, le=255)]
    key_shares: tuple[SecretStr, ...]
    approles: dict[str, AppRoleCredential] = {}
    canary: EscrowCanary | None = None
    backup_identity: SecretStr | None = None
    root_token: SecretStr | None = None

    @field_serializer("key_shares", "backup_identity", "root_token", when_used="json")
    def _plain(self, value: Any) -> Any:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        return None if value is None else [item.get_secret_value() for item in value]

    def shares(self) -> tuple[str, ...]:
        """Return the key shares in the clear, for the request that needs them."""
        return tuple(share.get_secret_value() for share in self.key_shares)


def read_escrow(path: Path) -> Escrow:
    """Read an escrow file.

    Raises VaultError: `escrow-missing`, `escrow-exposed` (others may read it) or `escrow-unreadable`.
    """
    data = _read_private(
        path,
        "escrow file",
        "fetch the key shares from their keepers and give the file's path as `vault.escrow`",
    )
    try:
        return Escrow.model_validate_json(data)
    except ValidationError:
        raise VaultError(
            f"{path} is not an escrow file that this version understands",
            code="escrow-unreadable",
            remedy="give the file that the set-up of this Vault wrote",
        ) from None


def ensure_recipient(path: Path) -> str:
    """Return the public half of the escrow's backup identity, after making one where there is none.

    An identity that is there is never replaced: it opens the older backups. Raises VaultError, BackupError.
    """
    escrow = read_escrow(path)
    if escrow.backup_identity is None:
        escrow = escrow.model_copy(update={"backup_identity": SecretStr(new_identity())})
        write_escrow(path, escrow)
    return escrow_recipient(escrow)


def escrow_recipient(escrow: Escrow) -> str:
    """Return the public half of the backup identity (`age1…`). Raises BackupError where there is none."""
    if escrow.backup_identity is None:
        raise BackupError(
            "The escrow holds no backup identity, so Vault's snapshot can't be encrypted to it",
            remedy="add one with `smos backup recipient --escrow FILE`, and keep the file where it is kept now",
        )
    return str(parse_identity(escrow.backup_identity.get_secret_value()).to_public())


def read_credential(path: Path) -> AppRoleCredential:
    """Read the file of one AppRole: `{"role_id": …, "secret_id": …}`, 0600. Raises VaultError as `read_escrow`."""
    remedy = 'write {"role_id": …, "secret_id": …} of the role into a file with mode 0600'
    data = _read_private(path, "credential file", remedy)
    try:
        return AppRoleCredential.model_validate_json(data)
    except ValidationError:
        raise VaultError(
            f"{path} holds no credential of an AppRole", code="escrow-unreadable", remedy=remedy
        ) from None


def _read_private(path: Path, what: str, remedy: str) -> bytes:
    try:
        require_regular(path)
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            data = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise VaultError(f"There is no {what} {path}", code="escrow-missing", remedy=remedy) from None
    except OSError as error:
        raise VaultError(
            f"The {what} {path} can't be read: {error.strerror}", code="escrow-unreadable"
        ) from None
    if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
        raise VaultError(
            f"The {what} {path} is open to others (mode {stat.S_IMODE(facts.st_mode):04o})",
            code="escrow-exposed",
            remedy=f"chmod 600 {path}, and consider the credentials in it as known to others: rotate them",
        )
    return data[:LARGEST_BYTES]


@contextmanager
def reserved(path: Path) -> Iterator[Path]:
    """Prove that an escrow file can be written beside `path` before secrets exist; yields the open temporary.

    The temporary is 0600 from its first moment and removed when the block fails.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.close(descriptor)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_escrow(path: Path, escrow: Escrow, temporary: Path | None = None) -> None:
    """Write the file atomically (0600, synced); `temporary`: one that `reserved` made."""
    if temporary is None:
        with reserved(path) as made:
            write_escrow(path, escrow, made)
        return
    with temporary.open("wb") as file:
        file.write(escrow.model_dump_json(by_alias=True, indent=1).encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
