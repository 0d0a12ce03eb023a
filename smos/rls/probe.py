"""The prober: discovers, plants, acts, and writes down what it saw. Judging is apart (smos/rls/judge.py).

facts = probe(conninfo, ProbeOptions())
judgement = judge_isolation(facts)
"""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg

from smos.errors import ProvisionError
from smos.rls.attack import BYPASS, EMPTY, NO_CONTEXT, TENANT, Attacker, Try, read_outcome
from smos.rls.clone import Clone, Copies, cloned
from smos.rls.context import Plan, in_order, make_plan
from smos.rls.discover import connect, discover, discover_on, read_counters
from smos.rls.expressions import SESSION_READERS, USER_CLAIM, names_unqualified
from smos.rls.facts import Act, Gap, Mode, ProbeFacts, ProbeOptions, TableFacts
from smos.rls.insiders import try_insiders
from smos.rls.live import read_live
from smos.rls.observe import observe
from smos.rls.plant import B, Crop, Planter
from smos.rls.roles import application_roles
from smos.rls.schema import Relation, Schema
from smos.rls.session import Prober, able, always_rolled_back

__all__ = ["Mode", "ProbeFacts", "ProbeOptions", "discover", "probe"]

LOCKS_SHARE = 0.5
"""Part of the server's lock table that probing in place may use."""
PARALLEL_TABLES = 150
"""From this size on, a second copy is worth its second."""
Progress = Callable[[str], None]


def probe(
    conninfo: str,
    options: ProbeOptions | None = None,
    *,
    progress: Progress = lambda _text: None,
    copies: Copies | None = None,
) -> ProbeFacts:
    """Probe the database behind this connection string, in the way that the options say.

    conninfo: of an administrator, best a superuser: a libpq string or URI. Whatever the mode, nothing that is
    written stays. copies: servers for the copy, where many databases are probed in turn; None: one of its own.
    Raises SmosError; ProvisionError for a server below version 15.
    """
    try:
        return _probe(conninfo, options or ProbeOptions(), progress, copies)
    except psycopg.Error as error:  # its text may hold what a function of the user's says
        raise ProvisionError(
            f"The probe broke off: {type(error).__name__} (SQLSTATE {error.sqlstate or 'none'})",
            remedy="see the server's log; nothing was changed: an open transaction is rolled back by the server",
        ) from error


def _probe(conninfo: str, options: ProbeOptions, progress: Progress, copies: Copies | None) -> ProbeFacts:
    seconds: dict[str, float] = {}
    with connect(conninfo) as connection:
        with _timed(seconds, "discover"):
            progress("reading the catalogue")
            schema = discover_on(connection)
            plan = make_plan(schema, options)
            schema = replace(
                schema, context_defaults=(*schema.context_defaults, *_preset(connection, schema, plan))
            )
            roles = application_roles(schema, options)
        gaps = list(_missing(schema, options, roles, plan))
        acts: list[Act] = []
        tables = dict(plan.tables)
        statements, isolation = 0, ""
        moved: tuple[str, ...] = ()
        if roles and plan.known and any(item.owned for item in tables.values()):
            if options.mode is Mode.IN_PLACE:
                with _timed(seconds, "act"):
                    acts, more, crop, statements = _act_on(
                        connection, plan, roles, options, progress, clone=False
                    )
                gaps += more
                tables = _planted(tables, crop, plan, plan)
                moved = _moved(connection, schema)
            elif options.mode is Mode.CLONE:
                try:
                    acts, more, tables, statements, isolation = _on_clone(
                        connection, schema, plan, roles, options, progress, seconds, copies
                    )
                    gaps += more
                except ProvisionError as error:
                    gaps.append(Gap(code="not-cloned", target=schema.database, reason=error.message.splitlines()[0],
                                    remedy="use --probe-writes to try the writes in the database itself,"
                                    " in one transaction that is rolled back"))  # fmt: skip
            else:
                gaps.append(Gap(code="writes-not-probed", target=schema.database, reason="only reading was asked for",
                                remedy="leave out --read-only, or use --probe-writes"))  # fmt: skip
            if options.live and options.mode is not Mode.IN_PLACE:
                with _timed(seconds, "live"):
                    progress("reading existing rows in a read-only transaction")
                    live, more = read_live(connection, plan, roles, options)
                acts += live
                gaps += more
    with _timed(seconds, "static"):
        facts = ProbeFacts(
            schema=schema,
            mode=options.mode,
            probed=roles,
            contexts=plan.titles(),
            tables=tables,
            acts=tuple(acts),
            gaps=tuple(gaps),
            policy_functions=frozenset(plan.reading.functions),
            sequences_moved=moved,
            statements=statements,
            declared_roles=bool(options.roles),
            isolation=isolation,
            options=options,
            **_static(schema),
        )
    return replace(facts, seconds=seconds)


