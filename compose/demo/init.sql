-- The demo's schema. Load it as a superuser into a database of its own, then database.sql, supabase.sql, cleanup.sql
-- and seed.sql. PostgreSQL 15 or newer, core only; may be loaded again at any time (idempotent, one transaction).
--
-- How isolation works here:
--   * Every row names its tenant, and its user where it is a user's own. Both lead the primary key, so every index
--     serves the policies, and every foreign key carries them: a row that belongs to somebody else and one that does
--     not exist are refused with the same words.
--   * The application says who it speaks for with demo.enter(tenant, user): settings of the transaction, gone at its
--     end, safe with pooled connections.
--   * Row security is on and forced everywhere; a policy names the roles it is for; none applies to PUBLIC.
--   * origin says what a row is: `seed` (kept for ever, nobody but the seeder changes it), `kept` (an operator
--     pinned it), `visitor` and `generated` (removed by the clean-up when they expire). Neither origin nor
--     created_at can be written by the application.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL client_encoding = 'UTF8';

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['demo_owner', 'demo_app', 'demo_readonly', 'demo_maintenance', 'demo_seeder'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
    END LOOP;
END $$;
-- Passwords are set apart (passwords.sql), never here.
ALTER ROLE demo_owner NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
ALTER ROLE demo_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT;
ALTER ROLE demo_readonly LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT;
ALTER ROLE demo_maintenance LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT;
ALTER ROLE demo_seeder LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT;
ALTER ROLE demo_app SET statement_timeout = '30s';
ALTER ROLE demo_app SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE demo_readonly SET default_transaction_read_only = on;
ALTER ROLE demo_readonly SET statement_timeout = '60s';
ALTER ROLE demo_maintenance SET lock_timeout = '5s';

CREATE SCHEMA IF NOT EXISTS demo AUTHORIZATION demo_owner;
REVOKE ALL ON SCHEMA demo FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SET LOCAL ROLE demo_owner;
SET LOCAL search_path = demo, pg_temp;

-- A RUT without dots, with its check digit: modulo 11, weights 2 to 7 from the right; 11 is written 0, 10 is K.
CREATE OR REPLACE FUNCTION demo.rut_is_valid(rut text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN rut ~ '^[1-9][0-9]{5,7}-[0-9K]$' AND right(rut, 1) = (
        SELECT CASE 11 - sum(digit::integer * (2 + (place - 1) % 6)) % 11
                   WHEN 11 THEN '0' WHEN 10 THEN 'K' ELSE (11 - sum(digit::integer * (2 + (place - 1) % 6)) % 11)::text END
        FROM regexp_split_to_table(reverse(split_part(rut, '-', 1)), '') WITH ORDINALITY AS t(digit, place)
        WHERE digit ~ '^[0-9]$');

DO $$
BEGIN
    IF to_regtype('demo.category') IS NULL THEN
        CREATE TYPE demo.category AS ENUM ('Electrónica', 'Hogar', 'Moda', 'Deportes', 'Gaming');
    END IF;
    IF to_regtype('demo.order_state') IS NULL THEN
        CREATE TYPE demo.order_state AS ENUM ('pendiente', 'pagado', 'despachado', 'entregado', 'anulado');
    END IF;
    IF to_regtype('demo.channel') IS NULL THEN
        CREATE TYPE demo.channel AS ENUM ('whatsapp', 'web', 'instagram');
    END IF;
    IF to_regtype('demo.author') IS NULL THEN
        CREATE TYPE demo.author AS ENUM ('cliente', 'bot', 'ejecutivo');
    END IF;
    IF to_regtype('demo.event_kind') IS NULL THEN
        CREATE TYPE demo.event_kind AS ENUM ('visita', 'vista_producto', 'carrito', 'pago', 'compra', 'derivacion');
    END IF;
    IF to_regtype('demo.origin') IS NULL THEN
        CREATE TYPE demo.origin AS ENUM ('seed', 'kept', 'visitor', 'generated');
    END IF;
    IF to_regtype('demo.clp') IS NULL THEN  -- Chilean pesos have no decimals
        CREATE DOMAIN demo.clp AS bigint CHECK (VALUE BETWEEN 0 AND 999999999999);
    END IF;
    IF to_regtype('demo.rut') IS NULL THEN
        CREATE DOMAIN demo.rut AS text CHECK (demo.rut_is_valid(VALUE));
    END IF;
END $$;

-- Which database this is. The clean-up refuses any other.
CREATE TABLE IF NOT EXISTS demo.identity (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    environment text NOT NULL CHECK (environment = 'demo')
);
INSERT INTO demo.identity (environment) VALUES ('demo') ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS demo.tenants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL CHECK (name <> ''),
    rut demo.rut NOT NULL,
    region text NOT NULL,
    origin demo.origin NOT NULL DEFAULT 'visitor',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS demo.users (
    tenant_id uuid NOT NULL REFERENCES demo.tenants,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    email text NOT NULL CHECK (email = lower(email) AND email ~ '^[^@\s]+@[^@\s]+\.[^@\s]+$'),
    full_name text NOT NULL CHECK (full_name <> ''),
    rut demo.rut NOT NULL,
    phone text NOT NULL CHECK (phone ~ '^\+569[0-9]{8}$'),
    comuna text NOT NULL,
    origin demo.origin NOT NULL DEFAULT 'visitor',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, email)
);
CREATE TABLE IF NOT EXISTS demo.products (
    tenant_id uuid NOT NULL REFERENCES demo.tenants,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    sku text NOT NULL CHECK (sku ~ '^[A-Z0-9-]{3,40}$'),
    name text NOT NULL CHECK (name <> ''),
    category demo.category NOT NULL,
    price demo.clp NOT NULL CHECK (price > 0),
    stock integer NOT NULL CHECK (stock >= 0),
    origin demo.origin NOT NULL DEFAULT 'visitor',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, sku)
);
CREATE TABLE IF NOT EXISTS demo.orders (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    number text NOT NULL CHECK (number ~ '^[A-Z0-9-]{3,40}$'),
    state demo.order_state NOT NULL DEFAULT 'pendiente',
    address text NOT NULL,
    comuna text NOT NULL,
    origin demo.origin NOT NULL DEFAULT 'visitor',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, id),
    UNIQUE (tenant_id, user_id, number),
    FOREIGN KEY (tenant_id, user_id) REFERENCES demo.users (tenant_id, id)
);
CREATE TABLE IF NOT EXISTS demo.order_lines (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    order_id uuid NOT NULL,
    line smallint NOT NULL CHECK (line > 0),
    product_id uuid NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price demo.clp NOT NULL,
    total bigint GENERATED ALWAYS AS (quantity * unit_price) STORED,
    origin demo.origin NOT NULL DEFAULT 'visitor',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, order_id, line),
    FOREIGN KEY (tenant_id, user_id, order_id) REFERENCES demo.orders (tenant_id, user_id, id),
    FOREIGN KEY (tenant_id, product_id) REFERENCES demo.products (tenant_id, id)
);
CREATE TABLE IF NOT EXISTS demo.conversations (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    channel demo.channel NOT NULL,
    subject text NOT NULL,
    origin demo.origin NOT NULL DEFAULT 'visitor',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES demo.users (tenant_id, id)
);
CREATE TABLE IF NOT EXISTS demo.messages (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    position smallint NOT NULL CHECK (position > 0),
    author demo.author NOT NULL,
    body text NOT NULL CHECK (length(body) BETWEEN 1 AND 4000),
    origin demo.origin NOT NULL DEFAULT 'visitor',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, conversation_id, position),
    FOREIGN KEY (tenant_id, user_id, conversation_id) REFERENCES demo.conversations (tenant_id, user_id, id)
);
CREATE TABLE IF NOT EXISTS demo.analytics_events (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    kind demo.event_kind NOT NULL,
    properties jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(properties) = 'object'),
    origin demo.origin NOT NULL DEFAULT 'visitor',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES demo.users (tenant_id, id)
);

