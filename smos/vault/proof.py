"""Ask a Vault that came back: do the roles log in, hold their rules, and does old ciphertext open."""

from collections.abc import Mapping
from typing import Any

import hvac

from smos.target import VaultRole
from smos.vault.bootstrap import login
from smos.vault.catalog import Catalog
from smos.vault.escrow import Escrow
from smos.vault.facts import LoginFacts
from smos.vault.model import (
    CLIENT_ERRORS,
    REQUEST_LIMIT_S,
    VaultEndpoint,
    explain,
    opened,
    salted_digest,
    status_of,
)
from smos.verdict import Problem


def try_role(endpoint: VaultEndpoint, keys: Escrow, role: VaultRole) -> LoginFacts:
    """Log in as `role`, read what it may and what it must not; never raises for the answers."""
    credential = keys.approles.get(role.name)
    logged_in, detail = False, "the escrow holds no credential of it"
    allowed = denied = None
    if credential is not None:
        with opened(endpoint) as client:
            try:
                login(client, credential)
                logged_in, detail = True, ""
            except CLIENT_ERRORS as error:
                detail = explain(error)
            if logged_in:
                allowed, denied = _status(client, role.allowed), _status(client, role.denied)
    return LoginFacts(
        role=role.name,
        logged_in=logged_in,
        allowed=role.allowed,
        allowed_status=allowed,
        denied=role.denied,
        denied_status=denied,
        detail=detail,
    )


def _status(client: hvac.Client, path: str) -> int | None:
    try:
        client.adapter.get(f"/v1/{path.lstrip('/')}", timeout=REQUEST_LIMIT_S)
    except hvac.exceptions.VaultError as error:
        return status_of(error)
    except CLIENT_ERRORS:
        return None
    return 200


def opens(
    client: hvac.Client, *, key: str, ciphertext: str, salt: str, digest: str
) -> tuple[bool | None, Problem | None]:
    """Tell whether the ciphertext opens to the text with that digest; None when it could not be asked."""
    try:
        answer = client.secrets.transit.decrypt_data(key, ciphertext=ciphertext)
    except hvac.exceptions.Forbidden as error:
        return None, Problem("canary-refused", f"the role `recovery` may not decrypt: {explain(error)}")
    except (hvac.exceptions.InvalidRequest, hvac.exceptions.InvalidPath) as error:
        return False, Problem("canary-undecryptable", explain(error))
    except CLIENT_ERRORS as error:
        return None, Problem("canary-not-asked", explain(error))
    return salted_digest(salt, answer["data"]["plaintext"]) == digest, None


def differences(expected: Catalog, found: Catalog, kv_mount: str) -> dict[str, Any]:
    """Return what `found` lacks or holds otherwise: fields of VaultFacts."""
    wanted = expected.kv[kv_mount].paths if kv_mount in expected.kv else frozenset()
    there = found.kv[kv_mount].paths if kv_mount in found.kv else frozenset()
    return {
        "policies_missing": _missing(expected.policies, found.policies),
        "policies_changed": _changed(expected.policies, found.policies),
        "auth_missing": _missing(expected.auth_mounts, found.auth_mounts)
        + _missing(expected.auth_roles, found.auth_roles),
        "auth_changed": _changed(expected.auth_mounts, found.auth_mounts)
        + _changed(expected.auth_roles, found.auth_roles),
        "mounts_missing": _missing(expected.mounts, found.mounts) + _changed(expected.mounts, found.mounts),
        "audit_missing": _missing(expected.audit, found.audit) + _changed(expected.audit, found.audit),
        "secrets_expected": len(wanted),
        "secrets_missing": len(wanted - there),
    }


def _missing(expected: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(set(expected) - set(found)))


def _changed(expected: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name for name in expected if name in found and found[name] != expected[name]))
