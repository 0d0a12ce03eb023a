"""Set a Vault up: shares into the escrow, engines, policies, roles, synthetic secrets, root token revoked.

Idempotent: a second run finds everything and changes nothing; a run that was interrupted is continued (the
root token stays in the escrow file until the end). No secret is printed, logged or put into an argument.
"""

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
from pydantic import SecretStr

from smos.backup.envelope import new_identity
from smos.clock import Clock, SystemClock
from smos.paths import compose_dir
from smos.vault.catalog import read_catalog
from smos.vault.escrow import AppRoleCredential, Escrow, EscrowCanary, read_escrow, reserved, write_escrow
from smos.vault.model import (
    APPROLE_MOUNT,
    CLIENT_ERRORS,
    REQUEST_LIMIT_S,
    TRANSIT_MOUNT,
    VaultEndpoint,
    VaultError,
    explain,
    new_salt,
    opened,
    salted_digest,
)
from smos.vault.mounts import mount_kv
from smos.vault.providers import load_registry
from smos.wait import wait_for

ROLES: Mapping[str, tuple[str, ...]] = {
    "director-gemini": ("director-gemini",),
    "writer-copilot": ("writer-copilot",),
    "executor-codex": ("executor-codex",),
    "ci": ("ci",),
    "admin": ("admin",),
    "backup": ("backup",),
    "recovery": ("recovery",),
    "mcp-server": ("mcp-transit-encryption",),
}
"""Role to its policies (files of that name). Each tenant adds `tenant-<id>`."""