def _preset(connection: "psycopg.Connection[Any]", schema: Schema, plan: Plan) -> Iterator[tuple[str, str]]:
    """Give the settings that every session begins with although no role and no database has them: the server's own.

    What this connection's own options say is nobody's default.
    """
    mine = str(connection.info.get_parameters().get("options", "")).lower()
    known = {
        setting.partition("=")[0].lower()
        for role, setting in schema.context_defaults
        if role in {"", schema.user}
    }
    names = {key.partition("#")[0].lower() for key in plan.by_key} | {name.lower() for name in plan.templates}
    with connection.transaction(force_rollback=True):
        for name in sorted(name for name in names if "." in name and name not in known and name not in mine):
            row = connection.execute("SELECT pg_catalog.current_setting(%s, true)", (name,)).fetchone()
            if row and row[0]:
                yield "", f"{name}={row[0]}"
    if schema.settings.get("row_security") == "off" and "row_security" not in {*known, *mine.split("=")}:
        yield "", "row_security=off"


def _missing(schema: Schema, options: ProbeOptions, roles: tuple[str, ...], plan: Plan) -> Iterator[Gap]:
    for name in options.roles:
        if name not in schema.roles:
            yield Gap(
                code="no-role", target=name, reason="there is no role of this name", remedy="correct --role"
            )
        elif schema.roles[name].superuser or schema.roles[name].bypass:
            continue  # that is a finding
    if not roles:
        yield Gap(
            code="no-role",
            target=schema.database,
            reason="no role was found that has rights on tables and is subject to row security",
            remedy="name the application's role: --role app",
        )
    if not plan.known:
        yield Gap(
            code="no-context",
            target=schema.database,
            reason="no policy says how a session's tenant is told (no current_setting, no JWT claim, no role name)",
            remedy="declare it: --context 'SET LOCAL app.tenant_id = {tenant}'",
        )
    else:
        yield from _unknown(schema, roles, plan, options)
    if plan.known and not any(item.owned for item in plan.tables.values()):
        yield Gap(
            code="nothing-owned",
            target=schema.database,
            reason="no table was found whose rows belong to tenants",
            remedy="declare how a tenant is told: --context 'SET LOCAL app.tenant_id = {tenant}'",
        )


def _unknown(schema: Schema, roles: tuple[str, ...], plan: Plan, options: ProbeOptions) -> Iterator[Gap]:
    """Say which tables are protected by something, and nothing tells whose their rows are."""
    for table in schema.tables():
        if plan.tables[table.oid].owned or not table.row_security or table.partition:
            continue
        if table.title in options.shared or f"{table.schema}.{table.name}" in options.shared:
            continue
        for role in roles:
            mine = {role, "PUBLIC", *schema.roles[role].may_become}
            opened = [item for item in table.policies if item.permissive and mine & set(item.roles)]
            reached = table.rights.get(role) or table.column_rights.get(role)
            # USING (true) for SELECT says that everybody is meant.
            if reached and any((item.command, item.using) != ("SELECT", "true") for item in opened):
                yield Gap(
                    code="tenant-unknown", target=table.title,
                    reason="it has row security, but no policy compares its rows with the session's tenant",
                    remedy=f"declare that all share it: --shared {table.title}; or compare the tenant in its policies",
                )  # fmt: skip
                break


