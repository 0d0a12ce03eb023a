"""F200 to F219: row security broken in every way of the catalogue's section C, on the demo's own schema."""

# A fault's docstring says what is broken, and its SQL keeps its lines.
# ruff: noqa: D401, E501

from smos.faults.demo.workspace import DemoWorkspace
from smos.faults.registry import caught, fault


@fault("F200", "Row security is switched off", "row security",
       caught("DEMO-07", "tenant-read-crossed", "orders"), caught("DEMO-08", "user-read-crossed", "orders"),
       caught("DEMO-11", "tenant-read-crossed", "orders"), caught("DEMO-12", "row-security-off", "demo.orders"),
       caught("DEMO-13", "rls-off", "demo.orders"))  # fmt: skip
def row_security_off(work: DemoWorkspace) -> None:
    """On one table, as after a restore without policies."""
    work.sql("ALTER TABLE demo.orders DISABLE ROW LEVEL SECURITY")


@fault("F200a", "Row security is off: the planner's samples can be read", "row security",
       caught("DEMO-09", "statistics-oracle", "products"))  # fmt: skip
def statistics_open(work: DemoWorkspace) -> None:
    """pg_stats hides a table only while its row security is on."""
    work.sql("ALTER TABLE demo.products DISABLE ROW LEVEL SECURITY")


@fault(
    "F201",
    "Row security is not forced",
    "row security",
    caught("DEMO-12", "row-security-not-forced", "demo.users"),
)
def not_forced(work: DemoWorkspace) -> None:
    """The owner passes."""
    work.sql("ALTER TABLE demo.users NO FORCE ROW LEVEL SECURITY")


@fault("F201a", "The application owns a table that is not forced", "roles",
       caught("DEMO-07", "tenant-read-crossed", "messages"), caught("DEMO-12", "role-owns", "messages"))  # fmt: skip
def application_owns(work: DemoWorkspace) -> None:
    """Migrations that run as the application."""
    work.sql(
        "ALTER TABLE demo.messages OWNER TO demo_app",
        "ALTER TABLE demo.messages NO FORCE ROW LEVEL SECURITY",
    )


@fault("F202", "The application's role bypasses row security", "roles",
       caught("DEMO-07", "tenant-read-crossed"), caught("DEMO-10", "context-preset"),
       caught("DEMO-12", "role-elevated", "demo_app", "BYPASSRLS"),
       caught("DEMO-13", "cross-tenant-read", "demo_app"))  # fmt: skip
def bypass(work: DemoWorkspace) -> None:
    """BYPASSRLS."""
    work.roles("ALTER ROLE demo_app BYPASSRLS", "ALTER ROLE demo_app NOBYPASSRLS")


@fault("F202a", "The application's role is a superuser", "roles",
       caught("DEMO-07", "tenant-read-crossed"), caught("DEMO-12", "role-elevated", "demo_app", "SUPERUSER"),
       caught("DEMO-06", "way-out", "demo_app", "pg_read_file"))  # fmt: skip
def superuser(work: DemoWorkspace) -> None:
    """SUPERUSER."""
    work.roles("ALTER ROLE demo_app SUPERUSER", "ALTER ROLE demo_app NOSUPERUSER")


@fault("F203", "The application's role is member of the owner", "roles",
       caught("DEMO-12", "role-membership", "demo_app", "demo_owner"), caught("DEMO-06", "way-out", "become the owner"),
       caught("DEMO-13", "role-member-of-owner"))  # fmt: skip
def member_of_owner(work: DemoWorkspace) -> None:
    """It may become the owner and switch everything off."""
    work.roles("GRANT demo_owner TO demo_app", "REVOKE demo_owner FROM demo_app")


@fault("F204", "Row security without a policy: silent emptiness", "policies",
       caught("DEMO-07", "own-rows-hidden", "orders"), caught("DEMO-12", "policy-missing", "demo.orders"))  # fmt: skip
