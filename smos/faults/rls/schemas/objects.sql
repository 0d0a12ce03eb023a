-- Views with INSTEAD OF triggers, rules, inheritance, triggers that stamp and guard, an append-only log.
CREATE ROLE ob_owner NOLOGIN;
CREATE ROLE ob_api LOGIN;
CREATE SCHEMA crm AUTHORIZATION ob_owner;
SET ROLE ob_owner;
CREATE FUNCTION crm.org() RETURNS uuid LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN RETURN NULLIF(current_setting('app.current_org', true), '')::uuid; EXCEPTION WHEN invalid_text_representation THEN RETURN NULL; END $$;
CREATE TABLE crm.organizations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL CHECK (slug ~ '^[a-z0-9-]{3,40}$'));
CREATE TABLE crm.party (org uuid NOT NULL DEFAULT crm.org() REFERENCES crm.organizations, id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL, tags text[] NOT NULL DEFAULT '{}', kind text NOT NULL DEFAULT 'x', PRIMARY KEY (org, id));
CREATE TABLE crm.person (rut text, PRIMARY KEY (org, id)) INHERITS (crm.party);
CREATE TABLE crm.log (org uuid NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), n bigint GENERATED ALWAYS AS IDENTITY,
    what text NOT NULL, PRIMARY KEY (org, n));
CREATE TABLE crm.deals (org uuid NOT NULL REFERENCES crm.organizations, id uuid NOT NULL DEFAULT gen_random_uuid(), party uuid NOT NULL,
    stage text NOT NULL DEFAULT 'open', amount money, won boolean GENERATED ALWAYS AS (stage = 'won') STORED, search tsvector,
    PRIMARY KEY (org, id), FOREIGN KEY (org, party) REFERENCES crm.party ON DELETE CASCADE);
CREATE FUNCTION crm.stamp() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF crm.org() IS NULL THEN RAISE EXCEPTION 'no organisation'; END IF;
    NEW.org := crm.org(); NEW.search := to_tsvector('pg_catalog.simple', NEW.stage); RETURN NEW;
END $$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON crm.deals FOR EACH ROW EXECUTE FUNCTION crm.stamp();
CREATE FUNCTION crm.never() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN RAISE EXCEPTION 'the log is only added to'; END $$;
CREATE TRIGGER never BEFORE UPDATE OR DELETE ON crm.log FOR EACH ROW EXECUTE FUNCTION crm.never();
CREATE FUNCTION crm.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN INSERT INTO crm.log (org, what) VALUES (coalesce(NEW.org, OLD.org), TG_OP); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON crm.deals FOR EACH ROW EXECUTE FUNCTION crm.note();
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['organizations', 'party', 'person', 'log', 'deals'] LOOP
        EXECUTE format('ALTER TABLE crm.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE crm.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY org ON crm.%I USING (%I = (SELECT crm.org()))', t, CASE t WHEN 'organizations' THEN 'id' ELSE 'org' END);
    END LOOP;
END $$;
CREATE VIEW crm.board WITH (security_invoker = true) AS SELECT d.org, d.id, d.stage, p.name FROM crm.deals AS d JOIN crm.party AS p
    ON p.org = d.org AND p.id = d.party;
CREATE FUNCTION crm.board_write() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN UPDATE crm.deals SET stage = NEW.stage WHERE org = OLD.org AND id = OLD.id; RETURN NEW; END $$;
CREATE TRIGGER board_write INSTEAD OF UPDATE ON crm.board FOR EACH ROW EXECUTE FUNCTION crm.board_write();
CREATE VIEW crm.contacts WITH (security_invoker = true) AS SELECT org, id, name FROM crm.party;
CREATE RULE contacts_delete AS ON DELETE TO crm.contacts DO INSTEAD NOTHING;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA crm FROM PUBLIC;
GRANT USAGE ON SCHEMA crm TO ob_api;
GRANT EXECUTE ON FUNCTION crm.org() TO ob_api;
GRANT SELECT ON crm.organizations TO ob_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON crm.party, crm.person, crm.log, crm.deals, crm.board, crm.contacts TO ob_api;
RESET ROLE;
CREATE FUNCTION public.watch_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
CREATE EVENT TRIGGER watch_ddl ON ddl_command_end EXECUTE FUNCTION public.watch_ddl();
