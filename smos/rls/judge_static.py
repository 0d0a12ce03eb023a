"""Judges what the catalogue says: rights, roles and definitions that open a way round the policies."""

import re
from collections.abc import Iterator

from smos.rls.attack import OWN
from smos.rls.expressions import USER_CLAIM, without_comments
from smos.rls.facts import ProbeFacts
from smos.rls.finding import IsolationFinding, Severity, is_exempt, owned_tables
from smos.rls.observe import base_tables_of
from smos.rls.reach import Reach
from smos.rls.roles import MAINTENANCE, granted_anything, is_trusted, named_by_policies
from smos.rls.schema import Function, Relation, Role, ident

ELEVATED = ("pg_read_server_files", "pg_write_server_files", "pg_execute_server_program")
_SESSION_WIDE = re.compile(
    r"(?is)set_config\s*\([^;]*?,\s*(?:\w+\s*(?:=>|:=)\s*)?'?(?:false|fals|fal|fa|f|no|n|off|of|0)'?"
    r"\s*(?:::\s*bool\w*\s*)?\)|\bset\s+(?:session\s+)?(?!local\b)\w+\.\w+\s*(?:=|\bto\b)"
)
REFUSALS = frozenset({"", "42501", "28000"})
"""SQLSTATEs of a function that answered, or that refused to answer because of who asks."""
RAISED = frozenset({"P0001", "P0002"})
"""Raised by the function's own code: because of who asks, or because the arguments are made up."""
_DML = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


