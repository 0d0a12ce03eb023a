-- Roles of the built-in SmarterOS. No passwords: the self-test's servers listen on private sockets only.
CREATE ROLE smarteros_owner NOLOGIN;
CREATE ROLE smarteros_app LOGIN NOBYPASSRLS;
CREATE ROLE smarteros_readonly LOGIN NOBYPASSRLS;
CREATE ROLE smarteros_support NOLOGIN;
GRANT smarteros_readonly TO smarteros_support;
CREATE ROLE n8n_app LOGIN;
CREATE ROLE chatwoot_app LOGIN;
CREATE ROLE botpress_app LOGIN CONNECTION LIMIT 50;
ALTER ROLE smarteros_app SET statement_timeout = '30s';
ALTER ROLE smarteros_readonly SET default_transaction_read_only = on;

CREATE DATABASE smarteros OWNER smarteros_owner;
CREATE DATABASE n8n OWNER n8n_app;
CREATE DATABASE chatwoot OWNER chatwoot_app;
CREATE DATABASE botpress OWNER botpress_app;
ALTER DATABASE smarteros SET timezone = 'America/Santiago';
REVOKE CONNECT ON DATABASE smarteros FROM PUBLIC;
GRANT CONNECT ON DATABASE smarteros TO smarteros_app, smarteros_readonly;
