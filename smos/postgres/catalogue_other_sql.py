"""What the system catalogues say of the database itself, its privileges, extensions and outside links."""

# The texts are assembled from constants of this package and a version number; nothing comes from outside.
# Whole clauses of SQL stay on one line.
# ruff: noqa: S608, E501

from smos.postgres.sql_parts import (
    FIRST_USER_OID,
    USER_SCHEMA,
    acl_of,
    digest_of,
    no_member,
    option_names,
    role_name,
    select_of,
    settings_of,
    sorted_array,
)


def global_objects(_version: int) -> str:
    """Read what lives in no schema: schemas, extensions, languages, casts, access methods, transforms, event triggers."""
    user = f"{{alias}}.oid >= {FIRST_USER_OID}"
    parts = [
        select_of(
            "'schema'",
            "n.nspname",
            {"owner": role_name("n.nspowner"), "acl": acl_of("n.nspacl", "n", "n.nspowner")},
            f"FROM pg_namespace AS n WHERE {USER_SCHEMA} AND {no_member('pg_namespace', 'n')}",
        ),
        select_of(
            "'extension'",
            "x.extname",
            {
                "version": "x.extversion",
                "schema": "(SELECT n.nspname FROM pg_namespace AS n WHERE n.oid = x.extnamespace)",
            },
            "FROM pg_extension AS x",
        ),
        select_of(
            "'language'",
            "l.lanname",
            {
                "owner": role_name("l.lanowner"),
                "acl": acl_of("l.lanacl", "l", "l.lanowner"),
                "trusted": "l.lanpltrusted",
                "handler": "l.lanplcallfoid::regprocedure::text",
            },
            f"FROM pg_language AS l WHERE {user.format(alias='l')} AND {no_member('pg_language', 'l')}",
        ),
        select_of(
            "'cast'",
            "",
            {
                "function": "NULLIF(c.castfunc::regprocedure::text, '-')",
                "context": "c.castcontext::text",
                "method": "c.castmethod::text",
            },
            # Those between a range and its multirange come with the type.
            f"FROM pg_cast AS c WHERE {user.format(alias='c')} AND {no_member('pg_cast', 'c')}"
            " AND NOT EXISTS (SELECT FROM pg_depend AS i WHERE i.classid = 'pg_cast'::regclass AND i.objid = c.oid"
            " AND i.deptype = 'i')",
            suffix="format_type(c.castsource, NULL) || ' as ' || format_type(c.casttarget, NULL)",
        ),
        select_of(
            "'access-method'",
            "a.amname",
            {"handler": "a.amhandler::regprocedure::text", "type": "a.amtype::text"},
            f"FROM pg_am AS a WHERE {user.format(alias='a')} AND {no_member('pg_am', 'a')}",
        ),
        select_of(
            "'transform'",
            "format_type(t.trftype, NULL), l.lanname",
            {"from_sql": "t.trffromsql::regprocedure::text", "to_sql": "t.trftosql::regprocedure::text"},
            "FROM pg_transform AS t JOIN pg_language AS l ON l.oid = t.trflang"
            f" WHERE {user.format(alias='t')} AND {no_member('pg_transform', 't')}",
        ),
        select_of(
            "'event-trigger'",
            "e.evtname",
            {
                "owner": role_name("e.evtowner"),
                "event": "e.evtevent",
                "tags": sorted_array("e.evttags"),
                "function": "e.evtfoid::regprocedure::text",
                "enabled": "e.evtenabled::text",
            },
            f"FROM pg_event_trigger AS e WHERE {no_member('pg_event_trigger', 'e')}",
        ),
    ]
    return " UNION ALL ".join(parts)


