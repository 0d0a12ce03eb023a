-- Conversations with their attachments; every attachment's file lies in the volume chatwoot-data.
CREATE EXTENSION IF NOT EXISTS hstore;
SET ROLE chatwoot_app;
CREATE TABLE accounts (id serial PRIMARY KEY, name text NOT NULL, locale text NOT NULL DEFAULT 'es', flags public.hstore);
CREATE TABLE conversations (
    id bigserial PRIMARY KEY, account_id integer NOT NULL REFERENCES accounts, status smallint NOT NULL CHECK (status BETWEEN 0 AND 3),
    uuid uuid NOT NULL UNIQUE, opened_at timestamptz NOT NULL
);
CREATE TABLE messages (
    id bigserial PRIMARY KEY, conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    content text, private boolean NOT NULL DEFAULT false, sent_at timestamptz NOT NULL,
    search tsvector GENERATED ALWAYS AS (to_tsvector('spanish', coalesce(content, ''))) STORED
);
CREATE INDEX messages_search ON messages USING gin (search);
CREATE TABLE attachments (
    id serial PRIMARY KEY, message_id bigint NOT NULL REFERENCES messages, file_name text NOT NULL UNIQUE, bytes integer NOT NULL, sha256 bytea
);
INSERT INTO accounts (name, flags) SELECT 'Cuenta ' || i, hstore('plan', (ARRAY['base','pro'])[1 + i % 2]) FROM generate_series(1, 4) AS i;
INSERT INTO conversations (account_id, status, uuid, opened_at)
SELECT 1 + i % 4, i % 4, md5('conv' || i)::uuid, timestamptz '2026-09-01Z' + i * interval '3 hours' FROM generate_series(1, 200) AS i;
INSERT INTO messages (conversation_id, content, private, sent_at)
SELECT 1 + i % 200, CASE WHEN i % 50 = 0 THEN NULL ELSE '¿Cuándo llega mi pedido nº ' || i || '?' || E'\n\\.\ttab' END, i % 9 = 0,
       timestamptz '2026-09-01Z' + i * interval '17 minutes'
FROM generate_series(1, 3000) AS i;
INSERT INTO attachments (message_id, file_name, bytes, sha256)
SELECT i, 'adjunto-' || lpad(i::text, 3, '0') || '.txt', length('contenido del adjunto ' || i), sha256(convert_to('contenido del adjunto ' || i, 'UTF8'))
FROM generate_series(1, 30) AS i;