def _on_clone(
    connection: "psycopg.Connection[Any]",
    schema: Schema,
    plan: Plan,
    roles: tuple[str, ...],
    options: ProbeOptions,
    progress: Progress,
    seconds: dict[str, float],
    copies: Copies | None,
) -> tuple[list[Act], list[Gap], dict[int, TableFacts], int, str]:
    started = time.monotonic()
    progress("copying the schema into a private server")
    connection.rollback()
    with cloned(connection, schema, copies) as clone, connect(clone.conninfo) as admin:
        twin = discover_on(admin)
        seconds["clone"] = time.monotonic() - started
        gaps = list(clone.gaps)
        there = {(item.schema, item.name): item for item in twin.relations.values()}
        for item in schema.tables():
            copy = there.get((item.schema, item.name))
            if copy is None:
                gaps.append(Gap(code="not-cloned", target=item.title, reason="the copy of the schema lacks this table",
                                remedy="use --probe-writes"))  # fmt: skip
            elif len(copy.policies) != len(item.policies) or copy.row_security != item.row_security:
                gaps.append(Gap(code="not-cloned", target=item.title, reason="the copy lacks a policy of this table",
                                remedy="use --probe-writes"))  # fmt: skip
        twin = replace(twin, context_defaults=schema.context_defaults)
        copied = make_plan(twin, options)
        there_too = tuple(name for name in roles if name in twin.roles)
        with _timed(seconds, "act"):
            acts, more, crop, statements = _act_twice(admin, clone, copied, there_too, options, progress)
    return acts, gaps + more, _planted(dict(plan.tables), crop, plan, copied), statements, clone.isolation


def _act_twice(
    admin: "psycopg.Connection[Any]",
    clone: Clone,
    plan: Plan,
    roles: tuple[str, ...],
    options: ProbeOptions,
    progress: Progress,
) -> tuple[list[Act], list[Gap], Crop, int]:
    """Act on the copy; on a big schema with several roles on two copies at once."""
    if len(plan.tables) < PARALLEL_TABLES or len(roles) < 2 or plan.by_role:
        return _act_on(admin, plan, roles, options, progress, clone=True)
    admin.close()  # a database that is in use can't be copied
    with (
        connect(clone.second()) as second,
        connect(clone.conninfo) as first,
        ThreadPoolExecutor(max_workers=2) as pool,
    ):
        jobs = [
            pool.submit(_act_on, connection, plan, part, options, progress, clone=True)
            for connection, part in ((first, roles[::2]), (second, roles[1::2]))
        ]
        one, other = (job.result() for job in jobs)
    return one[0] + other[0], list(dict.fromkeys(one[1] + other[1])), one[2], one[3] + other[3]


