"""What the system catalogues say of tables and what belongs to them."""

# The texts are assembled from constants of this package and a version number; nothing comes from outside.
# Whole clauses of SQL stay on one line.
# ruff: noqa: S608, E501

from smos.postgres.sql_parts import (
    USER_SCHEMA,
    acl_of,
    no_member,
    option_names,
    role_name,
    select_of,
    sorted_array,
)

NOT_NULL = (
    " LEFT JOIN pg_constraint AS k ON k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey[1] = a.attnum"
    " AND a.attnotnull"
)
"""The constraint that makes a column NOT NULL: an object of its own since PostgreSQL 18."""


def relations(version: int) -> str:
    """Tables, views, materialized views, foreign tables and composite types, with their columns."""
    column = {
        "name": "a.attname",
        "type": "format_type(a.atttypid, a.atttypmod)",
        "notnull": "NULLIF(a.attnotnull, false)",
        "default": "pg_get_expr(d.adbin, d.adrelid)",
        "identity": "NULLIF(a.attidentity::text, '')",
        "generated": "NULLIF(a.attgenerated::text, '')",
        "collation": "CASE WHEN a.attcollation <> t.typcollation THEN"
        " (SELECT cn.nspname || '.' || co.collname FROM pg_collation AS co"
        " JOIN pg_namespace AS cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation) END",
        "storage": "CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END",
        "statistics": "NULLIF(a.attstattarget, -1)",
        "options": sorted_array("a.attoptions"),
        "fdw_options": option_names("a.attfdwoptions"),
        "acl": "to_jsonb(a.attacl::text[])",
    }
    if version >= 140000:
        column["compression"] = "NULLIF(a.attcompression::text, '')"
    if version >= 180000:
        column["notnull_not_valid"] = "NULLIF(NOT k.convalidated, false)"
        column["notnull_no_inherit"] = "NULLIF(k.connoinherit, false)"
        # The name that the server itself would give is no fact worth a line.
        column["notnull_name"] = (
            "CASE WHEN k.conname <> concat(ac.relname, '_', a.attname, '_not_null') THEN k.conname END"
        )
    pairs = ", ".join(f"'{name}', {value}" for name, value in column.items())
    columns = (
        f"SELECT a.attrelid, jsonb_agg(jsonb_strip_nulls(jsonb_build_object({pairs})) ORDER BY a.attnum) AS list"
        " FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid"
        " JOIN pg_class AS ac ON ac.oid = a.attrelid AND ac.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')"
        " JOIN pg_namespace AS n ON n.oid = ac.relnamespace"
        " LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        f"{NOT_NULL if version >= 180000 else ''}"
        f" WHERE a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMA} GROUP BY a.attrelid"
    )
    return select_of(
        "CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized-view' WHEN 'f' THEN 'foreign-table'"
        " WHEN 'c' THEN 'type' ELSE 'table' END",
        "n.nspname, c.relname",
        {
            "owner": role_name("c.relowner"),
            "acl": f"CASE WHEN c.relkind <> 'c' THEN {acl_of('c.relacl', 'r', 'c.relowner')} END",
            "category": "CASE WHEN c.relkind = 'c' THEN 'composite' END",
            "partition_key": "CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END",
            "partition_bound": "pg_get_expr(c.relpartbound, c.oid)",
            "inherits": "(SELECT jsonb_agg(pn.nspname || '.' || pc.relname ORDER BY i.inhseqno) FROM pg_inherits AS i"
            " JOIN pg_class AS pc ON pc.oid = i.inhparent JOIN pg_namespace AS pn ON pn.oid = pc.relnamespace"
            " WHERE i.inhrelid = c.oid)",
            "persistence": "NULLIF(c.relpersistence::text, 'p')",
            "options": sorted_array("c.reloptions"),
            "toast_options": "CASE WHEN c.reltoastrelid <> 0 THEN (SELECT "
            + sorted_array("tc.reloptions")
            + " FROM pg_class AS tc WHERE tc.oid = c.reltoastrelid) END",
            "row_security": "NULLIF(c.relrowsecurity, false)",
            "force_row_security": "NULLIF(c.relforcerowsecurity, false)",
            "replica_identity": "CASE WHEN c.relkind IN ('r', 'p') THEN NULLIF(c.relreplident::text, 'd') END",
            "access_method": "(SELECT NULLIF(am.amname, 'heap') FROM pg_am AS am WHERE am.oid = c.relam)",
            "of_type": "CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END",
            "tablespace": "(SELECT ts.spcname FROM pg_tablespace AS ts WHERE ts.oid = c.reltablespace)",
            "definition": "CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END",
            "populated": "CASE WHEN c.relkind = 'm' THEN c.relispopulated END",
            "server": "(SELECT s.srvname FROM pg_foreign_table AS ft JOIN pg_foreign_server AS s ON s.oid = ft.ftserver"
            " WHERE ft.ftrelid = c.oid)",
            "fdw_options": "(SELECT "
            + option_names("ft.ftoptions")
            + " FROM pg_foreign_table AS ft WHERE ft.ftrelid = c.oid)",
            "columns": "coalesce(k.list, '[]')",
        },
        f"FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN ({columns}) AS k"
        " ON k.attrelid = c.oid WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'"
        f" AND {USER_SCHEMA} AND {no_member('pg_class', 'c')}"
        # The row type of a composite type that an extension owns is a member through pg_type.
        " AND (c.relkind <> 'c' OR NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_type'::regclass"
        " AND e.objid = c.reltype AND e.deptype = 'e'))",
    )