def judge_static(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    """Say what the catalogue shows."""
    yield from _roles(facts)
    yield from _tables(facts)
    yield from _views(facts)
    yield from _functions(facts)
    yield from _rest(facts)


def _roles(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    schema = facts.schema
    protected = [item for item in owned_tables(facts) if item.row_security]
    for role in schema.roles.values():
        declared = role.name in facts.options.roles
        used = (
            declared
            or granted_anything(schema, role)
            or named_by_policies(schema, role.name)
            or (role.login and bool({item.owner for item in protected} & {role.name, *role.stands_in}))
        )
        if (role.superuser or role.bypass) and used and not is_trusted(schema, role, facts.options):
            word = "superuser" if role.superuser else "BYPASSRLS"
            code = "role-superuser" if role.superuser else "role-bypasses-rls"
            upkeep = bool(MAINTENANCE.search(role.name)) and not declared
            yield IsolationFinding(
                code=code, severity=Severity.RISK if upkeep else Severity.LEAK, target=role.name, role=role.name,
                why=f"the role has {word}: no policy applies to it",
                fix=f"ALTER ROLE {ident(role.name)} {'NOSUPERUSER' if role.superuser else 'NOBYPASSRLS'};",
            )  # fmt: skip
    for name in facts.probed:
        role = schema.roles[name]
        if role.superuser or role.bypass:
            continue
        for other in role.may_take:
            above = schema.roles.get(other)
            if above is None:
                continue
            trusted = not above.login and other in facts.options.trusted
            if above.superuser or above.bypass or trusted:
                yield IsolationFinding(
                    code="role-can-bypass", severity=Severity.LEAK, target=name, role=name, operation="SET ROLE",
                    statement=f"SET ROLE {ident(other)}",
                    why=f"it may become {other}, " + (
                        "which is trusted to see every tenant" if trusted else "to which no policy applies"
                    ),
                    fix=f"REVOKE {ident(other)} FROM {ident(name)};",
                )  # fmt: skip
        owners = {item.owner for item in protected} & set(role.stands_in)
        for owner in sorted(owners):
            yield IsolationFinding(
                code="role-member-of-owner", severity=Severity.LEAK, target=name, role=name, operation="SET ROLE",
                statement=f"SET ROLE {ident(owner)}",
                why=f"it is a member of {owner}, the owner of protected tables: it can switch row security off",
                fix=f"REVOKE {ident(owner)} FROM {ident(name)};",
            )  # fmt: skip
        yield from _attributes(role, [above for other in role.may_take if (above := schema.roles.get(other))])
        for other in set(role.predefined) & set(ELEVATED):
            yield IsolationFinding(code="role-elevated", severity=Severity.LEAK, target=name, role=name,
                                   why=f"{other} reaches the server's files and programs",
                                   fix=f"REVOKE {other} FROM {ident(name)};")  # fmt: skip
    bases = {key.partition("#")[0].lower() for key in facts.contexts}
    for name, setting in schema.context_defaults:
        key, _, value = setting.partition("=")
        key = key.lower()  # settings are found whatever their case
        if key in bases and value.strip("'\" "):
            yield IsolationFinding(
                code="context-default", severity=Severity.LEAK, target=name or schema.database, role=name,
                operation="SET", why=f"{key} has a default: every session without a context is a tenant's",
                fix=f"ALTER {'ROLE ' + ident(name) if name else 'DATABASE ' + ident(schema.database)} RESET {key};",
            )  # fmt: skip
        if (
            key == "row_security"
            and value.lower() in {"off", "false", "0"}
            and (not name or name in facts.probed)
        ):
            yield IsolationFinding(
                code="row-security-off", severity=Severity.AVAILABILITY, target=name or schema.database, role=name,
                operation="SET", why="row_security is off by default: queries on protected tables end with an error",
                fix=f"ALTER {'ROLE' if name else 'DATABASE'} {ident(name or schema.database)} RESET row_security;",
            )  # fmt: skip


def _attributes(role: Role, above: list[Role]) -> Iterator[IsolationFinding]:
    """Say what the role may do beside reading tables, itself or as a role that it may become."""
    for code, able, why, word in (
        (
            "role-replicates",
            [item.name for item in (role, *above) if item.replication],
            "it may replicate: every table's changes can be read",
            "NOREPLICATION",
        ),
        (
            "role-creates-roles",
            [item.name for item in (role, *above) if item.create_role],
            "it may create roles and grant memberships",
            "NOCREATEROLE",
        ),
    ):
        if able:
            by = "" if able[0] == role.name else f", as {able[0]}, which it may become"
            yield IsolationFinding(code=code, severity=Severity.LEAK, target=role.name, role=role.name,
                                   why=f"{why}{by}", fix=f"ALTER ROLE {ident(able[0])} {word};")  # fmt: skip


def _tables(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    schema = facts.schema
    owned = owned_tables(facts)
    forced = {item.schema for item in owned if item.row_security and item.forced}
    for table in owned:
        able = {name: table.rights.get(name, frozenset()) for name in facts.probed}
        for name, rights in able.items():
            if name == table.owner or (not rights and not table.column_rights.get(name)):
                continue
            if table.kind == "f" and (rights & _DML or table.column_rights.get(name)):
                yield IsolationFinding(
                    code="foreign-table-exposed", severity=Severity.LEAK, target=table.title, role=name,
                    operation=", ".join(sorted(rights & _DML)) or "SELECT", why="a foreign table can't have policies",
                    fix=f"REVOKE ALL ON {table.sql} FROM {ident(name)};",
                )  # fmt: skip
            if (
                not table.row_security
                and table.kind in {"r", "p"}
                and (rights & _DML or table.column_rights.get(name))
            ):
                yield _unprotected(table, name, rights)
            if "TRUNCATE" in rights:
                yield IsolationFinding(
                    code="truncate-granted", severity=Severity.WRITE, target=table.title, role=name,
                    operation="TRUNCATE", statement=f"TRUNCATE {table.sql}",
                    why="TRUNCATE asks no policy: it empties the table for every tenant",
                    fix=f"REVOKE TRUNCATE ON {table.sql} FROM {_grantees(table, 'TRUNCATE', name)};",
                )  # fmt: skip
            if "TRIGGER" in rights:
                yield IsolationFinding(
                    code="trigger-granted", severity=Severity.LEAK, target=table.title, role=name,
                    operation="CREATE TRIGGER", statement=f"CREATE TRIGGER … ON {table.sql}",
                    why="a trigger of its own runs with the rights of whoever writes to the table next",
                    fix=f"REVOKE TRIGGER ON {table.sql} FROM {_grantees(table, 'TRIGGER', name)};",
                )  # fmt: skip
            if "REFERENCES" in rights and schema.creators.get(name) and not facts.tables[table.oid].root:
                yield IsolationFinding(
                    code="references-granted", severity=Severity.ORACLE, target=table.title, role=name,
                    operation="REFERENCES", statement=f"CREATE TABLE … REFERENCES {table.sql}",
                    why="a foreign key of its own asks no policy: it tells which keys other tenants have",
                    fix=f"REVOKE REFERENCES ON {table.sql} FROM {_grantees(table, 'REFERENCES', name)};",
                )  # fmt: skip
        if not table.row_security:
            continue
        usable = any(rights & _DML for name, rights in able.items() if name != table.owner)
        if usable and not any(policy.permissive for policy in table.policies) and not table.partition:
            yield IsolationFinding(
                code="rls-no-policy", severity=Severity.AVAILABILITY, target=table.title, operation="SELECT",
                why="row security is on without a permissive policy: every query answers with no rows, and no error",
                fix=f"CREATE POLICY tenant_only ON {table.sql} USING (…);  -- or REVOKE ALL ON {table.sql}",
            )  # fmt: skip
        yield from _half_policies(facts, table)
        yield from _forced(facts, table, custom=table.schema in forced)
        about = facts.tables[table.oid]
        if about.scoping and table.rows > 1000 and not set(about.scoping) & set(table.index_leads):
            yield IsolationFinding(
                code="no-index", severity=Severity.RISK, target=table.title,
                why=f"no index starts with {', '.join(about.scoping)}: every query reads all tenants' rows",
                fix=f"CREATE INDEX CONCURRENTLY ON {table.sql} ({ident(about.scoping[0])});",
            )  # fmt: skip
    titles = {item.oid: item for item in schema.relations.values()}
    for oid, policy in facts.user_claims:
        yield IsolationFinding(
            code="claim-user-editable", severity=Severity.LEAK, target=titles[oid].title,
            why=f"policy {policy} trusts user_metadata, which users change themselves",
            fix=f"-- use app_metadata or a table:\nDROP POLICY {ident(policy)} ON {titles[oid].sql};",
        )  # fmt: skip
    for function in schema.functions.values():
        if function.oid in facts.policy_functions and USER_CLAIM.search(without_comments(function.body)):
            yield IsolationFinding(
                code="claim-user-editable", severity=Severity.LEAK, target=function.title, operation="EXECUTE",
                why="a function of the policies trusts user_metadata, which users change themselves",
                fix="-- read app_metadata, which only the server writes, or a table",
            )  # fmt: skip
    for oid, policy in facts.per_row:
        yield IsolationFinding(
            code="not-initplan", severity=Severity.RISK, target=titles[oid].title,
            why=f"policy {policy} calls a function for every row", fix="-- write (SELECT f()) instead of f()",
        )  # fmt: skip


def _unprotected(table: Relation, name: str, rights: frozenset[str]) -> IsolationFinding:
    if table.partition:
        return IsolationFinding(
            code="partition-unprotected", severity=Severity.LEAK, target=table.title, role=name,
            operation=", ".join(sorted(rights & _DML)), statement=f"SELECT * FROM {table.sql}", context="tenant",
            why="read directly, its parent's policies don't apply, and it has no row security of its own",
            fix=f"REVOKE ALL ON {table.sql} FROM {ident(name)};\nALTER TABLE {table.sql} ENABLE ROW LEVEL SECURITY;",
        )  # fmt: skip
    why = "it has policies, but row security is off" if table.policies else "row security is off"
    return IsolationFinding(
        code="rls-off", severity=Severity.LEAK, target=table.title, role=name,
        operation=", ".join(sorted(rights & _DML)), statement=f"SELECT * FROM {table.sql}", context="tenant", why=why,
        fix=f"ALTER TABLE {table.sql} ENABLE ROW LEVEL SECURITY;\nALTER TABLE {table.sql} FORCE ROW LEVEL SECURITY;",
    )  # fmt: skip


def _half_policies(facts: ProbeFacts, table: Relation) -> Iterator[IsolationFinding]:
    """Say which roles may change rows by a policy, but have none to see them: no row is ever found to change."""
    permissive = [policy for policy in table.policies if policy.permissive]
    for name in facts.probed:
        mine = {name, "PUBLIC", *facts.schema.roles[name].may_become}
        commands = {policy.command for policy in permissive if mine & set(policy.roles)}
        readable = "SELECT" in table.rights.get(name, ()) or "SELECT" in table.column_rights.get(name, {})
        if (
            readable
            and name != table.owner
            and commands & {"UPDATE", "DELETE"}
            and not commands & {"ALL", "SELECT"}
        ):
            yield IsolationFinding(
                code="rls-no-policy", severity=Severity.AVAILABILITY, target=table.title, role=name, operation="SELECT",
                why="it has policies to change rows and none to see them: it finds no rows, and gets no error",
                fix=f"CREATE POLICY tenant_reads ON {table.sql} FOR SELECT TO {ident(name)} USING (…);",
            )  # fmt: skip


def _forced(facts: ProbeFacts, table: Relation, *, custom: bool) -> Iterator[IsolationFinding]:
    owner = facts.schema.roles.get(table.owner)
    if table.forced or owner is None or table.partition:
        return
    if not owner.reachable and _asked_by_policies(facts, table):
        return  # a policy's own function must be able to look up who belongs where
    mighty = owner.superuser or owner.bypass
    if (mighty or not owner.reachable) and not custom:
        return  # nobody logs in as the owner, and forcing is not the custom of this schema
    yield IsolationFinding(
        code="rls-not-forced", severity=Severity.LEAK, target=table.title, role=table.owner, operation="SELECT",
        why="row security is not forced: the owner, its views and its SECURITY DEFINER functions see every tenant",
        fix=f"ALTER TABLE {table.sql} FORCE ROW LEVEL SECURITY;",
    )  # fmt: skip


def _asked_by_policies(facts: ProbeFacts, table: Relation) -> bool:
    return any(
        item.definer and item.owner == table.owner and oid in facts.policy_functions
        and table.name in re.findall(r"\w+", item.body)
        for oid, item in facts.schema.functions.items()
    )  # fmt: skip


def _views(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    acted = {(act.role, act.target): act for act in facts.acts if act.operation == "SELECT" and not act.state}
    for view in facts.schema.relations.values():
        if view.kind not in {"v", "m"}:
            continue
        below = [item for item in base_tables_of(facts.schema, view)
                 if (about := facts.tables.get(item.oid)) and about.owned]  # fmt: skip
        open_ = [item for item in below if is_exempt(facts, view.owner, item)]
        for name in facts.probed:
            readable = "SELECT" in view.rights.get(name, ()) or "SELECT" in view.column_rights.get(name, {})
            if not readable or not below:
                continue
            act = acted.get((name, view.title))
            if view.kind == "m":
                yield IsolationFinding(
                    code="matview-leaks", severity=Severity.LEAK, target=view.title, role=name, operation="SELECT",
                    why="a materialized view has no policies and holds rows of every tenant",
                    fix=f"REVOKE ALL ON {view.sql} FROM {ident(name)};",
                )  # fmt: skip
            elif view.kind == "v" and not view.invoker and open_ and act and act.unstable and not act.differs:
                yield IsolationFinding(
                    code="answer-unstable", severity=Severity.UNPROVEN, target=view.title, role=name,
                    operation="SELECT", fix=f"ALTER VIEW {view.sql} SET (security_invoker = true);",
                    why="it answers otherwise each time, so that it can't be told whether another tenant's rows matter",
                )  # fmt: skip
            elif view.kind == "v" and not view.invoker and open_ and act is None:
                yield IsolationFinding(
                    code="view-leaks", severity=Severity.LEAK, target=view.title, role=name, operation="SELECT",
                    why=f"it reads {open_[0].title} with the rights of {view.owner}, to whom no policy applies",
                    fix=f"ALTER VIEW {view.sql} SET (security_invoker = true);",
                )  # fmt: skip
            elif (
                view.kind == "v"
                and not view.invoker
                and open_
                and act
                and not act.differs
                and not view.barrier
            ):
                yield IsolationFinding(
                    code="view-no-barrier", severity=Severity.ORACLE, target=view.title, role=name, operation="SELECT",
                    why="it filters tenants itself without being a security barrier: a cheap function in a WHERE"
                    " clause sees the rows before the filter",
                    fix=f"ALTER VIEW {view.sql} SET (security_barrier = true);",
                )  # fmt: skip


def _functions(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    reach = Reach(facts)
    for function in facts.schema.functions.values():
        callers = [name for name in function.executable if name in facts.probed]
        in_policy = function.oid in facts.policy_functions
        fixed_path = any(item.startswith("search_path=") for item in function.settings)
        if function.leakproof:
            yield IsolationFinding(
                code="leakproof-function", severity=Severity.LEAK if callers else Severity.RISK,
                target=function.title, operation="EXECUTE", role=callers[0] if callers else "",
                why="LEAKPROOF: it is run on rows before the policies have hidden them"
                + ("" if callers else "; no probed role may call it yet"),
                fix=f"ALTER FUNCTION {function.title} NOT LEAKPROOF;",
            )  # fmt: skip
        if in_policy and function.volatility == "i" and function.oid in facts.context_readers:
            yield IsolationFinding(
                code="context-immutable", severity=Severity.LEAK, target=function.title, operation="PREPARE",
                why="IMMUTABLE, but it reads the session's context: a prepared plan keeps the first tenant",
                fix=f"ALTER FUNCTION {function.title} STABLE;",
            )  # fmt: skip
        if (
            (in_policy or (function.definer and callers))
            and function.oid in facts.shadowable
            and not fixed_path
        ):
            yield IsolationFinding(
                code="function-shadowable", severity=Severity.LEAK, target=function.title, operation="EXECUTE",
                role=callers[0] if callers else "",
                why="it names tables without their schema and fixes no search_path: a temporary table of the caller's"
                " stands before them",
                fix=f"ALTER FUNCTION {function.title} SET search_path = '';  -- and write schema.table in its body",
            )  # fmt: skip
        if _SESSION_WIDE.search(function.body) and callers and function.language in {"sql", "plpgsql"}:
            yield IsolationFinding(
                code="context-session-wide", severity=Severity.LEAK, target=function.title, operation="EXECUTE",
                role=callers[0],
                why="it sets the context for the whole session: the next user of a pooled connection is this tenant",
                fix="-- set_config(name, value, true): only until the transaction ends",
            )  # fmt: skip
        if function.definer and callers and function.returns != "trigger":
            yield from _definer(facts, function, callers[0], reach, in_policy=in_policy)


def _definer(
    facts: ProbeFacts, function: Function, caller: str, reach: Reach, *, in_policy: bool
) -> Iterator[IsolationFinding]:
    """Say what a function may reach past the policies where no call showed that it doesn't."""
    acts = [act for act in facts.acts if act.operation == "EXECUTE" and act.target == function.title]
    tried = [act for act in acts if act.column != OWN]
    own = any(not act.state for act in acts if act.column == OWN)
    # To raise an error for B's keys is a refusal where A's own ones are taken, or where nothing is given.
    refused = RAISED if own or not function.arguments else frozenset()
    answered = any(act.state in REFUSALS | refused for act in tried)
    unclear = any(act.unstable for act in tried) or function.returns == "refcursor"
    reads_context = function.oid in facts.context_readers
    # What is the same for every session tells all tenants of rows that are one's, also where B's made no difference.
    alike = not function.arguments and not reads_context and function.returns not in {"void", "boolean"}
    if any(act.differs for act in acts) or (answered and not unclear and not alike):
        return
    table = reach.past_policies(function)
    if answered and not unclear:
        if table is not None:
            yield IsolationFinding(
                code="function-not-probed", severity=Severity.UNPROVEN, target=function.title, operation="EXECUTE",
                role=caller,
                why=f"SECURITY DEFINER: it reaches {table.title} past the policies and answers every tenant the same",
                fix="-- compare the session's tenant in its body, or name columns that are meant for all in a view",
            )  # fmt: skip
        return
    rejected = bool(tried) and all(act.state in RAISED for act in tried)
    if table is not None and not reads_context and not unclear and not rejected:
        yield IsolationFinding(
            code="definer-function-leaks", severity=Severity.LEAK, target=function.title, operation="EXECUTE",
            role=caller,
            why=f"SECURITY DEFINER: it reaches {table.title} past the policies and never reads the context",
            fix=f"REVOKE EXECUTE ON FUNCTION {function.title} FROM PUBLIC, {ident(caller)};",
        )  # fmt: skip
    elif (table or reach.anything(function)) and not (in_policy and function.returns == "boolean"):
        why = (
            "it answers otherwise each time, or with a cursor"
            if unclear
            else "no call of it with made-up arguments succeeded"
        )
        yield IsolationFinding(
            code="function-not-probed", severity=Severity.UNPROVEN, target=function.title, operation="EXECUTE",
            role=caller, why=f"SECURITY DEFINER: {why}",
            fix=f"REVOKE EXECUTE ON FUNCTION {function.title} FROM PUBLIC;  -- where it is not needed",
        )  # fmt: skip


def _rest(facts: ProbeFacts) -> Iterator[IsolationFinding]:
    schema = facts.schema
    application = set(facts.probed)
    groups = {name for role in facts.probed for name in schema.roles[role].may_become}
    for item in schema.default_privileges:
        if item.kind == "r" and item.grantee in {"PUBLIC", *application, *groups} and set(item.rights) & _DML:
            where = f" IN SCHEMA {ident(item.schema)}" if item.schema else ""
            yield IsolationFinding(
                code="default-privileges", severity=Severity.LEAK, role=item.grantee,
                target=item.schema or schema.database, operation="CREATE TABLE",
                why=f"every new table of {item.owner} is open to {item.grantee} before it has row security",
                fix=f"ALTER DEFAULT PRIVILEGES FOR ROLE {ident(item.owner)}{where} REVOKE ALL ON TABLES FROM"
                f" {item.grantee if item.grantee == 'PUBLIC' else ident(item.grantee)};",
            )  # fmt: skip
    for sequence in schema.sequences.values():
        for name in facts.probed:
            if "UPDATE" in sequence.rights.get(name, frozenset()) and sequence.owner != name:
                yield IsolationFinding(
                    code="sequence-settable", severity=Severity.WRITE, target=sequence.title, role=name,
                    operation="setval", statement=f"SELECT setval('{sequence.sql}', 1)",
                    why="one tenant can set back the counter that all share",
                    fix=f"REVOKE UPDATE ON SEQUENCE {sequence.sql} FROM {ident(name)};",
                )  # fmt: skip
    for large in schema.large_objects:
        reached = sorted({"PUBLIC", *application, *groups} & {*large.grantees, large.owner})
        if reached:
            yield IsolationFinding(
                code="large-object-shared", severity=Severity.LEAK, target="large objects", role=reached[0],
                operation="lo_get", statement="SELECT lo_get(oid)",
                why=f"{large.count} large objects of {large.owner} are open to {', '.join(reached)}, without policies",
                fix="-- keep files in a bytea column of a table with row security, or revoke:\n"
                "REVOKE ALL ON LARGE OBJECT … FROM …;",
            )  # fmt: skip
    if schema.settings.get("lo_compat_privileges") == "on":
        yield IsolationFinding(
            code="large-object-shared", severity=Severity.LEAK, target="large objects", operation="lo_get",
            why="lo_compat_privileges is on: every role reads every large object",
            fix="ALTER SYSTEM SET lo_compat_privileges = off;",
        )  # fmt: skip
    for name in schema.statistics_readers:
        if name in application:
            yield IsolationFinding(
                code="statistics-readable", severity=Severity.LEAK, target="pg_catalog.pg_statistic", role=name,
                operation="SELECT", statement="SELECT stavalues1 FROM pg_statistic",
                why="statistics hold values of all tenants",
                fix=f"REVOKE SELECT ON pg_catalog.pg_statistic FROM {ident(name)};",
            )  # fmt: skip
    titles = {f"{item.schema}.{item.name}" for item in owned_tables(facts) if item.row_security}
    for name, tables in schema.publications:
        if sent := sorted(titles & set(tables)):
            yield IsolationFinding(
                code="publication-unfiltered", severity=Severity.RISK, target=name, operation="REPLICATION",
                why=f"it sends every tenant's rows of {', '.join(sent[:3])}: logical decoding asks no policy",
                fix=f"-- whoever subscribes sees all tenants:\nALTER PUBLICATION {ident(name)} SET TABLE … WHERE (…);",
            )  # fmt: skip
    if facts.sequences_moved:
        yield IsolationFinding(
            code="sequences-moved", severity=Severity.RISK, target=", ".join(facts.sequences_moved[:5]),
            why="counters moved while probing (nextval is never rolled back; other sessions move them too)", fix="",
        )  # fmt: skip


def _grantees(table: Relation, right: str, name: str) -> str:
    found = [grantee for grantee, rights in table.granted.items() if right in rights]
    return ", ".join(item if item == "PUBLIC" else ident(item) for item in found) or ident(name)
