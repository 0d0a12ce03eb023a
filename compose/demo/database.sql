-- What belongs to the database itself and not to its content: who may connect, the time zone, large objects. Load it as
-- a superuser into the demo's database after init.sql; again after CREATE DATABASE … TEMPLATE, which copies none of it.
BEGIN;
DO $$
DECLARE other text;
BEGIN
    -- PUBLIC may connect to every database of a server unless this is said.
    FOR other IN SELECT datname FROM pg_database WHERE datallowconn LOOP
        EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', other);
    END LOOP;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO demo_app, demo_readonly, demo_maintenance, demo_seeder', current_database());
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'demo_authenticator') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO demo_authenticator', current_database());
    END IF;
    EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'America/Santiago');
    EXECUTE format('ALTER DATABASE %I SET lo_compat_privileges = off', current_database());
END $$;
-- Large objects know no tenant.
REVOKE EXECUTE ON FUNCTION pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid), pg_catalog.lo_from_bytea(oid, bytea) FROM PUBLIC;
COMMIT;
