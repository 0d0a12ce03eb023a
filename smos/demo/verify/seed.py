"""Reads what the seed left, and runs it again: nothing may change, and what an operator broke must come back."""

# Statements are put together from constants of ours, never from what a database holds; SQL keeps its lines.
# ruff: noqa: S608, E501

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from smos.demo.schema import TABLES, load_schema, load_seed
from smos.demo.stack import DemoDatabase, DemoStack
from smos.demo.verify import world
from smos.demo.verify.facts import ProductFacts, ReseedFacts, SeedFacts

SEEDER = "demo_seeder"
FIXED = (
    "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET row_security = off; SET client_encoding = 'UTF8'"
)
_TEXTS = {
    "tenants": "name || ' ' || region",
    "users": "full_name || ' ' || comuna",
    "products": "name || ' ' || category::text",
    "orders": "address || ' ' || comuna",
    "conversations": "subject",
    "messages": "body",
}
_CONSTRAINTS = {
    ("products", "f"): 1,
    ("products", "u"): 1,
    ("users", "f"): 1,
    ("users", "u"): 1,
    ("orders", "f"): 1,
    ("orders", "u"): 1,
    ("order_lines", "f"): 2,
    ("conversations", "f"): 1,
    ("messages", "f"): 1,
    ("analytics_events", "f"): 1,
}
"""How many constraints of a kind (f: foreign key, u: unique) a table has at least; every table has a primary key."""


def digests(connection: "psycopg.Connection[Any]", where: str = "origin = 'seed'") -> dict[str, str]:
    """Return SHA-256 of each table's rows, in the order of their text. where: which rows (a constant of ours)."""
    found = {}
    for table in TABLES:
        query = sql.SQL(
            "SELECT encode(sha256(convert_to(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"), ''),"
            " 'UTF8')), 'hex') FROM {} AS t WHERE {}"
        ).format(sql.Identifier("demo", table), sql.SQL(where))
        found[table] = str(_one(connection, query)[0])
    return found


def versions(connection: "psycopg.Connection[Any]") -> dict[str, str]:
    """Return a digest of where each seed row physically is and which transaction wrote it: it changes with a write."""
    return {
        table: str(
            _one(
                connection,
                sql.SQL(
                    "SELECT md5(coalesce(string_agg(ctid::text || xmin::text, ',' ORDER BY ctid), '')) FROM {}"
                    " WHERE origin = 'seed'"
                ).format(sql.Identifier("demo", table)),
            )[0]
        )
        for table in TABLES
    }


def read_seed(database: DemoDatabase) -> SeedFacts:
    """Read everything that the specification says of the seed, as a superuser."""
    with database.connect() as connection:
        zone = str(_one(connection, "SHOW timezone")[0])  # the database's own, before anything is fixed
        offsets = _one(
            connection,
            "SELECT (extract(timezone FROM timestamptz '2026-01-15 12:00Z') / 3600)::int,"
            " (extract(timezone FROM timestamptz '2026-07-15 12:00Z') / 3600)::int",
        )
        connection.execute(FIXED)
        rows, others = _counts(connection)
        products = _all(
            connection,
            "SELECT sku, name, category::text, price::text FROM demo.products WHERE origin = 'seed' ORDER BY sku",
        )
        return SeedFacts(
            rows=rows,
            other_rows=others,
            digests=digests(connection),
            products=tuple(ProductFacts(sku=a, name=b, category=c, price=d) for a, b, c, d in products),
            order_states=_column(
                connection, "SELECT state::text FROM demo.orders WHERE origin = 'seed' ORDER BY 1"
            ),
            emails=_column(connection, "SELECT email FROM demo.users WHERE origin = 'seed' ORDER BY 1"),
            ruts=_column(
                connection,
                "SELECT rut::text FROM demo.tenants WHERE origin = 'seed'"
                " UNION ALL SELECT rut::text FROM demo.users WHERE origin = 'seed' ORDER BY 1",
            ),
            texts=tuple(
                text
                for table, expression in _TEXTS.items()
                for text in _column(
                    connection, f"SELECT {expression} FROM demo.{table} WHERE origin = 'seed' ORDER BY 1"
                )
            ),
            price_type=str(
                _one(
                    connection,
                    "SELECT data_type FROM information_schema.columns WHERE (table_schema, table_name, column_name)"
                    " = ('demo', 'products', 'price')",
                )[0]
            ),
            encoding=str(_one(connection, "SHOW server_encoding")[0]),
            timezone=zone,
            local_offsets=(int(offsets[0]), int(offsets[1])),
            unvalidated_constraints=_column(
                connection,
                "SELECT conrelid::regclass || '.' || conname FROM pg_constraint"
                " WHERE connamespace = to_regnamespace('demo') AND NOT convalidated ORDER BY 1",
            ),
            missing_constraints=_missing(connection),
            lines_apart_from_price=int(
                _one(
                    connection,
                    "SELECT count(*) FROM demo.order_lines AS l JOIN demo.products AS p"
                    " ON (p.tenant_id, p.id) = (l.tenant_id, l.product_id)"
                    " WHERE l.origin = 'seed' AND (l.unit_price <> p.price OR l.total <> l.quantity * l.unit_price)",
                )[0]
            ),
        )


