"""Acts as the demo's roles, by real logins, and records what each claim's statement gave.

Every statement runs in a transaction of its own that is rolled back. `lock_timeout` and `statement_timeout` are set.
"""

# Statements are put together from constants of ours, never from what a database holds; SQL keeps its lines.
# ruff: noqa: S608

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg

from smos.demo.stack import DemoDatabase
from smos.demo.verify.claims import Claim, of_context, of_oracles, of_tenants, of_users
from smos.demo.verify.facts import Observation, Trial
from smos.demo.verify.world import A1, OF_TENANT_A, A, B, plant

LIMITS = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '20s'"
LONGEST_STATEMENT = 300
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[A-Z]{3,}-\d+\b")


@dataclass(frozen=True, slots=True)
class Style:
    """One way of telling the database for whom a transaction speaks. login: who logs in; role: who then acts."""

    name: str
    login: str
    role: str
    begin: Callable[["psycopg.Cursor[Any]"], object]
    enter: Callable[["psycopg.Cursor[Any]", str, str], object]


def _enter_app(cursor: "psycopg.Cursor[Any]", tenant: str, user: str) -> object:
    return cursor.execute("SELECT demo.enter(%s, %s)", (tenant, user))


def _writing(cursor: "psycopg.Cursor[Any]") -> object:
    return cursor.execute("SET TRANSACTION READ WRITE")


def _become(cursor: "psycopg.Cursor[Any]") -> object:
    return cursor.execute("SET LOCAL ROLE authenticated")


def _enter_jwt(cursor: "psycopg.Cursor[Any]", tenant: str, user: str) -> object:
    claims = {"sub": user, "role": "authenticated", "app_metadata": {"tenant_id": tenant}}
    return cursor.execute(
        "SELECT pg_catalog.set_config('request.jwt.claims', %s, true)", (json.dumps(claims),)
    )


APP = Style("settings", "demo_app", "demo_app", lambda _cursor: None, _enter_app)
# A role may always undo its own default_transaction_read_only: rights must hold, not that setting.
REPORTS = Style("settings", "demo_readonly", "demo_readonly", _writing, _enter_app)
JWT = Style("JWT", "demo_authenticator", "authenticated", _become, _enter_jwt)


def attempt(
    cursor: "psycopg.Cursor[Any]", statement: str, arguments: Sequence[object] = ()
) -> tuple[str, str]:
    """Run a statement; return what came of it (see Claim) and the error's message with ids taken out."""
    try:
        if statement.startswith("COPY") and "STDOUT" in statement:
            with cursor.copy(statement.encode()) as copy:
                return str(sum(1 for _ in copy.rows())), ""
        cursor.execute(statement.encode(), arguments or None)
        if cursor.description is None or "RETURNING" in statement:
            return str(cursor.rowcount), ""
        row = cursor.fetchone()
    except psycopg.Error as error:
        if cursor.connection.broken:
            raise
        return error.sqlstate or type(error).__name__, _ID.sub("?", str(error))
    return ("none" if row is None else str(row[0])), ""


def observe(
    connection: "psycopg.Connection[Any]", style: Style, claims: Iterable[Claim]
) -> list[Observation]:
    """Run claims in one style on a connection that is logged in as `style.login`."""
    return [_observe(connection, style, claim) for claim in claims]


def _observe(connection: "psycopg.Connection[Any]", style: Style, claim: Claim) -> Observation:
    seen, message = _try(connection, style, claim, claim.statement)
    if claim.other:
        answer = _try(connection, style, claim, claim.other)
        seen = f"same {seen}" if answer == (seen, message) else f"differs: {seen}, {answer[0]}"
    return Observation(
        code=claim.code,
        what=claim.what,
        role=style.role,
        statement=claim.statement[:LONGEST_STATEMENT],
        allowed=claim.allowed,
        seen=seen,
    )


def _try(
    connection: "psycopg.Connection[Any]", style: Style, claim: Claim, statement: str
) -> tuple[str, str]:
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        cursor.execute(LIMITS)
        style.begin(cursor)
        if claim.context is not None:
            style.enter(cursor, *claim.context)
        for text in claim.before:
            cursor.execute(text.encode())
        return attempt(cursor, statement)


def try_tenants(database: DemoDatabase) -> Trial:
    """Try everything between tenants, as the application and as the reports' role."""
    return _trial(database, [(APP, lambda: (*of_tenants(), *of_context())), (REPORTS, _of_reports)])


def try_users(database: DemoDatabase) -> Trial:
    """Try everything between the users of a tenant."""
    return _trial(database, [(APP, of_users)])


def try_oracles(database: DemoDatabase) -> Trial:
    """Try to learn what is hidden from errors, from success, and from statistics."""
    return _trial(database, [(APP, of_oracles)])


