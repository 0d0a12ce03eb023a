"""Which roles are the application's, and which are meant to see everything."""

import re

from smos.rls.facts import ProbeOptions
from smos.rls.schema import Role, Schema

PLATFORM = frozenset({
    "service_role", "authenticator", "supabase_admin", "supabase_auth_admin", "supabase_storage_admin",
    "supabase_functions_admin", "supabase_replication_admin", "supabase_read_only_user", "supabase_realtime_admin",
    "supabase_etl_admin", "dashboard_user", "pgbouncer", "postgres", "rdsadmin", "rds_superuser", "rds_replication",
    "rdsrepladmin", "cloudsqladmin", "cloudsqlsuperuser", "cloudsqlreplica", "azure_pg_admin", "azuresu",
    "azure_superuser", "neon_superuser", "alloydbadmin", "alloydbsuperuser", "doadmin",
})  # fmt: skip
"""Roles of hosting platforms, which see everything on purpose."""
MAINTENANCE = re.compile(
    r"(?i)(?:^|_)(?:admin|maint\w*|migrat\w*|backup\w*|dump\w*|owner|dba|cron|janitor|clean\w*|replic\w*|monitor\w*|ops|root|seed\w*|etl)(?:_|$)"
)


def named_by_policies(schema: Schema, role: str) -> bool:
    """Whether a policy is made for this role by name."""
    return any(role in policy.roles for item in schema.relations.values() for policy in item.policies)


def owns_tables(schema: Schema, role: str) -> bool:
    """Whether any table is its own."""
    return any(item.owner == role for item in schema.tables())


def granted_anything(schema: Schema, role: Role) -> bool:
    """Whether an access list names the role, or a group that it is in and that owns nothing itself."""
    names = {role.name, *(name for name in role.may_become if not owns_tables(schema, name))}
    return any(names & set(item.granted) for item in schema.relations.values())


def is_trusted(schema: Schema, role: Role, options: ProbeOptions) -> bool:
    """Whether the role is meant to see every tenant: said so, of the platform, or for maintenance by its policies."""
    if role.name in options.roles:
        return False
    if role.name in options.trusted or role.name in PLATFORM or role.bootstrap:
        return True
    return bool(MAINTENANCE.search(role.name)) and named_by_policies(schema, role.name)


def application_roles(schema: Schema, options: ProbeOptions) -> tuple[str, ...]:
    """Return the roles to probe: those that have rights on data and are subject to row security."""
    if options.roles:
        return tuple(name for name in options.roles if name in schema.roles)
    found = []
    for role in schema.roles.values():
        if role.superuser or role.bypass or is_trusted(schema, role, options):
            continue
        rights = any(
            item.rights.get(role.name) or item.column_rights.get(role.name)
            for item in schema.relations.values()
        )
        callable_ = any(role.name in item.executable and item.definer and not item.public
                        for item in schema.functions.values())  # fmt: skip
        if not rights and not callable_:
            continue
        if owns_tables(schema, role.name) and not role.login:
            continue
        if not granted_anything(schema, role) and not role.reachable:
            continue
        if any(owns_tables(schema, name) for name in role.may_become) and not granted_anything(schema, role):
            continue  # its rights come from the owner it may become: that is a migration role
        found.append(role.name)
    # Whoever may become a role has its rights, whatever the role is called: its name alone makes nobody trust it then.
    reached = {other for name in found for other in schema.roles[name].may_become} - {
        *found,
        *options.trusted,
    }
    for name in sorted(reached & schema.roles.keys()):
        role = schema.roles[name]
        if name in PLATFORM or role.superuser or role.bypass or not is_trusted(schema, role, options):
            continue
        if any(item.rights.get(name) or item.column_rights.get(name) for item in schema.relations.values()):
            found.append(name)
    return tuple(found)
