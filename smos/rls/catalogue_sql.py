"""The queries of the discovery: few, each over the whole database, so that their cost is that of one scan."""

NOT_SYSTEM = """n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
_NOT_EXTENSION = """NOT EXISTS (SELECT FROM pg_depend AS x
    WHERE x.classid = '{catalogue}'::regclass AND x.objid = {oid} AND x.deptype = 'e')"""

FACTS = """
SELECT current_database() AS database, current_user::text AS "user",
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
    (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name IN
        ('row_security', 'lo_compat_privileges', 'max_locks_per_transaction', 'max_connections')) AS settings,
    (SELECT coalesce(jsonb_agg(extname ORDER BY extname), '[]') FROM pg_extension) AS extensions
"""

ROLES = """
WITH RECURSIVE edges AS (
    SELECT member, roleid, bool_or({set_option}) AS set, bool_or({set_option} OR admin_option) AS take,
        bool_or({set_option} OR admin_option OR {inherit_option}) AS any
    FROM pg_auth_members AS m GROUP BY member, roleid),
up AS (
    SELECT m.member AS low, m.roleid AS high FROM edges AS m WHERE m.set
    UNION SELECT up.low, m.roleid FROM up JOIN edges AS m ON m.member = up.high WHERE m.set),
taken AS (
    SELECT m.member AS low, m.roleid AS high FROM edges AS m WHERE m.take
    UNION SELECT taken.low, m.roleid FROM taken JOIN edges AS m ON m.member = taken.high WHERE m.take),
got AS (
    SELECT m.member AS low, m.roleid AS high FROM edges AS m WHERE m.any
    UNION SELECT got.low, m.roleid FROM got JOIN edges AS m ON m.member = got.high WHERE m.any)
SELECT r.rolname AS name, r.rolcanlogin AS login, r.rolsuper AS superuser, r.rolbypassrls AS bypass,
    r.rolcreaterole AS create_role, r.rolreplication AS replication, r.rolinherit AS inherit,
    r.oid = 10 AS bootstrap,
    coalesce((SELECT jsonb_agg(DISTINCT h.rolname) FROM up JOIN pg_roles AS h ON h.oid = up.high
        WHERE up.low = r.oid AND h.rolname !~ '^pg_'), '[]') AS may_become,
    coalesce((SELECT jsonb_agg(DISTINCT h.rolname) FROM taken JOIN pg_roles AS h ON h.oid = taken.high
        WHERE taken.low = r.oid AND h.rolname !~ '^pg_'), '[]') AS may_take,
    coalesce((SELECT jsonb_agg(DISTINCT h.rolname) FROM got JOIN pg_roles AS h ON h.oid = got.high
        WHERE got.low = r.oid AND h.rolname !~ '^pg_'), '[]') AS stands_in,
    coalesce((SELECT jsonb_agg(DISTINCT h.rolname) FROM got JOIN pg_roles AS h ON h.oid = got.high
        WHERE got.low = r.oid AND h.rolname ~ '^pg_'), '[]') AS predefined,
    r.rolcanlogin OR EXISTS (SELECT FROM up JOIN pg_roles AS l ON l.oid = up.low
        WHERE up.high = r.oid AND l.rolcanlogin) AS reachable,
    coalesce((SELECT jsonb_agg(s) FROM pg_db_role_setting AS d, unnest(d.setconfig) AS s
        WHERE d.setrole = r.oid AND d.setdatabase IN
            (0, (SELECT oid FROM pg_database WHERE datname = current_database()))), '[]') AS settings
