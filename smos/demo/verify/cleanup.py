"""Plants rows of every age and kind, cleans up at a shifted moment, and records what went and what stayed.

No clock is moved: the moment is a parameter of the clean-up, and the rows are dated relative to it.
"""

# Statements are put together from constants of ours, never from what a database holds; SQL keeps its lines.
# ruff: noqa: E501

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from smos.demo.chile import rut
from smos.demo.cleanup import clean_up
from smos.demo.schema import TABLES
from smos.demo.stack import DemoDatabase
from smos.demo.verify.facts import AgedRow, BatchFacts, CleanupFacts, Deletion
from smos.demo.verify.seed import FIXED, digests

ROLE = "demo_maintenance"
MOMENT = datetime(2031, 9, 8, 12, tzinfo=UTC)
"""Years from now, and a day after Chile's clocks change: a week is 168 hours then, and not 167."""
BATCH = 25
MANY = 60
"""Conversations planted to be removed in batches, with two messages each."""
STATEMENT_S = 60
_MONTH, _WEEK, _SECOND = timedelta(days=30), timedelta(days=7), timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Plan:
    label: str
    table: str
    keys: Mapping[str, object]
    must_go: bool


class _Planter:
    """Plants rows with an age and an origin; every row gets fresh keys."""

    def __init__(self, connection: "psycopg.Connection[Any]", now: datetime, days: int, number: int) -> None:
        self._connection = connection
        self._now = now
        self._limit = timedelta(hours=24 * days)
        self._number = number
        self.plans: list[_Plan] = []

    def uuid(self) -> str:
        self._number += 1
        return f"eeeeeeee-0000-4000-8000-{self._number:012x}"

    def put(
        self,
        label: str,
        table: str,
        age: timedelta,
        values: Mapping[str, object],
        keys: Sequence[str],
        *,
        must_go: bool,
        origin: str = "visitor",
    ) -> None:
        row = {**values, "origin": origin, "created_at": self._now - age}
        self._connection.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier("demo", table),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join([sql.Placeholder()] * len(row)),
            ),
            list(row.values()),
        )
        self.plans.append(_Plan(label, table, {key: values[key] for key in keys}, must_go))

    def tenant(self, label: str, age: timedelta, *, must_go: bool, origin: str = "visitor") -> str:
        key = self.uuid()
        values = {"id": key, "name": "Tienda", "rut": rut(50_000_000 + self._number), "region": "Ñuble"}
        self.put(label, "tenants", age, values, ["id"], must_go=must_go, origin=origin)
        return key

    def user(self, label: str, tenant: str, age: timedelta, *, must_go: bool, origin: str = "visitor") -> str:
        key = self.uuid()
        values = {
            "tenant_id": tenant,
            "id": key,
            "email": f"p{self._number}@prueba.ejemplo.cl",
            "full_name": "Persona",
            "rut": rut(9_000_000 + self._number),
            "phone": "+56900000000",
            "comuna": "Chillán",
        }
        self.put(label, "users", age, values, ["tenant_id", "id"], must_go=must_go, origin=origin)
        return key

    def product(
        self, label: str, tenant: str, age: timedelta, *, must_go: bool, origin: str = "visitor"
    ) -> str:
        key = self.uuid()
        values = {
            "tenant_id": tenant,
            "id": key,
            "sku": f"AGE-{self._number}",
            "name": "Artículo",
            "category": "Hogar",
            "price": 990,
            "stock": 1,
        }
        self.put(label, "products", age, values, ["tenant_id", "id"], must_go=must_go, origin=origin)
        return key

    def order(
        self,
        label: str,
        owner: tuple[str, str],
        age: timedelta,
        lines: Sequence[tuple[str, timedelta]],
        *,
        must_go: bool,
        origin: str = "visitor",
    ) -> None:
        key = self.uuid()
        mine = {"tenant_id": owner[0], "user_id": owner[1]}
        values = {
            **mine,
            "id": key,
            "number": f"AGE-{self._number}",
            "address": "Calle 1",
            "comuna": "Temuco",
        }
        self.put(label, "orders", age, values, ["tenant_id", "user_id", "id"], must_go=must_go, origin=origin)
        for place, (product, line_age) in enumerate(lines, 1):
            self.put(
                f"{label}: line {place}",
                "order_lines",
                line_age,
                {
                    **mine,
                    "order_id": key,
                    "line": place,
                    "product_id": product,
                    "quantity": 1,
                    "unit_price": 990,
                },
                ["tenant_id", "user_id", "order_id", "line"],
                must_go=must_go,
                origin=origin,
            )

    def talk(
        self,
        label: str,
        owner: tuple[str, str],
        age: timedelta,
        messages: Sequence[timedelta],
        *,
        must_go: bool,
        origin: str = "visitor",
    ) -> None:
        key = self.uuid()
        mine = {"tenant_id": owner[0], "user_id": owner[1]}
        values = {**mine, "id": key, "channel": "web", "subject": "Prueba"}
        self.put(
            label,
            "conversations",
            age,
            values,
            ["tenant_id", "user_id", "id"],
            must_go=must_go,
            origin=origin,
        )
        for place, message_age in enumerate(messages, 1):
            self.put(
                f"{label}: message {place}",
                "messages",
                message_age,
                {**mine, "conversation_id": key, "position": place, "author": "bot", "body": "Hola"},
                ["tenant_id", "user_id", "conversation_id", "position"],
                must_go=must_go,
                origin=origin,
            )

    def event(
        self, label: str, owner: tuple[str, str], age: timedelta, *, must_go: bool, origin: str = "visitor"
    ) -> None:
        values = {"tenant_id": owner[0], "user_id": owner[1], "id": self.uuid(), "kind": "visita"}
        keys = ["tenant_id", "user_id", "id"]
        self.put(label, "analytics_events", age, values, keys, must_go=must_go, origin=origin)

    def everything(self) -> None:
        """Plant what a clean-up must tell apart."""
        old, limit = self._limit + _WEEK, self._limit
        seed = self._connection.execute(
            "SELECT tenant_id::text, id::text FROM demo.users WHERE origin = 'seed'"
        ).fetchone()
        guest = (str(seed[0]), str(seed[1])) if seed else None

        gone = self.tenant("expired tenant", old, must_go=True)
        gone_user = (gone, self.user("expired user", gone, old, must_go=True))
        gone_product = self.product("expired product", gone, old, must_go=True)
        self.order("expired order", gone_user, old, [(gone_product, old), (gone_product, old)], must_go=True)
        self.talk("expired conversation", gone_user, old, [old, old], must_go=True)
        self.event("expired event", gone_user, old, must_go=True)

        here = self.tenant("expired tenant with a younger user", old, must_go=False)
        owner = (here, self.user("younger user", here, timedelta(days=1), must_go=False))
        for label, age, must_go in (
            ("one second too old", limit + _SECOND, True),
            ("exactly at the limit", limit, False),
            ("one second younger than the limit", limit - _SECOND, False),
            ("fresh", timedelta(hours=1), False),
            ("from the future", -timedelta(hours=1), False),
        ):
            self.product(f"product {label}", here, age, must_go=must_go)
            self.event(f"event {label}", owner, age, must_go=must_go)
            self.talk(f"conversation {label}", owner, age, [age], must_go=must_go)
        used = self.product("expired product in a younger order", here, old, must_go=False)
        self.order("younger order", owner, timedelta(days=1), [(used, timedelta(days=1))], must_go=False)
        self.order(
            "expired order with a younger line", owner, old, [(used, old), (used, _SECOND)], must_go=False
        )
        self.talk("expired conversation with a younger message", owner, old, [old, _SECOND], must_go=False)
        returning = (here, self.user("expired user with a younger event", here, old, must_go=False))
        self.event("younger event of an expired user", returning, _SECOND, must_go=False)
        self.event("generated event", owner, old, must_go=True, origin="generated")

        pinned = self.tenant("kept tenant, a month old", _MONTH, must_go=False, origin="kept")
        customer = (pinned, self.user("kept user", pinned, _MONTH, must_go=False, origin="kept"))
        thing = self.product("kept product", pinned, _MONTH, must_go=False, origin="kept")
        self.order("kept order", customer, _MONTH, [(thing, _MONTH)], must_go=False, origin="kept")
        self.talk("kept conversation", customer, _MONTH, [_MONTH], must_go=False, origin="kept")
        self.event("kept event", customer, _MONTH, must_go=False, origin="kept")
        borrowed = self.product("expired product in a kept order", pinned, old, must_go=False)
        self.order("kept order of it", customer, _MONTH, [(borrowed, _MONTH)], must_go=False, origin="kept")

        if guest is not None:  # what a visitor does as the demo's own user expires too
            self.event("expired event of the demo's user", guest, old, must_go=True)
            self.talk("expired conversation of the demo's user", guest, old, [old], must_go=True)
            self.event("fresh event of the demo's user", guest, _SECOND, must_go=False)

    def outcome(self) -> tuple[AgedRow, ...]:
        """Look each planted row up."""
        found = []
        for plan in self.plans:
            query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
                sql.Identifier("demo", plan.table),
                sql.SQL(" AND ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(key), sql.Placeholder()) for key in plan.keys
                ),
            )
            row = self._connection.execute(query, list(plan.keys.values())).fetchone()
            found.append(
                AgedRow(
                    label=plan.label,
                    table=plan.table,
                    must_go=plan.must_go,
                    gone=row is not None and row[0] == 0,
                )
            )
        return tuple(found)


