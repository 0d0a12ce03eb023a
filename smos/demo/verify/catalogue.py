"""What the catalogue says of the demo's schema: roles, row security, policies, grants, functions, plans."""

# Statements are put together from constants of ours, never from what a database holds; SQL keeps its lines.
# ruff: noqa: S608, E501

import json
from collections.abc import Iterator
from typing import Any

import psycopg

from smos.demo.schema import LOGINS
from smos.demo.stack import DemoDatabase
from smos.demo.verify.facts import PlanFacts, PolicyFacts, RoleFacts, SchemaFacts, TableFacts
from smos.demo.verify.rls import APP, JWT, LIMITS, Style
from smos.demo.verify.world import A1, OWN, A, plant

ROLES = (*LOGINS, "anon", "authenticated")
OWNER = "demo_owner"
_ROLES = """
SELECT r.rolname, r.rolcanlogin,
       array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
                          CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                          CASE WHEN r.rolreplication THEN 'REPLICATION' END], NULL),
       ARRAY(SELECT m.rolname::text FROM pg_roles AS m WHERE m.oid <> r.oid AND pg_has_role(r.oid, m.oid, 'MEMBER')
             AND NOT r.rolsuper ORDER BY 1),
       ARRAY(SELECT c.relname::text FROM pg_class AS c WHERE c.relowner = r.oid
             UNION SELECT n.nspname::text FROM pg_namespace AS n WHERE n.nspowner = r.oid
             UNION SELECT d.datname::text FROM pg_database AS d WHERE d.datdba = r.oid ORDER BY 1)
FROM pg_roles AS r WHERE r.rolname = ANY (%s) OR r.rolname = %s ORDER BY 1
"""
_TABLES = """
SELECT n.nspname || '.' || c.relname, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity,
       EXISTS (SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
               WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
                 AND a.attname = CASE WHEN EXISTS (SELECT FROM pg_attribute AS t WHERE t.attrelid = c.oid
                     AND t.attname = 'tenant_id' AND NOT t.attisdropped) THEN 'tenant_id' ELSE 'id' END)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p', 'f') ORDER BY 1
"""
_POLICIES = """
SELECT schemaname || '.' || tablename, policyname::text, cmd::text, roles::text[], permissive = 'PERMISSIVE',
       coalesce(qual, ''), coalesce(with_check, '') FROM pg_policies WHERE schemaname = ANY (%s) ORDER BY 1, 2
"""
_GRANTS = """
SELECT coalesce(r.rolname, 'PUBLIC'), a.privilege_type, n.nspname || '.' || c.relname
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner))) AS a
LEFT JOIN pg_roles AS r ON r.oid = a.grantee
WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND a.grantee <> c.relowner
  AND (a.grantee = 0 OR a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') OR a.is_grantable)
UNION ALL
SELECT coalesce(r.rolname, 'PUBLIC'), a.privilege_type, n.nspname || '.' || p.proname
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
LEFT JOIN pg_roles AS r ON r.oid = a.grantee
WHERE n.nspname = 'demo' AND a.grantee = 0
UNION ALL
SELECT coalesce(r.rolname, 'PUBLIC'), a.privilege_type, 'schema ' || n.nspname
FROM pg_namespace AS n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
WHERE n.nspname = ANY (%s || ARRAY['public']) AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
  AND (a.grantee = 0 OR r.rolname = ANY (%s))
ORDER BY 3, 1, 2
"""
_LISTS = {
    "open_views": """
        SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (%(schemas)s) AND c.relkind = 'v'
          AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)
          AND NOT coalesce('security_invoker=on' = ANY (c.reloptions), false) ORDER BY 1""",
    "materialized": """
        SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (%(schemas)s) AND c.relkind = 'm'
          AND EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = ANY (%(roles)s)
                      AND has_any_column_privilege(r.oid, c.oid, 'SELECT')) ORDER BY 1""",
    "definers": """
        SELECT n.nspname || '.' || p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname = ANY (%(schemas)s || ARRAY['public']) AND p.prosecdef
          AND EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = ANY (%(roles)s)
                      AND has_function_privilege(r.oid, p.oid, 'EXECUTE')) ORDER BY 1""",
    "volatile_context": """
        SELECT n.nspname || '.' || p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE (n.nspname, p.proname) IN (('demo', 'current_tenant'), ('demo', 'current_user_id'), ('demo', 'jwt_tenant'),
                                         ('auth', 'uid'), ('auth', 'jwt')) AND p.provolatile <> 's' ORDER BY 1""",
    "leakproof": """
        SELECT n.nspname || '.' || p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname = ANY (%(schemas)s || ARRAY['public']) AND p.proleakproof ORDER BY 1""",
    "defaults": """
        SELECT coalesce(r.rolname, 'PUBLIC') || ' gets ' || a.privilege_type || ' on new '
               || CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                  WHEN 'T' THEN 'types' ELSE 'schemas' END
        FROM pg_default_acl AS d CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
        WHERE d.defaclobjtype IN ('r', 'S', 'f') AND (a.grantee = 0 OR r.rolname = ANY (%(roles)s)) ORDER BY 1""",
    "publications": "SELECT pubname::text FROM pg_publication ORDER BY 1",
    "sequences": """
        SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (%(schemas)s) AND c.relkind = 'S'
          AND EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = ANY (%(roles)s)
                      AND has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT, UPDATE')) ORDER BY 1""",
}
_COLUMN_WRITES = """
SELECT r.rolname, c.relname || '.' || a.attname FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
CROSS JOIN pg_roles AS r
WHERE c.relnamespace = to_regnamespace('demo') AND c.relkind IN ('r', 'p') AND r.rolname = ANY (%s)
  AND (a.attname IN ('origin', 'created_at') AND (has_column_privilege(r.oid, c.oid, a.attnum, 'INSERT')
                                                  OR has_column_privilege(r.oid, c.oid, a.attnum, 'UPDATE'))
       OR a.attname IN ('tenant_id', 'user_id') AND has_column_privilege(r.oid, c.oid, a.attnum, 'UPDATE'))
ORDER BY 1, 2
"""
_PRESET = """
SELECT coalesce(r.rolname, 'database'), split_part(setting, '=', 1)
FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) AS setting
WHERE (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND split_part(setting, '=', 1) IN ('app.tenant_id', 'app.user_id', 'request.jwt.claims', 'role', 'row_security')
ORDER BY 1, 2
"""
ORDINARY = ("demo_app", "demo_readonly", "anon", "authenticated")
"""The roles that speak for tenants."""