FROM pg_roles AS r WHERE r.rolname !~ '^pg_' ORDER BY r.rolname
"""

RELATIONS = f"""
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
    pg_get_userbyid(c.relowner) AS owner, c.relrowsecurity AS row_security, c.relforcerowsecurity AS forced,
    c.relispartition AS partition, EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = c.oid
        AND NOT g.tgisinternal AND g.tgtype & 2 = 2 AND g.tgtype & 20 <> 0) AS guarded,
    coalesce((SELECT jsonb_agg(DISTINCT g.tgfoid::int8) FROM pg_trigger AS g WHERE g.tgrelid = c.oid
        AND NOT g.tgisinternal AND g.tgenabled <> 'D'), '[]') AS triggers,
    EXISTS (SELECT FROM pg_rewrite AS w WHERE w.ev_class = c.oid AND w.ev_type <> '1') AS ruled,
    greatest(c.reltuples, 0)::float8 AS rows,
    coalesce((SELECT jsonb_agg(i.inhparent::int8) FROM pg_inherits AS i WHERE i.inhrelid = c.oid), '[]') AS parents,
    coalesce(pg_get_expr(c.relpartbound, c.oid), '') AS bound,
    coalesce((SELECT jsonb_agg(a.attname) FROM pg_partitioned_table AS p, unnest(p.partattrs::int2[]) AS k
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k WHERE p.partrelid = c.oid), '[]')
        AS partition_keys,
    coalesce((SELECT lower(split_part(o, '=', 2)) IN ('true', 'on', '1', 'yes') FROM unnest(c.reloptions) AS o
        WHERE o LIKE 'security\\_invoker=%'), false) AS invoker,
    coalesce((SELECT lower(split_part(o, '=', 2)) IN ('true', 'on', '1', 'yes') FROM unnest(c.reloptions) AS o
        WHERE o LIKE 'security\\_barrier=%'), false) AS barrier,
    c.relkind = 'v' AND pg_relation_is_updatable(c.oid, true) & 28 <> 0 AS updatable,
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) ELSE '' END AS definition
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' AND {NOT_SYSTEM}
    AND {_NOT_EXTENSION.format(catalogue="pg_class", oid="c.oid")}
ORDER BY n.nspname, c.relname
"""

COLUMNS = f"""
WITH RECURSIVE base AS MATERIALIZED (
    SELECT t.oid AS root, t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typnotnull FROM pg_type AS t
    WHERE t.typtype = 'd'
    UNION ALL SELECT b.root, t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typnotnull FROM base AS b
        JOIN pg_type AS t ON t.oid = b.typbasetype WHERE b.typtype = 'd'),
leaf AS MATERIALIZED (SELECT root, max(oid::int8) FILTER (WHERE typtype <> 'd') AS oid, max(typtypmod) AS typmod,
    bool_or(typnotnull) AS not_null FROM base GROUP BY root),
checks AS MATERIALIZED (SELECT b.root, jsonb_agg(pg_get_expr(k.conbin, 0)) AS list FROM base AS b
    JOIN pg_constraint AS k ON k.contypid = b.oid AND k.contype = 'c' GROUP BY b.root),
labels AS MATERIALIZED (SELECT enumtypid, jsonb_agg(enumlabel ORDER BY enumsortorder) AS list FROM pg_enum
    GROUP BY enumtypid)
SELECT a.attrelid::int8 AS relation, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
    b.typname AS base, b.typcategory::text AS category, a.attnotnull OR coalesce(leaf.not_null, false) AS not_null,
    pg_get_expr(e.adbin, e.adrelid) AS "default", a.attidentity = 'a' AS always,
    a.attgenerated <> '' AS generated, a.attidentity <> '' AS identity,
    CASE WHEN b.typname IN ('varchar', 'bpchar') THEN nullif(greatest(
        CASE WHEN a.atttypmod > 0 THEN a.atttypmod ELSE coalesce(leaf.typmod, -1) END - 4, 0), 0) END AS length,
    coalesce(labels.list, '[]') AS labels, coalesce(checks.list, '[]') AS domain_checks
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN leaf ON leaf.root = a.atttypid LEFT JOIN checks ON checks.root = a.atttypid
JOIN pg_type AS b ON b.oid = coalesce(leaf.oid, a.atttypid::int8)::oid LEFT JOIN labels ON labels.enumtypid = b.oid
LEFT JOIN pg_attrdef AS e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND c.relpersistence <> 't' AND {NOT_SYSTEM}
ORDER BY a.attrelid, a.attnum
"""

INDEXES = f"""
SELECT i.indrelid::int8 AS relation, x.relname AS name, i.indisunique OR i.indisexclusion AS "unique",
    i.indisexclusion AS exclusion, i.indisprimary AS "primary",
    i.indpred IS NOT NULL AS partial, i.indexprs IS NOT NULL AS expressions,
    (SELECT coalesce(jsonb_agg(a.attname ORDER BY k.place), '[]')
        FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
        WHERE k.place <= i.indnkeyatts) AS columns,
    (SELECT coalesce(jsonb_agg(a.attname ORDER BY a.attnum), '[]') FROM pg_attribute AS a WHERE a.attrelid = i.indrelid
        AND a.attnum IN (SELECT d.refobjsubid FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
            AND d.objid = i.indexrelid AND d.refobjid = i.indrelid AND d.refobjsubid > 0)) AS mentioned,
    (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0]) AS lead
FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_class AS c ON c.oid = i.indrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.indisvalid AND {NOT_SYSTEM} ORDER BY i.indrelid, i.indisprimary DESC, x.relname
"""

CONSTRAINTS = f"""
SELECT k.conrelid::int8 AS relation, k.conname AS name, k.contype::text AS kind, k.confrelid::int8 AS parent,
    (SELECT coalesce(jsonb_agg(a.attname ORDER BY u.place), '[]') FROM unnest(k.conkey) WITH ORDINALITY
        AS u(number, place) JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.number) AS columns,
    (SELECT coalesce(jsonb_agg(a.attname ORDER BY u.place), '[]') FROM unnest(k.confkey) WITH ORDINALITY
        AS u(number, place) JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.number)
        AS parent_columns,
    pg_get_expr(k.conbin, k.conrelid) AS expression
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype IN ('f', 'c') AND {NOT_SYSTEM}
    AND (k.contype = 'c' OR k.conparentid = 0 OR true) ORDER BY k.conrelid, k.conname
"""

POLICIES = """
SELECT p.polrelid::int8 AS relation, p.polname AS name, p.polpermissive AS permissive,
    CASE p.polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
        ELSE 'DELETE' END AS command,
    (SELECT jsonb_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END ORDER BY 1)
        FROM unnest(p.polroles) AS r) AS roles,
    pg_get_expr(p.polqual, p.polrelid) AS "using", pg_get_expr(p.polwithcheck, p.polrelid) AS "check"
FROM pg_policy AS p ORDER BY p.polrelid, p.polname
"""

RIGHTS = f"""
SELECT c.oid::int8 AS relation, r.rolname AS role, jsonb_agg(p.name) AS rights
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN (SELECT oid, rolname FROM pg_roles WHERE rolname = ANY (%(roles)s)) AS r
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER'))
    AS p(name)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' AND {NOT_SYSTEM}
    AND has_schema_privilege(r.oid, n.oid, 'USAGE') AND has_table_privilege(r.oid, c.oid, p.name)
GROUP BY c.oid, r.rolname
"""

COLUMN_RIGHTS = f"""
SELECT a.attrelid::int8 AS relation, r.rolname AS role, p.name AS "right", jsonb_agg(a.attname ORDER BY a.attnum)
    AS columns
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN (SELECT oid, rolname FROM pg_roles WHERE rolname = ANY (%(roles)s)) AS r
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS p(name)
WHERE a.attnum > 0 AND NOT a.attisdropped AND {NOT_SYSTEM} AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND EXISTS (SELECT FROM pg_attribute AS g WHERE g.attrelid = c.oid AND g.attacl IS NOT NULL)
    AND has_schema_privilege(r.oid, n.oid, 'USAGE') AND NOT has_table_privilege(r.oid, c.oid, p.name)
    AND has_column_privilege(r.oid, a.attrelid, a.attnum, p.name)
GROUP BY a.attrelid, r.rolname, p.name
"""

GRANTED = f"""
SELECT c.oid::int8 AS relation, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END AS role,
    jsonb_agg(DISTINCT g.privilege_type) AS rights
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,
    aclexplode(c.relacl) AS g
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {NOT_SYSTEM} AND g.grantee <> c.relowner
GROUP BY c.oid, g.grantee
"""

VIEW_READS = f"""
SELECT DISTINCT w.ev_class::int8 AS relation, d.refobjid::int8 AS reads
FROM pg_rewrite AS w JOIN pg_class AS c ON c.oid = w.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class
WHERE c.relkind IN ('v', 'm') AND {NOT_SYSTEM}
"""

FUNCTIONS = f"""
SELECT p.oid::int8 AS oid, n.nspname AS schema, p.proname AS name, p.prokind::text AS kind, l.lanname AS language,
    coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) AS body, p.prosecdef AS definer, p.proleakproof AS leakproof,
    p.provolatile::text AS volatility, pg_get_userbyid(p.proowner) AS owner,
    format_type(p.prorettype, NULL) AS returns, p.proretset AS returns_set,
    has_function_privilege('public', p.oid, 'EXECUTE') AS public,
    coalesce(to_jsonb(p.proconfig), '[]') AS settings,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(coalesce(p.proargnames[k.place], ''), format_type(k.type, NULL))
        ORDER BY k.place), '[]') FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
        WITH ORDINALITY AS k(type, place)
        WHERE p.proargmodes IS NULL OR p.proargmodes[k.place] IN ('i', 'b', 'v')) AS arguments,
    (SELECT coalesce(jsonb_agg(r.rolname), '[]') FROM pg_roles AS r WHERE r.rolname = ANY (%(roles)s)
        AND has_function_privilege(r.oid, p.oid, 'EXECUTE') AND has_schema_privilege(r.oid, n.oid, 'USAGE'))
        AS executable
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.prokind IN ('f', 'p') AND {NOT_SYSTEM}
    AND {_NOT_EXTENSION.format(catalogue="pg_proc", oid="p.oid")}
