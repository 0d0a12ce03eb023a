-- Bots, their events, and recordings kept as large objects.
SET ROLE botpress_app;
CREATE TABLE bots (id text PRIMARY KEY, config jsonb NOT NULL, published boolean NOT NULL);
CREATE SEQUENCE event_numbers INCREMENT 10 CACHE 1;
CREATE TABLE events (
    n bigint PRIMARY KEY DEFAULT nextval('event_numbers'), bot_id text NOT NULL REFERENCES bots, kind text NOT NULL,
    confidence double precision, span tstzrange NOT NULL, payload jsonb NOT NULL
);
ALTER SEQUENCE event_numbers OWNED BY events.n;
CREATE INDEX events_payload ON events USING gin (payload jsonb_path_ops);
CREATE TABLE recordings (id serial PRIMARY KEY, bot_id text NOT NULL REFERENCES bots, audio oid NOT NULL);
INSERT INTO bots SELECT 'bot-' || i, jsonb_build_object('idioma', 'es-CL', 'version', i), i % 2 = 0 FROM generate_series(1, 6) AS i;
INSERT INTO events (bot_id, kind, confidence, span, payload)
SELECT 'bot-' || (1 + i % 6), (ARRAY['mensaje','intencion','traspaso'])[1 + i % 3],
       CASE i % 7 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0' ELSE i / 7.0 END,
       tstzrange(timestamptz '2026-10-01Z' + i * interval '9 minutes', timestamptz '2026-10-01Z' + (i + 1) * interval '9 minutes'),
       jsonb_build_object('texto', 'hola ' || i, 'emoji', '🤖')
FROM generate_series(1, 2000) AS i;
INSERT INTO recordings (bot_id, audio)
SELECT 'bot-' || (1 + i % 6), lo_from_bytea(0, convert_to(repeat('grabación ' || i || ' ', 400), 'UTF8')) FROM generate_series(1, 8) AS i;
