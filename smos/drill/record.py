"""The record of one drill: all that was observed, nothing that was concluded. Judges read it, reports show it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from smos.backup.facts import SetFacts
from smos.backup.model import Catalog
from smos.backup.state import OffsiteFacts
from smos.backup.volumes import VolumeFacts
from smos.drill.phases import Timing
from smos.drill.restore import RestoreFacts
from smos.live.facts import LiveFacts
from smos.postgres.difference import Difference
from smos.target import Target
from smos.vault.facts import VaultFacts
from smos.verdict import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseContentFacts:
    """What is known of one restored database's content.

    compared_with: "manifest" (made in the dump's own snapshot), "last verified drill", or "nothing".
    tables, rows, extensions: of the restored side. differences: none may remain for equality.
    problems: what integrity checks of the restored side found. seconds: reading and comparing.
    """

    database: str
    compared_with: str
    tables: int
    rows: int
    extensions: tuple[str, ...]
    seconds: float
    differences: tuple[Difference, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """One service's answer. healthy: True only after a positive answer; None when it could not be asked.

    code: of the finding, where there is a better one than "unhealthy" or "unknown".
    """

    name: str
    kind: str
    healthy: bool | None
    detail: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeFacts:
    """One application-level question. answer: as text; None where the question could not be asked."""

    name: str
    database: str
    expected: str
    answer: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyFacts:
    """What shows that the drill touched nothing but its sandbox.

    source_killed: the provisioned source was killed when the disaster was declared, so that nothing could be read
    from it. source_differences: content of the source after the drill against before (None: there is no source to
    compare, or it could not be). sandbox_destroyed: its processes and files are gone.
    """

    source_identifier: str | None
    source_killed: bool
    source_differences: tuple[Difference, ...] | None
    backups_changed: tuple[str, ...]
    sandbox_destroyed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionFacts:
    """How the encrypted set was opened.

    transit_key, key_version: what wraps its data key. escrow_recipient: what Vault's own snapshot is encrypted to.
    files: how many were decrypted. reason: why nothing could be; else empty.
    """

    format: str
    transit_key: str
    key_version: int
    escrow_recipient: str
    files: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRecord:
    """One whole recovery exercise. Times are UTC, durations seconds, sizes bytes."""

    run_id: str
    started: datetime
    disaster_at: datetime
    scope: str
    target_name: str
    target: Target
    provision: str
    provision_reason: str
    sandbox: str
    chosen_set: str | None
    catalog: Catalog
    last_verified_set: str | None
    first_backup_at: datetime | None
    offsite: OffsiteFacts | None
    sets: tuple[SetFacts, ...]
    restore: RestoreFacts | None
    content: tuple[DatabaseContentFacts, ...]
    role_differences: tuple[Difference, ...]
    volumes: tuple[VolumeFacts, ...]
    vault: VaultFacts | None
    services: tuple[ServiceFacts, ...]
    smoke: tuple[SmokeFacts, ...]
    safety: SafetyFacts
    timing: Timing
    not_required: tuple[tuple[str, str], ...]
    encryption: EncryptionFacts | None = None
    """None: the set that was restored is not encrypted."""
    live: LiveFacts | None = None
    """What was seen of production; None where the drill did not look at it."""

    @property
    def fetch_problem(self) -> Problem | None:
        """Why the newest backup could not be brought here, so that nothing can be said of it."""
        return self.live.fetch.problem if self.live and self.live.fetch else None

    @property
    def not_decrypted(self) -> str:
        """Why nothing of an encrypted set could be restored; empty where it could, or is not encrypted."""
        return self.encryption.reason if self.encryption else ""


_ADAPTER = TypeAdapter(DrillRecord)


def save(record: DrillRecord, path: Path) -> None:
    """Write the record as JSON, by one rename, so that a reader never sees half of it."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(_ADAPTER.dump_json(record, by_alias=True, indent=1))
    partial.rename(path)


def load(path: Path) -> DrillRecord:
    """Read a record. Raises pydantic.ValidationError when it is not one of this version."""
    return _ADAPTER.validate_json(path.read_bytes())