TENANT_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
ROTATE_PERIOD = "720h"
"""The transit key rotates by itself every 30 days (the server refuses less than an hour)."""
TOKEN_TTL = "20m"  # noqa: S105  (a duration)
MOUNT_LIMIT_S = 120.0
"""A KV v2 mount upgrades itself before it takes writes; a raft node needs a leader first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapFacts:
    """What the set-up did. `changes` empty: everything stood already."""

    initialized: bool
    unsealed: bool
    changes: tuple[str, ...]
    policies: tuple[str, ...]
    roles: tuple[str, ...]
    secrets: int
    root_token_revoked: bool
    cluster_id: str
    version: str


def bootstrap(
    endpoint: VaultEndpoint,
    *,
    escrow: Path,
    policies_dir: Path | None = None,
    secret_keys: Mapping[str, Sequence[str]] | None = None,
    tenants: Sequence[str] = (),
    kv_mount: str = "smarteros",
    transit_key: str = "smarteros-secrets",
    shares: int = 5,
    threshold: int = 3,
    clock: Clock | None = None,
) -> BootstrapFacts:
    """Bring the server at `endpoint` to the declared state.

    policies_dir: None: the policies that come with this package.
    secret_keys: path below the KV mount to the keys that the secret there must hold; None: the secrets of the
    provider registry. Missing ones are filled with random values that say they are synthetic.
    Raises VaultError with the remedy; nothing is overwritten, neither an escrow file nor a secret.
    """
    for tenant in tenants:
        if not TENANT_ID.fullmatch(tenant):
            raise VaultError(
                f"{tenant!r} is no tenant id", remedy="use lower-case letters, digits and hyphens"
            )
    policies = _policies(policies_dir or compose_dir() / "vault" / "policies", tenants)
    roles = dict(ROLES) | {f"tenant-{tenant}": (f"tenant-{tenant}",) for tenant in tenants}
    wanted = dict(load_registry().secrets() if secret_keys is None else secret_keys) | {
        f"tenants/{tenant}{suffix}": ("api_key",) for tenant in tenants for suffix in ("", "/settings")
    }
    try:
        with opened(endpoint) as client:
            fresh = not client.sys.is_initialized()
            if fresh:
                _initialize(client, escrow, shares, threshold, clock or SystemClock())
            kept = read_escrow(escrow)
            unsealed = _unseal(client, kept)
            status = client.seal_status
            setup = _SetUp(client, kept, escrow, kv_mount, transit_key)
            if kept.root_token is None:
                return setup.verify(status, policies, roles, wanted, unsealed=unsealed)
            return setup.run(status, policies, roles, wanted, initialized=fresh, unsealed=unsealed)
    except CLIENT_ERRORS as error:
        # Without its context: the request that failed may have carried a share or a secret.
        raise VaultError(
            f"Vault's set-up stopped: {explain(error)}",
            code="bootstrap-failed",
            remedy="look at the server's log, then run the set-up again: it goes on where it stopped",
        ) from None


def _initialize(client: hvac.Client, escrow: Path, shares: int, threshold: int, clock: Clock) -> None:
    if escrow.exists():
        raise VaultError(
            f"Vault is not initialised, but {escrow} holds the shares of one",
            code="escrow-exists",
            remedy="move that file to a safe place, or recover that Vault from its snapshot instead",
        )
    with reserved(escrow) as temporary:
        answer = client.sys.initialize(secret_shares=shares, secret_threshold=threshold)
        write_escrow(
            escrow,
            Escrow(
                created=clock.now(),
                threshold=threshold,
                key_shares=tuple(SecretStr(key) for key in answer["keys_base64"]),
                root_token=SecretStr(answer["root_token"]),
            ),
            temporary,
        )


def _unseal(client: hvac.Client, escrow: Escrow) -> bool:
    """Unseal when sealed, wait until this node is active; tell whether it had been sealed."""
    sealed = bool(client.seal_status["sealed"])
    if sealed:
        client.sys.submit_unseal_key(reset=True)
        for share in escrow.shares()[: escrow.threshold]:
            client.sys.submit_unseal_key(share)
    wait_until_active(client)
    return sealed


def wait_until_active(client: hvac.Client, deadline_s: float = MOUNT_LIMIT_S) -> None:
    """Wait until the server itself says that it is unsealed and active. Raises DeadlineError."""
    wait_for(
        lambda: is_active(client),
        what="Vault is unsealed and active",
        deadline_s=deadline_s,
        transient=CLIENT_ERRORS,
    )


def is_active(client: hvac.Client) -> bool:
    """Ask the server whether it is unsealed and active."""
    # hvac returns the decoded answer for 200 and the raw response for every other state.
    return isinstance(client.sys.read_health_status(method="GET"), dict)


def _policies(directory: Path, tenants: Sequence[str]) -> dict[str, str]:
    try:
        texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.hcl"))}
        template = (directory / "tenant.hcl.template").read_text(encoding="utf-8") if tenants else ""
    except OSError as error:
        raise VaultError(f"A policy can't be read: {error}", code="policies-missing") from error
    missing = sorted({policy for names in ROLES.values() for policy in names} - set(texts))
    if missing:
        raise VaultError(
            f"{directory} lacks the policies {', '.join(missing)}",
            code="policies-missing",
            remedy="give the folder compose/vault/policies",
        )
    return texts | {f"tenant-{tenant}": template.replace("TENANT_ID", tenant) for tenant in tenants}


def login(client: hvac.Client, credential: AppRoleCredential) -> None:
    """Log `client` in with an AppRole; its token is set on the client. hvac's errors pass through."""
    client.auth.approle.login(
        role_id=credential.role_id.get_secret_value(),
        secret_id=credential.secret_id.get_secret_value(),
        mount_point=APPROLE_MOUNT,
    )


