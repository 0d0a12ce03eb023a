"""Runs many statements as many identities in few round trips, and undoes every one of them.

A batch is one anonymous block: each step sets the context, takes the identity, runs its statement in a
subtransaction, looks at what has changed as the administrator, and raises, so that nothing of it stays.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from smos.rls.facts import Gap
from smos.rls.schema import ident

BATCH = 400
"""Steps of one block: enough that round trips don't count, few enough that a slow one is found quickly."""

_BLOCK = """DO {tag}
DECLARE
    s jsonb; r text[] := '{{}}'; n bigint; t text; v text; st text; ms text; dt text; ct text; a record;
BEGIN
    FOR s IN SELECT * FROM pg_catalog.jsonb_array_elements({steps}::jsonb) LOOP
        n := NULL; t := NULL; v := NULL;
        BEGIN
            PERFORM pg_catalog.set_config(c.key, c.value, true) FROM pg_catalog.jsonb_each_text(s->'c') AS c;
            IF s ? 'i' THEN EXECUTE s->>'i'; END IF;
            IF s->>'k' = 'q' THEN EXECUTE s->>'s' INTO t;
            ELSIF s->>'k' = 'c' THEN EXECUTE s->>'s' INTO a; t := a::text;
            ELSE EXECUTE s->>'s'; GET DIAGNOSTICS n = ROW_COUNT; END IF;
            IF s->>'k' = 'w' THEN SET CONSTRAINTS ALL IMMEDIATE; END IF;
            IF s ? 'i' THEN EXECUTE {back}; END IF;
            IF s ? 'v' THEN EXECUTE s->>'v' INTO v; END IF;
            RAISE EXCEPTION SQLSTATE 'SM000' USING MESSAGE =
                pg_catalog.jsonb_build_object('n', n, 't', t, 'v', v)::text;
        EXCEPTION WHEN OTHERS OR query_canceled THEN
            GET STACKED DIAGNOSTICS st = RETURNED_SQLSTATE, ms = MESSAGE_TEXT, dt = PG_EXCEPTION_DETAIL,
                ct = CONSTRAINT_NAME;
            IF st = 'SM000' THEN r := r || ms;
            ELSE
                r := r || pg_catalog.jsonb_build_object('e', st, 'm', ms, 'd', dt, 'x', ct)::text;
                IF st = '57014' THEN EXIT; END IF;
            END IF;
        END;
    END LOOP;
    PERFORM pg_catalog.set_config('smos.out', pg_catalog.array_to_json(r)::text, true);
END {tag}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One statement of one identity. kind: q for a query with one text, w for a write, c for a CALL with an answer.

    role: None: administrator.

    verify: a query of the administrator's with one text, run after the statement and before it is undone.
    replica: without triggers and foreign keys, where the administrator may ask for that.
    """

    statement: str
    kind: str = "q"
    role: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    verify: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a step did. text: the answer of a query; rows: changed; verified: the administrator's answer."""

    text: str | None = None
    rows: int = 0
    verified: str | None = None
    state: str = ""
    message: str = ""
    detail: str = ""
    constraint: str = ""


