-- A tree of units: whoever stands in a unit sees those below it; rows are shared with units by an array.
CREATE ROLE tr_owner NOLOGIN;
CREATE ROLE tr_app LOGIN;
CREATE SCHEMA tree AUTHORIZATION tr_owner;
SET ROLE tr_owner;
CREATE TABLE tree.units (id int PRIMARY KEY, parent int REFERENCES tree.units, name text NOT NULL);
CREATE TABLE tree.documents (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), unit_id int NOT NULL REFERENCES tree.units, body text NOT NULL);
CREATE INDEX ON tree.documents (unit_id);
CREATE TABLE tree.shared_notes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), units int[] NOT NULL CHECK (cardinality(units) > 0), body text);
CREATE FUNCTION tree.unit() RETURNS int LANGUAGE sql STABLE SET search_path = ''
    AS $$ SELECT NULLIF(current_setting('tree.unit', true), '')::int $$;
CREATE FUNCTION tree.below() RETURNS SETOF int LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    WITH RECURSIVE down AS (SELECT u.id FROM tree.units AS u WHERE u.id = tree.unit()
        UNION SELECT u.id FROM tree.units AS u JOIN down AS d ON u.parent = d.id) SELECT id FROM down $$;
ALTER TABLE tree.units ENABLE ROW LEVEL SECURITY;
ALTER TABLE tree.documents ENABLE ROW LEVEL SECURITY; ALTER TABLE tree.documents FORCE ROW LEVEL SECURITY;
ALTER TABLE tree.shared_notes ENABLE ROW LEVEL SECURITY; ALTER TABLE tree.shared_notes FORCE ROW LEVEL SECURITY;
CREATE POLICY below ON tree.units FOR SELECT USING (id IN (SELECT tree.below()));
CREATE POLICY below ON tree.documents USING (unit_id IN (SELECT tree.below()));
CREATE POLICY ours ON tree.shared_notes USING ((SELECT tree.unit()) = ANY (units));
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tree FROM PUBLIC;
GRANT USAGE ON SCHEMA tree TO tr_app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tree TO tr_app;
GRANT SELECT ON tree.units TO tr_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tree.documents, tree.shared_notes TO tr_app;
RESET ROLE;
