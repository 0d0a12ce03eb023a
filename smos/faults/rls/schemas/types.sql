-- Columns of many types, each with a condition of its own; a short text as the tenant. Role: mi_app.
CREATE ROLE mi_app LOGIN;
CREATE TABLE accounts (account_id varchar(8) PRIMARY KEY, n text);
CREATE TABLE things (account_id varchar(8) NOT NULL REFERENCES accounts, id smallserial,
  k "char" NOT NULL, d date NOT NULL, j jsonb NOT NULL, b bit(4) NOT NULL, m macaddr NOT NULL,
  r numrange NOT NULL, mr int4multirange NOT NULL,
  p point NOT NULL, x xml, ts tsvector NOT NULL, t time NOT NULL, iv interval NOT NULL, n numeric(3,2) NOT NULL, f real NOT NULL, a uuid[] NOT NULL, c char(3) NOT NULL,
  i inet NOT NULL, PRIMARY KEY(account_id, id),
  CHECK (iv > '5 minutes'), CHECK (n > 1.5), CHECK (d > '2024-01-01'), CHECK (upper(c) = c));
CREATE FUNCTION chk() RETURNS text LANGUAGE sql STABLE AS $$ SELECT NULLIF(current_setting('my.acct', true), '') $$;
ALTER TABLE accounts ENABLE ROW LEVEL SECURITY; ALTER TABLE things ENABLE ROW LEVEL SECURITY;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY; ALTER TABLE things FORCE ROW LEVEL SECURITY;
CREATE POLICY a ON accounts USING (account_id = chk()); CREATE POLICY a ON things USING (account_id = chk());
GRANT SELECT, INSERT, UPDATE, DELETE ON things TO mi_app; GRANT SELECT ON accounts TO mi_app;
