"""The catalogue of a Vault: what exists and which rules hold, by name and digest; never a secret's value.

Taken before a backup and after a recovery; the difference is what did not come back.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import hvac
from pydantic import BaseModel, ConfigDict

from smos.vault.model import CLIENT_ERRORS, REQUEST_LIMIT_S, VaultError, explain, salted_digest

_ROLE_FOLDERS = {"approle": "role", "jwt": "role", "oidc": "role", "kubernetes": "role", "userpass": "users"}
"""Auth methods whose roles (or users) have names that can be listed, and the folder of the list."""

_BUILT_IN_POLICIES = frozenset({"root"})
MOST_SECRETS = 200_000
"""A listing stops here: a catalogue is no copy of the store."""


class AuditDevice(BaseModel):
    """One audit device. `file_path` is set for files; all other options only count in the digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    file_path: str | None
    options: str


class KvMount(BaseModel):
    """How many secrets a KV mount holds, and a salted digest of each path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    count: int
    paths: frozenset[str]


class Catalog(BaseModel):
    """Names and rules. Policies: name to SHA-256 of the text; roles: `mount/name` to that of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policies: dict[str, str]
    auth_mounts: dict[str, str]
    auth_roles: dict[str, str]
    mounts: dict[str, str]
    audit: dict[str, AuditDevice]
    kv: dict[str, KvMount]
    transit_latest: int
    """Newest version of the transit key; 0 where there is none."""
    transit_min_decryption: int

    def common(self, later: "Catalog") -> "Catalog":
        """Return what both hold alike: what did not change while a snapshot was taken between the two."""

        def same(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in one.items() if other.get(name) == value}

        kv = {}
        for name, mount in self.kv.items():
            paths = mount.paths & later.kv[name].paths if name in later.kv else frozenset()
            kv[name] = mount.model_copy(update={"paths": paths, "count": len(paths)})
        return Catalog(
            policies=same(self.policies, later.policies),
            auth_mounts=same(self.auth_mounts, later.auth_mounts),
            auth_roles=same(self.auth_roles, later.auth_roles),
            mounts=same(self.mounts, later.mounts),
            audit=same(self.audit, later.audit),
            kv=kv,
            transit_latest=min(self.transit_latest, later.transit_latest),
            transit_min_decryption=min(self.transit_min_decryption, later.transit_min_decryption),
        )


def read_catalog(client: hvac.Client, *, kv_mount: str, transit_key: str, salt: str) -> Catalog:
    """Read the catalogue with a token that may (policies `backup` and `recovery`).

    Raises VaultError (`catalog-refused`) that names the path which could not be read.
    """
    auth = _data(client, "sys/auth")
    mounts = _data(client, "sys/mounts")
    roles = {}
    for mount, settings in auth.items():
        folder = _ROLE_FOLDERS.get(settings.get("type", ""))
        if folder is None:
            continue
        for name in _keys(client, f"auth/{mount}{folder}"):
            role = _data(client, f"auth/{mount}{folder}/{name}") if folder == "role" else {}
            roles[f"{mount}{name}"] = _digest(role)
    policies = {
        name: hashlib.sha256(_data(client, f"sys/policies/acl/{name}")["policy"].encode()).hexdigest()
        for name in _keys(client, "sys/policies/acl")
        if name not in _BUILT_IN_POLICIES
    }
    version = int((mounts.get(f"{kv_mount}/", {}).get("options") or {}).get("version", 1))
    kv = {}
    if f"{kv_mount}/" in mounts:
        root = f"{kv_mount}/metadata/" if version == 2 else f"{kv_mount}/"
        found = frozenset(salted_digest(salt, path) for path in _walk(client, root))
        kv[kv_mount] = KvMount(version=version, count=len(found), paths=found)
    key = _data(client, f"transit/keys/{transit_key}", missing_is_empty=True)
    return Catalog(
        policies=policies,
        auth_mounts={path: settings.get("type", "") for path, settings in auth.items()},
        auth_roles=roles,
        mounts={path: settings.get("type", "") for path, settings in mounts.items()},
        audit={path: _audit(settings) for path, settings in _data(client, "sys/audit").items()},
        kv=kv,
        transit_latest=int(key.get("latest_version", 0)),
        transit_min_decryption=int(key.get("min_decryption_version", 0)),
    )


def _audit(settings: dict[str, Any]) -> AuditDevice:
    options = settings.get("options") or {}
    return AuditDevice(
        type=settings.get("type", ""), file_path=options.get("file_path"), options=_digest(options)
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _data(client: hvac.Client, path: str, *, missing_is_empty: bool = False) -> dict[str, Any]:
    try:
        answer = client.adapter.get(f"/v1/{path}", timeout=REQUEST_LIMIT_S)
    except hvac.exceptions.InvalidPath:
        if missing_is_empty:
            return {}
        raise _refused(path, "there is nothing at it") from None
    except CLIENT_ERRORS as error:
        raise _refused(path, explain(error)) from None
    data: dict[str, Any] = answer["data"]
    return data


def _keys(client: hvac.Client, path: str) -> list[str]:
    try:
        answer = client.adapter.list(f"/v1/{path}", timeout=REQUEST_LIMIT_S)
    except hvac.exceptions.InvalidPath:
        return []  # an empty folder and no folder are the same answer
    except CLIENT_ERRORS as error:
        raise _refused(path, explain(error)) from None
    keys: list[str] = answer["data"]["keys"]
    return keys


def _refused(path: str, why: str) -> VaultError:
    return VaultError(
        f"Vault's catalogue can't be read at {path}: {why}",
        code="catalog-refused",
        remedy="use a token of the role `backup` or `recovery` (compose/vault/policies/backup.hcl)",
    )


def _walk(client: hvac.Client, root: str) -> Iterator[str]:
    """Yield the path of every secret below `root`, relative to it."""
    folders = [""]
    seen = 0
    while folders:
        folder = folders.pop()
        for name in _keys(client, f"{root}{folder}"):
            seen += 1
            if seen > MOST_SECRETS:
                raise VaultError(
                    f"There are more than {MOST_SECRETS} secrets below {root}", code="catalog-too-large"
                )
            if name.endswith("/"):
                folders.append(folder + name)
            else:
                yield folder + name