class Prober:
    """One administrator's connection inside one transaction that is always rolled back."""

    def __init__(
        self, connection: "psycopg.Connection[Any]", *, superuser: bool, paths: dict[str, str]
    ) -> None:
        self.connection = connection
        self.superuser = superuser
        self.paths = paths
        self.replica = False
        self.statements = 0
        self.dropped = 0

    @property
    def back(self) -> str:
        """The statement that takes the administrator's identity again."""
        return "SET LOCAL SESSION AUTHORIZATION DEFAULT" if self.superuser else "SET LOCAL ROLE NONE"

    def become(self, role: str) -> str:
        """Return the statement that takes a role's identity: session_user too, where that is possible."""
        return f"SET LOCAL {'SESSION AUTHORIZATION' if self.superuser else 'ROLE'} {ident(role)}"

    def run(self, steps: Sequence[Step]) -> list[Outcome]:
        """Try every step; nothing of them stays. Raises psycopg.Error when the connection is lost."""
        outcomes: list[Outcome] = []
        place = 0
        while place < len(steps):
            part = steps[place : place + BATCH]
            found = self._block(part)
            outcomes.extend(found)
            place += max(len(found), 1)
            if not found:
                outcomes.append(Outcome(state="57014", message="the batch ran into its time limit"))
        self.statements += len(steps)
        return outcomes

    def _block(self, steps: Sequence[Step]) -> list[Outcome]:
        payload = json.dumps([self._payload(step) for step in steps])
        block = _BLOCK.format(
            tag="$smos_block$",
            steps="'" + payload.replace("'", "''") + "'",
            back="'" + self.back + "'",
        )
        if "$smos_block$" in payload:
            return [Outcome(state="42601", message="the statement can't be quoted")] * len(steps)
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute("SAVEPOINT smos")
            try:
                cursor.execute(block.encode())
                row = cursor.execute("SELECT pg_catalog.current_setting('smos.out')").fetchone()
            except psycopg.errors.QueryCanceled:
                cursor.execute("ROLLBACK TO SAVEPOINT smos")
                return []
            cursor.execute("ROLLBACK TO SAVEPOINT smos")
        answers = json.loads(row[0]) if row else []
        return [_outcome(json.loads(item)) for item in answers]

    def _payload(self, step: Step) -> dict[str, Any]:
        settings = dict(step.settings)
        if step.role is not None:
            settings["search_path"] = self.paths.get(step.role, self.paths[""])
        payload: dict[str, Any] = {"s": step.statement, "k": step.kind, "c": settings}
        if step.role is not None:
            payload["i"] = self.become(step.role)
        if step.verify is not None:
            payload["v"] = step.verify
        return payload

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run something of the administrator's own that stays until the transaction ends."""
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def able(prober: Prober, roles: Sequence[str], otherwise: str) -> tuple[tuple[str, ...], list[Gap]]:
    """Return the roles that the connected one may act as, and a gap that names the others.

    otherwise: what was therefore not done. To be refused another's identity looks like being refused its rights.
    """
    outcomes = prober.run([Step(statement="SELECT 'yes'", role=role) for role in roles])
    found = tuple(role for role, outcome in zip(roles, outcomes, strict=True) if outcome.text == "yes")
    lacking = sorted(set(roles) - set(found))
    if not lacking:
        return found, []
    gap = Gap(
        code="cannot-become",
        target=", ".join(lacking),
        reason=f"the connected role may not act as these roles: {otherwise}",
        remedy="connect as a superuser or as a member of these roles",
    )
    return found, [gap]


def _outcome(answer: dict[str, Any]) -> Outcome:
    if "e" in answer:
        return Outcome(
            state=answer["e"],
            message=answer["m"] or "",
            detail=answer["d"] or "",
            constraint=answer.get("x") or "",
        )
    return Outcome(text=answer["t"], rows=answer["n"] or 0, verified=answer["v"])


@contextmanager
def always_rolled_back(
    connection: "psycopg.Connection[Any]",
    *,
    lock_timeout_s: float,
    statement_timeout_s: float,
    read_only: bool,
) -> Iterator[None]:
    """Open a transaction with limits that is rolled back whatever happens."""
    connection.autocommit = True
    with suppress(psycopg.errors.InvalidParameterValue):  # servers on some systems can't look
        # A prober that was killed leaves no statement running, nor a lock behind.
        connection.execute("SET client_connection_check_interval = 500")
    connection.execute("BEGIN READ ONLY" if read_only else "BEGIN READ WRITE")
    try:
        for name, value in {
            "lock_timeout": str(int(lock_timeout_s * 1000)),
            "statement_timeout": str(int(statement_timeout_s * 1000)),
            "idle_in_transaction_session_timeout": str(int(statement_timeout_s * 10_000)),
            "client_min_messages": "error",
            "standard_conforming_strings": "on",
            "client_encoding": "UTF8",
            "jit": "off",
            "row_security": "on",
        }.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        yield
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("ROLLBACK")
