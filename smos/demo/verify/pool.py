"""One session that serves many tenants in turn, as behind a pool: nothing of one transaction reaches the next."""

# Statements are put together from constants of ours, never from what a database holds; SQL keeps its lines.
# ruff: noqa: S608

from contextlib import suppress
from typing import Any

import psycopg

from smos.demo.stack import DemoDatabase
from smos.demo.verify.facts import Observation, Trial
from smos.demo.verify.rls import APP, JWT, LIMITS, Style, attempt
from smos.demo.verify.world import A1, B1, NOBODY, OWN, A, B, plant

TURNS = 20
EVERYTHING = "SELECT " + " + ".join(f"(SELECT count(*) FROM demo.{table})" for table in OWN)
ALL_OWN = str(sum(OWN.values()))
OTHERS = f"SELECT count(*) FROM demo.products WHERE tenant_id = '{A}'"


def try_pool(database: DemoDatabase) -> Trial:
    """Play a pool in both styles of telling the context."""
    with database.connect() as admin:
        plant(admin)
    observations: list[Observation] = []
    unreachable: list[str] = []
    for style in (APP, JWT):
        try:
            connection = database.connect(style.login)
        except psycopg.OperationalError as error:
            unreachable.append(f"{style.login} can't log in ({error.sqlstate or 'no answer'})")
            continue
        with connection:
            observations += _Session(connection, style).play()
    return Trial(observations=tuple(observations), unreachable=tuple(unreachable))


class _Session:
    """One logged-in session; every method is something that a pool's client does."""

    def __init__(self, connection: "psycopg.Connection[Any]", style: Style) -> None:
        self._connection = connection
        self._style = style
        self._found: list[Observation] = []

    def play(self) -> list[Observation]:
        self._see("context-preset", "a new session speaks for nobody", "0", self._ask())
        self._first_use()
        self._see("context-leftover", "nothing is left of a context after COMMIT", "0", self._ask())
        self._see("context-leftover", "the role is the login's again", self._style.login, self._who())
        with suppress(psycopg.errors.DivisionByZero), self._connection.transaction():
            self._enter(A, A1)
            self._connection.execute("SELECT 1 / 0")
        self._see("context-leftover", "nothing is left of a context after an error", "0", self._ask())
        self._outside()
        self._savepoint()
        self._turns()
        self._prepared()
        self._nonsense()
        return self._found

    def _first_use(self) -> None:
        with self._connection.transaction():
            self._enter(A, A1)
            seen = self._value(EVERYTHING)
        self._see("own-rows-hidden", "a user sees the own rows", ALL_OWN, seen)

    def _outside(self) -> None:
        # Each statement is a transaction of its own here: the setting ends with the statement that made it.
        with self._connection.cursor() as cursor:
            self._style.enter(cursor, A, A1)
        self._see(
            "context-leftover", "a context that is entered outside of a transaction is gone", "0", self._ask()
        )

    def _savepoint(self) -> None:
        with self._connection.transaction(force_rollback=True):
            self._enter(A, A1)
            with self._connection.transaction(force_rollback=True):
                self._enter(B, B1)
            seen = self._value(OTHERS)
        self._see("context-leftover", "a rolled-back savepoint gives the first context back", "2", seen)

    def _turns(self) -> None:
        crossed = 0
        for turn in range(TURNS):
            tenant, user = ((A, A1), (B, B1))[turn % 2]
            with self._connection.transaction():
                self._enter(tenant, user)
                crossed += self._value(EVERYTHING) != ALL_OWN
                crossed += (
                    self._value(f"SELECT count(*) FROM demo.products WHERE tenant_id <> '{tenant}'") != "0"
                )
        self._see("context-leftover", f"{TURNS} turns of two tenants never mix", "0", str(crossed))

    def _prepared(self) -> None:
        """Make a generic plan once; a context function that is IMMUTABLE would be folded into it."""
        with self._connection.transaction():
            self._connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            self._enter(A, A1)
            self._connection.execute(f"PREPARE pool_plan AS {OTHERS}".encode())
            first = self._value("EXECUTE pool_plan")
        with self._connection.transaction():
            self._connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            self._enter(B, B1)
            second = self._value("EXECUTE pool_plan")
        self._connection.execute("DEALLOCATE pool_plan")
        self._see(
            "context-cached",
            "a prepared statement follows the context",
            "2, then 0",
            f"{first}, then {second}",
        )

    def _nonsense(self) -> None:
        for tenant, user in ((NOBODY, NOBODY), (A, NOBODY), (NOBODY, A1)):
            with self._connection.transaction(force_rollback=True):
                self._enter(tenant, user)
                seen = self._value(
                    "SELECT (SELECT count(*) FROM demo.orders) + (SELECT count(*) FROM demo.users)"
                )
            self._see("open-without-context", "an unknown tenant or user opens no user's rows", "0", seen)
        for text in ("", "nonsense"):
            with self._connection.transaction(force_rollback=True), self._connection.cursor() as cursor:
                cursor.execute(LIMITS)
                self._style.begin(cursor)
                for setting in ("app.tenant_id", "app.user_id", "request.jwt.claims"):
                    cursor.execute("SELECT set_config(%s, %s, true)", (setting, text))
                seen, _ = attempt(cursor, EVERYTHING)
            allowed = ("0",) if text == "" else ("0", "22P02")
            self._see("open-without-context", f"the context {text!r} opens nothing", allowed, seen)

    def _enter(self, tenant: str, user: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(LIMITS)
            self._style.begin(cursor)
            self._style.enter(cursor, tenant, user)

    def _value(self, statement: str) -> str:
        with self._connection.cursor() as cursor:
            return attempt(cursor, statement)[0]

    def _ask(self) -> str:
        """Ask for everything without entering anything; the style's role is taken, as its pool would."""
        with self._connection.transaction(force_rollback=True), self._connection.cursor() as cursor:
            cursor.execute(LIMITS)
            self._style.begin(cursor)
            return attempt(cursor, EVERYTHING)[0]

    def _who(self) -> str:
        return self._value("SELECT current_user::text")

    def _see(self, code: str, what: str, allowed: "str | tuple[str, ...]", seen: str) -> None:
        self._found.append(
            Observation(
                code=code,
                what=what,
                role=self._style.role,
                statement=f"pooled session, {self._style.name}",
                allowed=(allowed,) if isinstance(allowed, str) else allowed,
                seen=seen,
            )
        )