def clean_at_a_shifted_moment(database: DemoDatabase, *, days: int = 7) -> CleanupFacts:
    """Plant rows of all ages around a moment years ahead, clean up as if it were then; then once by the real clock."""
    error, removed, vanished, finished, again = "", 0, 0, False, 0
    real: tuple[AgedRow, ...] = ()
    with database.connect() as admin:
        admin.execute(FIXED)
        # Around the real present first: by the server's own clock, days before the shifted moment is played.
        present = admin.execute("SELECT clock_timestamp()").fetchone()
        now = present[0] if present else MOMENT
        today = _Planter(admin, now, days, 0x900000)
        home = today.tenant("tenant of the real clock", timedelta(hours=1), must_go=False)
        one = (home, today.user("user of the real clock", home, timedelta(hours=1), must_go=False))
        today.event(
            "event a minute too old, by the real clock", one, timedelta(days=days, minutes=1), must_go=True
        )
        today.event(
            "event five minutes too young, by the real clock",
            one,
            timedelta(days=days, minutes=-5),
            must_go=False,
        )
        untouched = digests(admin)
        try:
            with database.connect(ROLE) as role:
                role.execute(f"SET statement_timeout = '{STATEMENT_S}s'")
                clean_up(role, days=days)
                real = today.outcome()
                planter = _Planter(admin, MOMENT, days, 0)
                planter.everything()
                kept, held = digests(admin, "origin = 'kept'"), _total(admin)
                first = clean_up(role, days=days, now=MOMENT)
                vanished = held - _total(admin)
                removed, finished = first.rows, first.finished
                rows = planter.outcome()
                before = _joined(untouched) + _joined(kept)
                after = _joined(digests(admin)) + _joined(digests(admin, "origin = 'kept'"))
                again = clean_up(role, days=days, now=MOMENT).rows
        except psycopg.Error as problem:
            error = problem.sqlstate or type(problem).__name__
            rows, before, after = (), "", ""
    return CleanupFacts(
        days=days,
        rows=rows,
        removed=removed,
        vanished=vanished,
        finished=finished,
        again=again,
        seed_before=before,
        seed_after=after,
        real_clock=real,
        error=error,
    )