def no_policy(work: DemoWorkspace) -> None:
    """Nothing leaks, nothing works, and no statement fails."""
    work.sql("DROP POLICY app_reads ON demo.orders")


@fault("F205", "A policy with USING and an open WITH CHECK", "policies",
       caught("DEMO-07", "tenant-write-crossed", "products"),
       caught("DEMO-12", "policy-check-ignores-tenant", "demo.products"))  # fmt: skip
def open_check(work: DemoWorkspace) -> None:
    """Rows can be written into another tenant."""
    work.sql("ALTER POLICY app_adds ON demo.products WITH CHECK (true)")


@fault("F205a", "A policy whose WITH CHECK forgets the user", "policies",
       caught("DEMO-08", "user-write-crossed", "analytics_events"))  # fmt: skip
def check_without_user(work: DemoWorkspace) -> None:
    """Rows can be written in another user's name."""
    work.sql(
        "ALTER POLICY app_adds ON demo.analytics_events"
        " WITH CHECK (tenant_id = (SELECT demo.current_tenant()) AND origin = 'visitor')"
    )


@fault(
    "F205b",
    "A policy whose USING forgets the user",
    "policies",
    caught("DEMO-08", "user-read-crossed", "messages"),
)
def using_without_user(work: DemoWorkspace) -> None:
    """Everybody of the tenant reads everybody's messages."""
    work.sql("ALTER POLICY app_reads ON demo.messages USING (tenant_id = (SELECT demo.current_tenant()))")


@fault("F206", "Two permissive policies that add up to a leak", "policies",
       caught("DEMO-07", "tenant-read-crossed", "orders"),
       caught("DEMO-12", "policy-ignores-tenant", "demo.orders", "support_reads"),
       caught("DEMO-13", "cross-tenant-read", "demo.orders"))  # fmt: skip
def permissive_or(work: DemoWorkspace) -> None:
    """Permissive policies are joined by OR."""
    work.sql("CREATE POLICY support_reads ON demo.orders FOR SELECT TO demo_app USING (state = 'pendiente')")


@fault("F206a", "A policy that holds where no context is set", "policies",
       caught("DEMO-07", "open-without-context", "users"), caught("DEMO-12", "policy-open-if-null", "demo.users"),
       caught("DEMO-13", "leak-without-context", "demo.users"))  # fmt: skip
def open_if_null(work: DemoWorkspace) -> None:
    """'… OR current_setting IS NULL', so that jobs work."""
    work.sql(
        "CREATE POLICY jobs ON demo.users FOR SELECT TO demo_app"
        " USING (demo.current_tenant() IS NULL OR tenant_id = demo.current_tenant())"
    )


@fault("F206b", "A policy for every role", "policies", caught("DEMO-12", "policy-public", "demo.products"),
       caught("DEMO-11", "tenant-read-crossed", "products"))  # fmt: skip
def policy_for_public(work: DemoWorkspace) -> None:
    """Without TO, a policy is for PUBLIC."""
    work.sql("CREATE POLICY catalogue ON demo.products FOR SELECT USING (stock > 0)")


@fault("F207", "A SECURITY DEFINER function that PUBLIC may call", "functions",
       caught("DEMO-12", "definer-callable", "demo.all_orders"),
       caught("DEMO-13", "definer-function-leaks", "all_orders"))  # fmt: skip
def definer(work: DemoWorkspace) -> None:
    """It reads with its owner's rights."""
    work.sql(
        "CREATE FUNCTION demo.all_orders() RETURNS SETOF demo.orders LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT * FROM demo.orders'"
    )


@fault("F208", "A view that asks with its owner's rights", "views",
       caught("DEMO-07", "tenant-read-crossed", "order_totals"),
       caught("DEMO-12", "view-not-invoker", "demo.order_totals"),
       caught("DEMO-13", "view-leaks", "order_totals"))  # fmt: skip
