"""F220 to F229: a seed that is not what it should be, or that does not stay so when it runs again."""

# A fault's docstring says what is broken, and its SQL keeps its lines.
# ruff: noqa: D401

from smos.demo.verify.world import plant
from smos.faults.demo.workspace import DemoWorkspace
from smos.faults.registry import caught, fault


@fault(
    "F220", "A product is missing from the seed", "seed", caught("DEMO-01", "seed-count", "products", "14")
)
def product_missing(work: DemoWorkspace) -> None:
    """One of the fifteen."""
    work.sql("DELETE FROM demo.products WHERE sku = 'MOD-001'")


@fault("F220a", "The seed has a user too many", "seed", caught("DEMO-01", "seed-users", "2"))
def user_too_many(work: DemoWorkspace) -> None:
    """The seed holds exactly demo@smarterbot.cl."""
    work.sql(
        "INSERT INTO demo.users (tenant_id, email, full_name, rut, phone, comuna, origin)"
        " SELECT tenant_id, 'otro@smarterbot.cl', full_name, rut, phone, comuna, 'seed' FROM demo.users"
    )


@fault("F220b", "Right after seeding there are rows that are not the seed's", "seed",
       caught("DEMO-01", "seed-not-alone", "orders"))  # fmt: skip
def not_alone(work: DemoWorkspace) -> None:
    """Somebody's tests were left behind."""
    with work.database.connect() as admin:
        plant(admin)


@fault("F221", "A category is misspelt", "seed", caught("DEMO-01", "category-unknown", "Electronica"))
def category_misspelt(work: DemoWorkspace) -> None:
    """Without its accent."""
    work.sql("ALTER TYPE demo.category RENAME VALUE 'Electrónica' TO 'Electronica'")


@fault("F221a", "A category has no product", "seed", caught("DEMO-01", "category-missing", "Gaming"))
def category_empty(work: DemoWorkspace) -> None:
    """Fifteen products in four categories."""
    work.sql("UPDATE demo.products SET category = 'Hogar' WHERE category = 'Gaming'")


@fault("F222", "Texts were read in the wrong encoding", "seed", caught("DEMO-01", "text-mojibake", "Ã"))
def mojibake(work: DemoWorkspace) -> None:
    """UTF-8 that was loaded as Latin-1."""
    work.sql(
        "UPDATE demo.products SET name = convert_from(convert_to(name, 'UTF8'), 'LATIN1') WHERE sku = 'MOD-002'"
    )


@fault("F222a", "Accents were lost", "seed", caught("DEMO-01", "seed-differs", "products"))
def accents_lost(work: DemoWorkspace) -> None:
    """An ASCII export of the seed."""
    work.sql("UPDATE demo.products SET name = 'Zapatillas urbanas Nunoa' WHERE sku = 'MOD-002'")


@fault("F223", "A RUT has a wrong check digit", "seed", caught("DEMO-01", "rut-invalid", "15678432-1"))
def rut_wrong(work: DemoWorkspace) -> None:
    """In a database whose domain does not check it any more."""
    work.sql(
        "ALTER DOMAIN demo.rut DROP CONSTRAINT rut_check",
        "UPDATE demo.users SET rut = '15678432-1' WHERE origin = 'seed'",
    )


@fault("F224", "Prices have decimals", "seed", caught("DEMO-01", "price-not-clp", "ELE-001"))
def decimals(work: DemoWorkspace) -> None:
    """As dollars have, and pesos have not."""
    work.sql(
        "ALTER TABLE demo.products ALTER COLUMN price TYPE numeric(14, 2)",
        "UPDATE demo.products SET price = 39990.50 WHERE sku = 'ELE-001'",
    )


@fault(
    "F224a", "Prices are kept in a type with decimals", "schema", caught("DEMO-01", "price-type", "numeric")
)
def decimals_possible(work: DemoWorkspace) -> None:
    """Whole so far."""
    work.sql("ALTER TABLE demo.products ALTER COLUMN price TYPE numeric(14, 2)")


@fault(
    "F225",
    "Two orders are in the same state",
    "seed",
    caught("DEMO-01", "order-states", "pendiente, pendiente"),
)
def states_equal(work: DemoWorkspace) -> None:
    """Three orders in two states."""
    work.sql("UPDATE demo.orders SET state = 'pendiente' WHERE number = 'PED-0003'")


@fault(
    "F225a",
    "An order line has another price than its product",
    "seed",
    caught("DEMO-01", "order-total-wrong"),
)
def total_wrong(work: DemoWorkspace) -> None:
    """The order's total is wrong then."""
    work.sql("UPDATE demo.order_lines SET unit_price = unit_price + 10 WHERE line = 2")


@fault("F226", "A second run adds rows", "seed", caught("DEMO-02", "seed-not-idempotent", "analytics_events"))
def second_run_adds(work: DemoWorkspace) -> None:
    """A key that is made anew on every run."""
    work.edit_seed("'d3300000-0000-4000-8000-000000000506'", "gen_random_uuid()")


@fault("F226a", "A second run fails", "seed", caught("DEMO-02", "seed-failed", "23505"))
def second_run_fails(work: DemoWorkspace) -> None:
    """A plain INSERT."""
    start = work.seed.index("ON CONFLICT", work.seed.index("demo.messages"))
    work.edit_seed(work.seed[start : work.seed.index(";", start)], "")


@fault("F226b", "A second run rewrites everything", "seed", caught("DEMO-02", "seed-rewrites", "products"))
def second_run_rewrites(work: DemoWorkspace) -> None:
    """Every run writes every row, which locks it, bloats the table and fills the log."""
    start = work.seed.index("WHERE (t.sku")
    work.edit_seed(work.seed[start : work.seed.index(";", start)], "")


@fault("F226c", "A second run repairs nothing", "seed", caught("DEMO-02", "seed-not-repaired", "products"))
def second_run_ignores(work: DemoWorkspace) -> None:
    """ON CONFLICT DO NOTHING leaves what somebody broke."""
    start = work.seed.index("DO UPDATE", work.seed.index("demo.products"))
    work.edit_seed(work.seed[start : work.seed.index(";", start)], "DO NOTHING")


@fault("F227", "The seed is dated by the clock", "seed", caught("DEMO-02", "seed-not-idempotent", "tenants"))
def dated_now(work: DemoWorkspace) -> None:
    """Every demo would be another one."""
    work.edit_seed("'seed', '2026-03-01 09:00:00-03')", "'seed', now())")


@fault("F228", "The database's time zone is another", "settings", caught("DEMO-01", "timezone", "UTC"))
def time_zone(work: DemoWorkspace) -> None:
    """Reports of the day begin at nine in the evening."""
    work.sql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'UTC'); END $$"
    )


@fault("F229", "A foreign key is missing", "schema", caught("DEMO-01", "constraint-missing", "order_lines"))
def foreign_key_missing(work: DemoWorkspace) -> None:
    """Lines may name products that are not there."""
    work.sql("ALTER TABLE demo.order_lines DROP CONSTRAINT order_lines_tenant_id_product_id_fkey")


@fault(
    "F229a",
    "A constraint was never validated",
    "schema",
    caught("DEMO-01", "constraint-missing", "orders_open"),
)
def not_validated(work: DemoWorkspace) -> None:
    """NOT VALID, and forgotten."""
    work.sql("ALTER TABLE demo.orders ADD CONSTRAINT orders_open CHECK (number <> '') NOT VALID")
