"""The questions that `smos.postgres.fingerprint` asks of the system catalogues."""

# Whole clauses of SQL stay on one line; the texts hold constants of ours only.
# ruff: noqa: S608, E501

from smos.postgres.sql_parts import USER_SCHEMA

# Tables and materialized views. Members of an extension are left out, except the data of the tables that it declares as configuration.
_TABLES = f"""
SELECT c.oid, n.nspname, c.relname, coalesce(SIZE_OF_TABLE, 0), c.relispopulated,
       c.relpersistence = 'u' AND pg_is_in_recovery(), coalesce(x.condition, ''), HAS_TOAST, k.names, k.types
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN (SELECT unnest(extconfig) AS oid, unnest(extcondition) AS condition FROM pg_extension) AS x ON x.oid = c.oid,
LATERAL (SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{{}}'::text[]) AS names,
       coalesce(array_agg(CASE WHEN t.typtype = 'e' THEN 'enum' WHEN t.oid < 16384 THEN t.typname::text ELSE '' END
           ORDER BY a.attnum), '{{}}'::text[]) AS types
    FROM pg_attribute AS a LEFT JOIN pg_type AS t ON t.oid = a.atttypid  -- of a type that is gone: read, which fails
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS k
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND {USER_SCHEMA}
  AND (x.oid IS NOT NULL OR NOT EXISTS (SELECT FROM pg_depend AS e
       WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'))
ORDER BY n.nspname, c.relname
"""
TABLES = (
    _TABLES.replace("SIZE_OF_TABLE", "pg_relation_size(c.oid)")
    .replace("HAS_TOAST", "coalesce(pg_relation_size(NULLIF(c.reltoastrelid, 0)), 0) > 0")
    .encode()
)
# The size by the last VACUUM, which no lock on a table can hold up.
TABLES_WITHOUT_LOCKS = (
    _TABLES.replace("SIZE_OF_TABLE", "greatest(c.relpages, 0)::bigint * current_setting('block_size')::int")
    .replace("HAS_TOAST", "c.reltoastrelid <> 0")
    .encode()
)
SEQUENCES = f"""
SELECT c.oid, n.nspname, c.relname, s.seqincrement FROM pg_class AS c JOIN pg_sequence AS s ON s.seqrelid = c.oid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN (SELECT unnest(extconfig) AS oid FROM pg_extension) AS x ON x.oid = c.oid
WHERE c.relpersistence <> 't' AND {USER_SCHEMA}
  AND (x.oid IS NOT NULL OR NOT EXISTS (SELECT FROM pg_depend AS e
       WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'))
ORDER BY n.nspname, c.relname
""".encode()
# Columns that take their values from a sequence: by owning it (serial, identity) or by a default that
# calls it; of partitioned tables those of the leaves, where the rows are.
FEEDS = b"""
WITH RECURSIVE feeds AS (
    SELECT d.objid AS sequence, d.refobjid AS relation, a.attname, a.atttypid FROM pg_depend AS d
    JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
      AND d.refobjsubid > 0
    UNION
    SELECT d.refobjid, f.adrelid, a.attname, a.atttypid FROM pg_depend AS d
    JOIN pg_class AS s ON s.oid = d.refobjid AND s.relkind = 'S'
    JOIN pg_attrdef AS f ON f.oid = d.objid JOIN pg_attribute AS a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
), leaves AS (
    SELECT sequence, relation, attname, atttypid FROM feeds
    UNION
    SELECT l.sequence, i.inhrelid, l.attname, l.atttypid FROM leaves AS l
    JOIN pg_inherits AS i ON i.inhparent = l.relation JOIN pg_class AS p ON p.oid = i.inhparent AND p.relkind = 'p'
)
SELECT l.sequence, l.relation, l.attname FROM leaves AS l JOIN pg_class AS c ON c.oid = l.relation AND c.relkind = 'r'
JOIN pg_type AS t ON t.oid = l.atttypid
WHERE coalesce(NULLIF(t.typbasetype, 0), t.oid) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
ORDER BY l.sequence, l.relation, l.attname
"""
