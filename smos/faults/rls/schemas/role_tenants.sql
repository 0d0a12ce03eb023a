-- A role per company, looked up in a table, and rows of roles themselves. Roles: ro_owner, ro_clients, ro_acme, ro_bravo.
CREATE ROLE ro_owner NOLOGIN;
CREATE ROLE ro_clients NOLOGIN;
CREATE ROLE ro_acme LOGIN IN ROLE ro_clients;
CREATE ROLE ro_bravo LOGIN IN ROLE ro_clients;
CREATE SCHEMA net AUTHORIZATION ro_owner;
SET ROLE ro_owner;
CREATE TABLE net.empresas (empresa int PRIMARY KEY, rol name NOT NULL UNIQUE, nombre text NOT NULL);
CREATE TABLE net.facturas (id int GENERATED ALWAYS AS IDENTITY, empresa int NOT NULL REFERENCES net.empresas, monto int NOT NULL,
    PRIMARY KEY (empresa, id));
CREATE TABLE net.notas (autor name NOT NULL DEFAULT current_user, n int NOT NULL, texto text, PRIMARY KEY (autor, n));
ALTER TABLE net.empresas ENABLE ROW LEVEL SECURITY; ALTER TABLE net.empresas FORCE ROW LEVEL SECURITY;
ALTER TABLE net.facturas ENABLE ROW LEVEL SECURITY; ALTER TABLE net.facturas FORCE ROW LEVEL SECURITY;
ALTER TABLE net.notas ENABLE ROW LEVEL SECURITY; ALTER TABLE net.notas FORCE ROW LEVEL SECURITY;
CREATE POLICY propia ON net.empresas FOR SELECT USING (rol = current_user);
CREATE POLICY propias ON net.facturas USING (empresa = (SELECT e.empresa FROM net.empresas AS e WHERE e.rol = current_user));
CREATE POLICY propias ON net.notas USING (autor = current_user);
GRANT USAGE ON SCHEMA net TO ro_clients;
GRANT SELECT ON net.empresas TO ro_clients;
GRANT SELECT, INSERT, UPDATE, DELETE ON net.facturas, net.notas TO ro_clients;
RESET ROLE;