def view_of_owner(work: DemoWorkspace) -> None:
    """Owned by a superuser, as migrations often leave it."""
    work.sql(
        "ALTER VIEW demo.order_totals SET (security_invoker = false)",
        "ALTER VIEW demo.order_totals OWNER TO postgres",
    )


@fault("F208a", "A materialized view that a role may read", "views",
       caught("DEMO-12", "materialized-view-readable", "demo.best_sellers"))  # fmt: skip
def materialized(work: DemoWorkspace) -> None:
    """Row security does not apply to it."""
    work.sql(
        "CREATE MATERIALIZED VIEW demo.best_sellers AS SELECT * FROM demo.order_lines",
        "GRANT SELECT ON demo.best_sellers TO demo_app",
    )


@fault("F209", "TRUNCATE is granted", "grants", caught("DEMO-07", "truncate-granted"),
       caught("DEMO-12", "grant-too-wide", "TRUNCATE", "demo.analytics_events"),
       caught("DEMO-13", "truncate-granted"))  # fmt: skip
def truncate(work: DemoWorkspace) -> None:
    """It empties every tenant's rows."""
    work.sql("GRANT TRUNCATE ON ALL TABLES IN SCHEMA demo TO demo_app")


@fault("F209a", "PUBLIC may read a table", "grants", caught("DEMO-12", "grant-too-wide", "PUBLIC", "demo.products"),
       caught("DEMO-11", "anonymous-reads", "demo_authenticator"))  # fmt: skip
def public_grant(work: DemoWorkspace) -> None:
    """A grant that is nobody's in particular, in a schema that is open to all."""
    work.sql(
        "GRANT USAGE ON SCHEMA demo TO PUBLIC",
        "GRANT SELECT ON demo.products TO PUBLIC",
    )


@fault(
    "F209b",
    "New tables are opened by default privileges",
    "grants",
    caught("DEMO-12", "default-privileges", "demo_app"),
)
def default_privileges(work: DemoWorkspace) -> None:
    """A new table has no policy yet, but everybody's rights."""
    work.sql("ALTER DEFAULT PRIVILEGES FOR ROLE demo_owner IN SCHEMA demo GRANT SELECT ON TABLES TO demo_app")


@fault("F209c", "A new table, a partition, without row security", "row security",
       caught("DEMO-12", "row-security-off", "demo.events_2026"))  # fmt: skip
def partition_open(work: DemoWorkspace) -> None:
    """Policies of a partitioned table don't hold for its partitions when these are asked directly."""
    work.sql(
        "CREATE TABLE demo.events (tenant_id uuid, at timestamptz) PARTITION BY RANGE (at)",
        "CREATE TABLE demo.events_2026 PARTITION OF demo.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "ALTER TABLE demo.events ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE demo.events FORCE ROW LEVEL SECURITY",
        "GRANT SELECT ON demo.events, demo.events_2026 TO demo_app",
    )


@fault("F209d", "The application may choose the origin of a row", "grants",
       caught("DEMO-12", "column-writable", "demo_app", "products.origin"))  # fmt: skip
def origin_writable(work: DemoWorkspace) -> None:
    """A visitor's row that calls itself kept would never be cleaned up."""
    work.sql("GRANT INSERT (origin), UPDATE (origin, created_at) ON demo.products TO demo_app")


@fault("F209e", "The application may choose the origin, and no policy minds", "grants",
       caught("DEMO-07", "seed-writable", "products"))  # fmt: skip
def seed_writable(work: DemoWorkspace) -> None:
    """Seed rows made by visitors."""
    work.sql(
        "GRANT INSERT (origin) ON demo.products TO demo_app",
        "ALTER POLICY app_adds ON demo.products WITH CHECK (tenant_id = (SELECT demo.current_tenant()))",
    )


@fault("F209f", "The reports' role may write", "grants", caught("DEMO-07", "readonly-writes", "orders"))
def reports_write(work: DemoWorkspace) -> None:
    """default_transaction_read_only is a wish that the role itself can take back."""
    work.sql("GRANT DELETE ON demo.orders TO demo_readonly")