@dataclass(slots=True)
class _SetUp:
    """One run, with the root token while there is one."""

    client: hvac.Client
    escrow: Escrow
    path: Path
    kv_mount: str
    transit_key: str

    def run(
        self,
        status: Mapping[str, Any],
        policies: Mapping[str, str],
        roles: Mapping[str, tuple[str, ...]],
        wanted: Mapping[str, Sequence[str]],
        *,
        initialized: bool,
        unsealed: bool,
    ) -> BootstrapFacts:
        assert self.escrow.root_token is not None  # noqa: S101  (the caller asked)
        self.client.token = self.escrow.root_token.get_secret_value()
        changes = ["initialized"] if initialized else []
        changes += self._engines()
        changes += self._write_policies(policies)
        changes += self._roles(roles)
        changes += self._canary()
        changes += self._backup_identity()
        changes += self._seed(wanted)
        self._keep(cluster_id=status.get("cluster_id"))
        self.client.auth.token.revoke_self()
        self._keep(root_token=None)
        self.client.token = None
        return BootstrapFacts(
            initialized=initialized,
            unsealed=unsealed,
            changes=(*changes, "root token revoked"),
            policies=tuple(sorted(policies)),
            roles=tuple(sorted(roles)),
            secrets=len(wanted),
            root_token_revoked=True,
            cluster_id=str(status.get("cluster_id", "")),
            version=str(status.get("version", "")),
        )

    def verify(
        self,
        status: Mapping[str, Any],
        policies: Mapping[str, str],
        roles: Mapping[str, tuple[str, ...]],
        wanted: Mapping[str, Sequence[str]],
        *,
        unsealed: bool,
    ) -> BootstrapFacts:
        """Without a root token nothing can be changed: look whether anything is missing."""
        backup = self.escrow.approles.get("backup")
        if backup is None:
            raise self._incomplete(["approle backup"])
        login(self.client, backup)
        salt = new_salt()
        found = read_catalog(self.client, kv_mount=self.kv_mount, transit_key=self.transit_key, salt=salt)
        paths = found.kv[self.kv_mount].paths if self.kv_mount in found.kv else frozenset()
        missing = [f"policy {name}" for name in policies if name not in found.policies]
        missing += [f"role {name}" for name in roles if f"{APPROLE_MOUNT}/{name}" not in found.auth_roles]
        missing += [f"credential of {name}" for name in roles if name not in self.escrow.approles]
        missing += [f"secret {path}" for path in wanted if salted_digest(salt, path) not in paths]
        missing += [] if found.transit_latest else [f"transit key {self.transit_key}"]
        self.client.token = None
        if missing:
            raise self._incomplete(missing)
        return BootstrapFacts(
            initialized=False,
            unsealed=unsealed,
            changes=("unsealed",) if unsealed else (),
            policies=tuple(sorted(policies)),
            roles=tuple(sorted(roles)),
            secrets=len(wanted),
            root_token_revoked=True,
            cluster_id=str(status.get("cluster_id", "")),
            version=str(status.get("version", "")),
        )

    @staticmethod
    def _incomplete(missing: Sequence[str]) -> VaultError:
        return VaultError(
            f"Vault stands, but lacks: {', '.join(missing[:20])}" + (" …" if len(missing) > 20 else ""),
            code="bootstrap-incomplete",
            remedy="make a root token with a threshold of key shares, put it into the escrow file as "
            "`root_token` and run the set-up again: it adds what is missing and revokes the token",
        )

    def _engines(self) -> list[str]:
        changes = []
        mounts = self.client.sys.list_mounted_secrets_engines()["data"]
        if f"{self.kv_mount}/" not in mounts:
            mount_kv(self.client, self.kv_mount)
            changes.append(f"mount {self.kv_mount}/")
        elif (mounts[f"{self.kv_mount}/"].get("options") or {}).get("version") != "2":
            raise VaultError(
                f"The mount {self.kv_mount}/ is not KV v2",
                code="mount-wrong",
                remedy="enable versioning on it (`kv enable-versioning`), then run the set-up again",
            )
        if f"{TRANSIT_MOUNT}/" not in mounts:
            self.client.sys.enable_secrets_engine("transit", path=TRANSIT_MOUNT)
            changes.append(f"mount {TRANSIT_MOUNT}/")
        try:
            self.client.secrets.transit.read_key(self.transit_key)
        except hvac.exceptions.InvalidPath:
            self.client.secrets.transit.create_key(self.transit_key, auto_rotate_period=ROTATE_PERIOD)
            changes.append(f"transit key {self.transit_key}")
        if f"{APPROLE_MOUNT}/" not in self.client.sys.list_auth_methods()["data"]:
            self.client.sys.enable_auth_method("approle", path=APPROLE_MOUNT)
            changes.append(f"auth {APPROLE_MOUNT}/")
        return changes

    def _write_policies(self, policies: Mapping[str, str]) -> list[str]:
        known = set(self.client.sys.list_acl_policies()["data"]["keys"])
        changes = []
        for name, text in policies.items():
            if name in known and self.client.sys.read_acl_policy(name)["data"]["policy"] == text:
                continue
            self.client.sys.create_or_update_acl_policy(name, text, pretty_print=False)
            changes.append(f"policy {name}")
        return changes

    def _roles(self, roles: Mapping[str, tuple[str, ...]]) -> list[str]:
        known = set()
        with suppress(hvac.exceptions.InvalidPath):  # the answer for "no role yet"
            known = set(self.client.auth.approle.list_roles(mount_point=APPROLE_MOUNT)["data"]["keys"])
        changes = []
        credentials = dict(self.escrow.approles)
        for name, policies in roles.items():
            if name not in known:
                # Batch tokens: no lease and no write for a login, so a restored Vault has none to act on.
                self.client.auth.approle.create_or_update_approle(
                    name,
                    token_policies=list(policies),
                    token_type="batch",  # noqa: S106  (a kind)
                    token_ttl=TOKEN_TTL,
                    token_max_ttl=TOKEN_TTL,
                    secret_id_num_uses=0,
                    mount_point=APPROLE_MOUNT,
                )
                changes.append(f"role {name}")
            if name not in credentials:
                role_id = self.client.auth.approle.read_role_id(name, mount_point=APPROLE_MOUNT)
                secret_id = self.client.auth.approle.generate_secret_id(name, mount_point=APPROLE_MOUNT)
                credentials[name] = AppRoleCredential(
                    role_id=SecretStr(role_id["data"]["role_id"]),
                    secret_id=SecretStr(secret_id["data"]["secret_id"]),
                )
        if credentials != self.escrow.approles:
            self._keep(approles=credentials)
        return changes

    def _canary(self) -> list[str]:
        if self.escrow.canary is not None:
            return []
        plaintext, salt = base64.b64encode(secrets.token_bytes(32)).decode(), new_salt()
        answer = self.client.secrets.transit.encrypt_data(self.transit_key, plaintext=plaintext)
        self._keep(
            canary=EscrowCanary(
                key=self.transit_key,
                ciphertext=answer["data"]["ciphertext"],
                salt=salt,
                digest=salted_digest(salt, plaintext),
            )
        )
        return ["canary"]

    def _backup_identity(self) -> list[str]:
        if self.escrow.backup_identity is not None:
            return []
        self._keep(backup_identity=SecretStr(new_identity()))
        return ["backup identity"]

    def _seed(self, wanted: Mapping[str, Sequence[str]]) -> list[str]:
        changes = []
        for path, keys in wanted.items():
            values = {key: f"synthetic-{key.replace('_', '-')}-{secrets.token_urlsafe(18)}" for key in keys}
            if self._write_new(path, values):
                changes.append(f"secret {path}")
        return changes

    def _write_new(self, path: str, values: Mapping[str, str]) -> bool:
        """Write a secret unless there is one; a mount that still upgrades itself is waited for."""

        def write() -> str:
            try:
                self.client.adapter.post(
                    f"/v1/{self.kv_mount}/data/{path}",
                    json={"data": values, "options": {"cas": 0}},
                    timeout=REQUEST_LIMIT_S,
                )
            except hvac.exceptions.InvalidRequest as error:
                text = " ".join(str(item) for item in error.errors or [])
                if "check-and-set" in text:
                    return "there"
                if "Upgrading" in text or "upgrad" in text:
                    return ""
                raise
            return "written"

        return (
            wait_for(write, what=f"the mount {self.kv_mount}/ takes writes", deadline_s=MOUNT_LIMIT_S)
            == "written"
        )

    def _keep(self, **update: Any) -> None:
        self.escrow = self.escrow.model_copy(update=update)
        write_escrow(self.path, self.escrow)
