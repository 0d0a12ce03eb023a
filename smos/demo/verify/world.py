"""Two tenants with invented users, planted beside the seed so that there is somebody whose data could leak.

Ids are fixed: statements name them literally. Everything has origin `visitor`; `remove` takes it all out again.
"""

from typing import Any

import psycopg

from smos.demo.chile import rut

A, B = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000001"
A1, A2, B1 = (
    "aaaaaaaa-0000-4000-8000-0000000000a1",
    "aaaaaaaa-0000-4000-8000-0000000000a2",
    "bbbbbbbb-0000-4000-8000-0000000000b1",
)
NOBODY = "cccccccc-0000-4000-8000-00000000000f"
"""An id that nothing has."""
USERS = ((A, A1, "ana"), (A, A2, "alonso"), (B, B1, "berta"))
PRODUCTS = (
    (A, "aaaaaaaa-0000-4000-8000-000000000201", "AAA-1"),
    (A, "aaaaaaaa-0000-4000-8000-000000000202", "AAA-2"),
    (B, "bbbbbbbb-0000-4000-8000-000000000201", "BBB-1"),
    (B, "bbbbbbbb-0000-4000-8000-000000000202", "BBB-2"),
)
ORDERS = {user: f"{user[:-3]}3{user[-2:]}" for _, user, _ in USERS}
TALKS = {user: f"{user[:-3]}4{user[-2:]}" for _, user, _ in USERS}
EVENTS = {user: f"{user[:-3]}5{user[-2:]}" for _, user, _ in USERS}
PRODUCT_OF = {A: PRODUCTS[0][1], B: PRODUCTS[2][1]}
OWN = {
    "tenants": 1,
    "users": 1,
    "products": 2,
    "orders": 1,
    "order_lines": 2,
    "conversations": 1,
    "messages": 2,
    "analytics_events": 1,
}
"""How many rows of each table a planted user may see."""
OF_TENANT_A = {
    "tenants": 1,
    "users": 2,
    "products": 2,
    "orders": 2,
    "order_lines": 4,
    "conversations": 2,
    "messages": 4,
    "analytics_events": 2,
}


def plant(connection: "psycopg.Connection[Any]") -> None:
    """Plant both tenants, as a superuser. Raises psycopg.Error."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO demo.tenants (id, name, rut, region) VALUES (%s, %s, %s, 'Biobío')",
            [(A, "Almacén Águila", rut(76000001)), (B, "Bazar Ñandú", rut(76000002))],
        )
        cursor.executemany(
            "INSERT INTO demo.users (tenant_id, id, email, full_name, rut, phone, comuna)"
            " VALUES (%s, %s, %s, %s, %s, '+56900000000', 'Chillán')",
            [
                (tenant, user, f"{name}@prueba.ejemplo.cl", name.title(), rut(10_000_000 + place))
                for place, (tenant, user, name) in enumerate(USERS)
            ],
        )
        cursor.executemany(
            "INSERT INTO demo.products (tenant_id, id, sku, name, category, price, stock)"
            " VALUES (%s, %s, %s, 'Artículo de prueba', 'Hogar', 1990, 3)",
            PRODUCTS,
        )
        for tenant, user, _ in USERS:
            cursor.execute(
                "INSERT INTO demo.orders (tenant_id, user_id, id, number, address, comuna)"
                " VALUES (%s, %s, %s, 'PRUEBA-1', 'Calle 1', 'Chillán')",
                (tenant, user, ORDERS[user]),
            )
            cursor.executemany(
                "INSERT INTO demo.order_lines (tenant_id, user_id, order_id, line, product_id, quantity, unit_price)"
                " VALUES (%s, %s, %s, %s, %s, 1, 1990)",
                [(tenant, user, ORDERS[user], line, PRODUCT_OF[tenant]) for line in (1, 2)],
            )
            cursor.execute(
                "INSERT INTO demo.conversations (tenant_id, user_id, id, channel, subject)"
                " VALUES (%s, %s, %s, 'web', 'Prueba')",
                (tenant, user, TALKS[user]),
            )
            cursor.executemany(
                "INSERT INTO demo.messages (tenant_id, user_id, conversation_id, position, author, body)"
                " VALUES (%s, %s, %s, %s, 'cliente', 'Hola')",
                [(tenant, user, TALKS[user], place) for place in (1, 2)],
            )
            cursor.execute(
                "INSERT INTO demo.analytics_events (tenant_id, user_id, id, kind) VALUES (%s, %s, %s, 'visita')",
                (tenant, user, EVENTS[user]),
            )


def remove(connection: "psycopg.Connection[Any]") -> None:
    """Take both tenants out again, as a superuser; nothing happens where they are not."""
    with connection.transaction():
        for table in (
            "messages",
            "order_lines",
            "analytics_events",
            "conversations",
            "orders",
            "products",
            "users",
        ):
            connection.execute(
                psycopg.sql.SQL("DELETE FROM {} WHERE tenant_id IN (%s, %s)").format(
                    psycopg.sql.Identifier("demo", table)
                ),
                (A, B),
            )
        connection.execute("DELETE FROM demo.tenants WHERE id IN (%s, %s)", (A, B))
