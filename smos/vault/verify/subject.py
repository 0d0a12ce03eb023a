"""The Vault that is verified: where it answers, who may log in, and where it may be written to."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

import hvac
from pydantic import SecretStr

from smos.vault.bootstrap import login
from smos.vault.escrow import AppRoleCredential
from smos.vault.model import CLIENT_ERRORS, VaultEndpoint, VaultError, explain, opened
from smos.vault.mounts import mount_kv

SCRATCH_PREFIX = "smos-scratch"
"""compose/vault/verify.hcl grants everything below mounts of this name, and nothing else to write."""
SERVICE_TOKENS = ("s.", "hvs.")
"""How service tokens start: OpenBao, Vault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One Vault. operator: a token with compose/vault/verify.hcl; None: only the roles' credentials are known.

    scratch_prefix: mounts may be made (and are removed) whose name starts so; None: nothing is written at all.
    live: somebody's own Vault: nothing but the scratch mounts may change. rotation_s: the declared period of
    the transit key. token_ttl_s: longest life of a role's token.
    """

    endpoint: VaultEndpoint
    credentials: Mapping[str, AppRoleCredential] = field(default_factory=dict)
    operator_token: SecretStr | None = None
    scratch_prefix: str | None = SCRATCH_PREFIX
    kv_mount: str = "smarteros"
    transit_mount: str = "transit"
    transit_key: str = "smarteros-secrets"
    rotation_s: float = 720 * 3600
    token_ttl_s: float = 3600
    live: bool = False

    def but(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)

    @contextmanager
    def operator(self) -> Iterator[hvac.Client]:
        """Yield a client with the operator's token. Raises VaultError (`vault-no-operator`)."""
        if self.operator_token is None:
            raise VaultError(
                "No token of the verification is known",
                code="vault-no-operator",
                remedy="make one with the policy compose/vault/verify.hcl and give its file as `vault.token_file`",
            )
        with opened(self.endpoint, self.operator_token.get_secret_value()) as client:
            yield client

    @contextmanager
    def as_role(self, name: str) -> Iterator[hvac.Client]:
        """Yield a client that is logged in as this role.

        Raises VaultError: `vault-no-credential`, `vault-login-failed`.
        """
        credential = self.credentials.get(name)
        if credential is None:
            raise VaultError(
                f"No credential of the role {name} is known",
                code="vault-no-credential",
                remedy="give it in the file that `vault.credentials` names",
            )
        with opened(self.endpoint) as client:
            try:
                login(client, credential)
            except CLIENT_ERRORS as error:
                raise VaultError(
                    f"{name} can't log in: {explain(error)}", code="vault-login-failed"
                ) from None
            try:
                yield client
            finally:
                if str(client.token).startswith(SERVICE_TOKENS):  # batch tokens can't be revoked
                    with suppress(*CLIENT_ERRORS):  # it ends by itself soon
                        client.auth.token.revoke_self()

    @contextmanager
    def scratch(
        self, *, kv: bool = False, transit: bool = False, approle: bool = False
    ) -> Iterator["Scratch"]:
        """Mount what is asked for under new names, yield them, and remove them whatever happens.

        Raises VaultError: `vault-no-scratch` where nothing may be written.
        """
        if self.scratch_prefix is None:
            raise VaultError(
                "Nothing may be written to this Vault",
                code="vault-no-scratch",
                remedy="allow mounts of a name of your choice with `vault.scratch_path` (docs/vault.md)",
            )
        base = f"{self.scratch_prefix}-{secrets.token_hex(6)}"
        made = Scratch(kv=f"{base}-kv", transit=f"{base}-transit", approle=f"{base}-approle")
        with self.operator() as client, ExitStack() as undo:
            if kv:
                undo.callback(_unmount, client, made.kv)
                mount_kv(client, made.kv)
            if transit:
                undo.callback(_unmount, client, made.transit)
                client.sys.enable_secrets_engine("transit", path=made.transit)
            if approle:
                undo.callback(client.sys.disable_auth_method, made.approle)
                client.sys.enable_auth_method("approle", path=made.approle)
            yield made


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """Names of the mounts of one check; only those that were asked for exist."""

    kv: str
    transit: str
    approle: str


def _unmount(client: hvac.Client, path: str) -> None:
    client.sys.disable_secrets_engine(path)
