"""F250 to F299: sound schemas of several styles (the folder `schemas`) broken in the ways of the catalogue's section C.

Each pitfall is data: one patch in SQL, and what RLS-01 must say of which object.
"""

# A pitfall's SQL keeps its lines.
# ruff: noqa: E501

from dataclasses import dataclass

from smos.faults.registry import caught, fault
from smos.faults.rls.workspace import RlsWorkspace


@dataclass(frozen=True, slots=True)
class Pitfall:
    """One way to break a schema. code, target: of the finding that must name it.

    patch: statements, run as a superuser. undo: takes back what the patch did to roles, which belong to the whole
    server.
    """

    id: str
    title: str
    breaks: str
    schema: str
    code: str
    target: str
    patch: str
    undo: str = ""


_p = Pitfall
ST, SU, HI, PA = "single_tenant", "supabase", "hierarchy", "partitions"
QU, CO, RO, OB = "quoted", "composite", "role_tenants", "objects"
TR, TY, CL = "tree", "types", "colleagues"

PITFALLS = (
    # switched off, not forced, roles that stand above policies
    _p("F250a", "Row security is switched off on one table", "row security", ST, "rls-off", "app.orders", "ALTER TABLE app.orders DISABLE ROW LEVEL SECURITY"),
    _p("F250b", "Row security is switched off, Supabase's style", "row security", SU, "rls-off", "todos", "ALTER TABLE public.todos DISABLE ROW LEVEL SECURITY"),
    _p("F250c", "Row security is switched off at the bottom of a hierarchy", "row security", HI, "rls-off", "core.tasks", "ALTER TABLE core.tasks DISABLE ROW LEVEL SECURITY"),
    _p("F250d", "A table of tenants without policies and without row security", "row security", ST, "rls-off", "app.files",
       "DROP POLICY own ON app.files; ALTER TABLE app.files DISABLE ROW LEVEL SECURITY"),
    _p("F250e", "A new table with a tenant was never protected", "row security", ST, "rls-off", "app.invoices",
       "CREATE TABLE app.invoices (id int PRIMARY KEY, tenant_id uuid NOT NULL, total int);"
       "GRANT SELECT ON app.invoices TO st_app"),
    _p("F250f", "A new table that belongs to tenants only by its foreign key", "row security", ST, "rls-off", "app.shipments",
       "CREATE TABLE app.shipments (id int PRIMARY KEY, file uuid NOT NULL REFERENCES app.files);"
       "GRANT SELECT ON app.shipments TO st_app"),
    _p("F251a", "One table of many is not forced", "row security", ST, "rls-not-forced", "app.products", "ALTER TABLE app.products NO FORCE ROW LEVEL SECURITY"),
    _p("F251b", "The owner of unforced tables logs in", "row security", HI, "rls-not-forced", "core.projects", "ALTER ROLE hi_owner LOGIN",
       undo="ALTER ROLE hi_owner NOLOGIN"),
    _p("F252a", "The application is a superuser", "roles", ST, "role-superuser", "st_app", "ALTER ROLE st_app SUPERUSER",
       undo="ALTER ROLE st_app NOSUPERUSER"),
    _p("F252b", "The reports' role bypasses row security", "roles", ST, "role-bypasses-rls", "st_report", "ALTER ROLE st_report BYPASSRLS",
       undo="ALTER ROLE st_report NOBYPASSRLS"),
    _p("F252c", "The application may become a role that bypasses row security", "roles", ST, "role-can-bypass", "st_app", "CREATE ROLE st_all BYPASSRLS; GRANT st_all TO st_app",
       undo="DROP ROLE st_all"),
    _p("F252d", "The application is a member of the owner", "roles", ST, "role-member-of-owner", "st_app", "GRANT st_owner TO st_app",
       undo="REVOKE st_owner FROM st_app"),
    _p("F252e", "The application may replicate", "roles", ST, "role-replicates", "st_app", "ALTER ROLE st_app REPLICATION",
       undo="ALTER ROLE st_app NOREPLICATION"),
    _p("F252f", "The application may create roles", "roles", HI, "role-creates-roles", "hi_web", "ALTER ROLE hi_web CREATEROLE",
       undo="ALTER ROLE hi_web NOCREATEROLE"),
    _p("F252g", "The application reads the server's files", "roles", HI, "role-elevated", "hi_web", "GRANT pg_read_server_files TO hi_web",
       undo="REVOKE pg_read_server_files FROM hi_web"),
    _p("F252h", "The application administers the owner: it can make itself a member", "roles", ST, "role-member-of-owner", "st_app",
       "GRANT st_owner TO st_app WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", undo="REVOKE st_owner FROM st_app"),
    _p("F252i", "The application may become a role for administrators", "roles", ST, "cross-tenant-read", "app.orders",
       "CREATE ROLE st_admin; GRANT USAGE ON SCHEMA app TO st_admin; GRANT SELECT ON app.orders TO st_admin;"
       "CREATE POLICY every ON app.orders TO st_admin USING (true); ALTER ROLE st_app NOINHERIT; GRANT st_admin TO st_app",
       undo="ALTER ROLE st_app INHERIT; DROP ROLE st_admin"),
    _p("F252j", "The tables' owner is a superuser and logs in", "roles", ST, "role-superuser", "st_web",
       "CREATE ROLE st_web LOGIN SUPERUSER; ALTER TABLE app.orders OWNER TO st_web", undo="DROP ROLE st_web"),
    _p("F252k", "The application may become a role that replicates", "roles", ST, "role-replicates", "st_app",
       "CREATE ROLE st_copies REPLICATION; GRANT st_copies TO st_app", undo="DROP ROLE st_copies"),
    _p("F253a", "Row security without a policy: silent emptiness", "policies", ST, "rls-no-policy", "app.files", "DROP POLICY own ON app.files"),
    _p("F253b", "row_security is off by default", "roles", ST, "row-security-off", "st_app", "ALTER ROLE st_app SET row_security = off",
       undo="ALTER ROLE st_app RESET row_security"),
    _p("F254", "The application starts with a tenant's context", "context", ST, "context-default", "st_app",
       "ALTER ROLE st_app SET app.tenant_id = '11111111-1111-1111-1111-111111111111'",
       undo="ALTER ROLE st_app RESET app.tenant_id"),
    _p("F254b", "The default context is written in capitals", "context", ST, "context-default", "st_app",
       """ALTER ROLE st_app SET "App.Tenant_ID" = '11111111-1111-1111-1111-111111111111'""",
       undo="ALTER ROLE st_app RESET ALL"),
    # policies
    _p("F255a", "USING (true)", "policies", ST, "cross-tenant-read", "app.customers", "ALTER POLICY own ON app.customers USING (true)"),
    _p("F255b", "A second permissive policy for reports", "policies", ST, "cross-tenant-read", "app.orders",
       "CREATE POLICY reports ON app.orders FOR SELECT USING (note IS NULL OR note <> 'x')"),
    _p("F255c", "A second permissive policy, Supabase's style", "policies", SU, "cross-tenant-read", "todos",
       "CREATE POLICY helpers ON public.todos FOR SELECT TO authenticated USING (task IS NOT NULL)"),
    _p("F256a", "WITH CHECK (true)", "policies", ST, "cross-tenant-write", "app.files", "ALTER POLICY own ON app.files WITH CHECK (true)"),
    _p("F256b", "Whoever is logged in inserts for anybody", "policies", SU, "cross-tenant-write", "notes",
       'ALTER POLICY "write notes" ON public.notes WITH CHECK (auth.uid() IS NOT NULL)'),
    _p("F256c", "An UPDATE policy for every row", "policies", SU, "cross-tenant-write", "notes",
       'DROP POLICY "change notes" ON public.notes; CREATE POLICY c ON public.notes FOR UPDATE TO authenticated'
       " USING (true) WITH CHECK (true)"),
    _p("F256d", "An UPDATE policy lets rows be given away", "policies", SU, "cross-tenant-write", "todos",
       'DROP POLICY "own todos" ON public.todos; CREATE POLICY s ON public.todos FOR SELECT USING (user_id = auth.uid());'
       "CREATE POLICY u ON public.todos FOR UPDATE USING (user_id = auth.uid()) WITH CHECK (true)"),
    _p("F256e", "A DELETE policy for every row", "policies", SU, "cross-tenant-write", "comments",
       "CREATE POLICY d ON public.comments FOR DELETE TO authenticated USING (true)"),
    _p("F257a", "Rows that are done are seen by all", "policies", SU, "conditional-leak", "todos",
       "CREATE POLICY done ON public.todos FOR SELECT TO authenticated USING (is_complete)"),
    _p("F257b", "Rows in one state are seen by all", "policies", ST, "conditional-leak", "app.orders",
       "CREATE POLICY sent ON app.orders FOR SELECT USING (state = 'sent')"),
    _p("F258a", "… OR the setting is NULL", "context", ST, "leak-without-context", "app.orders",
       "ALTER POLICY own ON app.orders USING (tenant_id = app.current_tenant()"
       " OR current_setting('app.tenant_id', true) IS NULL)"),
    _p("F258b", "… OR the setting is empty", "context", PA, "leak-without-context", "metrics.events",
       "ALTER POLICY own ON metrics.events USING (account = current_setting('metrics.account', true)"
       " OR coalesce(current_setting('metrics.account', true), '') = '')"),
    _p("F258c", "The anonymous role sees what nobody owns up to", "context", SU, "leak-without-context", "profiles",
       'ALTER POLICY "own profile" ON public.profiles TO anon, authenticated USING (auth.uid() = id OR auth.uid() IS NULL)'),
    _p("F258d", "COALESCE(context, the row's own tenant)", "context", ST, "leak-without-context", "app.files",
       "ALTER POLICY own ON app.files USING (tenant_id = coalesce(app.current_tenant(), tenant_id))"),
    _p("F259", "A setting that any role may set opens everything", "context", ST, "setting-opens", "app.orders",
       "ALTER POLICY own ON app.orders USING (tenant_id = app.current_tenant() OR current_setting('app.bypass', true) = 'on')"),
    _p("F260a", "Rows without a tenant are everybody's", "policies", ST, "null-tenant-visible", "app.files",
       "ALTER TABLE app.files ALTER tenant_id DROP NOT NULL;"
       "ALTER POLICY own ON app.files USING (tenant_id = app.current_tenant() OR tenant_id IS NULL)"),
    _p("F260b", "Rows without a tenant match an absent context", "policies", ST, "null-tenant-visible", "app.files",
       "ALTER TABLE app.files ALTER tenant_id DROP NOT NULL;"
       "ALTER POLICY own ON app.files USING (tenant_id IS NOT DISTINCT FROM app.current_tenant())"),
    _p("F261", "The empty context is an error", "context", ST, "context-empty-error", "app.orders",
       "CREATE OR REPLACE FUNCTION app.current_tenant() RETURNS uuid LANGUAGE sql STABLE"
       " AS $$ SELECT current_setting('app.tenant_id', true)::uuid $$"),
    _p("F262a", "The context function is IMMUTABLE", "context", ST, "context-immutable", "app.current_tenant", "ALTER FUNCTION app.current_tenant() IMMUTABLE"),
    _p("F263a", "A policy trusts user_metadata", "claims", SU, "claim-user-editable", "todos",
       "CREATE POLICY m ON public.todos FOR SELECT TO authenticated"
       " USING ((auth.jwt() -> 'user_metadata' ->> 'sub')::uuid = user_id)"),
    _p("F256f", "An administrator of one organisation is one of all", "policies", HI, "cross-tenant-write", "core.teams",
       "CREATE FUNCTION core.is_admin() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS"
       " $$ SELECT EXISTS (SELECT FROM core.memberships m WHERE m.user_id = core.current_user_id() AND m.role = 'admin') $$;"
       "ALTER POLICY admins ON core.teams USING (core.is_admin())"),
    _p("F256g", "Anybody makes himself a member of any organisation", "policies", HI, "cross-tenant-write", "core.memberships",
       "CREATE POLICY joins ON core.memberships FOR INSERT WITH CHECK (user_id = core.current_user_id())"),
    _p("F255d", "A subquery that compares a column with itself", "policies", HI, "cross-tenant-read", "core.tasks",
       "ALTER POLICY mine ON core.tasks USING (EXISTS (SELECT FROM core.projects AS p WHERE p.org_id = p.org_id))"),
    _p("F264", "A function of a policy can be shadowed by a temporary table", "functions", HI, "function-shadowable", "core.my_orgs",
       "SET search_path = core; CREATE OR REPLACE FUNCTION core.my_orgs() RETURNS SETOF int LANGUAGE sql STABLE SECURITY DEFINER AS"
       " $$ SELECT org_id FROM memberships WHERE user_id = core.current_user_id() $$"),
    # objects beside the tables
    _p("F265a", "A view with its owner's rights", "views", ST, "view-leaks", "app.all_orders",
       "CREATE VIEW app.all_orders AS SELECT * FROM app.orders; GRANT SELECT ON app.all_orders TO st_app"),
    _p("F265b", "A view was made anew without security_invoker", "views", ST, "view-leaks", "app.open_orders",
       "ALTER VIEW app.open_orders RESET (security_invoker); ALTER VIEW app.open_orders OWNER TO postgres"),
    _p("F265c", "A view that counts every tenant's rows", "views", PA, "view-leaks", "metrics.daily",
       "ALTER VIEW metrics.daily RESET (security_invoker); ALTER VIEW metrics.daily OWNER TO postgres"),
    _p("F265d", "A view passes writes on with its owner's rights", "views", ST, "view-writes-cross", "app.order_desk",
       "CREATE VIEW app.order_desk AS SELECT * FROM app.orders; GRANT UPDATE ON app.order_desk TO st_app"),
    _p("F265e", "A view filters tenants without being a barrier", "views", PA, "view-no-barrier", "metrics.my_events",
       "CREATE VIEW metrics.my_events AS SELECT * FROM metrics.events WHERE account = current_setting('metrics.account', true);"
       "GRANT SELECT ON metrics.my_events TO pa_api"),
    _p("F265f", "A materialized view is granted", "views", PA, "matview-leaks", "metrics.totals", "GRANT SELECT ON metrics.totals TO pa_api"),
    _p("F265g", "Columns of a view with its owner's rights are granted", "views", ST, "view-leaks", "app.order_notes",
       "CREATE VIEW app.order_notes AS SELECT * FROM app.orders; GRANT SELECT (note) ON app.order_notes TO st_app"),
    _p("F265h", "A column of a view passes writes on", "views", ST, "view-writes-cross", "app.order_notes",
       "CREATE VIEW app.order_notes AS SELECT * FROM app.orders; GRANT UPDATE (note) ON app.order_notes TO st_app"),
    _p("F265i", "A view answers otherwise each time", "views", ST, "view-leaks", "app.sample",
       "CREATE VIEW app.sample WITH (security_barrier) AS SELECT *, random() FROM app.orders; GRANT SELECT ON app.sample TO st_app"),
    _p("F266a", "A SECURITY DEFINER function returns every tenant's rows", "functions", ST, "definer-function-leaks", "app.every_order",
       "CREATE FUNCTION app.every_order() RETURNS SETOF app.orders LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''"
       " AS $$ SELECT * FROM app.orders $$"),
    _p("F266b", "A SECURITY DEFINER function answers for any tenant's key", "functions", ST, "definer-function-leaks", "app.mail_of",
       "CREATE FUNCTION app.mail_of(p_tenant uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''"
       " AS $$ BEGIN RETURN (SELECT min(email) FROM app.customers WHERE tenant_id = p_tenant); END $$"),
    _p("F266c", "A SECURITY DEFINER procedure changes every tenant's rows", "functions", HI, "definer-function-writes", "core.close_all",
       "CREATE FUNCTION core.close_all() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = ''"
       " AS $$ UPDATE core.tasks SET done = true $$"),
    _p("F266e", "A SECURITY DEFINER function reads every tenant's rows through a view", "functions", ST, "definer-function-leaks", "app.notes_of",
       "CREATE VIEW app.behind AS SELECT note FROM app.orders; CREATE FUNCTION app.notes_of(kind text) RETURNS SETOF text LANGUAGE plpgsql"
       " SECURITY DEFINER SET search_path = '' AS $$ BEGIN PERFORM kind::int / 0; RETURN QUERY SELECT note FROM app.behind; END $$"),
    _p("F266f", "A SECURITY DEFINER procedure answers for every tenant", "functions", ST, "definer-function-leaks", "app.how_many",
       "CREATE PROCEDURE app.how_many(INOUT found bigint) LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''"
       " AS $$ BEGIN SELECT count(*) INTO found FROM app.customers; END $$"),
    _p("F266d", "A LEAKPROOF function tells what it sees", "functions", ST, "leakproof-function", "app.peek",
       "CREATE FUNCTION app.peek(text) RETURNS boolean LANGUAGE plpgsql LEAKPROOF COST 0.0001 AS"
       " $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"),
    _p("F262b", "The context outlives the transaction", "context", ST, "context-session-wide", "app.become",
       "CREATE FUNCTION app.become(t uuid) RETURNS text LANGUAGE sql AS"
       " $$ SELECT set_config('app.tenant_id', t::text, false) $$"),
    _p("F267a", "A partition is granted by itself", "partitions", PA, "partition-unprotected", "metrics.events_2026_02",
       "GRANT SELECT ON metrics.events_2026_02 TO pa_api"),
    _p("F267b", "Every partition is granted with the schema", "partitions", PA, "partition-unprotected", "metrics.readings_ar",
       "GRANT SELECT ON ALL TABLES IN SCHEMA metrics TO pa_api"),
    # rights
    _p("F268a", "TRUNCATE is granted", "grants", ST, "truncate-granted", "app.orders", "GRANT TRUNCATE ON app.orders TO st_app"),
    _p("F268c", "The application may make triggers", "grants", ST, "trigger-granted", "app.orders", "GRANT TRIGGER ON app.orders TO st_app"),
    _p("F268d", "The application may make foreign keys", "grants", ST, "references-granted", "app.orders",
       "GRANT REFERENCES ON app.orders TO st_app; GRANT CREATE ON SCHEMA app TO st_app"),
    _p("F268b", "GRANT ALL", "grants", SU, "truncate-granted", "todos", "GRANT ALL ON ALL TABLES IN SCHEMA public TO authenticated"),
    _p("F269", "New tables are open by default privileges", "grants", ST, "default-privileges", "app",
       "ALTER DEFAULT PRIVILEGES FOR ROLE st_owner IN SCHEMA app GRANT SELECT ON TABLES TO st_app"),
    _p("F270", "The application may set a shared counter", "grants", ST, "sequence-settable", "app.orders_id_seq", "GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO st_app"),
    _p("F271", "A large object is granted", "grants", ST, "large-object-shared", "large objects",
       "SELECT lo_from_bytea(4711, 'x'); GRANT SELECT ON LARGE OBJECT 4711 TO st_app"),
    _p("F272", "The planner's samples can be read", "grants", ST, "statistics-readable", "pg_catalog.pg_statistic", "GRANT SELECT ON pg_statistic TO st_app"),
    # oracles
    _p("F273a", "A value is unique over all tenants", "oracles", ST, "unique-oracle", "app.customers", "ALTER TABLE app.customers ADD UNIQUE (email)"),
    _p("F273b", "A slug is unique over all users", "oracles", SU, "unique-oracle", "notes", "ALTER TABLE public.notes ADD COLUMN slug text NOT NULL UNIQUE"),
    _p("F274a", "A foreign key without the tenant", "oracles", ST, "fk-oracle", "app.files",
       "ALTER TABLE app.customers ADD COLUMN file uuid REFERENCES app.files"
       "; ALTER TABLE app.files ADD COLUMN parent uuid REFERENCES app.files"),
    _p("F274b", "A foreign key without the user", "oracles", SU, "fk-oracle", "comments",
       "ALTER TABLE public.comments DROP CONSTRAINT comments_user_id_todo_id_fkey;"
       "ALTER TABLE public.comments ADD FOREIGN KEY (todo_id) REFERENCES public.todos (id)"),
    # other styles
    _p("F275a", "USING (true), quoted names", "policies", QU, "cross-tenant-read", "Order Item's",
       '''ALTER POLICY "Own company; only" ON "My ""App"""."Order Item's" USING (true)'''),
    _p("F275b", "A WITH CHECK over a generated column", "policies", QU, "cross-tenant-write", "Order Item's",
       '''ALTER POLICY "Own company; only" ON "My ""App"""."Order Item's" WITH CHECK ("net" >= 0)'''),
    _p("F275c", "An e-mail is unique over all tenants, by an expression", "oracles", QU, "unique-oracle", "User",
       '''DROP INDEX "My ""App"""."User_email_key"; CREATE UNIQUE INDEX u ON "My ""App"""."User" (lower("e-mail"))'''),
    _p("F275d", "An exclusion constraint without the tenant", "oracles", QU, "unique-oracle", "Booking",
       '''ALTER TABLE "My ""App"""."Booking" DROP CONSTRAINT "Booking_int8range_int4range_during_excl";'''
       '''ALTER TABLE "My ""App"""."Booking" ADD EXCLUDE USING gist ("during" WITH &&)'''),
    _p("F276a", "One half of a composite tenant is forgotten", "policies", CO, "cross-tenant-write", "erp.linea",
       "DROP POLICY sucursal ON erp.linea"),
    _p("F276b", "The default partition is granted", "partitions", CO, "partition-unprotected", "erp.boleta_otros",
       "ALTER TABLE erp.boleta_otros DISABLE ROW LEVEL SECURITY; GRANT SELECT ON erp.boleta_otros TO co_till"),
    _p("F277a", "A lookup by role that forgets the row", "policies", RO, "cross-tenant-read", "net.facturas",
       "ALTER POLICY propias ON net.facturas USING (EXISTS (SELECT FROM net.empresas AS e WHERE e.rol = current_user))"),
    _p("F277b", "Any role deletes any role's rows", "policies", RO, "cross-tenant-write", "net.notas",
       "CREATE POLICY d ON net.notas FOR DELETE USING (true)"),
    _p("F278a", "A child table of an inheritance is open", "row security", OB, "rls-off", "crm.person",
       "ALTER TABLE crm.person DISABLE ROW LEVEL SECURITY"),
    _p("F278b", "An INSTEAD OF trigger with its owner's rights", "views", OB, "view-writes-cross", "crm.board",
       "CREATE OR REPLACE FUNCTION crm.board_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''"
       " AS $$ BEGIN UPDATE crm.party SET kind = kind || '!'; RETURN NEW; END $$;"
       "ALTER FUNCTION crm.board_write() OWNER TO postgres"),
    _p("F278c", "The trigger that set the tenant is gone", "triggers", OB, "cross-tenant-write", "crm.deals",
       "DROP TRIGGER stamp ON crm.deals; ALTER POLICY org ON crm.deals WITH CHECK (true)"),
    _p("F279a", "A tree that is not followed", "functions", TR, "cross-tenant-read", "tree.documents",
       "CREATE OR REPLACE FUNCTION tree.below() RETURNS SETOF int LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''"
       " AS $$ SELECT id FROM tree.units $$"),
    _p("F279b", "Anybody adds rows to anybody's array", "policies", TR, "cross-tenant-write", "tree.shared_notes",
       "CREATE POLICY u ON tree.shared_notes FOR INSERT WITH CHECK (body IS NULL OR body <> 'x')"),
    _p("F280", "A date that opens every row", "policies", TY, "cross-tenant-read", "public.things",
       "ALTER POLICY a ON things USING (account_id = chk() OR d < '2099-01-01')"),
    # users of one tenant
    _p("F281a", "A colleague's notes are seen, the case they belong to is not", "users", CL, "cross-user-read",
       "desk.case_notes", "ALTER POLICY reads ON desk.case_notes USING (tenant_id = desk.tenant())"),
    _p("F281b", "Rows are made in a colleague's name", "users", CL, "cross-user-write", "desk.cases",
       "ALTER POLICY adds ON desk.cases WITH CHECK (tenant_id = desk.tenant())"),
    _p("F281c", "A colleague's hidden rows are deleted", "users", CL, "cross-user-write", "desk.case_notes",
       "ALTER POLICY removes ON desk.case_notes USING (tenant_id = desk.tenant())"),
    _p("F281d", "Without a user, the tenant's rows are open", "users", CL, "leak-without-context", "desk.cases",
       "ALTER POLICY reads ON desk.cases USING (tenant_id = desk.tenant() AND (user_id = desk.me() OR desk.me() IS NULL))"),
    # what the demo showed
    _p("F282", "A role may change rows that it can't see", "policies", CL, "rls-no-policy", "desk.cases",
       "DROP POLICY reads ON desk.cases"),
    _p("F283", "A value under a pattern: an open WITH CHECK behind a key", "policies", CL, "cross-tenant-write",
       "desk.cases", "ALTER POLICY adds ON desk.cases WITH CHECK (true)"),
    _p("F263b", "A function of the policies trusts user_metadata", "claims", SU, "claim-user-editable", "auth.uid",
       "CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT coalesce("
       "nullif(current_setting('request.jwt.claims', true), '')::jsonb -> 'user_metadata' ->> 'sub',"
       " nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$"),
)  # fmt: skip


def _register(pitfall: Pitfall) -> None:
    """Make it a fault of the registry."""

    def inject(work: RlsWorkspace) -> None:
        work.open(pitfall.schema)
        work.sql(pitfall.patch, undo=pitfall.undo)

    fault(pitfall.id, pitfall.title, pitfall.breaks, caught("RLS-01", pitfall.code, pitfall.target))(inject)


for _pitfall in PITFALLS:
    _register(_pitfall)
