"""What a tenant has in Vault: policy and AppRole `tenant-<id>`, the secret `tenants/<id>`. Every step is idempotent."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import hvac

from smos.paths import compose_dir
from smos.vault.bootstrap import TOKEN_TTL
from smos.vault.model import APPROLE_MOUNT

POLICY, ROLE, SECRET = "policy", "role", "secret"
PARTS = (POLICY, ROLE, SECRET)
_SUSPENDED = "# Suspended by smos: every token of this tenant is refused from the next request on.\n"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An AppRole login. It is shown once, to a file; Vault does not give the secret ID again."""

    role_id: str
    secret_id: str


class VaultSide:
    """A tenant's parts in one Vault."""

    def __init__(self, client: hvac.Client, mount: str, tenant: str) -> None:
        self._client, self._mount, self._tenant = client, mount, tenant
        self._name = f"tenant-{tenant}"
        self._path = f"tenants/{tenant}"

    def present(self) -> tuple[str, ...]:
        """Return the parts that are there."""
        there = {POLICY: self._policy() is not None, ROLE: self._has_role(), SECRET: self._has_secret()}
        return tuple(part for part in PARTS if there[part])

    def suspended(self) -> bool:
        """Tell whether the policy is the one of a suspended tenant."""
        return self._policy() == _SUSPENDED

    def make(self, part: str) -> None:
        """Make a part that is missing; one that is there stays as it is."""
        if part == POLICY and self._policy() is None:
            self.activate()
        elif part == ROLE and not self._has_role():
            self._client.auth.approle.create_or_update_approle(
                self._name,
                token_policies=[self._name],
                token_type="batch",  # noqa: S106  (a kind)
                token_ttl=TOKEN_TTL,
                token_max_ttl=TOKEN_TTL,
                mount_point=APPROLE_MOUNT,
            )
        elif part == SECRET and not self._has_secret():
            self._client.secrets.kv.v2.create_or_update_secret(
                self._path, {"api_key": secrets.token_urlsafe(32)}, mount_point=self._mount
            )

    def remove(self, parts: Sequence[str]) -> None:
        """Remove parts for good, logins first; what is not there is no error."""
        steps: dict[str, Callable[[], object]] = {
            ROLE: lambda: self._client.auth.approle.delete_role(self._name, mount_point=APPROLE_MOUNT),
            POLICY: lambda: self._client.sys.delete_policy(self._name),
            SECRET: lambda: self._client.secrets.kv.v2.delete_metadata_and_all_versions(
                self._path, mount_point=self._mount
            ),
        }
        for part in (ROLE, POLICY, SECRET):
            if part in parts:
                steps[part]()

    def activate(self) -> None:
        """Give the tenant its policy."""
        text = (compose_dir() / "vault" / "policies" / "tenant.hcl.template").read_text(encoding="utf-8")
        text = text.replace("smarteros/", f"{self._mount}/").replace("TENANT_ID", self._tenant)
        self._client.sys.create_or_update_acl_policy(self._name, text, pretty_print=False)

    def suspend(self) -> None:
        """Take every right away: policies are looked at with each request, so tokens that are out lose it too."""
        self._client.sys.create_or_update_acl_policy(self._name, _SUSPENDED, pretty_print=False)

    def credentials(self) -> Credentials:
        """Return a new login."""
        role = self._client.auth.approle.read_role_id(self._name, mount_point=APPROLE_MOUNT)
        secret = self._client.auth.approle.generate_secret_id(self._name, mount_point=APPROLE_MOUNT)
        return Credentials(role["data"]["role_id"], secret["data"]["secret_id"])

    def _policy(self) -> str | None:
        try:
            return str(self._client.sys.read_acl_policy(self._name)["data"]["policy"])
        except hvac.exceptions.InvalidPath:
            return None

    def _has_role(self) -> bool:
        try:
            self._client.auth.approle.read_role(self._name, mount_point=APPROLE_MOUNT)
        except hvac.exceptions.InvalidPath:
            return False
        return True

    def _has_secret(self) -> bool:
        try:
            answer = self._client.secrets.kv.v2.read_secret_metadata(self._path, mount_point=self._mount)
        except hvac.exceptions.InvalidPath:
            return False
        versions = answer["data"]["versions"].values()
        return any(not item["deletion_time"] and not item["destroyed"] for item in versions)
