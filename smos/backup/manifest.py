"""The manifest: what a backup set must contain, written in the same snapshot as the backup itself.

A backup set of ours is one directory `smos-<YYYYMMDD_HHMMSS>/` (UTC):

    manifest.json             this model
    manifest.json.sig         Ed25519 signature (base64) over the bytes of manifest.json, where a key is given
    globals.sql.zst           pg_dumpall --globals-only (roles, memberships, role settings)
    databases/<name>/         pg_dump's directory format; data files zstd (toc.dat plain)
    volumes/<name>.tar.zst    one archive per volume
    volumes/<name>.jsonl.zst  one line per entry of that volume
    vault/raft.snap           raft snapshot
    vault/canary.json         ciphertext made before the backup, names of policies and roles

In an encrypted set (smos/backup/envelope.py) every file but the manifest, its signature and the canary is an age file,
called as above with `.age` at the end.

While it is being written the directory is called `.partial-…`; it gets its name by one atomic rename.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from smos.errors import BackupError

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.json.sig"
SET_PREFIX = "smos-"
PARTIAL_PREFIX = ".partial-"
STAMP_FORMAT = "%Y%m%d_%H%M%S"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Plain(_Model):
    """What an encrypted file holds, decrypted.

    digest: "hmac-sha256:<hex>" under the set's data key (`DataKey.digest`), which ties it to its set and name; of
    Vault's snapshot, which must open without that key, "sha256:<hex>".
    """

    bytes: int
    digest: Annotated[str, Field(pattern=r"^(hmac-sha256|sha256):[0-9a-f]{64}$")]


class Artifact(_Model):
    """One file of the set. `path` is relative to the set's directory, with forward slashes.

    bytes, sha256: as stored. plain: what is in it, where it is encrypted.
    """

    path: str
    bytes: int
    sha256: str
    plain: Plain | None = None


class Encryption(_Model):
    """How an encrypted set is opened. Nothing here is secret."""

    format: Literal["age-v1"] = "age-v1"
    wrapped_key: Annotated[str, Field(pattern=r"^vault:v[1-9][0-9]{0,8}:[A-Za-z0-9+/=_-]+$", max_length=4096)]
    """The set's data key, wrapped by Vault's transit engine."""
    transit_key: str
    escrow_recipient: str
    """age recipient of the escrow, to which Vault's own snapshot is encrypted: it needs no Vault to be opened."""


class DatabaseEntry(_Model):
    """What one database held in the snapshot that was dumped."""

    name: str
    directory: str
    server_version_num: int
    dump_version: str
    snapshot_at: AwareDatetime
    lsn: str
    heartbeat_at: AwareDatetime | None
    """Newest committed heartbeat row in the snapshot, None where no heartbeat is installed."""
    content: dict[str, Any]
    """`smos.postgres.fingerprint.DatabaseContent` as JSON: catalogue, rows, hashes, sequences, large objects."""


class VolumeEntry(_Model):
    """One volume: its archive and the list of its entries (both are artifacts as well)."""

    name: str
    archive: str
    entries: str
    files: int
    bytes: int


class VaultEntry(_Model):
    """Vault's share of the set."""

    snapshot: str
    canary: str
    version: str
    policies: tuple[str, ...]
    auth_roles: tuple[str, ...]


class Manifest(_Model):
    """Everything above, for one set."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    set_id: str
    source: str
    """Name of the target that was backed up."""
    tool: str
    started: AwareDatetime
    finished: AwareDatetime
    system_identifier: str | None
    """PostgreSQL's cluster identity (pg_control_system): a sandbox must have another one."""
    globals_path: str | None
    roles: dict[str, Any] = {}
    """`smos.postgres.catalogue.read_roles` as JSON: attributes, memberships, settings; never a password hash."""
    databases: tuple[DatabaseEntry, ...]
    volumes: tuple[VolumeEntry, ...]
    vault: VaultEntry | None
    encryption: Encryption | None = None
    """None: nothing in the set is encrypted."""
    artifacts: tuple[Artifact, ...]

    def to_json(self) -> bytes:
        """Return the bytes that are written (and signed)."""
        return self.model_dump_json(by_alias=True, indent=1).encode()


def read_manifest(set_dir: Path) -> Manifest | None:
    """Read the manifest of a set; None when it has none.

    Raises BackupError when there is one that can't be read as a manifest.
    """
    path = set_dir / MANIFEST_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackupError(f"{path} can't be read: {error.strerror}") from error
    try:
        return Manifest.model_validate_json(data, strict=True)
    except ValueError as error:
        raise BackupError(
            f"{path} is not a manifest that this version understands",
            remedy="take the set from another copy, or verify it with the version that made it",
        ) from error
