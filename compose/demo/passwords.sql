-- For psql in the container: the roles' passwords, from its environment. Statements are not logged meanwhile.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
SET password_encryption = 'scram-sha-256';
\getenv app DEMO_APP_PASSWORD
\getenv readonly DEMO_READONLY_PASSWORD
\getenv maintenance DEMO_MAINTENANCE_PASSWORD
\getenv seeder DEMO_SEEDER_PASSWORD
\getenv authenticator DEMO_AUTHENTICATOR_PASSWORD
ALTER ROLE demo_app PASSWORD :'app';
ALTER ROLE demo_readonly PASSWORD :'readonly';
ALTER ROLE demo_maintenance PASSWORD :'maintenance';
ALTER ROLE demo_seeder PASSWORD :'seeder';
ALTER ROLE demo_authenticator PASSWORD :'authenticator';
