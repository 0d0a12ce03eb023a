"""What a recovery of Vault showed: plain facts, for the record and for the judge."""

from dataclasses import dataclass
from datetime import datetime

from smos.vault.archive import SnapshotFacts
from smos.verdict import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFacts:
    """One role: could it log in, and which HTTP status did its allowed and its denied read get.

    A status is None where the read was not tried or nobody answered.
    """

    role: str
    logged_in: bool
    allowed: str
    allowed_status: int | None
    denied: str
    denied_status: int | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultFacts:
    """What came back. None: that point was not reached. `*_missing`, `*_changed`: compared with canary.json.

    taken_at: when the snapshot was taken, UTC, as its canary says. sealed_below_threshold: still sealed after
    threshold - 1 shares. wrong_shares: how many further shares of the escrow do not belong to those that
    unsealed it. escrow_canary_decrypts: the ciphertext of the first day, kept in the escrow. isolation: how the
    server's network was cut. timings: (step, seconds), in order.
    """

    snapshot: SnapshotFacts | None = None
    canary_present: bool = False
    taken_at: datetime | None = None
    restored: bool = False
    sealed_below_threshold: bool | None = None
    unsealed: bool = False
    shares: int | None = None
    threshold: int | None = None
    escrow_shares: int = 0
    escrow_threshold: int | None = None
    wrong_shares: int | None = None
    cluster_id: str | None = None
    expected_cluster_id: str | None = None
    version: str | None = None
    expected_version: str | None = None
    logins: tuple[LoginFacts, ...] = ()
    compared: bool = False
    policies_missing: tuple[str, ...] = ()
    policies_changed: tuple[str, ...] = ()
    auth_missing: tuple[str, ...] = ()
    auth_changed: tuple[str, ...] = ()
    mounts_missing: tuple[str, ...] = ()
    audit_missing: tuple[str, ...] = ()
    secrets_expected: int = 0
    secrets_missing: int = 0
    canary_decrypts: bool | None = None
    escrow_canary_decrypts: bool | None = None
    isolation: str = "unknown"
    timings: tuple[tuple[str, float], ...] = ()
    problems: tuple[Problem, ...] = ()
