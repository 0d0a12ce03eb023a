-- Workflows and their runs, as n8n keeps them.
SET ROLE n8n_app;
CREATE TABLE workflow_entity (
    id varchar(36) PRIMARY KEY, name varchar(128) NOT NULL, active boolean NOT NULL,
    nodes json NOT NULL, connections json NOT NULL, "createdAt" timestamptz(3) NOT NULL
);
CREATE TABLE execution_entity (
    id serial PRIMARY KEY, "workflowId" varchar(36) NOT NULL REFERENCES workflow_entity ON DELETE CASCADE,
    finished boolean NOT NULL, mode text NOT NULL, "startedAt" timestamptz(3) NOT NULL, data text NOT NULL
);
CREATE INDEX "IDX_execution_started" ON execution_entity ("workflowId", "startedAt");
CREATE TABLE credentials_entity (id varchar(36) PRIMARY KEY, name text NOT NULL, type text NOT NULL, data text NOT NULL);
INSERT INTO workflow_entity
SELECT md5(i::text), 'Flujo nº ' || i, i % 3 <> 0, json_build_array(json_build_object('type', 'webhook', 'pos', i)), '{}',
       timestamptz '2026-02-01Z' + i * interval '1 day'
FROM generate_series(1, 40) AS i;
INSERT INTO execution_entity ("workflowId", finished, mode, "startedAt", data)
SELECT md5((1 + i % 40)::text), i % 17 <> 0, (ARRAY['trigger','manual','webhook'])[1 + i % 3],
       timestamptz '2026-10-01Z' + i * interval '11 minutes', repeat(md5(i::text), 1 + i % 30)
FROM generate_series(1, 1500) AS i;
INSERT INTO credentials_entity SELECT md5('c' || i), 'credencial ' || i, 'httpHeaderAuth', 'U2FsdGVkX1' || md5(i::text) FROM generate_series(1, 12) AS i;