def _act_on(
    connection: "psycopg.Connection[Any]",
    plan: Plan,
    roles: tuple[str, ...],
    options: ProbeOptions,
    progress: Progress,
    *,
    clone: bool,
) -> tuple[list[Act], list[Gap], Crop, int]:
    """Plant and try everything, in a transaction that is rolled back. clone: nobody else uses this server."""
    schema = plan.schema
    acts: list[Act] = []
    gaps: list[Gap] = []
    crop = Crop()
    tables = _to_plant(schema, plan)
    if not clone and (problem := _too_many_locks(schema, tables)):
        return acts, [problem], crop, 0
    statements = 0
    turns = [(role,) for role in roles] if plan.by_role else [roles]
    for turn in turns:
        connection.rollback()
        with always_rolled_back(
            connection,
            lock_timeout_s=options.lock_timeout_s,
            statement_timeout_s=options.statement_timeout_s,
            read_only=False,
        ):
            prober = Prober(connection, superuser=schema.superuser, paths=_paths(schema))
            prober.replica = _can_be_replica(prober)
            if not schema.superuser and not schema.roles[schema.user].bypass:
                gaps.append(Gap(code="not-administrator", target=schema.user,
                                reason="the connected role is neither a superuser nor has BYPASSRLS: canary rows of"
                                " two tenants may not be plantable", remedy="connect as an administrator"))  # fmt: skip
            tried, lacking = able(prober, turn, "nothing was tried as them")
            gaps += lacking
            planter = Planter(plan, prober)
            if not clone:
                risky = [item for item in tables if item.oid in plan.effects]
                gaps += _effects(risky, roles)
                if not prober.replica:  # planting itself would set their triggers off
                    tables = [item for item in tables if item not in risky]
            progress(f"planting canary rows of two tenants in {len(tables)} tables")
            planter.solve(tables)
            crop = planter.plant(tables, turn[0])
            gaps += crop.gaps
            secrets = _secrets(planter, tables, turn[0])
            attackers = [Attacker(plan, planter, crop, role, blind=clone) for role in tried]
            # First without any context: once a setting was given in a session, it is empty and no longer absent.
            for context in (NO_CONTEXT, TENANT, EMPTY):
                progress(f"acting as {', '.join(tried)}: context {context}")
                acts += _round(prober, attackers, plan, tables, context, secrets)
            acts += _bypasses(prober, attackers, plan, tables, secrets)
            more, lacking = try_insiders(plan, prober, planter, crop, attackers, tables)
            acts += more
            gaps += lacking
            progress("asking views and functions")
            acts += observe(plan, prober, planter, crop, tried, volatile=clone)
            statements += prober.statements
    return acts, list(dict.fromkeys(gaps)), crop, statements


def _effects(tables: list[Relation], roles: tuple[str, ...]) -> Iterator[Gap]:
    for table in tables:
        if any(
            table.rights.get(role, frozenset()) - {"SELECT"} or table.column_rights.get(role)
            for role in roles
        ):
            yield Gap(
                code="write-not-shown", target=table.title,
                reason="its triggers or rules may do what no rollback takes back (draw from a counter, call a program):"
                " writes were not tried in the database itself",
                remedy="leave out --probe-writes: they are tried on a copy of the schema",
            )  # fmt: skip


def _round(
    prober: Prober,
    attackers: list[Attacker],
    plan: Plan,
    tables: list[Relation],
    context: str,
    secrets: frozenset[str],
) -> list[Act]:
    tries: list[Try] = []
    children = [item for item in plan.schema.tables() if item.partition]
    for attacker in attackers:
        settings = {
            NO_CONTEXT: {}, EMPTY: plan.empty(), TENANT: plan.context(0, attacker.role)
        }[context]  # fmt: skip
        for relation in (*tables, *children):
            tries += attacker.tries(relation, context, settings)
    outcomes = prober.run([one.step for one in tries])
    return [read_outcome(one, outcome, secrets) for one, outcome in zip(tries, outcomes, strict=True)]


def _bypasses(
    prober: Prober, attackers: list[Attacker], plan: Plan, tables: list[Relation], secrets: frozenset[str]
) -> list[Act]:
    """Give settings that policies compare with a constant that value: any role can set them."""
    acts: list[Act] = []
    for key, value in sorted(plan.reading.bypass):
        name, _, path = key.partition("#")
        if path or name.startswith("request.") or "." not in name:
            continue
        tries: list[Try] = []
        for attacker in attackers:
            settings = {**plan.context(0, attacker.role), name: value}
            tries += [
                replace(one, act=replace(one.act, column=f"{name} = {value}"))
                for relation in tables
                for one in attacker.tries(relation, BYPASS, settings)
                if one.act.operation in {"SELECT", "UPDATE", "DELETE"}
            ]
        outcomes = prober.run([one.step for one in tries])
        acts += [read_outcome(one, outcome, secrets) for one, outcome in zip(tries, outcomes, strict=True)]
    return acts


