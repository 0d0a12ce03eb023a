"""What a role may see and do in the demo, claim by claim: data, run by verify/rls.py and judged by comparison.

Every claim that something is hidden has a positive control beside it (own rows are there), for a table that shows
nobody anything would pass otherwise. Counts are asked for and asserted: a policy refuses a DELETE by deleting nothing.
"""

# Statements are put together from constants of ours, never from what a database holds; SQL keeps its lines.
# ruff: noqa: S608

from collections.abc import Iterator
from dataclasses import dataclass

from smos.demo.verify.world import (
    A1,
    A2,
    B1,
    NOBODY,
    ORDERS,
    OWN,
    PRODUCT_OF,
    TALKS,
    A,
    B,
)

REFUSED = ("42501",)
"""insufficient_privilege: no right, or a new row violates row security."""
USER_TABLES = ("orders", "order_lines", "conversations", "messages", "analytics_events")
"""What is a user's own."""
UPDATES = {
    "users": "full_name = 'x'",
    "products": "price = 1",
    "orders": "comuna = 'x'",
    "order_lines": "quantity = 9",
    "conversations": "subject = 'x'",
    "messages": "body = 'x'",
    "analytics_events": "properties = '{}'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement and what may come of it: the first value of its answer, its row count, or an SQLSTATE.

    context: (tenant, user) that is entered before; None: nobody. other: a second statement whose answer (and
    message) must be the same, so that nobody learns a difference. before: statements that run first.
    """

    code: str
    what: str
    statement: str
    allowed: tuple[str, ...]
    context: tuple[str, str] | None = (A, A1)
    other: str = ""
    before: tuple[str, ...] = ()


def insert(table: str, tenant: str, user: str, suffix: str = "") -> str:
    """Return an INSERT of a row of that tenant and user; its own keys are new, its references exist."""
    order, talk, product = ORDERS.get(user, NOBODY), TALKS.get(user, NOBODY), PRODUCT_OF.get(tenant, NOBODY)
    texts = {
        "tenants": "(id, name, rut, region, origin) VALUES (gen_random_uuid(), 'X', '76000003-5', 'X', 'visitor')",
        "users": "(tenant_id, email, full_name, rut, phone, comuna)"
        f" VALUES ('{tenant}', 'x@x.cl', 'X', '10000009-1', '+56900000000', 'X')",
        "products": "(tenant_id, sku, name, category, price, stock)"
        f" VALUES ('{tenant}', 'NEW-1', 'X', 'Hogar', 1, 1)",
        "orders": "(tenant_id, user_id, number, address, comuna)"
        f" VALUES ('{tenant}', '{user}', 'NEW-1', 'X', 'X')",
        "order_lines": "(tenant_id, user_id, order_id, line, product_id, quantity, unit_price)"
        f" VALUES ('{tenant}', '{user}', '{order}', 9, '{product}', 1, 1)",
        "conversations": f"(tenant_id, user_id, channel, subject) VALUES ('{tenant}', '{user}', 'web', 'X')",
        "messages": "(tenant_id, user_id, conversation_id, position, author, body)"
        f" VALUES ('{tenant}', '{user}', '{talk}', 9, 'bot', 'X')",
        "analytics_events": f"(tenant_id, user_id, kind) VALUES ('{tenant}', '{user}', 'visita')",
    }
    return f"INSERT INTO demo.{table} {texts[table]}{suffix}"


def of_tenants() -> Iterator[Claim]:
    """Yield what holds between tenants, for a role that speaks for user a1 of tenant A."""
    for table, own in OWN.items():
        key = "id" if table == "tenants" else "tenant_id"
        yield Claim(
            code="own-rows-hidden",
            what=f"a user sees the own rows of {table}",
            statement=f"SELECT count(*) FROM demo.{table} WHERE {key} = '{A}'",
            allowed=(str(own),),
        )
        yield Claim(
            code="tenant-read-crossed",
            what=f"a user sees no row of another tenant in {table}",
            statement=f"SELECT count(*) FROM demo.{table} WHERE {key} <> '{A}'",
            allowed=("0",),
        )
        yield Claim(
            code="tenant-read-crossed",
            what=f"COPY TO gives no row of another tenant of {table}",
            statement=f"COPY (SELECT {key} FROM demo.{table} WHERE {key} <> '{A}') TO STDOUT",
            allowed=("0",),
        )
        yield Claim(
            code="row-security-evaded",
            what=f"row_security = off shows nothing of {table}, but an error",
            statement=f"SELECT count(*) FROM demo.{table}",
            before=("SET LOCAL row_security = off",),
            allowed=REFUSED,
        )
        yield Claim(
            code="truncate-granted",
            what=f"{table} can't be emptied",
            statement=f"TRUNCATE demo.{table} CASCADE",
            allowed=REFUSED,
        )
        yield Claim(
            code="tenant-write-crossed",
            what=f"no row of another tenant can be inserted into {table}",
            statement=insert(table, B, B1),
            allowed=REFUSED,
        )
        yield Claim(
            code="tenant-write-crossed",
            what=f"INSERT … RETURNING gives nothing of another tenant in {table}",
            statement=insert(table, B, B1, f" RETURNING {key}"),
            allowed=REFUSED,
        )
        yield Claim(
            code="tenant-write-crossed",
            what=f"a row of {table} can't be moved to another tenant",
            statement=f"UPDATE demo.{table} SET {key} = '{B}' WHERE {key} = '{A}'",
            allowed=REFUSED,
        )
        if table == "tenants":
            continue
        yield Claim(
            code="tenant-write-crossed",
            what=f"no row of another tenant can be changed in {table}",
            statement=f"UPDATE demo.{table} SET {UPDATES[table]} WHERE tenant_id <> '{A}'",
            allowed=("0",),
        )
        yield Claim(
            code="tenant-write-crossed",
            what=f"UPDATE … RETURNING gives nothing of another tenant in {table}",
            statement=f"UPDATE demo.{table} SET {UPDATES[table]} WHERE tenant_id <> '{A}' RETURNING tenant_id",
            allowed=("0",),
        )
        yield Claim(
            code="tenant-write-crossed",
            what=f"no row of another tenant can be deleted from {table}",
            statement=f"DELETE FROM demo.{table} WHERE tenant_id <> '{A}'",
            allowed=("0", *(REFUSED if table == "users" else ())),
        )
        for lock in ("UPDATE", "SHARE"):
            yield Claim(
                code="tenant-read-crossed",
                what=f"FOR {lock} locks no row of another tenant in {table}",
                statement=f"SELECT count(*) FROM (SELECT 1 FROM demo.{table} WHERE tenant_id <> '{A}' FOR {lock}) AS s",
                allowed=("0",),
            )
    yield from _statements()


def _statements() -> Iterator[Claim]:
    theirs = PRODUCT_OF[B]
    yield Claim(
        code="tenant-write-crossed",
        what="MERGE changes no row of another tenant",
        statement=f"MERGE INTO demo.products AS p USING (VALUES ('{theirs}'::uuid)) AS v(id) ON p.id = v.id"
        " WHEN MATCHED THEN UPDATE SET price = 1",
        allowed=("0",),
    )
    yield Claim(
        code="tenant-write-crossed",
        what="ON CONFLICT DO UPDATE reaches no row of another tenant",
        statement="INSERT INTO demo.products (tenant_id, sku, name, category, price, stock)"
        f" VALUES ('{B}', 'BBB-1', 'X', 'Hogar', 1, 1) ON CONFLICT (tenant_id, sku) DO UPDATE SET price = 1",
        allowed=REFUSED,
    )
    yield Claim(
        code="tenant-read-crossed",
        what="the view order_totals shows no other tenant",
        statement=f"SELECT count(*) FROM demo.order_totals WHERE tenant_id <> '{A}'",
        allowed=("0",),
    )
    yield Claim(
        code="own-rows-hidden",
        what="the view order_totals shows the own orders",
        statement=f"SELECT count(*) FROM demo.order_totals WHERE tenant_id = '{A}' AND total = 3980",
        allowed=("1",),
    )
    for table in ("products", *USER_TABLES):
        yield Claim(
            code="own-rows-hidden",
            what=f"a user can add a row of the own to {table}",
            statement=insert(table, A, A1),
            allowed=("1",),
        )
        yield Claim(
            code="seed-writable",
            what=f"nobody but the seeder can add seed rows to {table}",
            statement=insert(table, A, A1).replace(") VALUES (", ", origin) VALUES (").removesuffix(")")
            + ", 'seed')",
            allowed=REFUSED,
        )


def of_users() -> Iterator[Claim]:
    """Yield what holds between two users of one tenant."""
    for table in ("users", *USER_TABLES):
        key = "id" if table == "users" else "user_id"
        yield Claim(
            code="user-read-crossed",
            what=f"a user sees no row of another user in {table}",
            statement=f"SELECT count(*) FROM demo.{table} WHERE tenant_id = '{A}' AND {key} <> '{A1}'",
            allowed=("0",),
        )
        yield Claim(
            code="own-rows-hidden",
            what=f"the other user sees the own rows of {table}",
            statement=f"SELECT count(*) FROM demo.{table} WHERE {key} = '{A2}'",
            allowed=(str(OWN[table]),),
            context=(A, A2),
        )
        yield Claim(
            code="user-write-crossed",
            what=f"no row of another user can be changed in {table}",
            statement=f"UPDATE demo.{table} SET {UPDATES[table]} WHERE {key} <> '{A1}'",
            allowed=("0",),
        )
        yield Claim(
            code="user-write-crossed",
            what=f"no row of another user can be deleted from {table}",
            statement=f"DELETE FROM demo.{table} WHERE {key} <> '{A1}'",
            allowed=("0", *(REFUSED if table == "users" else ())),
        )
        if table != "users":
            yield Claim(
                code="user-write-crossed",
                what=f"no row can be added in another user's name to {table}",
                statement=insert(table, A, A2),
                allowed=REFUSED,
            )
            yield Claim(
                code="user-write-crossed",
                what=f"a row of {table} can't be given to another user",
                statement=f"UPDATE demo.{table} SET user_id = '{A2}' WHERE user_id = '{A1}'",
                allowed=REFUSED,
            )
    yield Claim(
        code="user-read-crossed",
        what="the view order_totals shows no other user",
        statement=f"SELECT count(*) FROM demo.order_totals WHERE user_id <> '{A1}'",
        allowed=("0",),
    )
    yield Claim(
        code="user-read-crossed",
        what="a user of another tenant sees nothing in this one",
        statement="SELECT (SELECT count(*) FROM demo.orders) + (SELECT count(*) FROM demo.users)",
        allowed=("0",),
        context=(A, B1),
    )


def of_oracles() -> Iterator[Claim]:
    """Yield what nobody may learn from an error or its absence. `same`: two answers that must not differ."""
    line = (
        "INSERT INTO demo.order_lines (tenant_id, user_id, order_id, line, product_id, quantity, unit_price)"
        f" VALUES ('{A}', '{A1}', '{{order}}', 9, '{{product}}', 1, 1)"
    )
    product = (
        "INSERT INTO demo.products (tenant_id, id, sku, name, category, price, stock)"
        f" VALUES ('{A}', '{{id}}', '{{sku}}', 'X', 'Hogar', 1, 1)"
    )
    own, theirs, nothing = PRODUCT_OF[A], PRODUCT_OF[B], NOBODY
    yield Claim(
        code="foreign-key-oracle",
        what="a foreign key to another tenant's product is refused as one to nothing is",
        statement=line.format(order=ORDERS[A1], product=theirs),
        other=line.format(order=ORDERS[A1], product=nothing),
        allowed=("same 23503",),
    )
    for whose, order in (("another tenant's", ORDERS[B1]), ("another user's", ORDERS[A2])):
        yield Claim(
            code="foreign-key-oracle",
            what=f"a foreign key to {whose} order is refused as one to nothing is",
            statement=line.format(order=order, product=own),
            other=line.format(order=nothing, product=own),
            allowed=("same 23503",),
        )
    yield Claim(
        code="unique-oracle",
        what="an SKU that another tenant uses is free here",
        statement=product.format(id=nothing, sku="BBB-1"),
        other=product.format(id=nothing, sku="FREE-1"),
        allowed=("same 1",),
    )
    yield Claim(
        code="unique-oracle",
        what="ON CONFLICT DO NOTHING tells nothing of another tenant's SKU",
        statement=product.format(id=nothing, sku="BBB-1") + " ON CONFLICT DO NOTHING",
        other=product.format(id=nothing, sku="FREE-1") + " ON CONFLICT DO NOTHING",
        allowed=("same 1",),
    )
    yield Claim(
        code="unique-oracle",
        what="the id of another tenant's product is free here",
        statement=product.format(id=theirs, sku="FREE-1"),
        other=product.format(id=nothing, sku="FREE-1"),
        allowed=("same 1",),
    )
    yield Claim(
        code="unique-oracle",
        what="the number of another user's order is free",
        statement="INSERT INTO demo.orders (tenant_id, user_id, id, number, address, comuna)"
        f" VALUES ('{A}', '{A1}', '{ORDERS[A2]}', 'OTRO-1', 'X', 'X')",
        other="INSERT INTO demo.orders (tenant_id, user_id, id, number, address, comuna)"
        f" VALUES ('{A}', '{A1}', '{NOBODY}', 'OTRO-1', 'X', 'X')",
        allowed=("same 1",),
    )
    yield Claim(
        code="error-oracle",
        what="an expression that fails on another tenant's rows is never evaluated on them",
        statement=f"SELECT count(*) FROM demo.products WHERE 1 / (CASE WHEN tenant_id = '{A}' THEN 1 ELSE 0 END) = 1",
        allowed=(str(OWN["products"]),),
    )
    yield Claim(
        code="error-oracle",
        what="no cheap function can be made that sees rows before the policy does",
        statement="CREATE FUNCTION pg_temp.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001"
        " AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN true; END'",
        allowed=REFUSED,
    )
    for table in OWN:
        yield Claim(
            code="statistics-oracle",
            what=f"the planner's statistics of {table} (sample values of every tenant) are hidden",
            statement=f"SELECT count(*) FROM pg_stats WHERE schemaname = 'demo' AND tablename = '{table}'",
            allowed=("0",),
        )
    yield Claim(
        code="large-object-shared",
        what="no large object, which knows no tenant, can be made",
        statement="SELECT lo_create(0)",
        allowed=REFUSED,
    )


def of_context() -> Iterator[Claim]:
    """Yield what holds without a context, and with one that is empty or nonsense."""
    for table in OWN:
        yield Claim(
            code="open-without-context",
            what=f"nobody sees nothing in {table}",
            statement=f"SELECT count(*) FROM demo.{table}",
            allowed=("0",),
            context=None,
        )