def seed_again(stack: DemoStack, database: DemoDatabase, text: str | None = None) -> ReseedFacts:
    """Run the seed a second time beside a visitor's rows, break the seed, run it again; seed an empty database.

    text: the seed to run (default: the shipped one).
    """
    error = ""
    with database.connect() as admin:
        world.plant(admin)
        admin.execute(FIXED)
        before, versions_before, visitors = (
            digests(admin),
            versions(admin),
            digests(admin, "origin <> 'seed'"),
        )
        error = _seed(database, text)
        after, versions_after = digests(admin), versions(admin)
        visitors_after = digests(admin, "origin <> 'seed'")
        admin.execute(
            "UPDATE demo.products SET price = price + 1, name = 'Roto' WHERE origin = 'seed' AND sku = 'HOG-001';"
            "DELETE FROM demo.messages WHERE origin = 'seed' AND position = 2;"
            "DELETE FROM demo.order_lines WHERE origin = 'seed';"
            "DELETE FROM demo.orders WHERE origin = 'seed' AND number = 'PED-0002';"
            "DELETE FROM demo.analytics_events WHERE origin = 'seed'"
        )
        error = error or _seed(database, text)
        repaired = digests(admin)
    with stack.empty() as fresh:
        with fresh.connect() as connection:
            load_schema(connection)
        error = error or _seed(fresh, text)
        with fresh.connect() as connection:
            connection.execute(FIXED)
            anew = digests(connection)
    return ReseedFacts(
        before=before,
        after=after,
        versions_before=versions_before,
        versions_after=versions_after,
        repaired=repaired,
        fresh=anew,
        visitors_before=_joined(visitors),
        visitors_after=_joined(visitors_after),
        error=error,
    )


def _seed(database: DemoDatabase, text: str | None) -> str:
    """Run the seed as the seeder does; return the SQLSTATE of what went wrong."""
    try:
        with database.connect(SEEDER) as connection:
            load_seed(connection, text)
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    return ""


def _counts(connection: "psycopg.Connection[Any]") -> tuple[dict[str, int], dict[str, int]]:
    rows, others = {}, {}
    for table in TABLES:
        query = sql.SQL(
            "SELECT count(*) FILTER (WHERE origin = 'seed'), count(*) FILTER (WHERE origin <> 'seed') FROM {}"
        ).format(sql.Identifier("demo", table))
        seeded, other = _one(connection, query)
        rows[table], others[table] = int(seeded), int(other)
    return rows, others


def _missing(connection: "psycopg.Connection[Any]") -> tuple[str, ...]:
    found = {
        (str(table), str(kind)): int(number)
        for table, kind, number in _all(
            connection,
            "SELECT c.relname, o.contype::text, count(*) FROM pg_constraint AS o JOIN pg_class AS c ON c.oid = o.conrelid"
            " WHERE o.connamespace = to_regnamespace('demo') GROUP BY 1, 2",
        )
    }
    wanted = {**_CONSTRAINTS, **{(table, "p"): 1 for table in TABLES}}
    words = {"f": "foreign key", "u": "unique constraint", "p": "primary key"}
    return tuple(
        f"{table}: {words[kind]}"
        for (table, kind), number in wanted.items()
        if found.get((table, kind), 0) < number
    )


def _joined(found: Mapping[str, str]) -> str:
    return " ".join(f"{table}:{digest}" for table, digest in found.items())


def _one(connection: "psycopg.Connection[Any]", query: "str | sql.Composed") -> tuple[Any, ...]:
    found = _all(connection, query)
    return found[0] if found else ("",)


def _all(connection: "psycopg.Connection[Any]", query: "str | sql.Composed") -> list[tuple[Any, ...]]:
    return connection.execute(query.encode() if isinstance(query, str) else query).fetchall()


def _column(connection: "psycopg.Connection[Any]", query: str) -> tuple[str, ...]:
    return tuple(str(row[0]) for row in _all(connection, query))