ORDER BY n.nspname, p.proname, p.oid
"""

SEQUENCES = f"""
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
    (SELECT d.refobjid::int8 FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass LIMIT 1) AS "table",
    (SELECT coalesce(jsonb_object_agg(q.rolname, q.rights), '{{}}') FROM (
        SELECT r.rolname, jsonb_agg(p.name) AS rights FROM pg_roles AS r
        CROSS JOIN (VALUES ('USAGE'), ('SELECT'), ('UPDATE')) AS p(name)
        WHERE r.rolname = ANY (%(roles)s) AND has_schema_privilege(r.oid, n.oid, 'USAGE')
            AND has_sequence_privilege(r.oid, c.oid, p.name) GROUP BY r.rolname) AS q) AS rights,
    (SELECT coalesce(s.last_value::text, '') FROM pg_sequences AS s
        WHERE s.schemaname = n.nspname AND s.sequencename = c.relname) AS state
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {NOT_SYSTEM}
    AND {_NOT_EXTENSION.format(catalogue="pg_class", oid="c.oid")}
ORDER BY n.nspname, c.relname
"""

DEFAULT_PRIVILEGES = """
SELECT pg_get_userbyid(d.defaclrole) AS owner, coalesce(n.nspname, '') AS schema, d.defaclobjtype::text AS kind,
    CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END AS grantee,
    jsonb_agg(DISTINCT g.privilege_type) AS rights
FROM pg_default_acl AS d LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) AS g
WHERE g.grantee <> d.defaclrole GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""

LARGE_OBJECTS = """
SELECT pg_get_userbyid(m.lomowner) AS owner, count(DISTINCT m.oid)::int AS count,
    coalesce(jsonb_agg(DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END)
        FILTER (WHERE g.grantee IS NOT NULL AND g.grantee <> m.lomowner), '[]') AS grantees
FROM pg_largeobject_metadata AS m LEFT JOIN LATERAL aclexplode(m.lomacl) AS g ON true
GROUP BY m.lomowner ORDER BY 1
"""

CONTEXT_DEFAULTS = """
SELECT coalesce(pg_get_userbyid(nullif(d.setrole, 0))::text, '') AS role, s AS setting
FROM pg_db_role_setting AS d, unnest(d.setconfig) AS s
WHERE d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY 1, 2
"""

PUBLICATIONS = """
SELECT p.pubname AS name, coalesce((SELECT jsonb_agg(t.schemaname || '.' || t.tablename)
    FROM pg_publication_tables AS t WHERE t.pubname = p.pubname), '[]') AS tables
FROM pg_publication AS p ORDER BY p.pubname
"""

OTHER_RIGHTS = """
SELECT r.rolname AS role,
    has_table_privilege(r.oid, 'pg_catalog.pg_statistic', 'SELECT')
        OR has_any_column_privilege(r.oid, 'pg_catalog.pg_statistic', 'SELECT') AS statistics,
    has_database_privilege(r.oid, current_database(), 'CONNECT') AS connect,
    coalesce((SELECT jsonb_agg(n.nspname) FROM pg_namespace AS n WHERE n.nspname !~ '^pg_'
        AND has_schema_privilege(r.oid, n.oid, 'CREATE')), '[]') AS creates
FROM pg_roles AS r WHERE r.rolname = ANY (%(roles)s)
"""
