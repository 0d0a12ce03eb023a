"""Somebody's own Vault: its address and the files that hold what it is asked with, as the target names them."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import hvac
import requests
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from smos.paths import require_regular
from smos.provision.base import CLIENT_TIMEOUT_S
from smos.provision.unixhttp import SocketAdapter
from smos.target import VaultTarget
from smos.vault.escrow import AppRoleCredential
from smos.vault.model import VaultError
from smos.vault.verify.subject import Subject

LARGEST_BYTES = 2**20
_SAFE = re.compile(r"https://|http\+unix://|http://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?(?:/|$)")
"""Addresses to which a token may be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEndpoint:
    """Where a Vault answers over the network. ca: PEM file to trust instead of the system's authorities."""

    url: str
    namespace: str | None = None
    ca: Path | None = None

    def client(self, token: str | None = None) -> hvac.Client:
        """Return a client that knows this token and nothing of the environment (no VAULT_TOKEN, no proxy)."""
        session = requests.Session()
        session.trust_env = False
        session.mount("http+unix://", SocketAdapter())  # type: ignore[no-untyped-call]  # not annotated there
        session.verify = str(self.ca) if self.ca else True
        client = hvac.Client(
            url=self.url,
            token=token or "",
            namespace=self.namespace,
            session=session,
            timeout=CLIENT_TIMEOUT_S,
            verify=str(self.ca) if self.ca else True,
            allow_redirects=False,
        )
        if not token:
            client.token = None
        return client


@dataclass(frozen=True, slots=True, kw_only=True)
class NoEndpoint:
    """Stands where no Vault can be asked: every attempt says why, so that the checks are not proven."""

    reason: VaultError

    def client(self, token: str | None = None) -> hvac.Client:
        """Raise the reason."""
        del token
        raise self.reason


class _Credentials(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    approles: dict[str, AppRoleCredential]


def live_subject(vault: VaultTarget | None) -> Subject:
    """Return the Vault that the target names; one that raises VaultError on use where it names none rightly."""
    try:
        return _live_subject(vault)
    except VaultError as error:
        return Subject(
            endpoint=NoEndpoint(reason=error),
            operator_token=SecretStr("none"),
            scratch_prefix=None,
            live=True,
        )


def _live_subject(vault: VaultTarget | None) -> Subject:
    if vault is None or vault.address is None:
        raise VaultError(
            "The target names no Vault to connect to",
            code="vault-no-address",
            remedy="set `vault.address` in the target file, or use --provision embedded",
        )
    if not _SAFE.match(vault.address):
        raise VaultError(
            "vault.address must start with https://: tokens are sent there",
            code="vault-no-tls",
            remedy="give the address with TLS; plain HTTP is taken on loopback and on a socket (http+unix://) only",
        )
    token = read_private(vault.token_file, "vault.token_file").strip() if vault.token_file else b""
    approles: dict[str, AppRoleCredential] = {}
    if vault.credentials is not None:
        try:
            approles = _Credentials.model_validate_json(
                read_private(vault.credentials, "vault.credentials")
            ).approles
        except ValidationError:
            raise VaultError(
                f"{vault.credentials} holds no credentials that can be understood",
                code="vault-credentials-unreadable",
                remedy='write {"approles": {"ci": {"role_id": "…", "secret_id": "…"}}}',
            ) from None
    return Subject(
        endpoint=LiveEndpoint(url=vault.address.rstrip("/"), namespace=vault.namespace, ca=vault.ca_file),
        credentials=approles,
        operator_token=SecretStr(token.decode("ascii", errors="replace")) if token else None,
        scratch_prefix=vault.scratch_path,
        kv_mount=vault.kv_mount,
        transit_key=vault.transit_key,
        rotation_s=vault.rotation_hours * 3600,
        token_ttl_s=vault.token_ttl_hours * 3600,
        live=True,
    )


def read_private(path: Path, key: str) -> bytes:
    """Read a file that nobody else may read."""
    try:
        require_regular(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(LARGEST_BYTES)
    except OSError as error:
        raise VaultError(
            f"{key}: {path} can't be read: {error.strerror}",
            code="vault-credentials-unreadable",
            remedy="give the path of a readable file, or leave the key out",
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise VaultError(
            f"{key}: {path} is open to others (mode {stat.S_IMODE(mode):04o})",
            code="vault-credentials-exposed",
            remedy=f"chmod 600 {path}, and renew what it holds",
        )
    return data