-- Whoever signs tenants up is the only one who could meet this uniqueness; no tenant can write here.
CREATE UNIQUE INDEX IF NOT EXISTS tenants_rut ON demo.tenants (rut);
-- Deleting a product looks for the lines that name it.
CREATE INDEX IF NOT EXISTS order_lines_product ON demo.order_lines (tenant_id, product_id);
-- What may expire, by age: the clean-up reads nothing else.
CREATE INDEX IF NOT EXISTS tenants_expiring ON demo.tenants (created_at) WHERE origin IN ('visitor', 'generated');
CREATE INDEX IF NOT EXISTS users_expiring ON demo.users (created_at) WHERE origin IN ('visitor', 'generated');
CREATE INDEX IF NOT EXISTS products_expiring ON demo.products (created_at) WHERE origin IN ('visitor', 'generated');
CREATE INDEX IF NOT EXISTS orders_expiring ON demo.orders (created_at) WHERE origin IN ('visitor', 'generated');
CREATE INDEX IF NOT EXISTS order_lines_expiring ON demo.order_lines (created_at) WHERE origin IN ('visitor', 'generated');
CREATE INDEX IF NOT EXISTS conversations_expiring ON demo.conversations (created_at) WHERE origin IN ('visitor', 'generated');
CREATE INDEX IF NOT EXISTS messages_expiring ON demo.messages (created_at) WHERE origin IN ('visitor', 'generated');
CREATE INDEX IF NOT EXISTS analytics_events_expiring ON demo.analytics_events (created_at) WHERE origin IN ('visitor', 'generated');

