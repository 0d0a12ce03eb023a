"""The SQL of the demo (compose/demo), and loading it: idempotent, as a superuser of the demo's own server."""

from typing import TYPE_CHECKING, Any

from smos.paths import compose_dir

if TYPE_CHECKING:
    import psycopg

SCHEMA_FILES = ("init", "supabase", "database", "cleanup")
"""In this order: roles and tables, the Supabase-style variant, what is the database's own, the clean-up."""
LOGINS = ("demo_app", "demo_readonly", "demo_maintenance", "demo_seeder", "demo_authenticator")
"""The roles that log in. None is a superuser, bypasses row security, owns anything, or is member of the owner."""
TABLES = (
    "tenants",
    "users",
    "products",
    "orders",
    "order_lines",
    "conversations",
    "messages",
    "analytics_events",
)
"""The tables that hold data, parents first."""


def text_of(name: str) -> str:
    """Return the SQL in compose/demo/<name>.sql."""
    return (compose_dir() / "demo" / f"{name}.sql").read_text(encoding="utf-8")


def load_schema(connection: "psycopg.Connection[Any]") -> None:
    """Load everything but the seed into the database of an autocommit superuser connection.

    Changes nothing when it is loaded again. Raises psycopg.Error.
    """
    for name in SCHEMA_FILES:
        connection.execute(text_of(name).encode())


def load_seed(connection: "psycopg.Connection[Any]", text: str | None = None) -> None:
    """Load the base seed (as demo_seeder or a superuser, autocommit). text: another seed than the shipped one."""
    connection.execute((text_of("seed") if text is None else text).encode())