_RECORDER = """
CREATE SCHEMA smos_probe;
CREATE TABLE smos_probe.deletions (place bigserial, transaction text, tab text, number bigint);
CREATE FUNCTION smos_probe.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO smos_probe.deletions (transaction, tab, number)
    SELECT pg_current_xact_id()::text, TG_TABLE_NAME, count(*) FROM gone HAVING count(*) > 0;
    RETURN NULL;
END $$;
GRANT USAGE ON SCHEMA smos_probe TO demo_maintenance;
"""


def clean_in_batches(database: DemoDatabase) -> BatchFacts:
    """Plant many expired rows, stop the clean-up after two batches, run it again, hold a row meanwhile."""
    with database.connect() as admin:
        admin.execute(FIXED)
        admin.execute(_RECORDER)
        for table in TABLES:
            admin.execute(
                sql.SQL(
                    "CREATE TRIGGER smos_probe AFTER DELETE ON {} REFERENCING OLD TABLE AS gone"
                    " FOR EACH STATEMENT EXECUTE FUNCTION smos_probe.note()"
                ).format(sql.Identifier("demo", table))
            )
        planter = _Planter(admin, MOMENT, 7, 0)
        old = _MONTH
        tenant = planter.tenant("expired tenant", old, must_go=True)
        owner = (tenant, planter.user("expired user", tenant, old, must_go=True))
        product = planter.product("expired product", tenant, old, must_go=True)
        with admin.transaction():
            for place in range(MANY):
                planter.talk(f"conversation {place}", owner, old, [old, old], must_go=True)
            for place in range(MANY // 10):
                planter.order(f"order {place}", owner, old, [(product, old)] * 3, must_go=True)
        # What must be refused is tried on rows that are there: kept ones, and one that is not old enough.
        others = _Planter(admin, MOMENT, 7, 0x800000)
        pinned = others.tenant("kept tenant", old, must_go=False, origin="kept")
        others.product("kept product", pinned, old, must_go=False, origin="kept")
        others.product("fresh product", pinned, timedelta(hours=1), must_go=False)
        held = planter.uuid()
        admin.execute(
            "INSERT INTO demo.analytics_events (tenant_id, user_id, id, kind, created_at) VALUES (%s, %s, %s, 'visita', %s)",
            (*owner, held, MOMENT - old),
        )
        expired = len(planter.plans)
        try:
            return _batches(database, admin, planter, held, expired)
        except psycopg.Error as problem:
            return BatchFacts(
                batch=BATCH,
                expired=expired,
                deletions=(),
                stopped_finished=False,
                after_stop=0,
                left=expired,
                locked_seconds=0.0,
                locked_kept=False,
                locked_later=False,
                refuses={},
                error=problem.sqlstate or type(problem).__name__,
            )


def _batches(
    database: DemoDatabase, admin: "psycopg.Connection[Any]", planter: _Planter, held: str, expired: int
) -> BatchFacts:
    with database.connect(ROLE) as role, database.connect() as other:
        role.execute(f"SET statement_timeout = '{STATEMENT_S}s'")
        stopped = clean_up(role, now=MOMENT, batch=BATCH, max_batches=2)
        after_stop = sum(not row.gone for row in planter.outcome())
        with other.transaction(force_rollback=True):
            other.execute("SELECT 1 FROM demo.analytics_events WHERE id = %s FOR UPDATE", (held,))
            started = time.monotonic()
            clean_up(role, now=MOMENT, batch=BATCH)
            seconds = time.monotonic() - started
            kept = _is_there(admin, held)
        clean_up(role, now=MOMENT, batch=BATCH)
        later = not _is_there(admin, held)
        left = sum(not row.gone for row in planter.outcome())
        deletions = tuple(
            Deletion(transaction=str(a), table=str(b), rows=int(c))
            for a, b, c in admin.execute(
                "SELECT transaction, tab, number FROM smos_probe.deletions ORDER BY place"
            ).fetchall()
        )
        return BatchFacts(
            batch=BATCH,
            expired=expired,
            deletions=deletions,
            stopped_finished=stopped.finished,
            after_stop=after_stop,
            left=left,
            locked_seconds=round(seconds, 3),
            locked_kept=kept,
            locked_later=later,
            refuses=_refusals(database, admin, role),
        )


def _refusals(
    database: DemoDatabase, admin: "psycopg.Connection[Any]", role: "psycopg.Connection[Any]"
) -> dict[str, str]:
    """Try what must be refused: other roles, nonsense, and a database that is not the demo's."""
    found = {
        "days = 0": _outcome(role, "CALL demo.cleanup(days => 0)"),
        "batch = 0": _outcome(role, "CALL demo.cleanup(batch => 0)"),
        "seed rows, deleted directly": _outcome(role, "DELETE FROM demo.products WHERE origin = 'seed'"),
        "kept rows, deleted directly": _outcome(role, "DELETE FROM demo.products WHERE origin = 'kept'"),
        "names of people": _outcome(role, "SELECT full_name FROM demo.users"),
        "texts of messages": _outcome(role, "SELECT body FROM demo.messages"),
        "a change of origin": _outcome(role, "UPDATE demo.products SET origin = 'generated'"),
    }
    with database.connect("demo_app") as app:
        found["the application as the caller"] = _outcome(app, "CALL demo.cleanup()")
    admin.execute("DELETE FROM demo.identity")
    found["a database that does not say it is the demo"] = _outcome(role, "CALL demo.cleanup()")
    admin.execute("INSERT INTO demo.identity (environment) VALUES ('demo')")
    return found


def _outcome(connection: "psycopg.Connection[Any]", statement: str) -> str:
    try:
        cursor = connection.execute(statement.encode())
    except psycopg.Error as error:
        if connection.broken:
            raise
        return error.sqlstate or type(error).__name__
    return "nothing" if cursor.rowcount == 0 else "accepted"


def _is_there(admin: "psycopg.Connection[Any]", event: str) -> bool:
    row = admin.execute("SELECT count(*) FROM demo.analytics_events WHERE id = %s", (event,)).fetchone()
    return row is not None and row[0] == 1


def _total(admin: "psycopg.Connection[Any]") -> int:
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("demo", table)) for table in TABLES
    )
    return sum(int(row[0]) for row in admin.execute(query).fetchall())


def _joined(found: Mapping[str, str]) -> str:
    return " ".join(f"{table}:{digest}" for table, digest in found.items())
