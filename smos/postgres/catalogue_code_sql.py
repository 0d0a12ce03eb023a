"""What the system catalogues say of functions, types, operators, collations and text search."""

# The texts are assembled from constants of this package and a version number; nothing comes from outside.
# Whole clauses of SQL stay on one line.
# ruff: noqa: E501

from smos.postgres.sql_parts import (
    USER_SCHEMA,
    acl_of,
    digest_of,
    no_member,
    role_name,
    select_of,
    settings_of,
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
    return select_of(
        "CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END",
        "n.nspname, p.proname",
        {
            "owner": role_name("p.proowner"),
            "acl": acl_of("p.proacl", "f", "p.proowner"),
            "language": "l.lanname",
            "arguments": "NULLIF(pg_get_function_arguments(p.oid), '')",
            "result": "pg_get_function_result(p.oid)",
            "body": f"CASE WHEN p.prokind <> 'a' THEN {digest_of(body)} END",
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
            "settings": settings_of("p.proconfig"),
            "aggregate": f"CASE WHEN p.prokind = 'a' THEN jsonb_strip_nulls(jsonb_build_object({aggregate})) END",
        },
        "FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace"
        " JOIN pg_language AS l ON l.oid = p.prolang LEFT JOIN pg_aggregate AS g ON g.aggfnoid = p.oid"
        f" WHERE {USER_SCHEMA} AND {no_member('pg_proc', 'p')}"
        # Constructors of a range type belong to the type.
        " AND NOT EXISTS (SELECT FROM pg_depend AS o WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid"
        " AND o.deptype = 'i')",
        suffix="'(' || oidvectortypes(p.proargtypes) || ')'",
    )


def types(version: int) -> str:
    """Enums, domains, ranges and base types (composite types come with the relations)."""
    multirange = "format_type(r.rngmultitypid, NULL)" if version >= 140000 else "NULL"
    return select_of(
        "'type'",
        "n.nspname, t.typname",
        {
            "owner": role_name("t.typowner"),
            "acl": acl_of("t.typacl", "T", "t.typowner"),
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
        f" AND {USER_SCHEMA} AND {no_member('pg_type', 't')}",
    )


def operators(_version: int) -> str:
    """Operators, operator families and operator classes."""
    member = (
        "(SELECT jsonb_agg(m ORDER BY m) FROM (SELECT ao.amopstrategy || ' ' || ao.amopopr::regoperator::text"
        " FROM pg_amop AS ao WHERE ao.amopfamily = f.oid UNION ALL SELECT ap.amprocnum || ' ' ||"
        " ap.amproc::regprocedure::text FROM pg_amproc AS ap WHERE ap.amprocfamily = f.oid) AS x(m))"
    )
    operator = select_of(
        "'operator'",
        "n.nspname, o.oprname",
        {
            "owner": role_name("o.oprowner"),
            "function": "o.oprcode::regprocedure::text",
            "commutator": "NULLIF(o.oprcom::regoperator::text, '0')",
            "negator": "NULLIF(o.oprnegate::regoperator::text, '0')",
            "restrict": "NULLIF(o.oprrest::regprocedure::text, '-')",
            "join": "NULLIF(o.oprjoin::regprocedure::text, '-')",
            "hashes": "NULLIF(o.oprcanhash, false)",
            "merges": "NULLIF(o.oprcanmerge, false)",
        },
        "FROM pg_operator AS o JOIN pg_namespace AS n ON n.oid = o.oprnamespace"
        f" WHERE {USER_SCHEMA} AND {no_member('pg_operator', 'o')}",
        suffix="'(' || format_type(o.oprleft, NULL) || ',' || format_type(o.oprright, NULL) || ')'",
    )
    family = select_of(
        "'operator-family'",
        "n.nspname, f.opfname",
        {"owner": role_name("f.opfowner"), "members": member},
        "FROM pg_opfamily AS f JOIN pg_namespace AS n ON n.oid = f.opfnamespace JOIN pg_am AS am ON am.oid = f.opfmethod"
        f" WHERE {USER_SCHEMA} AND {no_member('pg_opfamily', 'f')}",
        suffix="' using ' || am.amname",
    )
    opclass = select_of(
        "'operator-class'",
        "n.nspname, o.opcname",
        {
            "owner": role_name("o.opcowner"),
            "family": "(SELECT f.opfname FROM pg_opfamily AS f WHERE f.oid = o.opcfamily)",
            "type": "format_type(o.opcintype, NULL)",
            "key": "CASE WHEN o.opckeytype <> 0 THEN format_type(o.opckeytype, NULL) END",
            "default": "NULLIF(o.opcdefault, false)",
        },
        "FROM pg_opclass AS o JOIN pg_namespace AS n ON n.oid = o.opcnamespace JOIN pg_am AS am ON am.oid = o.opcmethod"
        f" WHERE {USER_SCHEMA} AND {no_member('pg_opclass', 'o')}",
        suffix="' using ' || am.amname",
    )
    return f"{operator} UNION ALL {family} UNION ALL {opclass}"


def text_search(_version: int) -> str:
    """Text search configurations and dictionaries (parsers and templates need a superuser and a C function)."""
    config = select_of(
        "'text-search-configuration'",
        "n.nspname, c.cfgname",
        {
            "owner": role_name("c.cfgowner"),
            "parser": "(SELECT p.prsname FROM pg_ts_parser AS p WHERE p.oid = c.cfgparser)",
            "map": "(SELECT jsonb_agg(m.maptokentype || ' ' || m.mapseqno || ' ' || m.mapdict::regdictionary::text"
            " ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map AS m WHERE m.mapcfg = c.oid)",
        },
        "FROM pg_ts_config AS c JOIN pg_namespace AS n ON n.oid = c.cfgnamespace"
        f" WHERE {USER_SCHEMA} AND {no_member('pg_ts_config', 'c')}",
    )
    dictionary = select_of(
        "'text-search-dictionary'",
        "n.nspname, d.dictname",
        {
            "owner": role_name("d.dictowner"),
            "template": "(SELECT t.tmplname FROM pg_ts_template AS t WHERE t.oid = d.dicttemplate)",
            "options": "d.dictinitoption",
        },
        "FROM pg_ts_dict AS d JOIN pg_namespace AS n ON n.oid = d.dictnamespace"
        f" WHERE {USER_SCHEMA} AND {no_member('pg_ts_dict', 'd')}",
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
    collation = select_of(
        "'collation'",
        "n.nspname, c.collname",
        {
            "owner": role_name("c.collowner"),
            "provider": "c.collprovider::text",
            "nondeterministic": "NULLIF(NOT c.collisdeterministic, false)",
            "collate": "c.collcollate",
            "ctype": "c.collctype",
            "locale": locale,
            "rules": "c.collicurules" if version >= 160000 else "NULL",
        },
        "FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace"
        f" WHERE {USER_SCHEMA} AND {no_member('pg_collation', 'c')}",
    )
    conversion = select_of(
        "'conversion'",
        "n.nspname, c.conname",
        {
            "owner": role_name("c.conowner"),
            "function": "c.conproc::regproc::text",
            "from": "pg_encoding_to_char(c.conforencoding)",
            "to": "pg_encoding_to_char(c.contoencoding)",
            "default": "NULLIF(c.condefault, false)",
        },
        "FROM pg_conversion AS c JOIN pg_namespace AS n ON n.oid = c.connamespace"
        f" WHERE {USER_SCHEMA} AND {no_member('pg_conversion', 'c')}",
    )
    statistics = select_of(
        "'statistics'",
        "n.nspname, s.stxname",
        {
            "owner": role_name("s.stxowner"),
            "definition": "pg_get_statisticsobjdef(s.oid)",
            "target": "NULLIF(s.stxstattarget, -1)",
        },
        "FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = s.stxnamespace"
        f" WHERE {USER_SCHEMA} AND {no_member('pg_statistic_ext', 's')}",
    )
    return f"{collation} UNION ALL {conversion} UNION ALL {statistics}"
