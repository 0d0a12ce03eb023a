"""What is known about a Vault: the credentials that open it (escrow), and the facts that drivers record.

"Vault" means HashiCorp Vault or OpenBao; both speak this API. Secrets are `SecretStr` from the moment they
are read until the request that needs them, so no repr, log or traceback shows one.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import hvac
import requests

from smos.errors import SmosError

TRANSIT_MOUNT = "transit"
APPROLE_MOUNT = "approle"
REQUEST_LIMIT_S = 30.0
"""Longest time for one request that moves no snapshot."""

CLIENT_ERRORS = (hvac.exceptions.VaultError, requests.exceptions.RequestException)
"""All that hvac raises when a request fails: an answer with an error, or no answer."""


class VaultError(SmosError):
    """A Vault could not be set up, read or recovered. `code` is a stable word for a problem."""

    def __init__(self, message: str, *, code: str = "vault-error", remedy: str = "", log: str = "") -> None:
        super().__init__(message, remedy=remedy, log=log)
        self.code = code


class VaultEndpoint(Protocol):
    """Hands out clients of one server. What a provisioner returns fits this."""

    def client(self, token: str | None = None) -> hvac.Client:
        """Return a new client; None: without a token."""
        ...


@contextmanager
def opened(endpoint: VaultEndpoint, token: str | None = None) -> Iterator[hvac.Client]:
    """Yield a client whose connections are closed at the end of the block."""
    client = endpoint.client(token)
    try:
        yield client
    finally:
        client.adapter.close()


class RecoveryServer(Protocol):
    """A server of our own, fresh and empty, that may be killed and started again."""

    @property
    def endpoint(self) -> VaultEndpoint:
        """Where it answers."""
        ...

    @property
    def data_dir(self) -> Path:
        """Directory of its raft storage."""
        ...

    def start(self) -> object:
        """Start it and wait until it answers."""
        ...

    def kill(self) -> None:
        """Kill the process at once (SIGKILL) and wait for its end; the storage stays."""
        ...

    def logs(self) -> str:
        """Return the last lines of its log."""
        ...


def explain(error: BaseException) -> str:
    """Return one short line on a failed request, without its body, headers or token.

    The server's own messages name paths and reasons, never a credential; a transport error's text may hold
    a whole request in its chain, so only its class is used.
    """
    if isinstance(error, hvac.exceptions.VaultError):
        reasons = "; ".join(str(item) for item in (error.errors or [])) or "no reason given"
        return f"{type(error).__name__}: {reasons[:300]}"
    return type(error).__name__


def status_of(error: hvac.exceptions.VaultError) -> int:
    """Return the HTTP status that hvac made this error of; 0 where it can't be told."""
    kinds: tuple[tuple[type[Exception], int], ...] = (
        (hvac.exceptions.InvalidRequest, 400),
        (hvac.exceptions.Unauthorized, 401),
        (hvac.exceptions.Forbidden, 403),
        (hvac.exceptions.InvalidPath, 404),
        (hvac.exceptions.UnsupportedOperation, 405),
        (hvac.exceptions.PreconditionFailed, 412),
        (hvac.exceptions.RateLimitExceeded, 429),
        (hvac.exceptions.InternalServerError, 500),
        (hvac.exceptions.BadGateway, 502),
        (hvac.exceptions.VaultDown, 503),
    )
    return next((status for kind, status in kinds if isinstance(error, kind)), 0)


def new_salt() -> str:
    """Return 16 random bytes as hexadecimal text."""
    return secrets.token_hex(16)


def salted_digest(salt: str, text: str) -> str:
    """Return HMAC-SHA-256 of `text` under `salt`, hexadecimal: equal texts compare, none can be looked up."""
    return hmac.new(bytes.fromhex(salt), text.encode(), hashlib.sha256).hexdigest()
