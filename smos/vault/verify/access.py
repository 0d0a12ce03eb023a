"""VAULT-06: every role, path and verb of the access matrix, by request and by the server's own account."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache

import hvac

from smos.vault.access import WORKERS, AccessFacts, Matrix, load_matrix, try_role
from smos.vault.grants import Grant, read_grants
from smos.vault.model import CLIENT_ERRORS, VaultError, explain
from smos.vault.verify.bare import send
from smos.vault.verify.lab import VaultLab

KNOWN_WAYS = frozenset({"token", "approle"})
"""Kinds of logins that the platform has."""
READER = "backup"
"""A role that may read policies and names of logins; used where the verification has no token of its own."""
TENANT = "tenant-"
"""How the roles of tenants start: a Vault of somebody's own has tenants that the matrix does not name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFacts:
    """What was expected and seen. silent: role to why nothing can be said about it. seconds: of all requests.

    grants: every rule that each role has; unlisted: role to why its rules are not known. strangers: logins that the
    matrix knows nothing of (`auth/userpass/`, a role of AppRole or of tokens); no_strangers: why that was not seen.
    live: it is somebody's own Vault.
    """

    matrix: Matrix
    cells: tuple[AccessFacts, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    grants: tuple[Grant, ...] = ()
    unlisted: Mapping[str, str] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    no_strangers: str = ""
    live: bool = False


def observe(lab: VaultLab) -> MatrixFacts:
    """Try the whole matrix, on a live Vault only what changes nothing; then list what else is granted."""
    subject = lab.subject
    matrix = load_matrix().of(subject.kv_mount, subject.transit_key)
    tried = _narrowed(matrix, lab.paths)
    silent: dict[str, str] = {}

    def one(role: str) -> tuple[AccessFacts, ...]:
        try:
            credential = subject.credentials.get(role)
            return try_role(lab.endpoint, credential, tried, role, harmless=lab.live)
        except VaultError as error:
            silent[role] = error.message
            return ()

    started = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        cells = tuple(cell for found in pool.map(one, matrix.roles) for cell in found)
    seconds = time.monotonic() - started
    grants, unlisted = _grants(lab, [role for role in matrix.roles if role not in silent])
    strangers, why = _strangers(lab, matrix)
    return MatrixFacts(
        matrix=matrix,
        cells=cells,
        silent=dict(sorted(silent.items())),
        seconds=seconds,
        grants=grants,
        unlisted=unlisted,
        strangers=strangers,
        no_strangers=why,
        live=lab.live,
    )


def _narrowed(matrix: Matrix, words: tuple[str, ...] | None) -> Matrix:
    """Return the matrix with those of its paths that hold one of the words; None: all."""
    if words is None:
        return matrix
    paths = tuple(rule for rule in matrix.paths if any(word in rule.path for word in words))
    return matrix.model_copy(update={"paths": paths})


def _reader(lab: VaultLab) -> AbstractContextManager[hvac.Client]:
    return lab.operator() if lab.subject.operator_token else lab.as_role(READER)


def _grants(lab: VaultLab, roles: list[str]) -> tuple[tuple[Grant, ...], dict[str, str]]:
    grants: list[Grant] = []
    unlisted: dict[str, str] = {}
    try:
        with _reader(lab) as reader:
            text_of = cache(
                lambda name: str(send(reader, "GET", f"sys/policies/acl/{name}")()["data"]["policy"])
            )
            for role in roles:
                try:
                    with lab.as_role(role) as client:
                        grants += read_grants(client, role, text_of)
                except VaultError as error:
                    unlisted[role] = error.message
    except VaultError as error:
        return (), dict.fromkeys(roles, error.message)
    return tuple(grants), unlisted


def _strangers(lab: VaultLab, matrix: Matrix) -> tuple[tuple[str, ...], str]:
    """Return the logins that are there and that the matrix does not name."""
    scratch = lab.subject.scratch_prefix
    try:
        with _reader(lab) as client:
            methods = send(client, "GET", "sys/auth")()["data"]
            found = [
                f"auth/{path}"
                for path, method in methods.items()
                if path.removesuffix("/") not in KNOWN_WAYS
                and not (scratch and method["type"] == "approle" and path.startswith(f"{scratch}-"))
            ]
            found += [
                f"auth/approle/role/{name}"
                for name in _names(client, "auth/approle/role")
                if name not in matrix.roles and not (lab.live and name.startswith(TENANT))
            ]
            found += [f"auth/token/roles/{name}" for name in _names(client, "auth/token/roles")]
    except VaultError as error:
        return (), error.message
    except CLIENT_ERRORS as error:
        return (), explain(error)
    except (KeyError, TypeError, AttributeError) as error:
        return (), f"an ill-formed answer ({type(error).__name__})"
    return tuple(sorted(found)), ""


def _names(client: hvac.Client, path: str) -> list[str]:
    try:
        return [str(name) for name in send(client, "LIST", path)()["data"]["keys"]]
    except hvac.exceptions.InvalidPath:  # the answer for "none"
        return []