def constraints(version: int) -> str:
    """Primary keys, unique, foreign key, check and exclusion constraints, of tables and of domains.

    Foreign keys that a partition has from its parent are left out: the server makes and names them itself.
    """
    enforced = "NULLIF(NOT k.conenforced, false)" if version >= 180000 else "NULL"
    return select_of(
        "'constraint'",
        "n.nspname, coalesce(c.relname, t.typname), k.conname",
        {
            "definition": "regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')",
            "not_valid": "NULLIF(NOT k.convalidated, false)",
            "not_enforced": enforced,
            "triggers_disabled": "(SELECT true FROM pg_trigger AS g WHERE g.tgconstraint = k.oid"
            " AND g.tgenabled = 'D' LIMIT 1)",
        },
        "FROM pg_constraint AS k LEFT JOIN pg_class AS c ON c.oid = k.conrelid"
        " LEFT JOIN pg_type AS t ON t.oid = k.contypid"
        " JOIN pg_namespace AS n ON n.oid = coalesce(c.relnamespace, t.typnamespace)"
        " WHERE k.contype IN ('p', 'u', 'f', 'c', 'x') AND NOT (k.contype = 'f' AND k.conparentid <> 0)"
        f" AND coalesce(c.relpersistence, 'p') <> 't' AND {USER_SCHEMA}"
        f" AND (c.oid IS NULL OR {no_member('pg_class', 'c')}) AND (t.oid IS NULL OR {no_member('pg_type', 't')})",
    )


def indexes(_version: int) -> str:
    """Indexes of tables and materialized views."""
    return select_of(
        "'index'",
        "n.nspname, x.relname",
        {
            "definition": "pg_get_indexdef(i.indexrelid)",
            "invalid": "NULLIF(NOT i.indisvalid, false)",
            "not_ready": "NULLIF(NOT i.indisready, false)",
            "clustered": "NULLIF(i.indisclustered, false)",
            "statistics": "(SELECT jsonb_object_agg(a.attnum, a.attstattarget) FROM pg_attribute AS a"
            " WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0)",
            "replica_identity": "NULLIF(i.indisreplident, false)",
            "tablespace": "(SELECT ts.spcname FROM pg_tablespace AS ts WHERE ts.oid = x.reltablespace)",
        },
        "FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_class AS c ON c.oid = i.indrelid"
        " JOIN pg_namespace AS n ON n.oid = x.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'"
        f" AND {USER_SCHEMA} AND {no_member('pg_class', 'c')}",
    )


def triggers(_version: int) -> str:
    """Triggers that somebody made; those of foreign keys are read with the constraints."""
    return select_of(
        "'trigger'",
        "n.nspname, c.relname, g.tgname",
        {"definition": "pg_get_triggerdef(g.oid)", "enabled": "g.tgenabled::text"},
        "FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        f" WHERE NOT g.tgisinternal AND c.relpersistence <> 't' AND {USER_SCHEMA} AND {no_member('pg_class', 'c')}",
    )


def rules(_version: int) -> str:
    """Rewrite rules, except the ones that views are made of."""
    return select_of(
        "'rule'",
        "n.nspname, c.relname, r.rulename",
        {"definition": "pg_get_ruledef(r.oid)", "enabled": "r.ev_enabled::text"},
        "FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        f" WHERE r.rulename <> '_RETURN' AND {USER_SCHEMA} AND {no_member('pg_class', 'c')}",
    )


def policies(_version: int) -> str:
    """Row security policies, also those on an extension's tables. Role PUBLIC is the empty name."""
    return select_of(
        "'policy'",
        "n.nspname, c.relname, p.polname",
        {
            "command": "p.polcmd::text",
            "restrictive": "NULLIF(NOT p.polpermissive, false)",
            "roles": "(SELECT jsonb_agg(x.role ORDER BY x.role) FROM (SELECT CASE WHEN r = 0 THEN '' ELSE"
            " pg_get_userbyid(r)::text END AS role FROM unnest(p.polroles) AS r) AS x)",
            "using": "pg_get_expr(p.polqual, p.polrelid)",
            "check": "pg_get_expr(p.polwithcheck, p.polrelid)",
        },
        "FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        f" WHERE {USER_SCHEMA}",
    )


def sequences(_version: int) -> str:
    """Sequences: their parameters and the column that owns them, never their position (see fingerprint)."""
    return select_of(
        "'sequence'",
        "n.nspname, c.relname",
        {
            "owner": role_name("c.relowner"),
            "acl": acl_of("c.relacl", "s", "c.relowner"),
            "persistence": "NULLIF(c.relpersistence::text, 'p')",
            "type": "format_type(s.seqtypid, NULL)",
            "start": "s.seqstart",
            "increment": "s.seqincrement",
            "minimum": "s.seqmin",
            "maximum": "s.seqmax",
            "cache": "NULLIF(s.seqcache, 1)",
            "cycle": "NULLIF(s.seqcycle, false)",
            "owned_by": "(SELECT tn.nspname || '.' || tc.relname || '.' || a.attname FROM pg_depend AS d"
            " JOIN pg_class AS tc ON tc.oid = d.refobjid JOIN pg_namespace AS tn ON tn.oid = tc.relnamespace"
            " JOIN pg_attribute AS a ON a.attrelid = tc.oid AND a.attnum = d.refobjsubid"
            " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass"
            " AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') LIMIT 1)",
        },
        "FROM pg_class AS c JOIN pg_sequence AS s ON s.seqrelid = c.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        f" WHERE c.relpersistence <> 't' AND {USER_SCHEMA} AND {no_member('pg_class', 'c')}",
    )