-- Who the transaction speaks for. After a SET LOCAL has ended the value is '' and not NULL: hence NULLIF.
-- STABLE, never IMMUTABLE: a prepared plan would keep the first tenant for ever.
CREATE OR REPLACE FUNCTION demo.current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(pg_catalog.current_setting('app.tenant_id', true), '')::uuid;
CREATE OR REPLACE FUNCTION demo.current_user_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(pg_catalog.current_setting('app.user_id', true), '')::uuid;
CREATE OR REPLACE FUNCTION demo.enter(tenant uuid, user_id uuid) RETURNS void LANGUAGE sql VOLATILE
BEGIN ATOMIC
    SELECT pg_catalog.set_config('app.tenant_id', tenant::text, true), pg_catalog.set_config('app.user_id', user_id::text, true);
END;

CREATE OR REPLACE VIEW demo.order_totals WITH (security_invoker = true, security_barrier = true) AS
    SELECT o.tenant_id, o.user_id, o.id, o.number, o.state, count(l.line) AS lines, coalesce(sum(l.total), 0)::bigint AS total
    FROM demo.orders AS o
    LEFT JOIN demo.order_lines AS l ON (l.tenant_id, l.user_id, l.order_id) = (o.tenant_id, o.user_id, o.id)
    GROUP BY o.tenant_id, o.user_id, o.id;

-- Row security. (SELECT f()) is evaluated once per statement (an InitPlan), and tenant_id leads every primary key.
DO $$
DECLARE
    tab text;
    own text;
