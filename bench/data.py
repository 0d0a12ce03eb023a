"""The data that every restore and every verification is measured with: pgbench's tables, and rows of JSON and text.

One unit is 0.2 GB on disk: pgbench scale 10, and 42,000 documents of some 1 KB. Text and numbers come from a seeded
generator in the server, so every run has the same rows; half of a document is random, so it compresses like real ones.
"""

from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner

DATABASE = "bench"
SOURCE_SETTINGS = {
    "fsync": "off",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "512MB",
    "wal_level": "replica",
    "max_wal_senders": "6",
    "autovacuum": "off",
}
_DOCUMENTS = """
CREATE TABLE documents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant uuid NOT NULL, title text NOT NULL,
    body jsonb NOT NULL, note text, amount numeric(12,2) NOT NULL CHECK (amount >= 0), at timestamptz NOT NULL,
    branch int NOT NULL);
SELECT setseed(0.42);
INSERT INTO documents (tenant, title, body, note, amount, at, branch)
SELECT md5((n % 97)::text)::uuid, 'Document ' || n || ' of ' || md5(n::text),
    jsonb_build_object('kind', (ARRAY['invoice','order','message','visit'])[1 + n % 4], 'number', n,
        'tags', to_jsonb(ARRAY[md5((n * 3)::text), md5((n * 5)::text)]), 'paid', n % 3 = 0,
        'lines', (SELECT jsonb_agg(jsonb_build_object('sku', substr(md5((n * 11 + l)::text), 1, 8), 'price',
            round((random() * 900)::numeric, 2), 'text', 'The quick brown fox jumps over the lazy dog'))
            FROM generate_series(1, 4) AS l)),
    repeat('Lorem ipsum dolor sit amet, consectetur adipiscing elit. ', 3) || md5((n * 7)::text),
    round((random() * 100000)::numeric, 2), '2026-01-01Z'::timestamptz + n * interval '37 seconds', 1 + n % 10
FROM generate_series(1, {rows}) AS n;
CREATE INDEX ON documents (tenant, at);
CREATE INDEX ON documents (title);
ALTER TABLE documents ADD FOREIGN KEY (branch) REFERENCES pgbench_branches (bid);
"""


def fill(owner: Owner, server: EmbeddedPostgres, gigabytes: float) -> int:
    """Make the database and return its size in bytes."""
    import psycopg

    units = gigabytes / 0.2
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    target = server.endpoint.conninfo(DATABASE)
    tool = server.installation.tool("pgbench")
    command = [
        tool,
        "--initialize",
        "--quiet",
        "--foreign-keys",
        f"--scale={max(1, round(10 * units))}",
        target,
    ]
    owner.run(command, timeout_s=1800)
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute(_DOCUMENTS.format(rows=max(100, round(42_000 * units))).encode())
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0
