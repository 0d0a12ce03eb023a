"""Changes tenants in PostgreSQL and Vault together.

A tenant that is made: its row is inserted, Vault's parts are made, then the row is committed. Whatever fails before
takes back what this run made; a killed run's half is taken back by the next (journal). A tenant that is removed:
marked first, then removed part by part, its row last; an interrupted removal goes on where it stopped.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import hvac
import psycopg

from smos.errors import SmosError, TargetError
from smos.tenants import registry
from smos.tenants.journal import Journal
from smos.tenants.registry import State, Tenant
from smos.tenants.vault_side import PARTS, POLICY, Credentials, VaultSide, found_at
from smos.vault.bootstrap import TENANT_ID
from smos.vault.model import APPROLE_MOUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFacts:
    """One tenant as it is.

    row: None where only Vault knows it. parts: what Vault holds. problems: what does not fit.
    """

    id: str
    row: Tenant | None
    parts: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What `create` did. made: the parts that were missing, "row" among them; empty: everything was there."""

    tenant: Tenant
    made: tuple[str, ...]
    credentials: Credentials | None


class Tenants:
    """The tenants of one platform."""

    def __init__(
        self, dsn: str, password: str | None, client: hvac.Client, *, mount: str, journal: Journal
    ) -> None:
        self._dsn, self._password = dsn, password
        self._client, self._mount, self._journal = client, mount, journal

    def create(
        self,
        tenant: str,
        name: str,
        rut: str,
        *,
        credentials: bool = False,
        report: Callable[[str], None] = lambda _t: None,
    ) -> Created:
        """Make a tenant, or what is missing of it. rut: canonical.

        Raises TargetError when the id or the RUT is another's, SmosError when a server refuses.
        """
        _checked(tenant)
        self.recover()
        made: tuple[str, ...] = ()
        side = self._side(tenant)
        try:
            with self._connected() as connection:
                connection.execute(registry.SETUP)
                registry.lock(connection, tenant)
                row, fresh = self._row(connection, tenant, name, rut)
                for part in PARTS:
                    if part not in side.present():
                        made = (*made, part)
                        self._journal.announce(tenant, made)
                        if part == POLICY and row.state == State.SUSPENDED:
                            side.suspend()  # what is missing of it is made; its rights are not given back
                        else:
                            side.make(part)
                        report(f"{part} made")
                _whole(tenant, side)
                given = side.credentials() if credentials else None
        except BaseException:
            self._undo(tenant, made)
            raise
        self._journal.close(tenant)
        return Created(tenant=row, made=("row", *made) if fresh else made, credentials=given)

    def missing(self, tenant: str, name: str, rut: str) -> tuple[str, ...]:
        """Return what `create` would make: the same parts in the same order. Raises TargetError as it would."""
        _checked(tenant)
        with self._connected() as connection:
            row = registry.find(connection, tenant)
            if row is not None:
                _same(row, name, rut)
            elif any(item.rut == rut for item in registry.read(connection)):
                raise _taken(rut)
        there = self._side(tenant).present()
        return (*(() if row else ("row",)), *(part for part in PARTS if part not in there))

    def suspend(self, tenant: str) -> None:
        """Refuse everything to a tenant, also to tokens that are out; its data stay. Idempotent."""
        with self._existing(tenant) as (connection, side):
            side.suspend()  # before the row: who is marked as suspended is suspended
            self._mark(connection, tenant, State.SUSPENDED)

    def resume(self, tenant: str) -> None:
        """Undo `suspend`. Idempotent."""
        with self._existing(tenant) as (connection, side):
            self._mark(connection, tenant, State.ACTIVE)
            side.activate()

    def delete(self, tenant: str, *, report: Callable[[str], None] = lambda _t: None) -> bool:
        """Remove a tenant for good, its secrets too; tell whether there was anything.

        Goes on where a killed removal stopped. Raises SmosError where only Vault knows it.
        """
        _checked(tenant)
        with self._connected() as connection:
            registry.lock(connection, tenant)
            row = registry.find(connection, tenant)
            if row is not None:
                self._mark(connection, tenant, State.DELETING)
        side = self._side(tenant)
        there = side.present()
        if row is None and there:
            raise SmosError(
                f"{tenant} has no row in PostgreSQL, and {', '.join(there)} in Vault; nothing was removed",
                remedy=f"smos tenants create {tenant} … makes it whole; delete it then",
            )
        if row is None:
            return False
        side.remove(PARTS)  # also what can't be read any more, and could be had back
        if left := side.left():
            raise SmosError(
                f"Vault still holds {', '.join(left)} of {tenant}; its row stays, marked as being deleted",
                remedy="look at Vault's log and at the rights of the token, then delete it again",
            )
        report(f"{', '.join(there) or 'nothing'} removed from Vault")
        with self._connected() as connection:
            connection.execute("DELETE FROM smos.tenants WHERE id = %s", (tenant,))
        return True

    def info(self, tenant: str) -> TenantFacts:
        """Return one tenant as it is in both places. Raises TargetError when neither knows it."""
        _checked(tenant)
        with self._connected() as connection:
            row = registry.find(connection, tenant)
        facts = self._facts(tenant, row)
        if row is None and not facts.parts:
            raise TargetError(f"There is no tenant {tenant}", remedy="smos tenants list")
        return facts

    def all(self) -> list[TenantFacts]:
        """Return every tenant that either place knows."""
        with self._connected() as connection:
            rows = {item.id: item for item in registry.read(connection)}
        return [self._facts(tenant, rows.get(tenant)) for tenant in sorted({*rows, *self._in_vault()})]

    def recover(self) -> tuple[str, ...]:
        """Take back what killed runs left half made; return the tenants concerned."""
        found = []
        for entry in self._journal.abandoned():
            with self._connected() as connection:
                registry.lock(connection, entry.tenant)
                if registry.find(connection, entry.tenant) is None:
                    self._side(entry.tenant).remove(entry.made)
            self._journal.close(entry.tenant)
            found.append(entry.tenant)
        return tuple(found)

    def _undo(self, tenant: str, made: tuple[str, ...]) -> None:
        """Take back what this run made, unless its row was committed after all (the answer may have been lost)."""
        if not made:
            return
        with self._connected() as connection:
            committed = registry.find(connection, tenant) is not None
        if not committed:
            self._side(tenant).remove(made)
        self._journal.close(tenant)

    def _row(
        self, connection: "psycopg.Connection[tuple[object, ...]]", tenant: str, name: str, rut: str
    ) -> tuple[Tenant, bool]:
        old = registry.find(connection, tenant)
        if old is not None:
            _same(old, name, rut)
            return old, False
        try:
            connection.execute(
                "INSERT INTO smos.tenants (id, name, rut) VALUES (%s, %s, %s)", (tenant, name, rut)
            )
        except psycopg.errors.UniqueViolation:
            raise _taken(rut) from None
        row = registry.find(connection, tenant)
        assert row is not None  # noqa: S101  (it was inserted in this transaction)
        return row, True

    @contextmanager
    def _existing(self, tenant: str) -> Iterator[tuple["psycopg.Connection[tuple[object, ...]]", VaultSide]]:
        _checked(tenant)
        with self._connected() as connection:
            registry.lock(connection, tenant)
            row = registry.find(connection, tenant)
            if row is None or row.state == State.DELETING:
                raise TargetError(f"There is no tenant {tenant}", remedy="smos tenants list")
            yield connection, self._side(tenant)

    def _facts(self, tenant: str, row: Tenant | None) -> TenantFacts:
        side = self._side(tenant)
        parts = side.present()
        problems = [f"{part} is missing in Vault" for part in PARTS if row and part not in parts]
        if row is None:
            problems.append("Vault has it, PostgreSQL does not")
        elif row.state == State.DELETING:
            problems = ["its removal was interrupted: smos tenants delete goes on"]
        elif (row.state == State.SUSPENDED) != side.suspended():
            problems.append(f"it is {row.state} in PostgreSQL and not so in Vault")
        if row is None or row.state != State.DELETING:
            problems += side.problems()
        return TenantFacts(id=tenant, row=row, parts=parts, problems=tuple(problems))

    def unseen(self) -> tuple[str, ...]:
        """Return what may not be listed: there may be tenants that only Vault knows."""
        return tuple(what for what, names in self._listed().items() if names is None)

    def _in_vault(self) -> set[str]:
        """Return the tenants of which Vault holds anything: one part is enough."""
        return {
            name for names in self._listed().values() for name in names or () if TENANT_ID.fullmatch(name)
        }

    def _listed(self) -> dict[str, list[str] | None]:
        """Return the tenants that policies, logins and secrets name; None where they may not be listed."""
        lists: dict[str, Callable[[], Any]] = {
            "policies": self._client.sys.list_acl_policies,
            "logins": lambda: self._client.auth.approle.list_roles(mount_point=APPROLE_MOUNT),
            "secrets": lambda: self._client.secrets.kv.v2.list_secrets("tenants", mount_point=self._mount),
        }
        found: dict[str, list[str] | None] = {}
        for what, ask in lists.items():
            try:
                answer = found_at(ask, f"of {what}")
                names = [str(name) for name in answer["data"]["keys"]] if answer else []
            except hvac.exceptions.Forbidden:
                found[what] = None  # the rows are known all the same; no orphan is seen there
                continue
            if what == "secrets":
                found[what] = [name.removesuffix("/") for name in names]
            else:
                found[what] = [name.removeprefix("tenant-") for name in names if name.startswith("tenant-")]
        return found

    def _mark(self, connection: "psycopg.Connection[tuple[object, ...]]", tenant: str, state: State) -> None:
        connection.execute("UPDATE smos.tenants SET state = %s WHERE id = %s", (state.value, tenant))

    def _side(self, tenant: str) -> VaultSide:
        return VaultSide(self._client, self._mount, tenant)

    def _connected(self) -> AbstractContextManager["psycopg.Connection[tuple[object, ...]]"]:
        return registry.connected(self._dsn, self._password)


def _checked(tenant: str) -> None:
    if not TENANT_ID.fullmatch(tenant):
        raise TargetError(f"{tenant!r} is no tenant id", remedy="use lower-case letters, digits and hyphens")


def _same(row: Tenant, name: str, rut: str) -> None:
    if (row.name, row.rut) != (name, rut) or row.state == State.DELETING:
        raise TargetError(
            f"There is a tenant {row.id} already: {row.name}, RUT {row.rut}, {row.state}",
            remedy="choose another id, or give the same name and RUT",
        )


def _taken(rut: str) -> TargetError:
    return TargetError(f"Another tenant has the RUT {rut}", remedy="smos tenants list")


def _whole(tenant: str, side: VaultSide) -> None:
    """Raise SmosError unless everything is there now: Vault may have taken a request and kept nothing."""
    there = side.present()
    if lost := [part for part in PARTS if part not in there]:
        raise SmosError(
            f"Vault took {', '.join(lost)} of {tenant} and does not show it; nothing was made",
            remedy="is vault.mount a key-value engine of version 2? (smos config list)",
        )