@fault("F210", "The context is set for the session, not for the transaction", "context",
       caught("DEMO-10", "context-leftover", "COMMIT"),
       caught("DEMO-13", "context-session-wide", "demo.enter"))  # fmt: skip
def session_context(work: DemoWorkspace) -> None:
    """set_config(…, false) under a pool: the next client speaks for the last one."""
    work.sql(
        "CREATE OR REPLACE FUNCTION demo.enter(tenant uuid, user_id uuid) RETURNS void LANGUAGE sql AS"
        " $$ SELECT set_config('app.tenant_id', tenant::text, false), set_config('app.user_id', user_id::text, false) $$"
    )


@fault("F210a", "A role starts with somebody's context", "context",
       caught("DEMO-10", "context-preset"), caught("DEMO-12", "context-preset", "demo_app", "app.tenant_id"))  # fmt: skip
def preset(work: DemoWorkspace) -> None:
    """ALTER ROLE … SET, so that a job works."""
    work.roles(
        "ALTER ROLE demo_app SET app.tenant_id = 'd3300000-0000-4000-8000-000000000001'",
        "ALTER ROLE demo_app RESET app.tenant_id",
    )


@fault("F210b", "The context function is IMMUTABLE", "context", caught("DEMO-10", "context-cached"),
       caught("DEMO-12", "context-not-stable", "demo.current_tenant"),
       caught("DEMO-13", "context-immutable", "current_tenant"))  # fmt: skip
def immutable(work: DemoWorkspace) -> None:
    """A prepared plan keeps the first tenant for ever."""
    work.sql(
        "ALTER FUNCTION demo.current_tenant() IMMUTABLE",
        "ALTER POLICY app_reads ON demo.products USING (tenant_id = demo.current_tenant())",
    )


@fault("F210c", "The empty context is an error", "context", caught("DEMO-10", "context-leftover", "22P02"))
def empty_context(work: DemoWorkspace) -> None:
    """After a SET LOCAL the setting is '', and ''::uuid fails: every later request of that session breaks."""
    work.sql(
        "CREATE OR REPLACE FUNCTION demo.current_tenant() RETURNS uuid LANGUAGE sql STABLE"
        " AS $$ SELECT current_setting('app.tenant_id', true)::uuid $$"
    )


@fault("F211", "SKUs are unique over all tenants", "oracles", caught("DEMO-09", "unique-oracle", "SKU"))
def unique_sku(work: DemoWorkspace) -> None:
    """A refused SKU tells that somebody else has it."""
    work.sql("ALTER TABLE demo.products ADD CONSTRAINT products_sku UNIQUE (sku)")


@fault("F211a", "A key without the tenant", "oracles", caught("DEMO-09", "unique-oracle", "id of another"))
def unique_id(work: DemoWorkspace) -> None:
    """A refused id tells that it exists."""
    work.sql("ALTER TABLE demo.products ADD CONSTRAINT products_id UNIQUE (id)")


@fault(
    "F212",
    "A foreign key without the tenant",
    "oracles",
    caught("DEMO-09", "foreign-key-oracle", "product"),
    caught("DEMO-13", "fk-oracle", "order_lines"),
)
def foreign_key(work: DemoWorkspace) -> None:
    """Another tenant's product can be named, and what is refused does not exist at all."""
    work.sql(
        "ALTER TABLE demo.products ADD CONSTRAINT products_id UNIQUE (id)",
        "ALTER TABLE demo.order_lines DROP CONSTRAINT order_lines_tenant_id_product_id_fkey",
        "ALTER TABLE demo.order_lines ADD FOREIGN KEY (product_id) REFERENCES demo.products (id)",
    )


@fault("F213", "A LEAKPROOF function that tells what it sees", "functions",
       caught("DEMO-12", "function-leakproof", "demo.note"))  # fmt: skip
