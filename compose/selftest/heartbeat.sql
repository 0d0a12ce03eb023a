-- One small table whose newest row tells, from the content alone, up to when a restored database holds data.
CREATE SCHEMA IF NOT EXISTS smos;
CREATE TABLE IF NOT EXISTS smos.heartbeat (at timestamptz PRIMARY KEY);
COMMENT ON TABLE smos.heartbeat IS 'Recovery point evidence: the newest committed row that survives a restore';
