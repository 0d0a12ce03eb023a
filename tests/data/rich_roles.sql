-- In the order in which pg_dumpall makes them: the text of a policy lists roles in the order of their OIDs.
CREATE ROLE "Rôle Étrange" NOLOGIN;
CREATE ROLE app_owner NOLOGIN;
CREATE ROLE app_rw LOGIN PASSWORD 'S3CRET-CANARY-role';
CREATE ROLE app_ro LOGIN CONNECTION LIMIT 7 VALID UNTIL '2030-01-01Z';
GRANT app_ro TO "Rôle Étrange" WITH ADMIN OPTION;
GRANT pg_read_all_stats TO app_ro;
ALTER ROLE app_rw SET statement_timeout = '30s';
ALTER ROLE app_rw SET app.jwt = 'S3CRET-CANARY-setting';
GRANT SET ON PARAMETER log_statement TO app_ro;
