"""A server that was initialised for one check and nothing more: keys in memory, a root token, no policies.

For what has to be broken on the way: audit devices, seals. What the platform sets up is shown elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hvac

from smos.vault.bootstrap import wait_until_active
from smos.vault.model import REQUEST_LIMIT_S, VaultEndpoint
from smos.vault.verify.probe import Probe, ask

LIVE = "live"
"""Detail of a record that holds only what could be asked of a live Vault."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What the initialisation gave; its repr shows nothing of it. root: the first root token."""

    shares: tuple[str, ...] = field(repr=False)
    root: str = field(repr=False)


def initialise(client: hvac.Client, *, shares: int = 1, threshold: int = 1, recovery: bool = False) -> Keys:
    """Initialise a fresh server. recovery: it unseals itself, and the shares are recovery keys."""
    kind = "recovery" if recovery else "secret"
    answer = client.sys.initialize(**{f"{kind}_shares": shares, f"{kind}_threshold": threshold})
    name = "recovery_keys_base64" if recovery else "keys_base64"
    return Keys(tuple(answer[name]), str(answer["root_token"]))


def opened_up(client: hvac.Client) -> Keys:
    """Initialise a fresh server, unseal it, wait until it is active; the client has the root token then."""
    keys = initialise(client)
    client.sys.submit_unseal_key(keys.shares[0])
    wait_until_active(client)
    client.token = keys.root
    return keys


def looked(claim: str, holds: bool | None, seen: str = "") -> Probe:  # noqa: FBT001  (a fact, as in Probe)
    """Record what was seen without a request, as on a file. None: it could not be looked at."""
    return Probe(claim=claim, status=None if holds is None else 200, holds=holds, seen=seen)


def health_status(endpoint: VaultEndpoint) -> int | None:
    """Return the HTTP status of `sys/health`; None when nobody answers."""
    client = endpoint.client()
    try:
        status, answer, _ = ask(lambda: client.sys.read_health_status(method="GET"))
        if status != 200:
            return status
        # hvac returns the decoded answer for 200 and the raw response for every other state.
        return 200 if isinstance(answer, dict) else int(answer.status_code)
    finally:
        client.adapter.close()


def send(client: hvac.Client, method: str, path: str, body: Any = None) -> Callable[[], Any]:
    """Return a request that `ask` and `probe` make."""
    return lambda: client.adapter.request(method, f"/v1/{path}", json=body, timeout=REQUEST_LIMIT_S)
