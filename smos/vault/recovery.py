"""Bring Vault back from its snapshot into a fresh server without network, and record what came back.

The course: initialise the new server with throw-away keys (restoring needs a token), restore the snapshot by
force (its keys are others), start the server anew on the restored storage, and from there on only the escrow
helps: one share below the threshold must not open it, the threshold must. Then every declared role logs in.

Two properties of OpenBao 2.x shape this:
- After `snapshot-force` the server sleeps 5 s for standbys that a new server does not have, and keeps the
  throw-away seal configuration in memory. The storage is in place before that: as soon as the database file
  has been exchanged, the process is killed and started again. Where that is not seen, it is waited for.
- It refuses to become active when a configured audit device differs from the stored one in any option.

Everything is time-limited; nothing that a snapshot or canary file holds raises: it becomes a `Problem`.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac

from smos.errors import BackupError, DeadlineError, SmosError
from smos.target import VaultTarget
from smos.vault.archive import LARGEST_BYTES, SnapshotFacts, inspect_snapshot
from smos.vault.bootstrap import is_active, login, wait_until_active
from smos.vault.catalog import read_catalog
from smos.vault.escrow import Escrow, read_escrow
from smos.vault.facts import LoginFacts, VaultFacts
from smos.vault.model import CLIENT_ERRORS, REQUEST_LIMIT_S, RecoveryServer, VaultError, explain, opened
from smos.vault.proof import differences, opens, try_role
from smos.vault.shamir import strangers
from smos.vault.snapshot import CanaryFile, read_canary
from smos.verdict import Problem
from smos.wait import wait_for

__all__ = ["LoginFacts", "Prepared", "VaultFacts", "prepare", "recover"]

ACTIVE_LIMIT_S = 120.0
INSTALLED_LIMIT_S = 4.0
"""How long the exchange of the database file is awaited after the upload, before the slow way."""
SEALED_LIMIT_S = 120.0
UPLOAD_LIMIT_S = 3600.0
FITS_NOT = ("message authentication failed", "failed to decrypt keys", "invalid key")
AUDIT_DIFFERS = "modifications to audit devices are not allowed"
AUDIT_UNUSABLE = "failed to load audit"


@dataclass(slots=True)
class Prepared:
    """A server with throw-away keys that waits for a snapshot; its repr shows no token."""

    client: hvac.Client = field(repr=False)
    shares: int


def prepare(server: RecoveryServer, *, avoid_shares: int | None = None) -> Prepared:
    """Initialise and unseal a fresh server with throw-away keys; may be done while the backup is fetched.

    avoid_shares: number of shares of the snapshot's own seal; the throw-away seal gets another number, so
    that the restored configuration can be told from it. Raises VaultError.
    """
    number = 2 if avoid_shares == 1 else 1
    client = server.endpoint.client()
    try:
        if client.sys.is_initialized():
            raise VaultError(
                "The server for the recovery is initialised already",
                code="sandbox-not-fresh",
                remedy="give the recovery a server with empty storage",
            )
        answer = client.sys.initialize(secret_shares=number, secret_threshold=number)
        for key in answer["keys_base64"]:
            client.sys.submit_unseal_key(key)
        client.token = answer["root_token"]
        wait_until_active(client, ACTIVE_LIMIT_S)
    except (*CLIENT_ERRORS, DeadlineError) as error:
        raise VaultError(
            f"The fresh server could not be prepared: {explain(error)}",
            code="sandbox-not-ready",
            remedy="look at the log below",
            log=_tail(server),
        ) from None
    return Prepared(client, number)


def recover(
    server: RecoveryServer,
    *,
    snapshot: Path,
    canary: Path | None,
    escrow: Escrow | Path | None,
    target: VaultTarget,
    prepared: Prepared | None = None,
    limit_bytes: int = LARGEST_BYTES,
) -> VaultFacts:
    """Restore `snapshot` into `server` (started, empty, without network) and record what came back.

    escrow: the model, or the path of its file. prepared: where `prepare` was called before.
    limit_bytes: most bytes of the decompressed snapshot.
    Never raises for what is wrong with the backup, the escrow or the answers: that is recorded.
    """
    course = _Course(server, target)
    try:
        course.run(snapshot, canary, escrow, prepared, limit_bytes)
    except VaultError as error:
        course.problem(error.code, error.message)
    except SmosError as error:
        course.problem("recovery-stopped", error.message)
    except (*CLIENT_ERRORS, OSError) as error:
        course.problem("recovery-stopped", explain(error))
    return course.record()


@dataclass(slots=True)
class _Course:
    """One recovery, and its facts while they come in."""

    server: RecoveryServer
    target: VaultTarget
    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    timings: list[tuple[str, float]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def problem(self, code: str, detail: str) -> None:
        self.problems.append(Problem(code, detail))

    def lap(self, step: str) -> None:
        now = time.monotonic()
        self.timings.append((step, now - self.since))
        self.since = now

    def record(self) -> VaultFacts:
        return VaultFacts(
            **self.facts,
            isolation=str(getattr(self.server, "isolation", "unknown")),
            timings=tuple(self.timings),
            problems=tuple(self.problems),
        )

    def run(
        self,
        snapshot: Path,
        canary_path: Path | None,
        escrow: Escrow | Path | None,
        prepared: Prepared | None,
        limit_bytes: int,
    ) -> None:
        facts = inspect_snapshot(snapshot, limit_bytes=limit_bytes)
        self.facts["snapshot"] = facts
        self.problems.extend(facts.problems)
        canary = self.canary(canary_path)
        keys = self.escrow(escrow)
        self.lap("inspect")
        if not facts.whole or keys is None:
            return
        ready = prepared or prepare(self.server, avoid_shares=facts.shares)
        self.lap("prepare")
        self.facts["version"] = str(ready.client.seal_status["version"])
        try:
            _restore(self.server, ready, snapshot)
        finally:
            ready.client.adapter.close()
        with opened(self.server.endpoint) as client:
            self.prove(client, facts, ready, keys, canary)

    def prove(
        self,
        client: hvac.Client,
        snapshot: SnapshotFacts,
        ready: Prepared,
        keys: Escrow,
        canary: CanaryFile | None,
    ) -> None:
        status = client.seal_status
        self.facts |= {"shares": status["n"], "threshold": status["t"]}
        self.facts["restored"] = bool(status["sealed"]) and (
            status["n"] != ready.shares or snapshot.shares == ready.shares
        )
        self.lap("restore")
        if not self.facts["restored"]:
            self.problem("restore-failed", "the server took the snapshot and still has its own storage")
            return
        if not (self.unseal(client, keys) and self.activate(client)):
            return
        self.lap("unseal")
        self.facts["wrong_shares"] = strangers(keys.shares(), keys.threshold)
        self.facts["cluster_id"] = client.seal_status.get("cluster_id")
        self.facts["logins"] = tuple(try_role(self.server.endpoint, keys, role) for role in self.target.roles)
        self.lap("logins")
        self.compare(keys, canary)
        self.lap("compare")

    def canary(self, path: Path | None) -> CanaryFile | None:
        if path is None:
            return None
        try:
            canary = read_canary(path)
        except BackupError as error:
            self.problem("canary-unreadable", error.message)
            return None
        self.facts |= {
            "canary_present": True,
            "taken_at": canary.taken_at,
            "expected_cluster_id": canary.cluster_id,
            "expected_version": canary.version,
        }
        return canary

    def escrow(self, escrow: Escrow | Path | None) -> Escrow | None:
        if escrow is None:
            self.problem("escrow-missing", "no escrow file was given")
            return None
        if isinstance(escrow, Path):
            try:
                escrow = read_escrow(escrow)
            except VaultError as error:
                self.problem(error.code, error.message)
                return None
        self.facts |= {"escrow_shares": len(escrow.key_shares), "escrow_threshold": escrow.threshold}
        return escrow

    def unseal(self, client: hvac.Client, keys: Escrow) -> bool:
        """Give one share below the threshold, which must leave it sealed; then the rest."""
        shares = keys.shares()[: keys.threshold]
        try:
            for share in shares[: keys.threshold - 1]:
                client.sys.submit_unseal_key(share)
            self.facts["sealed_below_threshold"] = bool(client.seal_status["sealed"])
            for share in shares[keys.threshold - 1 :]:
                client.sys.submit_unseal_key(share)
        except hvac.exceptions.VaultError as error:
            reason = explain(error)
            fits_not = any(words in reason for words in FITS_NOT)
            self.problem("shares-do-not-fit" if fits_not else "unseal-failed", reason)
            return False
        self.facts["unsealed"] = not client.seal_status["sealed"]
        if not self.facts["unsealed"]:
            self.problem("still-sealed", f"sealed after {len(shares)} key shares of the escrow")
        return bool(self.facts["unsealed"])

    def activate(self, client: hvac.Client) -> bool:
        """Wait until it is active. Why it never will be is in the server's log only: looked at to give up early."""

        def active() -> bool:
            log = _tail(self.server)
            if AUDIT_DIFFERS in log:
                raise VaultError(
                    "the sandbox's audit device is not the source's", code="sandbox-audit-differs"
                )
            if AUDIT_UNUSABLE in log:
                raise VaultError(
                    "the sandbox can't open the source's audit device", code="sandbox-audit-unusable"
                )
            return is_active(client)

        self.facts["unsealed"] = False
        try:
            wait_for(active, what="Vault is active", deadline_s=ACTIVE_LIMIT_S, transient=CLIENT_ERRORS)
        except DeadlineError:
            self.problem("not-active", f"unsealed, but not active within {ACTIVE_LIMIT_S:g} s")
            return False
        self.facts["unsealed"] = True
        return True

    def compare(self, keys: Escrow, canary: CanaryFile | None) -> None:
        credential = keys.approles.get("recovery")
        if credential is None:
            self.problem("recovery-login-failed", "the escrow holds no credential of the role `recovery`")
            return
        with opened(self.server.endpoint) as client:
            try:
                login(client, credential)
            except CLIENT_ERRORS as error:
                self.problem("recovery-login-failed", f"the role `recovery` can't log in: {explain(error)}")
                return
            self.look(client, keys, canary)

    def look(self, client: hvac.Client, keys: Escrow, canary: CanaryFile | None) -> None:
        if keys.canary is not None:
            first = keys.canary
            self.decrypt(
                client, "escrow_canary_decrypts", (first.key, first.ciphertext, first.salt, first.digest)
            )
        if canary is None:
            return
        kept = (self.target.transit_key, canary.ciphertext, canary.salt, canary.plaintext_digest)
        self.decrypt(client, "canary_decrypts", kept)
        expected = canary.catalog
        found = read_catalog(
            client, kv_mount=canary.kv_mount, transit_key=canary.transit_key, salt=canary.salt
        )
        self.facts |= {"compared": True} | differences(expected, found, canary.kv_mount)
        if found.transit_latest < expected.transit_latest:
            self.problem(
                "transit-versions-lost",
                f"the key has version {found.transit_latest}, the source had {expected.transit_latest}",
            )

    def decrypt(self, client: hvac.Client, fact: str, kept: tuple[str, str, str, str]) -> None:
        key, ciphertext, salt, digest = kept
        self.facts[fact], problem = opens(client, key=key, ciphertext=ciphertext, salt=salt, digest=digest)
        if problem is not None:
            self.problems.append(problem)