def _to_plant(schema: Schema, plan: Plan) -> list[Relation]:
    """Every table that is owned, and those that it refers to."""
    wanted = {oid for oid, facts in plan.tables.items() if facts.owned}
    wanted |= {item.oid for item in schema.tables() if item.row_security}
    todo = list(wanted)
    while todo:
        relation = schema.relations.get(todo.pop())
        for key in relation.foreign_keys if relation else ():
            if key.parent not in wanted:
                wanted.add(key.parent)
                todo.append(key.parent)
    found = [item for item in schema.tables() if item.oid in wanted and not item.partition]
    return in_order(found)


def _secrets(planter: Planter, tables: list[Relation], role: str) -> frozenset[str]:
    found = set()
    for relation in tables:
        for value in planter.row(relation, B, 0, role).values():
            if value is not None and len(value) >= 8:
                found.add(value)
    return frozenset(found)


def _planted(tables: dict[int, TableFacts], crop: Crop, plan: Plan, copied: Plan) -> dict[int, TableFacts]:
    names = {
        (item.schema, item.name)
        for oid in crop.rows
        if (item := copied.schema.relations.get(oid)) is not None and crop.of(oid, B)
    }
    return {
        oid: replace(
            facts, planted=(plan.schema.relations[oid].schema, plan.schema.relations[oid].name) in names
        )
        for oid, facts in tables.items()
    }


def _can_be_replica(prober: Prober) -> bool:
    prober.execute("SAVEPOINT smos_replica")
    try:
        prober.execute("SELECT pg_catalog.set_config('session_replication_role', 'replica', true)")
        able = True
    except psycopg.Error:
        able = False
    prober.execute("ROLLBACK TO SAVEPOINT smos_replica")
    return able


def _paths(schema: Schema) -> dict[str, str]:
    """Return each role's search_path, as a login of its own would get it."""
    paths = {"": '"$user", public'}
    for role, setting in schema.context_defaults:
        name, _, value = setting.partition("=")
        if name == "search_path":
            paths[role] = value
    return paths


def _too_many_locks(schema: Schema, tables: list[Relation]) -> Gap | None:
    room = int(schema.settings["max_locks_per_transaction"]) * int(schema.settings["max_connections"])
    needed = sum(2 + len(item.index_leads) for item in tables)
    if needed < room * LOCKS_SHARE:
        return None
    return Gap(
        code="too-many-locks",
        target=schema.database,
        reason=f"one transaction over {len(tables)} tables needs about {needed} locks of {room} that the server has",
        remedy="leave out --probe-writes: the copy of the schema has room; or raise max_locks_per_transaction",
    )


def _moved(connection: "psycopg.Connection[Any]", schema: Schema) -> tuple[str, ...]:
    """Return the sequences whose counter is another than before: nextval is never rolled back."""
    connection.rollback()
    after = read_counters(connection)
    return tuple(item.title for item in schema.sequences.values() if after.get(item.oid) != item.state)


def _static(schema: Schema) -> dict[str, Any]:
    functions = schema.functions
    readers = {oid for oid, item in functions.items() if SESSION_READERS.search(item.body)}
    grown = True
    while grown:  # who calls a reader reads the session too
        names = {functions[oid].name for oid in readers}
        more = {
            oid
            for oid, item in functions.items()
            if oid not in readers and names & set(re.findall(r"(\w+)\s*\(", item.body))
        }
        readers |= more
        grown = bool(more)
    shadowable = {oid for oid, item in functions.items() if names_unqualified(item, schema)}
    claims, per_row = [], []
    for relation in schema.relations.values():
        for policy in relation.policies:
            for text in (policy.using or "", policy.check or ""):
                if USER_CLAIM.search(text):
                    claims.append((relation.oid, policy.name))
                if (
                    re.search(r"(?<!SELECT )\b(?:auth\.\w+|current_setting)\(", text)
                    and relation.rows > 10_000
                ):
                    per_row.append((relation.oid, policy.name))
    return {
        "context_readers": frozenset(readers),
        "shadowable": frozenset(shadowable),
        "user_claims": tuple(dict.fromkeys(claims)),
        "per_row": tuple(dict.fromkeys(per_row)),
    }


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[phase] = seconds.get(phase, 0) + time.monotonic() - started