BEGIN
    FOREACH tab IN ARRAY ARRAY['identity', 'tenants', 'users', 'products', 'orders', 'order_lines', 'conversations',
                               'messages', 'analytics_events'] LOOP
        EXECUTE format('ALTER TABLE demo.%I ENABLE ROW LEVEL SECURITY', tab);
        EXECUTE format('ALTER TABLE demo.%I FORCE ROW LEVEL SECURITY', tab);
    END LOOP;
    -- The owner maintains the identity when this file is loaded again; the clean-up reads it.
    DROP POLICY IF EXISTS identity_owner ON demo.identity;
    CREATE POLICY identity_owner ON demo.identity TO demo_owner USING (true) WITH CHECK (environment = 'demo');
    DROP POLICY IF EXISTS identity_read ON demo.identity;
    CREATE POLICY identity_read ON demo.identity FOR SELECT TO demo_maintenance, demo_seeder USING (true);

    DROP POLICY IF EXISTS app_reads ON demo.tenants;
    CREATE POLICY app_reads ON demo.tenants FOR SELECT TO demo_app, demo_readonly
        USING (id = (SELECT demo.current_tenant()));
    DROP POLICY IF EXISTS app_reads ON demo.users;
    CREATE POLICY app_reads ON demo.users FOR SELECT TO demo_app
        USING (tenant_id = (SELECT demo.current_tenant()) AND id = (SELECT demo.current_user_id()));
    DROP POLICY IF EXISTS app_changes ON demo.users;
    CREATE POLICY app_changes ON demo.users FOR UPDATE TO demo_app
        USING (tenant_id = (SELECT demo.current_tenant()) AND id = (SELECT demo.current_user_id()) AND origin = 'visitor')
        WITH CHECK (tenant_id = (SELECT demo.current_tenant()) AND id = (SELECT demo.current_user_id()) AND origin = 'visitor');

    -- What a tenant's users share (products), and what is each user's own. The seed is read, never changed.
    FOREACH tab IN ARRAY ARRAY['products', 'orders', 'order_lines', 'conversations', 'messages', 'analytics_events'] LOOP
        own := 'tenant_id = (SELECT demo.current_tenant())';
        IF tab <> 'products' THEN
            own := own || ' AND user_id = (SELECT demo.current_user_id())';
        END IF;
        EXECUTE format('DROP POLICY IF EXISTS app_reads ON demo.%I', tab);
        EXECUTE format('CREATE POLICY app_reads ON demo.%I FOR SELECT TO demo_app USING (%s)', tab, own);
        EXECUTE format('DROP POLICY IF EXISTS app_adds ON demo.%I', tab);
        EXECUTE format('CREATE POLICY app_adds ON demo.%I FOR INSERT TO demo_app WITH CHECK (%s AND origin = %L)',
                       tab, own, 'visitor');
        EXECUTE format('DROP POLICY IF EXISTS app_changes ON demo.%I', tab);
        EXECUTE format('CREATE POLICY app_changes ON demo.%I FOR UPDATE TO demo_app USING (%s AND origin = %L)'
                       ' WITH CHECK (%s AND origin = %L)', tab, own, 'visitor', own, 'visitor');
        EXECUTE format('DROP POLICY IF EXISTS app_removes ON demo.%I', tab);
        EXECUTE format('CREATE POLICY app_removes ON demo.%I FOR DELETE TO demo_app USING (%s AND origin = %L)',
                       tab, own, 'visitor');
    END LOOP;

    -- Reports see a whole tenant, one at a time, and change nothing.
    FOREACH tab IN ARRAY ARRAY['users', 'products', 'orders', 'order_lines', 'conversations', 'messages',
                               'analytics_events'] LOOP
        EXECUTE format('DROP POLICY IF EXISTS reports_read ON demo.%I', tab);
        EXECUTE format('CREATE POLICY reports_read ON demo.%I FOR SELECT TO demo_readonly'
                       ' USING (tenant_id = (SELECT demo.current_tenant()))', tab);
    END LOOP;

    FOREACH tab IN ARRAY ARRAY['tenants', 'users', 'products', 'orders', 'order_lines', 'conversations', 'messages',
                               'analytics_events'] LOOP
        -- The clean-up crosses tenants by its nature. It reads keys, origin and age (see the grants), and whatever
        -- its statements ask for, it can delete nothing but what may expire.
        EXECUTE format('DROP POLICY IF EXISTS cleanup_reads ON demo.%I', tab);
        EXECUTE format('CREATE POLICY cleanup_reads ON demo.%I FOR SELECT TO demo_maintenance USING (true)', tab);
        EXECUTE format('DROP POLICY IF EXISTS cleanup_locks ON demo.%I', tab);
        EXECUTE format('CREATE POLICY cleanup_locks ON demo.%I FOR UPDATE TO demo_maintenance'
                       ' USING (origin IN (%L, %L)) WITH CHECK (false)', tab, 'visitor', 'generated');
        EXECUTE format('DROP POLICY IF EXISTS cleanup_removes ON demo.%I', tab);
        EXECUTE format('CREATE POLICY cleanup_removes ON demo.%I FOR DELETE TO demo_maintenance'
                       ' USING (origin IN (%L, %L))', tab, 'visitor', 'generated');
        -- The seeder sees and writes the seed alone.
        EXECUTE format('DROP POLICY IF EXISTS seeder_writes ON demo.%I', tab);
        EXECUTE format('CREATE POLICY seeder_writes ON demo.%I TO demo_seeder USING (origin = %L)'
                       ' WITH CHECK (origin = %L)', tab, 'seed', 'seed');
    END LOOP;
