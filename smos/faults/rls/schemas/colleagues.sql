-- The context names tenant and user: what is a user's own is kept from colleagues, a notice board is shared.
CREATE ROLE cl_owner NOLOGIN;
CREATE ROLE cl_app LOGIN;
CREATE SCHEMA desk AUTHORIZATION cl_owner;
SET ROLE cl_owner;
CREATE FUNCTION desk.tenant() RETURNS uuid LANGUAGE sql STABLE RETURN NULLIF(current_setting('desk.tenant', true), '')::uuid;
CREATE FUNCTION desk.me() RETURNS uuid LANGUAGE sql STABLE RETURN NULLIF(current_setting('desk.user_id', true), '')::uuid;
CREATE TABLE desk.tenants (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE desk.users (tenant_id uuid NOT NULL REFERENCES desk.tenants, id uuid NOT NULL, email text NOT NULL,
    PRIMARY KEY (tenant_id, id));
CREATE TABLE desk.cases (tenant_id uuid NOT NULL, user_id uuid NOT NULL, id int NOT NULL, code text NOT NULL
    CHECK (code ~ '^[A-Z]{2}-[0-9]{3}$'), PRIMARY KEY (tenant_id, user_id, id), UNIQUE (tenant_id, user_id, code),
    FOREIGN KEY (tenant_id, user_id) REFERENCES desk.users);
CREATE TABLE desk.case_notes (tenant_id uuid NOT NULL, user_id uuid NOT NULL, case_id int NOT NULL, n smallint NOT NULL
    CHECK (n BETWEEN 1 AND 99), body text, PRIMARY KEY (tenant_id, user_id, case_id, n),
    FOREIGN KEY (tenant_id, user_id, case_id) REFERENCES desk.cases);
CREATE TABLE desk.notices (tenant_id uuid NOT NULL, user_id uuid NOT NULL, id int NOT NULL, body text,
    PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, user_id) REFERENCES desk.users);
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['tenants', 'users', 'cases', 'case_notes', 'notices'] LOOP
        EXECUTE format('ALTER TABLE desk.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE desk.%I FORCE ROW LEVEL SECURITY', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['cases', 'case_notes'] LOOP
        EXECUTE format('CREATE POLICY reads ON desk.%I FOR SELECT USING (tenant_id = desk.tenant() AND user_id = desk.me())', t);
        EXECUTE format('CREATE POLICY adds ON desk.%I FOR INSERT WITH CHECK (tenant_id = desk.tenant() AND user_id = desk.me())', t);
        EXECUTE format('CREATE POLICY changes ON desk.%I FOR UPDATE USING (tenant_id = desk.tenant() AND user_id = desk.me())', t);
        EXECUTE format('CREATE POLICY removes ON desk.%I FOR DELETE USING (tenant_id = desk.tenant() AND user_id = desk.me())', t);
    END LOOP;
END $$;
CREATE POLICY own ON desk.tenants FOR SELECT USING (id = desk.tenant());
CREATE POLICY self ON desk.users FOR SELECT USING (tenant_id = desk.tenant() AND id = desk.me());
-- Everybody of the tenant reads the board; who wrote a notice changes it.
CREATE POLICY reads ON desk.notices FOR SELECT USING (tenant_id = desk.tenant());
CREATE POLICY writes ON desk.notices FOR ALL USING (tenant_id = desk.tenant() AND user_id = desk.me());
GRANT USAGE ON SCHEMA desk TO cl_app;
GRANT SELECT ON desk.tenants, desk.users TO cl_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON desk.cases, desk.case_notes, desk.notices TO cl_app;
RESET ROLE;
