-- Organisation -> team -> user, by memberships and helper functions. Integer keys. Roles: hi_owner, hi_web.
CREATE ROLE hi_owner NOLOGIN;
CREATE ROLE hi_web LOGIN;
CREATE SCHEMA core AUTHORIZATION hi_owner;
SET ROLE hi_owner;
CREATE TABLE core.users (id int PRIMARY KEY, email text NOT NULL);
CREATE TABLE core.orgs (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE core.memberships (
    org_id int NOT NULL REFERENCES core.orgs, user_id int NOT NULL REFERENCES core.users,
    role text NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'admin')), PRIMARY KEY (org_id, user_id));
CREATE TABLE core.teams (id int, org_id int NOT NULL REFERENCES core.orgs, name text NOT NULL, PRIMARY KEY (org_id, id));
CREATE TABLE core.team_members (
    org_id int NOT NULL, team_id int NOT NULL, user_id int NOT NULL, PRIMARY KEY (org_id, team_id, user_id),
    FOREIGN KEY (org_id, team_id) REFERENCES core.teams (org_id, id),
    FOREIGN KEY (org_id, user_id) REFERENCES core.memberships (org_id, user_id));
CREATE TABLE core.projects (
    id int, org_id int NOT NULL, team_id int NOT NULL, title text NOT NULL, PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, team_id) REFERENCES core.teams (org_id, id));
CREATE TABLE core.tasks (
    id int, org_id int NOT NULL, project_id int NOT NULL, title text NOT NULL, done boolean NOT NULL DEFAULT false,
    PRIMARY KEY (org_id, id), FOREIGN KEY (org_id, project_id) REFERENCES core.projects (org_id, id));

CREATE FUNCTION core.current_user_id() RETURNS int LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN nullif(current_setting('app.user_id', true), '')::int;
END $$;
CREATE FUNCTION core.my_orgs() RETURNS SETOF int LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT m.org_id FROM core.memberships AS m WHERE m.user_id = core.current_user_id() $$;
CREATE FUNCTION core.is_admin_of(org int) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM core.memberships AS m
        WHERE m.org_id = org AND m.user_id = core.current_user_id() AND m.role = 'admin') $$;
CREATE FUNCTION core.my_teams() RETURNS SETOF int LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT t.team_id FROM core.team_members AS t WHERE t.user_id = core.current_user_id() $$;

ALTER TABLE core.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.orgs ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.team_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.tasks ENABLE ROW LEVEL SECURITY;
CREATE POLICY self ON core.users USING (id = core.current_user_id());
CREATE POLICY mine ON core.orgs FOR SELECT USING (id IN (SELECT core.my_orgs()));
CREATE POLICY mine ON core.memberships FOR SELECT USING (user_id = core.current_user_id() OR core.is_admin_of(org_id));
CREATE POLICY admins ON core.memberships FOR ALL USING (core.is_admin_of(org_id)) WITH CHECK (core.is_admin_of(org_id));
CREATE POLICY mine ON core.teams FOR SELECT USING (org_id IN (SELECT core.my_orgs()));
CREATE POLICY admins ON core.teams FOR ALL USING (core.is_admin_of(org_id));
CREATE POLICY mine ON core.team_members FOR SELECT USING (org_id IN (SELECT core.my_orgs()));
CREATE POLICY admins ON core.team_members FOR ALL USING (core.is_admin_of(org_id));
CREATE POLICY mine ON core.projects FOR ALL
    USING (org_id IN (SELECT core.my_orgs()) AND team_id IN (SELECT core.my_teams()));
CREATE POLICY mine ON core.tasks FOR ALL USING (EXISTS (
    SELECT FROM core.projects AS p WHERE p.org_id = tasks.org_id AND p.id = tasks.project_id));
GRANT USAGE ON SCHEMA core TO hi_web;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA core TO hi_web;
REVOKE INSERT, DELETE ON core.users, core.orgs FROM hi_web;
REVOKE UPDATE ON core.orgs FROM hi_web;
RESET ROLE;