def try_jwt(database: DemoDatabase) -> Trial:
    """Try all of it in the Supabase-style variant, and what only that one can get wrong."""

    def everything() -> Iterable[Claim]:
        return (*of_tenants(), *of_context(), *of_users(), *of_oracles())

    trial = _trial(database, [(JWT, everything)])
    return Trial(
        observations=(*trial.observations, *_of_claims(database)) if not trial.unreachable else (),
        unreachable=trial.unreachable,
    )


def _trial(database: DemoDatabase, tries: "Sequence[tuple[Style, Callable[[], Iterable[Claim]]]]") -> Trial:
    with database.connect() as admin:
        plant(admin)
        admin.execute("ANALYZE")  # the statistics must have something to hide
    observations: list[Observation] = []
    unreachable: list[str] = []
    for style, claims in tries:
        try:
            connection = database.connect(style.login)
        except psycopg.OperationalError as error:
            unreachable.append(f"{style.login} can't log in ({error.sqlstate or 'no answer'})")
            continue
        with connection:
            observations += observe(connection, style, claims())
    return Trial(observations=tuple(observations), unreachable=tuple(unreachable))


def _of_reports() -> Iterable[Claim]:
    for table, own in OF_TENANT_A.items():
        key = "id" if table == "tenants" else "tenant_id"
        yield Claim(
            code="own-rows-hidden",
            what=f"reports see the whole tenant in {table}",
            statement=f"SELECT count(*) FROM demo.{table} WHERE {key} = '{A}'",
            allowed=(str(own),),
        )
        yield Claim(
            code="tenant-read-crossed",
            what=f"reports see no other tenant in {table}",
            statement=f"SELECT count(*) FROM demo.{table} WHERE {key} <> '{A}'",
            allowed=("0",),
        )
        yield Claim(
            code="readonly-writes",
            what=f"the reports' role can't delete from {table}",
            statement=f"DELETE FROM demo.{table}",
            allowed=("42501",),
        )


def _of_claims(database: DemoDatabase) -> list[Observation]:
    """Try what the claims of a token may and may not do."""
    cases = (
        (
            "claims-spoofed",
            "the tenant is not read from user_metadata, which the user can write",
            {"sub": A1, "user_metadata": {"tenant_id": B}, "app_metadata": {"tenant_id": A}},
            f"SELECT count(*) FROM demo.products WHERE tenant_id = '{B}'",
            ("0",),
        ),
        (
            "claims-spoofed",
            "user_metadata alone opens nothing",
            {"sub": A1, "user_metadata": {"tenant_id": B}},
            "SELECT count(*) FROM demo.products",
            ("0",),
        ),
        (
            "open-without-context",
            "a token without subject opens no user's rows",
            {"app_metadata": {"tenant_id": A}},
            "SELECT count(*) FROM demo.orders",
            ("0",),
        ),
        (
            "open-without-context",
            "a token without tenant opens nothing",
            {"sub": A1},
            "SELECT (SELECT count(*) FROM demo.orders) + (SELECT count(*) FROM demo.products)",
            ("0",),
        ),
    )
    observations = []
    with ExitStack() as stack:
        connection = stack.enter_context(database.connect(JWT.login))
        for code, what, claims, statement, allowed in cases:
            with connection.transaction(force_rollback=True), connection.cursor() as cursor:
                cursor.execute(LIMITS)
                cursor.execute("SET LOCAL ROLE authenticated")
                cursor.execute("SELECT set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
                seen, _ = attempt(cursor, statement)
            observations.append(
                Observation(
                    code=code,
                    what=what,
                    role="authenticated",
                    statement=statement,
                    allowed=allowed,
                    seen=seen,
                )
            )
        observations += _of_anon(connection)
    return observations


def _of_anon(connection: "psycopg.Connection[Any]") -> list[Observation]:
    """Try what somebody sees who has not logged in: the shop window, its public columns, and nothing else."""
    window = "SELECT count(sku) FROM demo.products"
    tries = [
        ("own-rows-hidden", "anon sees the seed's products", window, ("15",)),
        ("anonymous-reads", "anon sees no stock", "SELECT count(stock) FROM demo.products", ("42501",)),
        ("anonymous-reads", "anon can't order", "DELETE FROM demo.products", ("42501",)),
    ]
    tries += [
        (
            "anonymous-reads",
            f"anon sees nothing of {table}",
            f"SELECT count(*) FROM demo.{table}",
            ("42501",),
        )
        for table in OF_TENANT_A
        if table != "products"
    ]
    tries.append(
        (
            "anonymous-reads",
            "the login role itself sees nothing",
            "SELECT count(*) FROM demo.products",
            ("42501",),
        )
    )
    observations = []
    for place, (code, what, statement, allowed) in enumerate(tries):
        with connection.transaction(force_rollback=True), connection.cursor() as cursor:
            cursor.execute(LIMITS)
            if place < len(tries) - 1:
                cursor.execute("SET LOCAL ROLE anon")
            seen, _ = attempt(cursor, statement)
        role = "anon" if place < len(tries) - 1 else JWT.login
        observations.append(
            Observation(code=code, what=what, role=role, statement=statement, allowed=allowed, seen=seen)
        )
    return observations
