-- A tenant is an account and a branch of it: two settings, keys over both. Partitions by account, with a default one.
CREATE ROLE co_owner NOLOGIN;
CREATE ROLE co_till LOGIN;
CREATE SCHEMA erp AUTHORIZATION co_owner;
SET ROLE co_owner;
CREATE TABLE erp.cuenta (account_id bigint PRIMARY KEY, razon text NOT NULL);
CREATE TABLE erp.sucursal (account_id bigint NOT NULL REFERENCES erp.cuenta, branch smallint NOT NULL CHECK (branch > 0), comuna text,
    PRIMARY KEY (account_id, branch));
CREATE TABLE erp.boleta (
    account_id bigint NOT NULL, branch smallint NOT NULL, folio int NOT NULL CHECK (folio > 0), neto int NOT NULL CHECK (neto >= 0),
    iva int GENERATED ALWAYS AS (neto * 19 / 100) STORED, glosa text, PRIMARY KEY (account_id, branch, folio),
    FOREIGN KEY (account_id, branch) REFERENCES erp.sucursal) PARTITION BY LIST (account_id);
CREATE TABLE erp.boleta_1 PARTITION OF erp.boleta FOR VALUES IN (1);
CREATE TABLE erp.boleta_2 PARTITION OF erp.boleta FOR VALUES IN (2);
CREATE TABLE erp.boleta_otros PARTITION OF erp.boleta DEFAULT;
CREATE TABLE erp.linea (
    account_id bigint NOT NULL, branch smallint NOT NULL, folio int NOT NULL, n smallint NOT NULL CHECK (n BETWEEN 1 AND 60),
    detalle text NOT NULL CHECK (detalle <> ''), PRIMARY KEY (account_id, branch, folio, n),
    FOREIGN KEY (account_id, branch, folio) REFERENCES erp.boleta ON DELETE CASCADE DEFERRABLE);
CREATE UNLOGGED TABLE erp.carro (
    account_id bigint NOT NULL, branch smallint NOT NULL, sesion uuid NOT NULL DEFAULT gen_random_uuid(), cosas jsonb NOT NULL DEFAULT '[]',
    foto bytea, PRIMARY KEY (account_id, branch, sesion), FOREIGN KEY (account_id, branch) REFERENCES erp.sucursal,
    CHECK (jsonb_typeof(cosas) = 'array'));
ALTER TABLE erp.carro ALTER foto SET STORAGE EXTERNAL;
CREATE FUNCTION erp.cuenta_actual() RETURNS bigint LANGUAGE sql STABLE SET search_path = ''
    AS $$ SELECT NULLIF(current_setting('erp.cuenta', true), '')::bigint $$;
CREATE FUNCTION erp.sucursal_actual() RETURNS smallint LANGUAGE sql STABLE SET search_path = ''
    AS $$ SELECT NULLIF(current_setting('erp.sucursal', true), '')::smallint $$;
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['cuenta', 'sucursal', 'boleta', 'boleta_1', 'boleta_2', 'boleta_otros', 'linea', 'carro'] LOOP
        EXECUTE format('ALTER TABLE erp.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE erp.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY cuenta ON erp.%I USING (account_id = (SELECT erp.cuenta_actual()))', t);
        IF t <> 'cuenta' THEN
            EXECUTE format('CREATE POLICY sucursal ON erp.%I AS RESTRICTIVE USING (branch = (SELECT erp.sucursal_actual()))', t);
        END IF;
    END LOOP;
END $$;
GRANT USAGE ON SCHEMA erp TO co_till;
GRANT SELECT ON erp.cuenta, erp.sucursal TO co_till;
GRANT SELECT, INSERT, UPDATE, DELETE ON erp.boleta, erp.linea, erp.carro TO co_till;
RESET ROLE;
