"""Back Vault up: a raft snapshot, and beside it what a recovery of it must show (`canary.json`).

The canary is a random text that Vault encrypted just before the snapshot. Its ciphertext lies outside Vault,
its plaintext nowhere: only a salted digest is kept. A Vault that came back must still decrypt it.
"""

import base64
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Literal

import hvac
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smos.backup.manifest import VaultEntry
from smos.clock import Clock, SystemClock
from smos.errors import BackupError
from smos.vault.archive import SnapshotFacts, inspect_snapshot
from smos.vault.bootstrap import login
from smos.vault.catalog import Catalog, read_catalog
from smos.vault.escrow import AppRoleCredential, Escrow
from smos.vault.model import (
    CLIENT_ERRORS,
    REQUEST_LIMIT_S,
    VaultEndpoint,
    explain,
    new_salt,
    opened,
    salted_digest,
)

__all__ = [
    "CanaryFile",
    "SnapshotFacts",
    "backup_credential",
    "inspect_snapshot",
    "read_canary",
    "take_snapshot",
]

SNAPSHOT_NAME = "raft.snap"
CANARY_NAME = "canary.json"
LARGEST_CANARY_BYTES = 64 * 2**20
STALL_S = 60.0
"""Most seconds in which a snapshot that is being read may send nothing."""


class CanaryFile(BaseModel):
    """What must be seen again after a recovery. Names, rules and digests; no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    taken_at: datetime
    version: str
    cluster_id: str
    shares: int
    threshold: int
    kv_mount: str
    transit_key: str
    ciphertext: str
    salt: str
    plaintext_digest: str
    catalog: Catalog


def take_snapshot(
    endpoint: VaultEndpoint,
    credential: AppRoleCredential | Escrow,
    directory: Path,
    *,
    kv_mount: str = "smarteros",
    transit_key: str = "smarteros-secrets",
    clock: Clock | None = None,
) -> VaultEntry:
    """Write `raft.snap` and `canary.json` (0600, atomically) into `directory`; return the manifest's entry.

    credential: of the role `backup`, or the escrow that holds it. Paths in the entry are relative to the directory
    above.
    Raises BackupError; a snapshot that is not whole is never left behind. VaultError: a refused catalogue.
    """
    if isinstance(credential, Escrow):
        credential = backup_credential(credential)

    now = (clock or SystemClock()).now()
    salt, plaintext = new_salt(), base64.b64encode(secrets.token_bytes(32)).decode()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with opened(endpoint) as client:
            login(client, credential)
            status = client.seal_status
            before = read_catalog(client, kv_mount=kv_mount, transit_key=transit_key, salt=salt)
            ciphertext: str = client.secrets.transit.encrypt_data(transit_key, plaintext=plaintext)["data"][
                "ciphertext"
            ]
            with _atomically(directory / SNAPSHOT_NAME) as file:
                _download(client, file)
                file.flush()
                facts = inspect_snapshot(Path(file.name))
                if not facts.whole:
                    raise BackupError(
                        "Vault's snapshot is not whole: " + "; ".join(item.detail for item in facts.problems),
                        remedy="take it again; look at the disk space and the log of Vault's active node",
                    )
            after = read_catalog(client, kv_mount=kv_mount, transit_key=transit_key, salt=salt)
    except (*CLIENT_ERRORS, OSError) as error:
        raise BackupError(
            f"Vault's snapshot could not be taken: {explain(error)}",
            remedy="is the active node unsealed, its storage raft, and the token one of the role `backup`?",
        ) from None
    canary = CanaryFile(
        taken_at=now,
        version=str(status.get("version", "")),
        cluster_id=str(status.get("cluster_id", "")),
        shares=int(status["n"]),
        threshold=int(status["t"]),
        kv_mount=kv_mount,
        transit_key=transit_key,
        ciphertext=ciphertext,
        salt=salt,
        plaintext_digest=salted_digest(salt, plaintext),
        catalog=before.common(after),
    )
    with _atomically(directory / CANARY_NAME) as file:
        file.write(canary.model_dump_json(by_alias=True, indent=1).encode())
    return VaultEntry(
        snapshot=f"{directory.name}/{SNAPSHOT_NAME}",
        canary=f"{directory.name}/{CANARY_NAME}",
        version=canary.version,
        policies=tuple(sorted(canary.catalog.policies)),
        auth_roles=tuple(sorted(canary.catalog.auth_roles)),
    )


def backup_credential(escrow: Escrow) -> AppRoleCredential:
    """Return the credential of the role `backup`. Raises BackupError."""
    credential = escrow.approles.get("backup")
    if credential is None:
        raise BackupError(
            "The escrow holds no credential of the role `backup`",
            remedy="run the set-up again, or give the escrow file that it wrote",
        )
    return credential


def read_canary(path: Path) -> CanaryFile:
    """Read a `canary.json`. Raises BackupError when there is none that can be read."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_CANARY_BYTES + 1)
        if len(data) > LARGEST_CANARY_BYTES:
            raise BackupError(f"{path.name} is larger than {LARGEST_CANARY_BYTES} bytes")
        return CanaryFile.model_validate_json(data)
    except OSError as error:
        raise BackupError(f"{path} can't be read: {error.strerror}") from error
    except ValidationError as error:
        raise BackupError(
            f"{path} is not a canary file that this version understands",
            remedy="take the set from another copy, or verify it with the version that made it",
        ) from error


def _download(client: hvac.Client, file: IO[bytes]) -> None:
    # hvac's own call reads the whole snapshot into memory: its JSON adapter does that with every answer.
    adapter = hvac.adapters.RawAdapter.from_adapter(client.adapter)
    answer = adapter.get("/v1/sys/storage/raft/snapshot", stream=True, timeout=(REQUEST_LIMIT_S, STALL_S))
    with answer:
        for part in answer.iter_content(2**20):
            file.write(part)


@contextmanager
def _atomically(path: Path) -> Iterator[IO[bytes]]:
    temporary = path.with_name(f".partial-{path.name}-{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb", opener=_private) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
