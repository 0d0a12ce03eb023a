"""Ways to break the sound schemas of tests/rls_schemas: each is one patch, and what must be found where."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pitfall:
    """One way to break a schema. code, target: of the finding that must name it."""

    id: str
    schema: str
    patch: str
    code: str
    target: str


def _p(id_: str, schema: str, code: str, target: str, patch: str) -> Pitfall:
    return Pitfall(f"{schema}-{id_}", schema, patch, code, target)


ST, SU, HI, PA = "single_tenant", "supabase", "hierarchy", "partitions"

PITFALLS = (
    # switched off, not forced, roles that stand above policies
    _p("off", ST, "rls-off", "app.orders", "ALTER TABLE app.orders DISABLE ROW LEVEL SECURITY"),
    _p("off", SU, "rls-off", "todos", "ALTER TABLE public.todos DISABLE ROW LEVEL SECURITY"),
    _p("off", HI, "rls-off", "core.tasks", "ALTER TABLE core.tasks DISABLE ROW LEVEL SECURITY"),
    _p("off-without-policies", ST, "rls-off", "app.files",
       "DROP POLICY own ON app.files; ALTER TABLE app.files DISABLE ROW LEVEL SECURITY"),
    _p("new-table", ST, "rls-off", "app.invoices",
       "CREATE TABLE app.invoices (id int PRIMARY KEY, tenant_id uuid NOT NULL, total int);"
       "GRANT SELECT ON app.invoices TO st_app"),
    _p("new-child-table", ST, "rls-off", "app.shipments",
       "CREATE TABLE app.shipments (id int PRIMARY KEY, file uuid NOT NULL REFERENCES app.files);"
       "GRANT SELECT ON app.shipments TO st_app"),
    _p("not-forced", ST, "rls-not-forced", "app.products", "ALTER TABLE app.products NO FORCE ROW LEVEL SECURITY"),
    _p("owner-logs-in", HI, "rls-not-forced", "core.projects", "ALTER ROLE hi_owner LOGIN"),
    _p("superuser", ST, "role-superuser", "st_app", "ALTER ROLE st_app SUPERUSER"),
    _p("bypassrls", ST, "role-bypasses-rls", "st_report", "ALTER ROLE st_report BYPASSRLS"),
    _p("becomes-bypass", ST, "role-can-bypass", "st_app", "CREATE ROLE st_all BYPASSRLS; GRANT st_all TO st_app"),
    _p("member-of-owner", ST, "role-member-of-owner", "st_app", "GRANT st_owner TO st_app"),
    _p("replication", ST, "role-replicates", "st_app", "ALTER ROLE st_app REPLICATION"),
    _p("createrole", HI, "role-creates-roles", "hi_web", "ALTER ROLE hi_web CREATEROLE"),
    _p("files", HI, "role-elevated", "hi_web", "GRANT pg_read_server_files TO hi_web"),
    _p("no-policy", ST, "rls-no-policy", "app.files", "DROP POLICY own ON app.files"),
    _p("row-security-off", ST, "row-security-off", "st_app", "ALTER ROLE st_app SET row_security = off"),
    _p("context-default", ST, "context-default", "st_app",
       "ALTER ROLE st_app SET app.tenant_id = '11111111-1111-1111-1111-111111111111'"),
    # policies
    _p("using-true", ST, "cross-tenant-read", "app.customers", "ALTER POLICY own ON app.customers USING (true)"),
    _p("second-permissive", ST, "cross-tenant-read", "app.orders",
       "CREATE POLICY reports ON app.orders FOR SELECT USING (note IS NULL OR note <> 'x')"),
    _p("second-permissive", SU, "cross-tenant-read", "todos",
       "CREATE POLICY helpers ON public.todos FOR SELECT TO authenticated USING (task IS NOT NULL)"),
    _p("wide-check", ST, "cross-tenant-write", "app.files", "ALTER POLICY own ON app.files WITH CHECK (true)"),
    _p("wide-insert", SU, "cross-tenant-write", "notes",
       'ALTER POLICY "write notes" ON public.notes WITH CHECK (auth.uid() IS NOT NULL)'),
    _p("wide-update", SU, "cross-tenant-write", "notes",
       'DROP POLICY "change notes" ON public.notes; CREATE POLICY c ON public.notes FOR UPDATE TO authenticated'
       " USING (true) WITH CHECK (true)"),
    _p("wide-update-check", SU, "cross-tenant-write", "todos",
       'DROP POLICY "own todos" ON public.todos; CREATE POLICY s ON public.todos FOR SELECT USING (user_id = auth.uid());'
       "CREATE POLICY u ON public.todos FOR UPDATE USING (user_id = auth.uid()) WITH CHECK (true)"),
    _p("wide-delete", SU, "cross-tenant-write", "comments",
       "CREATE POLICY d ON public.comments FOR DELETE TO authenticated USING (true)"),
    _p("conditional", SU, "conditional-leak", "todos",
       "CREATE POLICY done ON public.todos FOR SELECT TO authenticated USING (is_complete)"),
    _p("conditional", ST, "conditional-leak", "app.orders",
       "CREATE POLICY sent ON app.orders FOR SELECT USING (state = 'sent')"),
    _p("or-null-setting", ST, "leak-without-context", "app.orders",
       "ALTER POLICY own ON app.orders USING (tenant_id = app.current_tenant()"
       " OR current_setting('app.tenant_id', true) IS NULL)"),
    _p("or-empty-setting", PA, "leak-without-context", "metrics.events",
       "ALTER POLICY own ON metrics.events USING (account = current_setting('metrics.account', true)"
       " OR coalesce(current_setting('metrics.account', true), '') = '')"),
    _p("anonymous", SU, "leak-without-context", "profiles",
       'ALTER POLICY "own profile" ON public.profiles TO anon, authenticated USING (auth.uid() = id OR auth.uid() IS NULL)'),
    _p("coalesce-own", ST, "leak-without-context", "app.files",
       "ALTER POLICY own ON app.files USING (tenant_id = coalesce(app.current_tenant(), tenant_id))"),
    _p("bypass-setting", ST, "setting-opens", "app.orders",
       "ALTER POLICY own ON app.orders USING (tenant_id = app.current_tenant() OR current_setting('app.bypass', true) = 'on')"),
    _p("null-tenant", ST, "null-tenant-visible", "app.files",
       "ALTER TABLE app.files ALTER tenant_id DROP NOT NULL;"
       "ALTER POLICY own ON app.files USING (tenant_id = app.current_tenant() OR tenant_id IS NULL)"),
    _p("null-tenant-null-context", ST, "null-tenant-visible", "app.files",
       "ALTER TABLE app.files ALTER tenant_id DROP NOT NULL;"
       "ALTER POLICY own ON app.files USING (tenant_id IS NOT DISTINCT FROM app.current_tenant())"),
    _p("empty-context", ST, "context-empty-error", "app.orders",
       "CREATE OR REPLACE FUNCTION app.current_tenant() RETURNS uuid LANGUAGE sql STABLE"
       " AS $$ SELECT current_setting('app.tenant_id', true)::uuid $$"),
    _p("immutable", ST, "context-immutable", "app.current_tenant", "ALTER FUNCTION app.current_tenant() IMMUTABLE"),
    _p("user-metadata", SU, "claim-user-editable", "todos",
       "CREATE POLICY m ON public.todos FOR SELECT TO authenticated"
       " USING ((auth.jwt() -> 'user_metadata' ->> 'sub')::uuid = user_id)"),
    _p("admin-of-anything", HI, "cross-tenant-write", "core.teams",
       "CREATE FUNCTION core.is_admin() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS"
       " $$ SELECT EXISTS (SELECT FROM core.memberships m WHERE m.user_id = core.current_user_id() AND m.role = 'admin') $$;"
       "ALTER POLICY admins ON core.teams USING (core.is_admin())"),
    _p("joins-other-org", HI, "cross-tenant-write", "core.memberships",
       "CREATE POLICY joins ON core.memberships FOR INSERT WITH CHECK (user_id = core.current_user_id())"),
    _p("forgotten-correlation", HI, "cross-tenant-read", "core.tasks",
       "ALTER POLICY mine ON core.tasks USING (EXISTS (SELECT FROM core.projects AS p WHERE p.org_id = p.org_id))"),
    _p("shadowable", HI, "function-shadowable", "core.my_orgs",
       "SET search_path = core; CREATE OR REPLACE FUNCTION core.my_orgs() RETURNS SETOF int LANGUAGE sql STABLE SECURITY DEFINER AS"
       " $$ SELECT org_id FROM memberships WHERE user_id = core.current_user_id() $$"),
    # objects beside the tables
    _p("view", ST, "view-leaks", "app.all_orders",
       "CREATE VIEW app.all_orders AS SELECT * FROM app.orders; GRANT SELECT ON app.all_orders TO st_app"),
    _p("invoker-lost", ST, "view-leaks", "app.open_orders",
       "ALTER VIEW app.open_orders RESET (security_invoker); ALTER VIEW app.open_orders OWNER TO postgres"),
    _p("aggregate-view", PA, "view-leaks", "metrics.daily",
       "ALTER VIEW metrics.daily RESET (security_invoker); ALTER VIEW metrics.daily OWNER TO postgres"),
    _p("writable-view", ST, "view-writes-cross", "app.order_desk",
       "CREATE VIEW app.order_desk AS SELECT * FROM app.orders; GRANT UPDATE ON app.order_desk TO st_app"),
    _p("no-barrier", PA, "view-no-barrier", "metrics.my_events",
       "CREATE VIEW metrics.my_events AS SELECT * FROM metrics.events WHERE account = current_setting('metrics.account', true);"
       "GRANT SELECT ON metrics.my_events TO pa_api"),
    _p("matview", PA, "matview-leaks", "metrics.totals", "GRANT SELECT ON metrics.totals TO pa_api"),
    _p("definer", ST, "definer-function-leaks", "app.every_order",
       "CREATE FUNCTION app.every_order() RETURNS SETOF app.orders LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''"
       " AS $$ SELECT * FROM app.orders $$"),
    _p("definer-by-key", ST, "definer-function-leaks", "app.mail_of",
       "CREATE FUNCTION app.mail_of(p_tenant uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''"
       " AS $$ BEGIN RETURN (SELECT min(email) FROM app.customers WHERE tenant_id = p_tenant); END $$"),
    _p("definer-writes", HI, "definer-function-writes", "core.close_all",
       "CREATE FUNCTION core.close_all() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = ''"
       " AS $$ UPDATE core.tasks SET done = true $$"),
    _p("leakproof", ST, "leakproof-function", "app.peek",
       "CREATE FUNCTION app.peek(text) RETURNS boolean LANGUAGE plpgsql LEAKPROOF COST 0.0001 AS"
       " $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"),
    _p("session-wide", ST, "context-session-wide", "app.become",
       "CREATE FUNCTION app.become(t uuid) RETURNS text LANGUAGE sql AS"
       " $$ SELECT set_config('app.tenant_id', t::text, false) $$"),
    _p("partition", PA, "partition-unprotected", "metrics.events_2026_02",
       "GRANT SELECT ON metrics.events_2026_02 TO pa_api"),
    _p("partition-default", PA, "partition-unprotected", "metrics.readings_ar",
       "GRANT SELECT ON ALL TABLES IN SCHEMA metrics TO pa_api"),
    # rights
    _p("truncate", ST, "truncate-granted", "app.orders", "GRANT TRUNCATE ON app.orders TO st_app"),
    _p("all", SU, "truncate-granted", "todos", "GRANT ALL ON ALL TABLES IN SCHEMA public TO authenticated"),
    _p("default-privileges", ST, "default-privileges", "app",
       "ALTER DEFAULT PRIVILEGES FOR ROLE st_owner IN SCHEMA app GRANT SELECT ON TABLES TO st_app"),
    _p("sequence", ST, "sequence-settable", "app.orders_id_seq", "GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO st_app"),
    _p("large-object", ST, "large-object-shared", "large objects",
       "SELECT lo_from_bytea(4711, 'x'); GRANT SELECT ON LARGE OBJECT 4711 TO st_app"),
    _p("statistics", ST, "statistics-readable", "pg_catalog.pg_statistic", "GRANT SELECT ON pg_statistic TO st_app"),
    # oracles
    _p("unique", ST, "unique-oracle", "app.customers", "ALTER TABLE app.customers ADD UNIQUE (email)"),
    _p("unique", SU, "unique-oracle", "notes", "ALTER TABLE public.notes ADD COLUMN slug text NOT NULL UNIQUE"),
    _p("foreign-key", ST, "fk-oracle", "app.files",
       "ALTER TABLE app.customers ADD COLUMN file uuid REFERENCES app.files"
       "; ALTER TABLE app.files ADD COLUMN parent uuid REFERENCES app.files"),
    _p("foreign-key", SU, "fk-oracle", "comments",
       "ALTER TABLE public.comments DROP CONSTRAINT comments_user_id_todo_id_fkey;"
       "ALTER TABLE public.comments ADD FOREIGN KEY (todo_id) REFERENCES public.todos (id)"),
)  # fmt: skip