def foreign_data(_version: int) -> str:
    """Foreign data wrappers and servers: names of options, never values."""
    parts = [
        select_of(
            "'foreign-data-wrapper'",
            "w.fdwname",
            {
                "owner": role_name("w.fdwowner"),
                "acl": acl_of("w.fdwacl", "F", "w.fdwowner"),
                "handler": "NULLIF(w.fdwhandler::regprocedure::text, '-')",
                "options": option_names("w.fdwoptions"),
            },
            f"FROM pg_foreign_data_wrapper AS w WHERE {no_member('pg_foreign_data_wrapper', 'w')}",
        ),
        select_of(
            "'foreign-server'",
            "s.srvname",
            {
                "owner": role_name("s.srvowner"),
                "acl": acl_of("s.srvacl", "S", "s.srvowner"),
                "wrapper": "(SELECT w.fdwname FROM pg_foreign_data_wrapper AS w WHERE w.oid = s.srvfdw)",
                "type": "s.srvtype",
                "version": "s.srvversion",
                "options": option_names("s.srvoptions"),
            },
            f"FROM pg_foreign_server AS s WHERE {no_member('pg_foreign_server', 's')}",
        ),
    ]
    return " UNION ALL ".join(parts)


def user_mappings(*, readable: bool) -> str:
    """User mappings; names of options only. readable: pg_user_mapping itself may be read.

    The view beside it shows no options to anybody but a superuser and the mapped role: they are unknown then.
    """
    if not readable:
        known = {
            "options": option_names("u.umoptions"),
            "hidden": "CASE WHEN u.umoptions IS NULL THEN true END",
        }
        return select_of("'user-mapping'", "u.usename, u.srvname", known, "FROM pg_user_mappings AS u")
    return select_of(
        "'user-mapping'",
        "CASE WHEN u.umuser = 0 THEN 'public' ELSE pg_get_userbyid(u.umuser) END, s.srvname",
        {"options": option_names("u.umoptions")},
        "FROM pg_user_mapping AS u JOIN pg_foreign_server AS s ON s.oid = u.umserver",
    )


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
    publication = select_of(
        "'publication'",
        "p.pubname",
        {
            "owner": role_name("p.pubowner"),
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
        f"FROM pg_publication AS p WHERE {no_member('pg_publication', 'p')}",
    )
    subscription = select_of(
        "'subscription'",
        "s.subname",
        {
            "owner": role_name("s.subowner"),
            "enabled": "s.subenabled",
            "slot": "s.subslotname",
            "publications": sorted_array("s.subpublications"),
        },
        "FROM pg_subscription AS s WHERE s.subdbid = (SELECT d.oid FROM pg_database AS d"
        " WHERE d.datname = current_database())",
    )
    return f"{publication} UNION ALL {subscription}"


def default_privileges(_version: int) -> str:
    """ALTER DEFAULT PRIVILEGES: parts are (role, schema or empty, object type)."""
    return select_of(
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
        f"{digest_of('d.description')}) AS definition FROM pg_description AS d, LATERAL {identity} AS i"
        f" WHERE (d.objoid >= {FIRST_USER_OID} OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = (SELECT oid"
        " FROM pg_namespace WHERE nspname = 'public') AND d.description <> 'standard public schema'))"
        " AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = d.classoid AND e.objid = d.objoid"
        " AND e.deptype = 'e') AND i.identity !~ '^pg_temp'"
        " UNION ALL SELECT 'comment', ARRAY['database'], '', jsonb_build_object('text', "
        f"{digest_of('s.description')}) FROM pg_shdescription AS s"
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
            f" jsonb_build_object('acl', to_jsonb(o.{acl}::text[]), 'owner', {role_name(f'o.{owner}')}) AS definition"
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
        f" jsonb_build_object('owner', {role_name('m.lomowner')}, 'acl', {acl_of('m.lomacl', 'L', 'm.lomowner')},"
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
    itself = select_of(
        "'database'",
        "''",
        {
            "owner": role_name("d.datdba"),
            "acl": acl_of("d.datacl", "d", "d.datdba"),
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
    settings = select_of(
        "'setting'",
        "CASE WHEN s.setrole = 0 THEN '' ELSE pg_get_userbyid(s.setrole) END",
        {"values": settings_of("s.setconfig")},
        "FROM pg_db_role_setting AS s WHERE s.setdatabase ="
        " (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())",
    )
    return f"{itself} UNION ALL {settings}"
