"""What belongs to the whole server: roles, memberships, role settings, tablespaces, rights on parameters."""

# Whole clauses of SQL stay on one line.

from typing import TYPE_CHECKING, Any

from smos.postgres.session import fixed_settings

if TYPE_CHECKING:
    import psycopg

_ATTRIBUTES = """
SELECT r.rolname, jsonb_build_object(
    'superuser', r.rolsuper, 'inherit', r.rolinherit, 'create_role', r.rolcreaterole, 'create_db', r.rolcreatedb,
    'login', r.rolcanlogin, 'replication', r.rolreplication, 'bypass_row_security', r.rolbypassrls,
    'connection_limit', r.rolconnlimit, 'valid_until', r.rolvaliduntil::text,
    'bootstrap', r.oid = 10, 'comment', 'sha256:' || left(encode(sha256(convert_to(
        shobj_description(r.oid, 'pg_authid'), getdatabaseencoding())), 'hex'), 16))
FROM pg_roles AS r WHERE r.rolname !~ '^pg_'
"""
# Only whether there is one: the hash itself never leaves the server.
_PASSWORDS = "SELECT rolname, rolpassword IS NOT NULL FROM pg_authid WHERE rolname !~ '^pg_'"
_MEMBERSHIPS = """
SELECT pg_get_userbyid(m.roleid), pg_get_userbyid(m.member), pg_get_userbyid(m.grantor), m.admin_option, {options}
FROM pg_auth_members AS m WHERE NOT (pg_get_userbyid(m.member) ~ '^pg_' AND pg_get_userbyid(m.roleid) ~ '^pg_')
"""
# A custom setting (with a dot in its name) may hold a key: a short digest of it is enough to compare.
_SETTINGS = r"""
SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END,
    (SELECT jsonb_agg(CASE WHEN split_part(o, '=', 1) ~ '\.'
    THEN split_part(o, '=', 1) || '=sha256:' || left(encode(sha256(convert_to(o, getdatabaseencoding())), 'hex'), 8)
    ELSE o END ORDER BY o) FROM unnest(s.setconfig) AS o)
FROM pg_db_role_setting AS s WHERE s.setdatabase = 0
"""
_TABLESPACES = """
SELECT t.spcname, jsonb_strip_nulls(jsonb_build_object('owner', pg_get_userbyid(t.spcowner),
    'acl', to_jsonb(coalesce(t.spcacl, acldefault('t', t.spcowner))::text[]),
    'options', to_jsonb(t.spcoptions), 'location', pg_tablespace_location(t.oid)))
FROM pg_tablespace AS t WHERE t.spcname !~ '^pg_'
"""


def read_roles(connection: "psycopg.Connection[Any]") -> dict[str, Any]:
    """Read roles and what else is global; plain JSON values, never a password or its hash.

    Keys: `roles` (name to attributes; `has_password` is None where the connected role may not know),
    `memberships` (list of {role, member, grantor, admin, inherit, set}), `predefined_members` (true: they are among
    them, which earlier manifests don't say), `settings` (role to list of `name=value`), `settings_of_all` (of ALTER
    ROLE ALL), `tablespaces`, `parameters` (name to access list, PostgreSQL 15 and newer).

    Predefined roles (`pg_…`) are left out, and so is what initdb made them members of; other memberships in them,
    and theirs in other roles, are not.
    """
    version = connection.info.server_version
    with fixed_settings(connection) as cursor:
        cursor.execute(_ATTRIBUTES.encode())
        roles: dict[str, dict[str, Any]] = {str(name): dict(values) for name, values in cursor}
        cursor.execute(b"SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')")
        row = cursor.fetchone()
        passwords: dict[str, bool] = {}
        if row and row[0]:
            cursor.execute(_PASSWORDS.encode())
            passwords = {str(name): bool(has) for name, has in cursor}
        for name, values in roles.items():
            values["has_password"] = passwords.get(name)
        options = "m.inherit_option, m.set_option" if version >= 160000 else "NULL, NULL"
        cursor.execute(_MEMBERSHIPS.format(options=options).encode())
        keys = ("role", "member", "grantor", "admin", "inherit", "set")
        memberships = [dict(zip(keys, row, strict=True)) for row in cursor]
        cursor.execute(_SETTINGS.encode())
        settings = {str(name or ""): list(values) for name, values in cursor}
        of_all = settings.pop("", [])
        cursor.execute(_TABLESPACES.encode())
        tablespaces = {str(name): dict(values) for name, values in cursor}
        parameters: dict[str, list[str]] = {}
        if version >= 150000:
            cursor.execute(b"SELECT parname, paracl::text[] FROM pg_parameter_acl")
            parameters = {str(name): sorted(acl) for name, acl in cursor}
    return {
        "roles": dict(sorted(roles.items())),
        "memberships": sorted(memberships, key=lambda m: (m["role"], m["member"], m["grantor"])),
        "predefined_members": True,
        "settings": dict(sorted(settings.items())),
        "settings_of_all": of_all,
        "tablespaces": dict(sorted(tablespaces.items())),
        "parameters": dict(sorted(parameters.items())),
    }
