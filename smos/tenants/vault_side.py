"""What a tenant has in Vault: policy and AppRole `tenant-<id>`, the secret `tenants/<id>`. Every step is idempotent."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import hvac

from smos.clock import Clock, SystemClock
from smos.errors import SmosError
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

    def __init__(self, client: hvac.Client, mount: str, tenant: str, *, clock: Clock | None = None) -> None:
        self._client, self._mount, self._tenant = client, mount, tenant
        self._clock = clock or SystemClock()
        self._name = f"tenant-{tenant}"
        self._path = f"tenants/{tenant}"

    def present(self) -> tuple[str, ...]:
        """Return the parts that are there."""
        there = {
            POLICY: self._policy() is not None,
            ROLE: self._role() is not None,
            SECRET: self._has_secret(),
        }
        return tuple(part for part in PARTS if there[part])

    def suspended(self) -> bool:
        """Tell whether the policy is the one of a suspended tenant."""
        return self._policy() == _SUSPENDED

    def problems(self) -> Iterator[str]:
        """Say which parts are there and not as they are made: what somebody changed may open what is another's."""
        policy, role = self._policy(), self._role()
        if policy is not None and policy not in {_SUSPENDED, self._wanted()}:
            yield "its policy in Vault is not the one of a tenant: smos tenants resume or suspend writes it anew"
        if role is None:
            return
        if (given := list(role.get("token_policies") or ())) != [self._name]:
            yield f"its login gives the policies {', '.join(given) or '(none)'}, not {self._name} alone"
        if not role.get("bind_secret_id", True):
            yield "its login asks for no secret ID"

    def make(self, part: str) -> None:
        """Make a part that is missing; one that is there stays as it is."""
        if part == POLICY and self._policy() is None:
            self.activate()
        elif part == ROLE and self._role() is None:
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
        """Remove parts for good, logins first; what is not there is no error. Secrets below the tenant's go with it."""
        steps: dict[str, Callable[[], object]] = {
            ROLE: lambda: self._client.auth.approle.delete_role(self._name, mount_point=APPROLE_MOUNT),
            POLICY: lambda: self._client.sys.delete_policy(self._name),
            SECRET: self._remove_secrets,
        }
        for part in (ROLE, POLICY, SECRET):
            if part in parts:
                steps[part]()

    def left(self) -> tuple[str, ...]:
        """Return what a removal must not leave: parts, and secrets that were deleted and can be had back."""
        held = next(self._secrets(), None) is not None
        there = {POLICY: self._policy() is not None, ROLE: self._role() is not None, SECRET: held}
        return tuple(part for part in PARTS if there[part])

    def activate(self) -> None:
        """Give the tenant its policy."""
        self._client.sys.create_or_update_acl_policy(self._name, self._wanted(), pretty_print=False)

    def suspend(self) -> None:
        """Take every right away: policies are looked at with each request, so tokens that are out lose it too."""
        self._client.sys.create_or_update_acl_policy(self._name, _SUSPENDED, pretty_print=False)

    def credentials(self) -> Credentials:
        """Return a new login."""
        role = self._client.auth.approle.read_role_id(self._name, mount_point=APPROLE_MOUNT)
        secret = self._client.auth.approle.generate_secret_id(self._name, mount_point=APPROLE_MOUNT)
        return Credentials(role["data"]["role_id"], secret["data"]["secret_id"])

    def _wanted(self) -> str:
        text = (compose_dir() / "vault" / "policies" / "tenant.hcl.template").read_text(encoding="utf-8")
        return text.replace("smarteros/", f"{self._mount}/").replace("TENANT_ID", self._tenant)

    def _policy(self) -> str | None:
        answer = found_at(lambda: self._client.sys.read_acl_policy(self._name))
        return None if answer is None else str(answer["data"]["policy"])

    def _role(self) -> dict[str, Any] | None:
        answer = found_at(
            lambda: self._client.auth.approle.read_role(self._name, mount_point=APPROLE_MOUNT),
            f"auth/{APPROLE_MOUNT}/",
        )
        return None if answer is None else dict(answer["data"])

    def _has_secret(self) -> bool:
        """Tell whether the newest version can be read: an older one is not what the tenant gets."""
        data = self._metadata(self._path)
        if data is None:
            return False
        newest = data["versions"].get(str(data["current_version"]))
        if newest is None or newest["destroyed"]:
            return False
        # A version may be due to be deleted later; until then it is read.
        return not newest["deletion_time"] or _moment(newest["deletion_time"]) > self._clock.now()

    def _metadata(self, path: str) -> dict[str, Any] | None:
        read = self._client.secrets.kv.v2.read_secret_metadata
        answer = found_at(lambda: read(path, mount_point=self._mount), f"{self._mount}/")
        return None if answer is None else dict(answer["data"])

    def _secrets(self) -> Iterator[str]:
        """Yield the paths that hold something of the tenant's, its policy's paths below included."""
        if self._metadata(self._path) is not None:
            yield self._path
        todo = [f"{self._path}/"]
        lists = self._client.secrets.kv.v2.list_secrets
        while todo:
            folder = todo.pop()
            answer = found_at(lambda at=folder: lists(at, mount_point=self._mount), f"{self._mount}/")  # type: ignore[misc]
            for name in answer["data"]["keys"] if answer else ():
                if name.endswith("/"):
                    todo.append(folder + name)
                else:
                    yield folder + name

    def _remove_secrets(self) -> None:
        for path in list(self._secrets()):
            self._client.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=self._mount)


def found_at(read: Callable[[], Any], mount: str = "") -> Any:
    """Return the answer, None where there is nothing. Raises SmosError where not even the mount is there."""
    try:
        return read()
    except hvac.exceptions.InvalidPath as error:
        if "no handler for route" in str(error):
            raise SmosError(
                f"Vault has no mount {mount}", remedy="look at vault.mount (smos config list)"
            ) from None
        return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
