"""How the PostgreSQL of the configuration is: facts from one short session, and a pure judge of them."""

import time
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from smos.verdict import Finding, fail, not_proven, note

CONNECT_S = 5
STATEMENT_MS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresFacts:
    """What was seen. where: host, port and database. problem: "" (it answered), "refused", "silent" or "unusable".

    detail: the server's words, which hold no row. standby: it replays another's changes. used, most: sessions.
    """

    where: str
    problem: str = ""
    detail: str = ""
    version: str = ""
    standby: bool | None = None
    used: int = 0
    most: int = 0
    seconds: float = 0.0


def read_postgres(dsn: str, password: str | None) -> PostgresFacts:
    """Ask the server; never raises for its answer."""
    began = time.monotonic()
    try:
        known = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return PostgresFacts(where="postgres.dsn", problem="unusable", detail="it is no connection string")
    where = f"{known.get('host', 'localhost')}:{known.get('port', 5432)}/{known.get('dbname', '')}"
    try:
        conninfo = make_conninfo(
            dsn, connect_timeout=CONNECT_S, application_name="smos health",
            options=f"-c statement_timeout={STATEMENT_MS} -c default_transaction_read_only=on",
            **({"password": password} if password else {}),
        )  # fmt: skip
        with psycopg.connect(conninfo, autocommit=True) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'), pg_is_in_recovery(),"
                " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
                " current_setting('max_connections')::int"
            ).fetchone()
    except psycopg.Error as error:
        text = " ".join(str(error).split())[:200]
        refused = any(
            word in text for word in ("authentication", "password", "pg_hba", "does not exist", "permission")
        )
        problem = "refused" if refused else "silent"
        return PostgresFacts(where=where, problem=problem, detail=text, seconds=time.monotonic() - began)
    if row is None:
        return PostgresFacts(where=where, problem="silent", detail="no row came back")
    return PostgresFacts(
        where=where, version=str(row[0]), standby=bool(row[1]), used=int(row[2]), most=int(row[3]),
        seconds=time.monotonic() - began,
    )  # fmt: skip


def judge_postgres(facts: PostgresFacts) -> Finding:
    """Return the one finding."""
    name = f"PostgreSQL at {facts.where}"
    if facts.problem == "refused":
        return fail(
            "postgres-refused",
            f"{name} refused the login: {facts.detail}",
            "smos config set postgres.password",
        )
    if facts.problem == "unusable":
        return not_proven(
            "postgres-unusable", f"{facts.where}: {facts.detail}", "smos config set postgres.dsn"
        )
    if facts.problem:
        return not_proven("postgres-silent", f"{name} does not answer: {facts.detail}", "see whether it runs")
    if facts.standby:
        return not_proven(
            "postgres-standby", f"{name} is a standby: it shows nothing about the primary", "name the primary"
        )
    if facts.used >= facts.most:
        return fail(
            "postgres-full", f"{name} has no session left ({facts.used} of {facts.most})", "use a pool"
        )
    return note(
        "postgres-answers",
        f"{name} answered a query: version {facts.version}, {facts.used} of {facts.most} sessions",
    )