def leakproof(work: DemoWorkspace) -> None:
    """It is run before the policies."""
    work.sql(
        "CREATE FUNCTION demo.note(x text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'",
        "REVOKE EXECUTE ON FUNCTION demo.note(text) FROM PUBLIC",
    )


@fault("F213a", "The application may make functions that look at rows before the policy", "grants",
       caught("DEMO-09", "error-oracle", "cheap function"))  # fmt: skip
def temporary_functions(work: DemoWorkspace) -> None:
    """TEMPORARY on the database is PUBLIC's by default."""
    work.sql(
        "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$"
    )


@fault("F214", "Large objects can be made", "grants", caught("DEMO-09", "large-object-shared"),
       caught("DEMO-06", "way-out", "large object"))  # fmt: skip
def large_objects(work: DemoWorkspace) -> None:
    """PUBLIC may, by default."""
    work.sql("GRANT EXECUTE ON FUNCTION pg_catalog.lo_create(oid) TO PUBLIC")


@fault("F214a", "A shared sequence numbers everybody's orders", "oracles",
       caught("DEMO-12", "sequence-shared", "demo.order_numbers"))  # fmt: skip
def sequence(work: DemoWorkspace) -> None:
    """The difference of two numbers is what all others sold meanwhile."""
    work.sql(
        "CREATE SEQUENCE demo.order_numbers",
        "GRANT USAGE ON SEQUENCE demo.order_numbers TO demo_app",
    )


@fault(
    "F214b",
    "A publication sends every tenant's rows out",
    "replication",
    caught("DEMO-12", "publication", "everything"),
)
def publication(work: DemoWorkspace) -> None:
    """Logical decoding knows no policy."""
    work.sql("CREATE PUBLICATION everything FOR TABLE demo.orders")


@fault(
    "F215",
    "The context is worked out for every row",
    "performance",
    caught("DEMO-12", "context-per-row", "demo.orders"),
)
def per_row(work: DemoWorkspace) -> None:
    """Without (SELECT …) a function of a policy may run once per row."""
    work.sql(
        "ALTER POLICY app_reads ON demo.orders"
        " USING (tenant_id = demo.current_tenant() AND user_id = demo.current_user_id())"
    )


@fault("F215a", "No index starts with the tenant", "performance",
       caught("DEMO-12", "tenant-not-indexed", "demo.analytics_events"))  # fmt: skip
def no_index(work: DemoWorkspace) -> None:
    """Every request reads every tenant's rows."""
    work.sql("ALTER TABLE demo.analytics_events DROP CONSTRAINT analytics_events_pkey")


@fault(
    "F216",
    "The tenant is read from user_metadata",
    "claims",
    caught("DEMO-11", "claims-spoofed", "user_metadata"),
)
def user_metadata(work: DemoWorkspace) -> None:
    """The user writes it, and so chooses the tenant."""
    work.sql(
        "CREATE OR REPLACE FUNCTION demo.jwt_tenant() RETURNS uuid LANGUAGE sql STABLE RETURN"
        " coalesce(auth.jwt() -> 'user_metadata' ->> 'tenant_id', auth.jwt() -> 'app_metadata' ->> 'tenant_id')::uuid"
    )


@fault(
    "F216a",
    "The anonymous role sees more than the shop window",
    "claims",
    caught("DEMO-11", "anonymous-reads", "users"),
)
def anonymous(work: DemoWorkspace) -> None:
    """Supabase grants everything on new tables to anon."""
    work.sql(
        "GRANT SELECT ON ALL TABLES IN SCHEMA demo TO anon",
    )


@fault(
    "F216b",
    "auth.uid() in a policy of the wrong table",
    "claims",
    caught("DEMO-11", "user-read-crossed", "messages"),
)
def jwt_without_user(work: DemoWorkspace) -> None:
    """The tenant alone is compared."""
    work.sql("ALTER POLICY jwt_reads ON demo.messages USING (tenant_id = (SELECT demo.jwt_tenant()))")
