"""VAULT-13: the private Vault of the suite is backed up and brought back on a new server without network.

The same snapshot, canary and recovery as in a drill (smos/vault/snapshot.py, recovery.py). On top of it: the value of
a secret from before the snapshot is there and one from after it is not, and ciphertext of a service's own opens.
"""

import base64
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import hvac

from smos.errors import BackupError
from smos.target import VaultRole, VaultTarget
from smos.vault.access import Matrix, Verb, load_matrix
from smos.vault.facts import VaultFacts
from smos.vault.model import VaultError
from smos.vault.recovery import recover
from smos.vault.snapshot import take_snapshot
from smos.vault.verify.bare import send
from smos.vault.verify.lab import VaultLab
from smos.vault.verify.probe import Probe, ask, probe
from smos.vault.verify.subject import Subject

WRITER, CRYPTER, KEEPER = "ci", "mcp-server", "admin"
"""Roles that may keep notes below ci/, that may encrypt and decrypt, that keep the tenants' secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredFacts:
    """target: which logins were tried. recovery: what came back. probes: what was asked of it besides."""

    target: VaultTarget
    recovery: VaultFacts
    probes: tuple[Probe, ...]


def observe(lab: VaultLab) -> RecoveredFacts:
    """Write, encrypt, take the snapshot, write again; recover on a new server; ask it. Takes about three seconds."""
    lab.require_own()
    if lab.stand is None:
        raise VaultError("There is no server of the harness' own", code="vault-live")
    subject, keys = lab.subject, lab.stand.keys()
    target = VaultTarget(
        kv_mount=subject.kv_mount,
        transit_key=subject.transit_key,
        roles=declared_roles(load_matrix(), set(keys.approles)),
    )
    course = _Course(subject, [role.allowed for role in target.roles])
    place = lab.owner().directory("vault-backup") / "vault"
    course.before()
    try:
        take_snapshot(
            subject.endpoint, keys, place, kv_mount=subject.kv_mount, transit_key=subject.transit_key
        )
    except BackupError as error:
        raise VaultError(error.message, code="vault-no-snapshot", remedy=error.remedy) from error
    course.after()
    with lab.bare_server("recovered", no_network=True) as server:
        recovery = recover(
            server,
            snapshot=place / "raft.snap",
            canary=place / "canary.json",
            escrow=lab.stand.escrow,
            target=target,
        )
        new = subject.but(endpoint=server.endpoint)
        probes = tuple(course.ask(new)) if recovery.unsealed else ()
    return RecoveredFacts(target=target, recovery=recovery, probes=probes)


def declared_roles(matrix: Matrix, known: set[str]) -> tuple[VaultRole, ...]:
    """Return, for every role with a secret of its own to read, one path that it may read and one that it may not."""
    found = []
    for role in sorted(known & set(matrix.roles)):
        secret = [rule for rule in matrix.paths if not rule.system and not _is_folder(matrix, rule.path)]
        allowed = [rule for rule in secret if role in rule.read]
        denied = [rule for rule in secret if not matrix.grants(rule, Verb.READ, role)]
        if allowed and denied:
            paths = (matrix.api_path(rules[0], Verb.READ) for rules in (allowed, denied))
            found.append(VaultRole(name=role, allowed=next(paths), denied=next(paths)))
    return tuple(found)


def _is_folder(matrix: Matrix, path: str) -> bool:
    return any(rule.path.startswith(f"{path}/") for rule in matrix.paths)


class _Course:
    def __init__(self, subject: Subject, readable: list[str]) -> None:
        self._subject = subject
        self._tenants = sorted({path for path in readable if "/data/tenants/" in path})
        name = secrets.token_hex(8)
        self._early = f"{subject.kv_mount}/data/ci/before-{name}"
        self._late = f"{subject.kv_mount}/data/ci/after-{name}"
        self._value = secrets.token_hex(16)
        self._plain = base64.b64encode(secrets.token_bytes(64)).decode()
        self._cipher = ""

    def before(self) -> None:
        """Leave a secret and make a ciphertext."""
        with self._subject.as_role(WRITER) as client:
            send(client, "POST", self._early, {"data": {"note": self._value}})()
        with self._subject.as_role(KEEPER) as client:
            for path in self._tenants:  # the check of the access matrix deletes what may be deleted
                send(client, "POST", path, {"data": {"api_key": self._value}})()
        with self._subject.as_role(CRYPTER) as client:
            made = client.secrets.transit.encrypt_data(self._subject.transit_key, plaintext=self._plain)
            self._cipher = made["data"]["ciphertext"]

    def after(self) -> None:
        """Leave a secret that the snapshot can't hold."""
        with self._subject.as_role(WRITER) as client:
            send(client, "POST", self._late, {"data": {"note": "late"}})()

    def ask(self, new: Subject) -> Iterator[Probe]:
        """Ask the server that came back, with the logins of before."""
        yield _as(
            new.as_role(WRITER),
            "old-secret",
            lambda client: probe(
                "old-secret",
                send(client, "GET", self._early),
                lambda found: found["data"]["data"]["note"] == self._value,
            ),
        )
        yield _as(
            new.as_role(WRITER),
            "later-secret",
            lambda client: Probe(claim="later-secret", status=ask(send(client, "GET", self._late))[0]),
        )
        key = new.transit_key
        yield _as(
            new.as_role(CRYPTER),
            "old-ciphertext",
            lambda client: probe(
                "old-ciphertext",
                lambda: client.secrets.transit.decrypt_data(key, ciphertext=self._cipher),
                lambda found: found["data"]["plaintext"] == self._plain,
            ),
        )


def _as(
    login: AbstractContextManager[hvac.Client], claim: str, asked: Callable[[hvac.Client], Probe]
) -> Probe:
    try:
        with login as client:
            return asked(client)
    except VaultError as error:
        return Probe(claim=claim, status=403, seen=error.message)