def _restore(server: RecoveryServer, ready: Prepared, snapshot: Path) -> None:
    database = server.data_dir / "vault.db"
    before = _inode(database)
    adapter = hvac.adapters.RawAdapter.from_adapter(ready.client.adapter)
    limits = (REQUEST_LIMIT_S, UPLOAD_LIMIT_S)
    with snapshot.open("rb") as file:
        try:
            adapter.post("/v1/sys/storage/raft/snapshot-force", data=file, timeout=limits)
        except hvac.exceptions.VaultError as error:
            # Its sums were right: an error of the server itself (5xx) is the sandbox's, not the backup's.
            refused = isinstance(error, hvac.exceptions.InvalidRequest)
            raise VaultError(
                f"The server did not take the snapshot: {explain(error)}",
                code="snapshot-refused" if refused else "sandbox-refused",
            ) from None
    try:
        wait_for(
            lambda: before is not None and _inode(database) not in {None, before},
            what="the restored database is in place",
            deadline_s=INSTALLED_LIMIT_S if before is not None else 0,
        )
    except DeadlineError:
        # A large snapshot, or a storage that can't be watched: the server seals itself when it is done.
        wait_for(
            lambda: ready.client.seal_status["sealed"],
            what="the server has restored the snapshot and sealed itself",
            deadline_s=SEALED_LIMIT_S,
            transient=CLIENT_ERRORS,
        )
    server.kill()
    server.start()


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _tail(server: RecoveryServer) -> str:
    return "\n".join(server.logs().splitlines()[-40:])
