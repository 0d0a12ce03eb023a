"""Changes tenants in PostgreSQL and Vault together.

A tenant that is made: its row is inserted, Vault's parts are made, then the row is committed. Whatever fails before
takes back what this run made; a killed run's half is taken back by the next (journal). A tenant that is removed:
marked first, then removed part by part, its row last; an interrupted removal goes on where it stopped.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import hvac
import psycopg

from smos.errors import SmosError, TargetError
from smos.tenants import registry
from smos.tenants.journal import Journal
from smos.tenants.registry import State, Tenant
from smos.tenants.vault_side import PARTS, Credentials, VaultSide
from smos.vault.bootstrap import TENANT_ID


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
                        side.make(part)
                        report(f"{part} made")
                given = side.credentials() if credentials else None
        except BaseException:
            self._undo(tenant, made)
            raise
        self._journal.close(tenant)
        return Created(tenant=row, made=("row", *made) if fresh else made, credentials=given)

    def missing(self, tenant: str) -> tuple[str, ...]:
        """Return what `create` would make: the same parts in the same order."""
        _checked(tenant)
        with self._connected() as connection:
            row = registry.find(connection, tenant)
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
        side.remove(there)
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
            if (old.name, old.rut) != (name, rut) or old.state == State.DELETING:
                raise TargetError(
                    f"There is a tenant {tenant} already: {old.name}, RUT {old.rut}, {old.state}",
                    remedy="choose another id, or give the same name and RUT",
                )
            return old, False
        try:
            connection.execute(
                "INSERT INTO smos.tenants (id, name, rut) VALUES (%s, %s, %s)", (tenant, name, rut)
            )
        except psycopg.errors.UniqueViolation:
            raise TargetError(f"Another tenant has the RUT {rut}", remedy="smos tenants list") from None
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
        return TenantFacts(id=tenant, row=row, parts=parts, problems=tuple(problems))

    def _in_vault(self) -> list[str]:
        try:
            names = self._client.sys.list_acl_policies()["data"]["keys"]
        except hvac.exceptions.Forbidden:
            return []  # the rows are known all the same; who may not list policies sees no orphan
        return [name.removeprefix("tenant-") for name in names if name.startswith("tenant-")]

    def _mark(self, connection: "psycopg.Connection[tuple[object, ...]]", tenant: str, state: State) -> None:
        connection.execute("UPDATE smos.tenants SET state = %s WHERE id = %s", (state.value, tenant))

    def _side(self, tenant: str) -> VaultSide:
        return VaultSide(self._client, self._mount, tenant)

    def _connected(self) -> AbstractContextManager["psycopg.Connection[tuple[object, ...]]"]:
        return registry.connected(self._dsn, self._password)


def _checked(tenant: str) -> None:
    if not TENANT_ID.fullmatch(tenant):
        raise TargetError(f"{tenant!r} is no tenant id", remedy="use lower-case letters, digits and hyphens")
