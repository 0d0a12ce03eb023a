-- The same rules for Supabase: identity comes from the claims of a verified JWT (PostgREST sets request.jwt.claims for
-- one transaction and becomes the role `authenticated` or `anon`). Load it as a superuser after init.sql and before database.sql; on a
-- real Supabase the schema `auth`, its functions and the roles are there already and stay as they are.
--
-- sub is the user. The tenant is read from app_metadata, which only the server can write; user_metadata belongs to the
-- user, who could name any tenant in it.
BEGIN;
SET LOCAL client_min_messages = warning;
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['anon', 'authenticated'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT', name);
        END IF;
    END LOOP;
    -- Supabase calls it `authenticator`; the demo's own has another name, so that neither takes the other's password.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'demo_authenticator') THEN
        CREATE ROLE demo_authenticator LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
    IF to_regnamespace('auth') IS NULL THEN
        CREATE SCHEMA auth AUTHORIZATION demo_owner;
    END IF;
    IF to_regprocedure('auth.jwt()') IS NULL THEN
        CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
            RETURN NULLIF(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb;
        ALTER FUNCTION auth.jwt() OWNER TO demo_owner;
    END IF;
    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
            RETURN NULLIF(auth.jwt() ->> 'sub', '')::uuid;
        ALTER FUNCTION auth.uid() OWNER TO demo_owner;
    END IF;
END $$;
GRANT anon, authenticated TO demo_authenticator;
GRANT USAGE ON SCHEMA auth, demo TO anon, authenticated;
GRANT EXECUTE ON FUNCTION auth.jwt(), auth.uid() TO anon, authenticated;

SET LOCAL ROLE demo_owner;
CREATE OR REPLACE FUNCTION demo.jwt_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(NULLIF(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb
                  -> 'app_metadata' ->> 'tenant_id', '')::uuid;
REVOKE ALL ON FUNCTION demo.jwt_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION demo.jwt_tenant() TO authenticated;
GRANT EXECUTE ON FUNCTION demo.rut_is_valid(text) TO authenticated;
RESET ROLE;

DO $$
DECLARE
    tab text;
    own text;
BEGIN
    DROP POLICY IF EXISTS jwt_reads ON demo.tenants;
    CREATE POLICY jwt_reads ON demo.tenants FOR SELECT TO authenticated USING (id = (SELECT demo.jwt_tenant()));
    DROP POLICY IF EXISTS jwt_reads ON demo.users;
    CREATE POLICY jwt_reads ON demo.users FOR SELECT TO authenticated
        USING (tenant_id = (SELECT demo.jwt_tenant()) AND id = (SELECT auth.uid()));
    DROP POLICY IF EXISTS jwt_changes ON demo.users;
    CREATE POLICY jwt_changes ON demo.users FOR UPDATE TO authenticated
        USING (tenant_id = (SELECT demo.jwt_tenant()) AND id = (SELECT auth.uid()) AND origin = 'visitor')
        WITH CHECK (tenant_id = (SELECT demo.jwt_tenant()) AND id = (SELECT auth.uid()) AND origin = 'visitor');
    FOREACH tab IN ARRAY ARRAY['products', 'orders', 'order_lines', 'conversations', 'messages', 'analytics_events'] LOOP
        own := 'tenant_id = (SELECT demo.jwt_tenant())';
        IF tab <> 'products' THEN
            own := own || ' AND user_id = (SELECT auth.uid())';
        END IF;
        EXECUTE format('DROP POLICY IF EXISTS jwt_reads ON demo.%I', tab);
        EXECUTE format('CREATE POLICY jwt_reads ON demo.%I FOR SELECT TO authenticated USING (%s)', tab, own);
        EXECUTE format('DROP POLICY IF EXISTS jwt_adds ON demo.%I', tab);
        EXECUTE format('CREATE POLICY jwt_adds ON demo.%I FOR INSERT TO authenticated WITH CHECK (%s AND origin = %L)',
                       tab, own, 'visitor');
        EXECUTE format('DROP POLICY IF EXISTS jwt_changes ON demo.%I', tab);
        EXECUTE format('CREATE POLICY jwt_changes ON demo.%I FOR UPDATE TO authenticated USING (%s AND origin = %L)'
                       ' WITH CHECK (%s AND origin = %L)', tab, own, 'visitor', own, 'visitor');
        EXECUTE format('DROP POLICY IF EXISTS jwt_removes ON demo.%I', tab);
        EXECUTE format('CREATE POLICY jwt_removes ON demo.%I FOR DELETE TO authenticated USING (%s AND origin = %L)',
                       tab, own, 'visitor');
    END LOOP;
    -- Nobody has logged in yet: the shop window, no more.
    DROP POLICY IF EXISTS window_shopping ON demo.products;
    CREATE POLICY window_shopping ON demo.products FOR SELECT TO anon USING (origin = 'seed');
END $$;

-- Supabase grants everything to these roles on new tables; here they get what demo_app has.
REVOKE ALL ON ALL TABLES IN SCHEMA demo FROM anon, authenticated;
GRANT SELECT (sku, name, category, price) ON demo.products TO anon;
GRANT SELECT ON demo.tenants, demo.users, demo.products, demo.orders, demo.order_lines, demo.conversations, demo.messages,
    demo.analytics_events, demo.order_totals TO authenticated;
GRANT UPDATE (full_name, phone, comuna) ON demo.users TO authenticated;
GRANT INSERT (tenant_id, id, sku, name, category, price, stock), UPDATE (sku, name, category, price, stock), DELETE
    ON demo.products TO authenticated;
GRANT INSERT (tenant_id, user_id, id, number, state, address, comuna), UPDATE (number, state, address, comuna), DELETE
    ON demo.orders TO authenticated;
GRANT INSERT (tenant_id, user_id, order_id, line, product_id, quantity, unit_price),
    UPDATE (product_id, quantity, unit_price), DELETE ON demo.order_lines TO authenticated;
GRANT INSERT (tenant_id, user_id, id, channel, subject), UPDATE (channel, subject), DELETE ON demo.conversations TO authenticated;
GRANT INSERT (tenant_id, user_id, conversation_id, position, author, body), UPDATE (author, body), DELETE
    ON demo.messages TO authenticated;
GRANT INSERT (tenant_id, user_id, id, kind, properties), UPDATE (kind, properties), DELETE
    ON demo.analytics_events TO authenticated;
COMMIT;