END $$;

-- Rights. Columns are named where a role must not choose: origin and created_at are the server's.
REVOKE ALL ON ALL TABLES IN SCHEMA demo FROM PUBLIC, demo_app, demo_readonly, demo_maintenance, demo_seeder;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA demo FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE demo_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA demo TO demo_app, demo_readonly, demo_maintenance, demo_seeder;
GRANT EXECUTE ON FUNCTION demo.current_tenant(), demo.current_user_id(), demo.enter(uuid, uuid) TO demo_app, demo_readonly;
GRANT EXECUTE ON FUNCTION demo.rut_is_valid(text) TO demo_app, demo_readonly, demo_seeder;

GRANT SELECT ON demo.tenants, demo.users, demo.products, demo.orders, demo.order_lines, demo.conversations, demo.messages,
    demo.analytics_events, demo.order_totals TO demo_app, demo_readonly;
GRANT UPDATE (full_name, phone, comuna) ON demo.users TO demo_app;
GRANT INSERT (tenant_id, id, sku, name, category, price, stock), UPDATE (sku, name, category, price, stock), DELETE
    ON demo.products TO demo_app;
GRANT INSERT (tenant_id, user_id, id, number, state, address, comuna), UPDATE (number, state, address, comuna), DELETE
    ON demo.orders TO demo_app;
GRANT INSERT (tenant_id, user_id, order_id, line, product_id, quantity, unit_price),
    UPDATE (product_id, quantity, unit_price), DELETE ON demo.order_lines TO demo_app;
GRANT INSERT (tenant_id, user_id, id, channel, subject), UPDATE (channel, subject), DELETE ON demo.conversations TO demo_app;
GRANT INSERT (tenant_id, user_id, conversation_id, position, author, body), UPDATE (author, body), DELETE
    ON demo.messages TO demo_app;
GRANT INSERT (tenant_id, user_id, id, kind, properties), UPDATE (kind, properties), DELETE ON demo.analytics_events TO demo_app;

GRANT SELECT ON demo.identity TO demo_maintenance, demo_seeder;
-- Keys, origin and age: enough to decide what has expired, and nothing that is anybody's data. UPDATE (origin) is what
-- FOR UPDATE SKIP LOCKED asks for; the policy lets no update through.
GRANT SELECT (id, origin, created_at), UPDATE (origin), DELETE ON demo.tenants TO demo_maintenance;
GRANT SELECT (tenant_id, id, origin, created_at), UPDATE (origin), DELETE ON demo.users TO demo_maintenance;
GRANT SELECT (tenant_id, id, origin, created_at), UPDATE (origin), DELETE ON demo.products TO demo_maintenance;
GRANT SELECT (tenant_id, user_id, id, origin, created_at), UPDATE (origin), DELETE
    ON demo.orders, demo.conversations, demo.analytics_events TO demo_maintenance;
GRANT SELECT (tenant_id, user_id, order_id, line, product_id, origin, created_at), UPDATE (origin), DELETE
    ON demo.order_lines TO demo_maintenance;
GRANT SELECT (tenant_id, user_id, conversation_id, position, origin, created_at), UPDATE (origin), DELETE
    ON demo.messages TO demo_maintenance;
GRANT SELECT, INSERT, UPDATE ON demo.tenants, demo.users, demo.products, demo.orders, demo.order_lines, demo.conversations,
    demo.messages, demo.analytics_events TO demo_seeder;
RESET ROLE;
COMMIT;
