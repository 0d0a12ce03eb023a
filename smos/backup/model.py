"""What was found in a backup directory: sets, and the artifacts in them. Facts only."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from smos.verdict import Problem


class ArtifactKind(StrEnum):
    """What an artifact is, decided from its bytes (magic, header), never from its name alone."""

    MANIFEST = "manifest"
    SIGNATURE = "signature"
    GLOBALS = "globals"  # SQL of `pg_dumpall --globals-only`
    PG_DUMP_PLAIN = "pg_dump-plain"  # one database as SQL
    PG_DUMPALL = "pg_dumpall"  # several databases and globals as SQL
    PG_DUMP_CUSTOM = "pg_dump-custom"
    PG_DUMP_TAR = "pg_dump-tar"
    PG_DUMP_DIRECTORY = "pg_dump-directory"  # `path` is the directory
    VOLUME_ARCHIVE = "volume-archive"  # a tar of one or several volumes
    VOLUME_ENTRIES = "volume-entries"  # our list of the entries of a volume
    VAULT_SNAPSHOT = "vault-snapshot"
    VAULT_CANARY = "vault-canary"
    OTHER_ARCHIVE = "other-archive"  # a tar that is none of the above
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One thing in a set.

    path: relative to the backup directory. stored_bytes: as it lies there (a directory: the sum).
    compression: none, gzip, zstd, bzip2, xz or lz4. databases and volumes: the names it holds, where they
    can be told without reading it whole (else empty). mtime: UTC. names_complete: False where the artifact
    was not read to its end and may hold more names (inspection completes them). declared_hash:
    "sha256:<hex>" (or another algorithm) from a hash list beside it, else empty. encryption: age, openssl
    or pgp, else empty.
    """

    path: str
    kind: ArtifactKind
    compression: str
    stored_bytes: int
    mtime: datetime
    databases: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    names_complete: bool = True
    declared_hash: str = ""
    encryption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSet:
    """All that one backup run left.

    id: the stamp, or the directory's name. stamp: UTC, from the manifest or the name, never from mtime; None
    where neither gives one. manifested: a readable manifest is there. signed: a signature file is there.
    """

    id: str
    stamp: datetime | None
    stamp_source: str
    manifested: bool
    signed: bool
    artifacts: tuple[Artifact, ...]
    databases: tuple[str, ...]
    volumes: tuple[str, ...]
    vault: bool
    stored_bytes: int
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """A backup directory as it was found. Sets are ordered oldest first; those without a stamp come first.

    problems: what concerns no single set (unreadable files, files of unknown type, an unfinished backup).
    """

    directory: Path
    exists: bool
    sets: tuple[BackupSet, ...]
    problems: tuple[Problem, ...]
