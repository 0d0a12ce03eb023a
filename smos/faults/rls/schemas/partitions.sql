-- Partitions by month, list partitions by region, views over them. Text tenant keys. Roles: pa_owner, pa_api.
CREATE ROLE pa_owner NOLOGIN;
CREATE ROLE pa_api LOGIN;
CREATE SCHEMA metrics AUTHORIZATION pa_owner;
SET ROLE pa_owner;
CREATE TABLE metrics.accounts (slug text PRIMARY KEY CHECK (slug ~ '^[a-z][a-z0-9-]{2,30}$'), title text);
CREATE TABLE metrics.events (
    account text NOT NULL REFERENCES metrics.accounts, at timestamptz NOT NULL, kind text NOT NULL, payload jsonb NOT NULL
) PARTITION BY RANGE (at);
CREATE TABLE metrics.events_2026_01 PARTITION OF metrics.events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE metrics.events_2026_02 PARTITION OF metrics.events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE INDEX ON metrics.events (account, at);
CREATE TABLE metrics.readings (
    account text NOT NULL REFERENCES metrics.accounts, region text NOT NULL, value double precision NOT NULL
) PARTITION BY LIST (region);
CREATE TABLE metrics.readings_cl PARTITION OF metrics.readings FOR VALUES IN ('cl');
CREATE TABLE metrics.readings_ar PARTITION OF metrics.readings FOR VALUES IN ('ar', 'uy');
CREATE INDEX ON metrics.readings (account);
ALTER TABLE metrics.accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE metrics.accounts FORCE ROW LEVEL SECURITY;
ALTER TABLE metrics.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE metrics.events FORCE ROW LEVEL SECURITY;
ALTER TABLE metrics.readings ENABLE ROW LEVEL SECURITY;
ALTER TABLE metrics.readings FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON metrics.accounts USING (slug = current_setting('metrics.account', true));
CREATE POLICY own ON metrics.events USING (account = current_setting('metrics.account', true));
CREATE POLICY own ON metrics.readings USING (account = current_setting('metrics.account', true));
CREATE VIEW metrics.daily WITH (security_invoker = true) AS
    SELECT account, date_trunc('day', at) AS day, count(*) AS events FROM metrics.events GROUP BY 1, 2;
CREATE MATERIALIZED VIEW metrics.totals AS SELECT account, count(*) AS events FROM metrics.events GROUP BY 1;
CREATE VIEW metrics.my_totals WITH (security_barrier = true) AS
    SELECT * FROM metrics.totals WHERE account = current_setting('metrics.account', true);
GRANT USAGE ON SCHEMA metrics TO pa_api;
GRANT SELECT ON metrics.accounts, metrics.daily, metrics.my_totals TO pa_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON metrics.events, metrics.readings TO pa_api;
RESET ROLE;