def read_schema(database: DemoDatabase) -> SchemaFacts:
    """Read the catalogue as a superuser, and two plans per table as the application and as `authenticated`."""
    schemas, roles = ["demo", "auth"], list(ROLES)
    with database.connect() as admin, admin.cursor() as cursor:
        plant(admin)
        named = {"schemas": schemas, "roles": roles}
        lists = {
            name: tuple(str(row[0]) for row in cursor.execute(text.encode(), named))
            for name, text in _LISTS.items()
        }
        large = cursor.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone()
        return SchemaFacts(
            roles=tuple(
                RoleFacts(
                    name=name,
                    can_login=login,
                    elevated=tuple(elevated),
                    memberships=tuple(members),
                    owns=tuple(owns) if name != OWNER else (),
                )
                for name, login, elevated, members, owns in cursor.execute(_ROLES, (roles, OWNER)).fetchall()
            ),
            tables=tuple(
                TableFacts(name=name, kind=kind, row_security=enabled, forced=forced, indexed=indexed)
                for name, kind, enabled, forced, indexed in cursor.execute(_TABLES, (schemas,)).fetchall()
            ),
            policies=tuple(
                PolicyFacts(
                    table=table,
                    name=name,
                    command=command,
                    roles=tuple(who),
                    permissive=permissive,
                    using=using,
                    check=check,
                )
                for table, name, command, who, permissive, using, check in cursor.execute(
                    _POLICIES, (schemas,)
                ).fetchall()
            ),
            grants=tuple(
                (str(a), str(b), str(c))
                for a, b, c in cursor.execute(_GRANTS, (schemas, schemas, roles)).fetchall()
            ),
            column_writes=tuple(
                (str(a), str(b)) for a, b in cursor.execute(_COLUMN_WRITES, (list(ORDINARY),)).fetchall()
            ),
            preset_context=tuple((str(a), str(b)) for a, b in cursor.execute(_PRESET).fetchall()),
            large_objects=int(large[0]) if large else 0,
            plans=tuple(_plans(database)),
            **lists,
        )


def _plans(database: DemoDatabase) -> Iterator[PlanFacts]:
    for style in (APP, JWT):
        try:
            connection = database.connect(style.login)
        except psycopg.OperationalError:
            continue  # no plan of this role: the judge sees that they are missing
        with connection:
            yield from (_plan(connection, style, table) for table in OWN)


def _plan(connection: "psycopg.Connection[Any]", style: Style, table: str) -> PlanFacts:
    """Ask how the table would be read if it were large: sequential scans are made dear, the data are few."""
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        cursor.execute(LIMITS)
        cursor.execute("SET LOCAL enable_seqscan = off")
        style.begin(cursor)
        style.enter(cursor, A, A1)
        try:
            row = cursor.execute(f"EXPLAIN (FORMAT JSON) SELECT * FROM demo.{table}".encode()).fetchone()
        except psycopg.Error as error:
            if connection.broken:
                raise
            return PlanFacts(
                table=f"{table} ({error.sqlstate})", role=style.role, init_plan=False, index=False
            )
    text = row[0] if row else []
    plan = text if isinstance(text, str) else json.dumps(text)
    return PlanFacts(
        table=table,
        role=style.role,
        init_plan='"InitPlan"' in plan,
        index='"Index Cond"' in plan and '"Seq Scan"' not in plan,
    )
