"""The questions that are asked of PostgreSQL's system catalogues, one set query per kind of object.

Every query returns rows of (kind, name parts text[], suffix text, definition jsonb). No query runs once per
object, none shows an OID, a connection string, an option's value of a foreign server or a function's body.
Servers 13 to 18; columns that a version lacks are left out by its number.

Roles' names are given as they are; access lists as text[] with a NULL list expanded to its default.
"""

# The texts are assembled from constants of this module and a version number; nothing comes from outside.
# Whole clauses of SQL stay on one line.
# ruff: noqa: S608, E501

USER_SCHEMA = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
FIRST_USER_OID = 16384
"""Source: src/include/access/transam.h, FirstNormalObjectId; smaller ones were made by initdb."""


def _no_member(catalog: str, alias: str) -> str:
    """Exclude what belongs to an extension: it is restored by CREATE EXTENSION."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend AS member WHERE member.classid = '{catalog}'::regclass"
        f" AND member.objid = {alias}.oid AND member.deptype = 'e')"
    )


def _acl(column: str, kind: str, owner: str) -> str:
    return f"to_jsonb(coalesce({column}, acldefault('{kind}', {owner}))::text[])"


def _owner(column: str) -> str:
    return f"pg_get_userbyid({column})"


def _sorted(array: str) -> str:
    return f"(SELECT jsonb_agg(o ORDER BY o) FROM unnest({array}) AS o)"


def _option_names(array: str) -> str:
    return f"(SELECT jsonb_agg(split_part(o, '=', 1) ORDER BY o) FROM unnest({array}) AS o)"


def _settings(array: str) -> str:
    """Give settings as `name=value`; a custom one (dot in its name) may hold a key: a short digest of it."""
    return (
        "(SELECT jsonb_agg(CASE WHEN split_part(o, '=', 1) ~ '\\.' THEN split_part(o, '=', 1) || '=sha256:' ||"
        " left(encode(sha256(convert_to(o, getdatabaseencoding())), 'hex'), 8) ELSE o END ORDER BY o)"
        f" FROM unnest({array}) AS o)"
    )


def _digest(text: str) -> str:
    return f"left(encode(sha256(convert_to({text}, getdatabaseencoding())), 'hex'), 32)"


def _select(kind: str, parts: str, definition: dict[str, str], rest: str, suffix: str = "''") -> str:
    pairs = ", ".join(f"'{name}', {value}" for name, value in definition.items())
    return (
        f"SELECT {kind} AS kind, ARRAY[{parts}]::text[] AS parts, {suffix} AS suffix,"
        f" jsonb_strip_nulls(jsonb_build_object({pairs})) AS definition {rest}"
    )


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
        "options": _sorted("a.attoptions"),
        "fdw_options": _option_names("a.attfdwoptions"),
        "acl": "to_jsonb(a.attacl::text[])",
    }
    if version >= 140000:
        column["compression"] = "NULLIF(a.attcompression::text, '')"
    if version >= 180000:
        column["notnull_not_valid"] = (
            "(SELECT true FROM pg_constraint AS k WHERE k.conrelid = a.attrelid AND k.contype = 'n'"
            " AND k.conkey[1] = a.attnum AND a.attnotnull AND NOT k.convalidated)"
        )
    pairs = ", ".join(f"'{name}', {value}" for name, value in column.items())
    columns = (
        f"SELECT a.attrelid, jsonb_agg(jsonb_strip_nulls(jsonb_build_object({pairs})) ORDER BY a.attnum) AS list"
        " FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid"
        " JOIN pg_class AS ac ON ac.oid = a.attrelid AND ac.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')"
        " JOIN pg_namespace AS n ON n.oid = ac.relnamespace"
        " LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        f" WHERE a.attnum > 0 AND NOT a.attisdropped AND {USER_SCHEMA} GROUP BY a.attrelid"
    )
    return _select(
        "CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized-view' WHEN 'f' THEN 'foreign-table'"
        " WHEN 'c' THEN 'type' ELSE 'table' END",
        "n.nspname, c.relname",
        {
            "owner": _owner("c.relowner"),
            "acl": f"CASE WHEN c.relkind <> 'c' THEN {_acl('c.relacl', 'r', 'c.relowner')} END",
            "category": "CASE WHEN c.relkind = 'c' THEN 'composite' END",
            "partition_key": "CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END",
            "partition_bound": "pg_get_expr(c.relpartbound, c.oid)",
            "inherits": "(SELECT jsonb_agg(pn.nspname || '.' || pc.relname ORDER BY i.inhseqno) FROM pg_inherits AS i"
            " JOIN pg_class AS pc ON pc.oid = i.inhparent JOIN pg_namespace AS pn ON pn.oid = pc.relnamespace"
            " WHERE i.inhrelid = c.oid)",
            "persistence": "NULLIF(c.relpersistence::text, 'p')",
            "options": _sorted("c.reloptions"),
            "toast_options": "CASE WHEN c.reltoastrelid <> 0 THEN (SELECT "
            + _sorted("tc.reloptions")
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
            + _option_names("ft.ftoptions")
            + " FROM pg_foreign_table AS ft WHERE ft.ftrelid = c.oid)",
            "columns": "coalesce(k.list, '[]')",
        },
        f"FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN ({columns}) AS k"
        " ON k.attrelid = c.oid WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'"
        f" AND {USER_SCHEMA} AND {_no_member('pg_class', 'c')}"
        # The row type of a composite type that an extension owns is a member through pg_type.
        " AND (c.relkind <> 'c' OR NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_type'::regclass"
        " AND e.objid = c.reltype AND e.deptype = 'e'))",
    )


def constraints(version: int) -> str:
    """Primary keys, unique, foreign key, check and exclusion constraints, of tables and of domains.

    Foreign keys that a partition has from its parent are left out: the server makes and names them itself.
    """
    enforced = "NULLIF(NOT k.conenforced, false)" if version >= 180000 else "NULL"
    return _select(
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
        f" AND (c.oid IS NULL OR {_no_member('pg_class', 'c')}) AND (t.oid IS NULL OR {_no_member('pg_type', 't')})",
    )


def indexes(_version: int) -> str:
    """Indexes of tables and materialized views."""
    return _select(
        "'index'",
        "n.nspname, x.relname",
        {
            "definition": "pg_get_indexdef(i.indexrelid)",
            "invalid": "NULLIF(NOT i.indisvalid, false)",
            "not_ready": "NULLIF(NOT i.indisready, false)",
            "clustered": "NULLIF(i.indisclustered, false)",
            "replica_identity": "NULLIF(i.indisreplident, false)",
            "tablespace": "(SELECT ts.spcname FROM pg_tablespace AS ts WHERE ts.oid = x.reltablespace)",
        },
        "FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid JOIN pg_class AS c ON c.oid = i.indrelid"
        " JOIN pg_namespace AS n ON n.oid = x.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'"
        f" AND {USER_SCHEMA} AND {_no_member('pg_class', 'c')}",
    )


def functions(version: int) -> str:
    """Functions, procedures and aggregates. Bodies are digests: they may hold secrets."""
    body = "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)" if version >= 140000 else "p.prosrc"
    aggregate = ", ".join(
        f"'{name}', {value}"
        for name, value in {
            "kind": "NULLIF(g.aggkind::text, 'n')",
            "transition": "NULLIF(g.aggtransfn::regprocedure::text, '-')",
            "final": "NULLIF(g.aggfinalfn::regprocedure::text, '-')",
            "combine": "NULLIF(g.aggcombinefn::regprocedure::text, '-')",
            "serial": "NULLIF(g.aggserialfn::regprocedure::text, '-')",
            "moving": "NULLIF(g.aggmtransfn::regprocedure::text, '-')",
            "sort": "NULLIF(g.aggsortop::regoperator::text, '0')",
            "state": "format_type(g.aggtranstype, NULL)",
            "initial": "g.agginitval",
        }.items()
    )
    return _select(
        "CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END",
        "n.nspname, p.proname",
        {
            "owner": _owner("p.proowner"),
            "acl": _acl("p.proacl", "f", "p.proowner"),
            "language": "l.lanname",
            "arguments": "NULLIF(pg_get_function_arguments(p.oid), '')",
            "result": "pg_get_function_result(p.oid)",
            "body": f"CASE WHEN p.prokind <> 'a' THEN {_digest(body)} END",
            "library": "p.probin",
            "window": "CASE WHEN p.prokind = 'w' THEN true END",
            "security_definer": "NULLIF(p.prosecdef, false)",
            "leakproof": "NULLIF(p.proleakproof, false)",
            "strict": "NULLIF(p.proisstrict, false)",
            "volatility": "p.provolatile::text",
            "parallel": "NULLIF(p.proparallel::text, 'u')",
            "cost": "CASE WHEN p.prokind <> 'a' THEN p.procost END",
            "rows": "NULLIF(p.prorows, 0)",
            "support": "NULLIF(p.prosupport::regprocedure::text, '-')",
            "settings": _settings("p.proconfig"),
            "aggregate": f"CASE WHEN p.prokind = 'a' THEN jsonb_strip_nulls(jsonb_build_object({aggregate})) END",
        },
        "FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace"
        " JOIN pg_language AS l ON l.oid = p.prolang LEFT JOIN pg_aggregate AS g ON g.aggfnoid = p.oid"
        f" WHERE {USER_SCHEMA} AND {_no_member('pg_proc', 'p')}"
        # Constructors of a range type belong to the type.
        " AND NOT EXISTS (SELECT FROM pg_depend AS o WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid"
        " AND o.deptype = 'i')",
        suffix="'(' || oidvectortypes(p.proargtypes) || ')'",
    )


def triggers(_version: int) -> str:
    """Triggers that somebody made; those of foreign keys are read with the constraints."""
    return _select(
        "'trigger'",
        "n.nspname, c.relname, g.tgname",
        {"definition": "pg_get_triggerdef(g.oid)", "enabled": "g.tgenabled::text"},
        "FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        f" WHERE NOT g.tgisinternal AND c.relpersistence <> 't' AND {USER_SCHEMA} AND {_no_member('pg_class', 'c')}",
    )


def rules(_version: int) -> str:
    """Rewrite rules, except the ones that views are made of."""
    return _select(
        "'rule'",
        "n.nspname, c.relname, r.rulename",
        {"definition": "pg_get_ruledef(r.oid)", "enabled": "r.ev_enabled::text"},
        "FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        f" WHERE r.rulename <> '_RETURN' AND {USER_SCHEMA} AND {_no_member('pg_class', 'c')}",
    )


def policies(_version: int) -> str:
    """Row security policies, also those on an extension's tables. Role PUBLIC is the empty name."""
    return _select(
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
    return _select(
        "'sequence'",
        "n.nspname, c.relname",
        {
            "owner": _owner("c.relowner"),
            "acl": _acl("c.relacl", "s", "c.relowner"),
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
        f" WHERE c.relpersistence <> 't' AND {USER_SCHEMA} AND {_no_member('pg_class', 'c')}",
    )


def types(version: int) -> str:
    """Enums, domains, ranges and base types (composite types come with the relations)."""
    multirange = "format_type(r.rngmultitypid, NULL)" if version >= 140000 else "NULL"
    return _select(
        "'type'",
        "n.nspname, t.typname",
        {
            "owner": _owner("t.typowner"),
            "acl": _acl("t.typacl", "T", "t.typowner"),
            "category": "CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range' ELSE 'base' END",
            "labels": "(SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid)",
            "base": "CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END",
            "default": "t.typdefault",
            "notnull": "NULLIF(t.typnotnull, false)",
            "collation": "CASE WHEN t.typtype = 'd' AND t.typcollation <> b.typcollation THEN (SELECT co.collname"
            " FROM pg_collation AS co WHERE co.oid = t.typcollation) END",
            "subtype": "format_type(r.rngsubtype, NULL)",
            "subtype_opclass": "(SELECT oc.opcname FROM pg_opclass AS oc WHERE oc.oid = r.rngsubopc)",
            "canonical": "NULLIF(r.rngcanonical::regprocedure::text, '-')",
            "difference": "NULLIF(r.rngsubdiff::regprocedure::text, '-')",
            "multirange": multirange,
            "input": "CASE WHEN t.typtype = 'b' THEN t.typinput::regprocedure::text END",
            "output": "CASE WHEN t.typtype = 'b' THEN t.typoutput::regprocedure::text END",
            "length": "CASE WHEN t.typtype = 'b' THEN t.typlen END",
        },
        "FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace LEFT JOIN pg_range AS r ON r.rngtypid = t.oid"
        " LEFT JOIN pg_type AS b ON b.oid = t.typbasetype"
        " WHERE t.typtype IN ('e', 'd', 'r', 'b') AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.typarray = t.oid)"
        f" AND {USER_SCHEMA} AND {_no_member('pg_type', 't')}",
    )


def operators(_version: int) -> str:
    """Operators, operator families and operator classes."""
    member = (
        "(SELECT jsonb_agg(m ORDER BY m) FROM (SELECT ao.amopstrategy || ' ' || ao.amopopr::regoperator::text"
        " FROM pg_amop AS ao WHERE ao.amopfamily = f.oid UNION ALL SELECT ap.amprocnum || ' ' ||"
        " ap.amproc::regprocedure::text FROM pg_amproc AS ap WHERE ap.amprocfamily = f.oid) AS x(m))"
    )
    operator = _select(
        "'operator'",
        "n.nspname, o.oprname",
        {
            "owner": _owner("o.oprowner"),
            "function": "o.oprcode::regprocedure::text",
            "commutator": "NULLIF(o.oprcom::regoperator::text, '0')",
            "negator": "NULLIF(o.oprnegate::regoperator::text, '0')",
            "restrict": "NULLIF(o.oprrest::regprocedure::text, '-')",
            "join": "NULLIF(o.oprjoin::regprocedure::text, '-')",
            "hashes": "NULLIF(o.oprcanhash, false)",
            "merges": "NULLIF(o.oprcanmerge, false)",
        },
        "FROM pg_operator AS o JOIN pg_namespace AS n ON n.oid = o.oprnamespace"
        f" WHERE {USER_SCHEMA} AND {_no_member('pg_operator', 'o')}",
        suffix="'(' || format_type(o.oprleft, NULL) || ',' || format_type(o.oprright, NULL) || ')'",
    )
    family = _select(
        "'operator-family'",
        "n.nspname, f.opfname",
        {"owner": _owner("f.opfowner"), "members": member},
        "FROM pg_opfamily AS f JOIN pg_namespace AS n ON n.oid = f.opfnamespace JOIN pg_am AS am ON am.oid = f.opfmethod"
        f" WHERE {USER_SCHEMA} AND {_no_member('pg_opfamily', 'f')}",
        suffix="' using ' || am.amname",
    )
    opclass = _select(
        "'operator-class'",
        "n.nspname, o.opcname",
        {
            "owner": _owner("o.opcowner"),
            "family": "(SELECT f.opfname FROM pg_opfamily AS f WHERE f.oid = o.opcfamily)",
            "type": "format_type(o.opcintype, NULL)",
            "key": "CASE WHEN o.opckeytype <> 0 THEN format_type(o.opckeytype, NULL) END",
            "default": "NULLIF(o.opcdefault, false)",
        },
        "FROM pg_opclass AS o JOIN pg_namespace AS n ON n.oid = o.opcnamespace JOIN pg_am AS am ON am.oid = o.opcmethod"
        f" WHERE {USER_SCHEMA} AND {_no_member('pg_opclass', 'o')}",
        suffix="' using ' || am.amname",
    )
    return f"{operator} UNION ALL {family} UNION ALL {opclass}"


def text_search(_version: int) -> str:
    """Text search configurations and dictionaries (parsers and templates need a superuser and a C function)."""
    config = _select(
        "'text-search-configuration'",
        "n.nspname, c.cfgname",
        {
            "owner": _owner("c.cfgowner"),
            "parser": "(SELECT p.prsname FROM pg_ts_parser AS p WHERE p.oid = c.cfgparser)",
            "map": "(SELECT jsonb_agg(m.maptokentype || ' ' || m.mapseqno || ' ' || m.mapdict::regdictionary::text"
            " ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map AS m WHERE m.mapcfg = c.oid)",
        },
        "FROM pg_ts_config AS c JOIN pg_namespace AS n ON n.oid = c.cfgnamespace"
        f" WHERE {USER_SCHEMA} AND {_no_member('pg_ts_config', 'c')}",
    )
    dictionary = _select(
        "'text-search-dictionary'",
        "n.nspname, d.dictname",
        {
            "owner": _owner("d.dictowner"),
            "template": "(SELECT t.tmplname FROM pg_ts_template AS t WHERE t.oid = d.dicttemplate)",
            "options": "d.dictinitoption",
        },
        "FROM pg_ts_dict AS d JOIN pg_namespace AS n ON n.oid = d.dictnamespace"
        f" WHERE {USER_SCHEMA} AND {_no_member('pg_ts_dict', 'd')}",
    )
    return f"{config} UNION ALL {dictionary}"


def collations(version: int) -> str:
    """Collations, conversions and extended statistics."""
    if version >= 170000:
        locale = "c.colllocale"
    elif version >= 150000:
        locale = "c.colliculocale"
    else:
        locale = "NULL::text"
    collation = _select(
        "'collation'",
        "n.nspname, c.collname",
        {
            "owner": _owner("c.collowner"),
            "provider": "c.collprovider::text",
            "nondeterministic": "NULLIF(NOT c.collisdeterministic, false)",
            "collate": "c.collcollate",
            "ctype": "c.collctype",
            "locale": locale,
            "rules": "c.collicurules" if version >= 160000 else "NULL",
        },
        "FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace"
        f" WHERE {USER_SCHEMA} AND {_no_member('pg_collation', 'c')}",
    )
    conversion = _select(
        "'conversion'",
        "n.nspname, c.conname",
        {
            "owner": _owner("c.conowner"),
            "function": "c.conproc::regproc::text",
            "from": "pg_encoding_to_char(c.conforencoding)",
            "to": "pg_encoding_to_char(c.contoencoding)",
            "default": "NULLIF(c.condefault, false)",
        },
        "FROM pg_conversion AS c JOIN pg_namespace AS n ON n.oid = c.connamespace"
        f" WHERE {USER_SCHEMA} AND {_no_member('pg_conversion', 'c')}",
    )
    statistics = _select(
        "'statistics'",
        "n.nspname, s.stxname",
        {
            "owner": _owner("s.stxowner"),
            "definition": "pg_get_statisticsobjdef(s.oid)",
            "target": "NULLIF(s.stxstattarget, -1)",
        },
        "FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = s.stxnamespace"
        f" WHERE {USER_SCHEMA} AND {_no_member('pg_statistic_ext', 's')}",
    )
    return f"{collation} UNION ALL {conversion} UNION ALL {statistics}"


def global_objects(_version: int) -> str:
    """Read what lives in no schema: schemas, extensions, languages, casts, access methods, transforms, event triggers."""
    user = f"{{alias}}.oid >= {FIRST_USER_OID}"
    parts = [
        _select(
            "'schema'",
            "n.nspname",
            {"owner": _owner("n.nspowner"), "acl": _acl("n.nspacl", "n", "n.nspowner")},
            f"FROM pg_namespace AS n WHERE {USER_SCHEMA} AND {_no_member('pg_namespace', 'n')}",
        ),
        _select(
            "'extension'",
            "x.extname",
            {
                "version": "x.extversion",
                "schema": "(SELECT n.nspname FROM pg_namespace AS n WHERE n.oid = x.extnamespace)",
            },
            "FROM pg_extension AS x",
        ),
        _select(
            "'language'",
            "l.lanname",
            {
                "owner": _owner("l.lanowner"),
                "acl": _acl("l.lanacl", "l", "l.lanowner"),
                "trusted": "l.lanpltrusted",
                "handler": "l.lanplcallfoid::regprocedure::text",
            },
            f"FROM pg_language AS l WHERE {user.format(alias='l')} AND {_no_member('pg_language', 'l')}",
        ),
        _select(
            "'cast'",
            "",
            {
                "function": "NULLIF(c.castfunc::regprocedure::text, '-')",
                "context": "c.castcontext::text",
                "method": "c.castmethod::text",
            },
            # Those between a range and its multirange come with the type.
            f"FROM pg_cast AS c WHERE {user.format(alias='c')} AND {_no_member('pg_cast', 'c')}"
            " AND NOT EXISTS (SELECT FROM pg_depend AS i WHERE i.classid = 'pg_cast'::regclass AND i.objid = c.oid"
            " AND i.deptype = 'i')",
            suffix="format_type(c.castsource, NULL) || ' as ' || format_type(c.casttarget, NULL)",
        ),
        _select(
            "'access-method'",
            "a.amname",
            {"handler": "a.amhandler::regprocedure::text", "type": "a.amtype::text"},
            f"FROM pg_am AS a WHERE {user.format(alias='a')} AND {_no_member('pg_am', 'a')}",
        ),
        _select(
            "'transform'",
            "format_type(t.trftype, NULL), l.lanname",
            {"from_sql": "t.trffromsql::regprocedure::text", "to_sql": "t.trftosql::regprocedure::text"},
            "FROM pg_transform AS t JOIN pg_language AS l ON l.oid = t.trflang"
            f" WHERE {user.format(alias='t')} AND {_no_member('pg_transform', 't')}",
        ),
        _select(
            "'event-trigger'",
            "e.evtname",
            {
                "owner": _owner("e.evtowner"),
                "event": "e.evtevent",
                "tags": _sorted("e.evttags"),
                "function": "e.evtfoid::regprocedure::text",
                "enabled": "e.evtenabled::text",
            },
            f"FROM pg_event_trigger AS e WHERE {_no_member('pg_event_trigger', 'e')}",
        ),
    ]
    return " UNION ALL ".join(parts)


def foreign_data(_version: int) -> str:
    """Foreign data wrappers, servers and user mappings: names of options, never values."""
    parts = [
        _select(
            "'foreign-data-wrapper'",
            "w.fdwname",
            {
                "owner": _owner("w.fdwowner"),
                "acl": _acl("w.fdwacl", "F", "w.fdwowner"),
                "handler": "NULLIF(w.fdwhandler::regprocedure::text, '-')",
                "options": _option_names("w.fdwoptions"),
            },
            f"FROM pg_foreign_data_wrapper AS w WHERE {_no_member('pg_foreign_data_wrapper', 'w')}",
        ),
        _select(
            "'foreign-server'",
            "s.srvname",
            {
                "owner": _owner("s.srvowner"),
                "acl": _acl("s.srvacl", "S", "s.srvowner"),
                "wrapper": "(SELECT w.fdwname FROM pg_foreign_data_wrapper AS w WHERE w.oid = s.srvfdw)",
                "type": "s.srvtype",
                "version": "s.srvversion",
                "options": _option_names("s.srvoptions"),
            },
            f"FROM pg_foreign_server AS s WHERE {_no_member('pg_foreign_server', 's')}",
        ),
        _select(
            "'user-mapping'",
            "u.usename, u.srvname",
            {"options": _option_names("u.umoptions")},
            "FROM pg_user_mappings AS u",
        ),
    ]
    return " UNION ALL ".join(parts)


def replication(version: int) -> str:
    """Publications and subscriptions; never a subscription's connection string."""
    row_filter = "' WHERE ' || pg_get_expr(r.prqual, r.prrelid)" if version >= 150000 else "NULL"
    attributes = (
        "' (' || (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute AS a"
        " WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)) || ')'"
        if version >= 150000
        else "NULL"
    )
    schemas = (
        "(SELECT jsonb_agg(n.nspname ORDER BY n.nspname) FROM pg_publication_namespace AS pn"
        " JOIN pg_namespace AS n ON n.oid = pn.pnnspid WHERE pn.pnpubid = p.oid)"
        if version >= 150000
        else "NULL"
    )
    publication = _select(
        "'publication'",
        "p.pubname",
        {
            "owner": _owner("p.pubowner"),
            "all_tables": "NULLIF(p.puballtables, false)",
            "actions": "concat(CASE WHEN p.pubinsert THEN 'i' END, CASE WHEN p.pubupdate THEN 'u' END,"
            " CASE WHEN p.pubdelete THEN 'd' END, CASE WHEN p.pubtruncate THEN 't' END)",
            "via_root": "NULLIF(p.pubviaroot, false)",
            "tables": "(SELECT jsonb_agg(concat(n.nspname, '.', c.relname, "
            f"{attributes}, {row_filter}) ORDER BY n.nspname, c.relname)"
            " FROM pg_publication_rel AS r JOIN pg_class AS c ON c.oid = r.prrelid"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid)",
            "schemas": schemas,
        },
        f"FROM pg_publication AS p WHERE {_no_member('pg_publication', 'p')}",
    )
    subscription = _select(
        "'subscription'",
        "s.subname",
        {
            "owner": _owner("s.subowner"),
            "enabled": "s.subenabled",
            "slot": "s.subslotname",
            "publications": _sorted("s.subpublications"),
        },
        "FROM pg_subscription AS s WHERE s.subdbid = (SELECT d.oid FROM pg_database AS d"
        " WHERE d.datname = current_database())",
    )
    return f"{publication} UNION ALL {subscription}"


def default_privileges(_version: int) -> str:
    """ALTER DEFAULT PRIVILEGES: parts are (role, schema or empty, object type)."""
    return _select(
        "'default-privileges'",
        "pg_get_userbyid(d.defaclrole), coalesce(n.nspname, ''), d.defaclobjtype::text",
        {"acl": "to_jsonb(d.defaclacl::text[])"},
        "FROM pg_default_acl AS d LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace",
    )


def comments(_version: int) -> str:
    """Comments, as digests (they may say anything); those that initdb or an extension wrote are left out."""
    identity = "pg_identify_object(d.classoid, d.objoid, d.objsubid)"
    database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    return (
        "SELECT 'comment' AS kind, ARRAY[i.type]::text[] AS parts,"
        " ' ' || i.identity AS suffix, jsonb_build_object('text', "
        f"{_digest('d.description')}) AS definition FROM pg_description AS d, LATERAL {identity} AS i"
        f" WHERE (d.objoid >= {FIRST_USER_OID} OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = (SELECT oid"
        " FROM pg_namespace WHERE nspname = 'public') AND d.description <> 'standard public schema'))"
        " AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = d.classoid AND e.objid = d.objoid"
        " AND e.deptype = 'e') AND i.identity !~ '^pg_temp'"
        " UNION ALL SELECT 'comment', ARRAY['database'], '', jsonb_build_object('text', "
        f"{_digest('s.description')}) FROM pg_shdescription AS s"
        f" WHERE s.classoid = 'pg_database'::regclass AND s.objoid = {database}"
        # What initdb says about its own three databases.
        " AND s.description NOT IN ('default administrative connection database',"
        " 'unmodifiable empty database', 'default template for new databases')"
    )


def security_labels(_version: int) -> str:
    """Security labels of objects of this database."""
    return (
        "SELECT 'security-label' AS kind, ARRAY[i.type]::text[] AS parts,"
        " ' ' || i.identity || ' for ' || s.provider AS suffix, jsonb_build_object('label', s.label) AS definition"
        " FROM pg_seclabel AS s, LATERAL pg_identify_object(s.classoid, s.objoid, s.objsubid) AS i"
    )


def changed_privileges(_version: int) -> str:
    """Access lists of what initdb or an extension made, where somebody changed them afterwards (pg_init_privs)."""
    catalogs = [
        ("pg_class", "relacl", "relowner", "CASE WHEN o.relkind = 'S' THEN 's' ELSE 'r' END::\"char\""),
        ("pg_proc", "proacl", "proowner", "'f'"),
        ("pg_type", "typacl", "typowner", "'T'"),
        ("pg_language", "lanacl", "lanowner", "'l'"),
        ("pg_foreign_data_wrapper", "fdwacl", "fdwowner", "'F'"),
        ("pg_namespace", "nspacl", "nspowner", "'n'"),
    ]
    parts = []
    for catalog, acl, owner, kind in catalogs:
        skip = (
            f" AND NOT (o.oid < {FIRST_USER_OID} AND o.nspname = 'public')"
            if catalog == "pg_namespace"
            else ""
        )
        if catalog == "pg_namespace":
            skip += " AND o.nspname !~ '^pg_(toast|temp)'"
        parts.append(
            "SELECT 'privileges' AS kind, ARRAY[i.type]::text[] AS parts, ' ' || i.identity AS suffix,"
            f" jsonb_build_object('acl', to_jsonb(o.{acl}::text[]), 'owner', {_owner(f'o.{owner}')}) AS definition"
            f" FROM {catalog} AS o"
            f" LEFT JOIN pg_init_privs AS p ON p.objoid = o.oid AND p.classoid = '{catalog}'::regclass"
            f" AND p.objsubid = 0, LATERAL pg_identify_object('{catalog}'::regclass, o.oid, 0) AS i,"
            f" LATERAL (SELECT o.{acl}::text[] AS now,"
            f" coalesce(p.initprivs, acldefault({kind}, o.{owner}))::text[] AS before) AS x"
            f" WHERE o.{acl} IS NOT NULL AND NOT (x.now @> x.before AND x.now <@ x.before)"
            # pg_dump does not look into information_schema either: initdb keeps no record of its privileges.
            " AND i.schema IS DISTINCT FROM 'information_schema' AND i.identity <> 'information_schema'"
            f" AND (o.oid < {FIRST_USER_OID} OR EXISTS (SELECT FROM pg_depend AS e WHERE"
            f" e.classid = '{catalog}'::regclass AND e.objid = o.oid AND e.deptype = 'e')){skip}"
        )
    parts.append(
        "SELECT 'privileges', ARRAY['column'], ' ' || i.identity, jsonb_build_object('acl', to_jsonb(a.attacl::text[]),"
        " 'owner', pg_get_userbyid(c.relowner)) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid LEFT JOIN pg_init_privs AS p ON p.objoid = a.attrelid"
        " AND p.classoid = 'pg_class'::regclass AND p.objsubid = a.attnum,"
        " LATERAL pg_identify_object('pg_class'::regclass, a.attrelid, a.attnum) AS i"
        " WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND i.schema IS DISTINCT FROM 'information_schema'"
        " AND NOT (a.attacl::text[] @> coalesce(p.initprivs, '{}')::text[]"
        " AND a.attacl::text[] <@ coalesce(p.initprivs, '{}')::text[])"
        f" AND (a.attrelid < {FIRST_USER_OID} OR EXISTS (SELECT FROM pg_depend AS e WHERE"
        " e.classid = 'pg_class'::regclass AND e.objid = a.attrelid AND e.deptype = 'e'))"
    )
    return " UNION ALL ".join(parts)


def large_objects(_version: int) -> str:
    """Large objects, grouped by owner and access list: their number, and an order-independent hash of their OIDs."""
    return (
        "SELECT 'large-objects' AS kind, ARRAY[pg_get_userbyid(m.lomowner)]::text[] AS parts,"
        " ' ' || md5(coalesce(m.lomacl, acldefault('L', m.lomowner))::text) AS suffix,"
        f" jsonb_build_object('owner', {_owner('m.lomowner')}, 'acl', {_acl('m.lomacl', 'L', 'm.lomowner')},"
        " 'count', count(*), 'oids', sum(hashtextextended(m.oid::text COLLATE \"C\", 0))::text) AS definition"
        " FROM pg_largeobject_metadata AS m GROUP BY m.lomowner, m.lomacl"
    )


def database(version: int) -> str:
    """Read the database itself and its settings. Its name is not part of it: it may come back under another one."""
    if version >= 170000:
        locale = "d.datlocale"
    elif version >= 150000:
        locale = "d.daticulocale"
    else:
        locale = "NULL::text"
    itself = _select(
        "'database'",
        "''",
        {
            "owner": _owner("d.datdba"),
            "acl": _acl("d.datacl", "d", "d.datdba"),
            "encoding": "pg_encoding_to_char(d.encoding)",
            "collate": "d.datcollate",
            "ctype": "d.datctype",
            "provider": "d.datlocprovider::text" if version >= 150000 else "'c'",
            "locale": locale,
            "rules": "d.daticurules" if version >= 160000 else "NULL",
            "collation_version": "d.datcollversion" if version >= 150000 else "NULL",
            "connection_limit": "NULLIF(d.datconnlimit, -1)",
            "template": "NULLIF(d.datistemplate, false)",
            "tablespace": "(SELECT NULLIF(ts.spcname, 'pg_default') FROM pg_tablespace AS ts WHERE ts.oid = d.dattablespace)",
        },
        "FROM pg_database AS d WHERE d.datname = current_database()",
    )
    settings = _select(
        "'setting'",
        "CASE WHEN s.setrole = 0 THEN '' ELSE pg_get_userbyid(s.setrole) END",
        {"values": _settings("s.setconfig")},
        "FROM pg_db_role_setting AS s WHERE s.setdatabase ="
        " (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())",
    )
    return f"{itself} UNION ALL {settings}"


QUERIES = (
    relations,
    constraints,
    indexes,
    functions,
    triggers,
    rules,
    policies,
    sequences,
    types,
    operators,
    text_search,
    collations,
    global_objects,
    foreign_data,
    replication,
    default_privileges,
    comments,
    security_labels,
    changed_privileges,
    large_objects,
    database,
)
