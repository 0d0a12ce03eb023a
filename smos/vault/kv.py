"""Secrets of a KV v2 mount, for people: read, write without losing another's change, list.

Every write names the version that it was made from (check-and-set), so two people can't overwrite each other unseen.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import hvac

from smos.errors import AuthenticationError, SmosError, UnreachableError
from smos.vault.model import CLIENT_ERRORS, VaultEndpoint, VaultError, explain, opened


@dataclass(frozen=True, slots=True)
class Secret:
    """One version of a secret, its values as JSON holds them."""

    path: str
    values: Mapping[str, Any]
    version: int


@contextmanager
def session(endpoint: VaultEndpoint, token: str | None) -> Iterator[hvac.Client]:
    """Yield a client; what a request can end with becomes an error of ours, without its body."""
    try:
        with opened(endpoint, token) as client:
            yield client
    except hvac.exceptions.Forbidden as error:
        raise AuthenticationError(
            f"Vault refuses this: {explain(error)}",
            remedy="use a token whose policies grant it (smos config set vault.token)",
        ) from None
    except (hvac.exceptions.VaultDown, hvac.exceptions.BadGateway) as error:
        raise UnreachableError(
            f"Vault can't serve this: {explain(error)}", remedy="is it sealed? smos vault status tells"
        ) from None
    except hvac.exceptions.VaultError as error:
        raise VaultError(f"Vault refused the request: {explain(error)}") from None
    except CLIENT_ERRORS as error:
        raise UnreachableError(
            f"Vault does not answer ({explain(error)})", remedy="look at vault.address (smos config list)"
        ) from None


def anonymous(endpoint: VaultEndpoint) -> AbstractContextManager[hvac.Client]:
    """Return a session without a token: for what comes before anybody can log in."""
    return session(endpoint, None)


def read(client: hvac.Client, mount: str, path: str, version: int | None = None) -> Secret:
    """Return a secret. Raises VaultError when there is none, or that version is deleted."""
    found, _ = _current(client, mount, path, version)
    if found is None:
        raise VaultError(
            f"There is no secret {mount}/{path}" + (f" version {version}" if version else ""),
            code="secret-missing",
            remedy=f"smos vault list {path.rpartition('/')[0]}".rstrip(),
        )
    return found


def write(
    client: hvac.Client, mount: str, path: str, values: Mapping[str, str], *, replace: bool = False
) -> Secret:
    """Add or change keys of a secret (`replace`: of the whole), as its next version.

    Raises VaultError when somebody else has written it meanwhile: nothing is lost.
    """
    old, number = _current(client, mount, path, None)
    new = dict(values) if replace or old is None else {**old.values, **values}
    try:
        answer = client.secrets.kv.v2.create_or_update_secret(path, secret=new, cas=number, mount_point=mount)
    except hvac.exceptions.InvalidRequest as error:
        if "check-and-set" in " ".join(str(item) for item in error.errors or []):
            raise VaultError(
                f"Somebody else has just written {mount}/{path}; nothing was changed",
                code="secret-changed",
                remedy="read it, and write again",
            ) from None
        raise
    return Secret(path, new, int(answer["data"]["version"]))


def list_paths(client: hvac.Client, mount: str, path: str = "", *, recursive: bool = False) -> list[str]:
    """Return the names below a path, folders with a final slash; `recursive`: every secret below it, in full."""
    try:
        keys = client.secrets.kv.v2.list_secrets(path, mount_point=mount)["data"]["keys"]
    except hvac.exceptions.InvalidPath:
        raise VaultError(f"There is nothing below {mount}/{path}", code="nothing-there") from None
    base = f"{path.rstrip('/')}/" if path else ""
    if not recursive:
        return [f"{base}{name}" for name in sorted(keys)]
    found: list[str] = []
    for name in sorted(keys):
        if name.endswith("/"):
            found += list_paths(client, mount, f"{base}{name}".rstrip("/"), recursive=True)
        else:
            found.append(f"{base}{name}")
    return found


def _current(client: hvac.Client, mount: str, path: str, version: int | None) -> tuple[Secret | None, int]:
    """Return the secret (None: there is none, or it is deleted), and the version that a next write must name."""
    try:
        answer = client.secrets.kv.v2.read_secret_version(
            path, version=version, mount_point=mount, raise_on_deleted_version=True
        )
    except hvac.exceptions.InvalidPath as error:
        # A deleted version is a 404 too, with its metadata; a secret that never was has none.
        body = error.json if isinstance(error.json, Mapping) else {}
        deleted = ((body.get("data") or {}).get("metadata") or {}).get("version", 0)
        return None, int(deleted)
    data = answer["data"]
    number = int(data["metadata"]["version"])
    return Secret(path, data["data"] or {}, number), number


def text_of(value: Any) -> str:
    """Return a value as it is shown: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def parse_assignment(text: str) -> tuple[str, str | None]:
    """Split `key` (ask for it), `key=-` (stdin) or `key=@file` into name and source.

    Raises SmosError for a value that stands in the argument: every user of the machine could read it there.
    """
    name, sign, source = text.partition("=")
    if not name or (sign and source != "-" and not source.startswith("@")):
        raise SmosError(
            f"{name or text}: a secret is never an argument; every user of this machine could have read it there",
            remedy=f"{name or 'key'} (asks), {name or 'key'}=- (one line of stdin) or {name or 'key'}=@FILE",
        )
    return name, source if sign else None
