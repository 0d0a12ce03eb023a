"""Is the recovered sandbox ready for the application? Questions of the target, asked of the real servers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from smos.drill.record import ServiceFacts, SmokeFacts
from smos.provision.base import PostgresEndpoint
from smos.target import Smoke, Target
from smos.vault.recovery import VaultFacts

QUESTION_TIMEOUT_MS = 60_000
CONNECT_TIMEOUT_S = 10
"""A server that takes connections and says nothing is not healthy; psycopg alone would wait 130 s."""


def ask_smoke(endpoint: PostgresEndpoint, target: Target, reader: str | None) -> tuple[SmokeFacts, ...]:
    """Ask every declared question of the restored databases; each in a transaction that is rolled back.

    reader: the sandbox's own role that asks: a view that came with the dump must not run with an administrator's
    rights. A question may take on any restored role (SET LOCAL ROLE). None: nothing was restored.
    """
    return tuple(_ask(endpoint, reader, question) for question in target.smoke)


def _ask(endpoint: PostgresEndpoint, reader: str | None, question: Smoke) -> SmokeFacts:
    answer, detail = None, ""
    try:
        with _read_only(endpoint, question.database, reader) as connection:
            cursor = connection.execute(question.sql)
            while cursor.nextset():
                pass  # the answer is the last statement's
            row = cursor.fetchone() if cursor.description else None
            if row is None:
                detail = "the question has no answer (no row)"
            else:
                answer = as_text(row[0])
    except psycopg.OperationalError as error:
        detail = error.sqlstate or "the database can't be connected to"
    except psycopg.Error as error:
        detail = f"{type(error).__name__} {error.sqlstate or ''}".strip()  # a message may quote rows
    return SmokeFacts(
        name=question.name,
        database=question.database,
        expected=as_text(question.expect),
        answer=answer,
        detail=detail,
    )


def as_text(value: object) -> str:
    """Return one spelling for equal values: true for YAML's and PostgreSQL's booleans, 4 for 4 and 4.0."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def names_from_database(
    endpoint: PostgresEndpoint, reader: str | None, database: str, sql: str
) -> tuple[list[str] | None, str]:
    """Run a reference rule's query; return the names, or None and the reason why it could not be asked."""
    try:
        with _read_only(endpoint, database, reader) as connection:
            return [str(row[0]) for row in connection.execute(sql) if row[0] is not None], ""
    except psycopg.Error as error:
        return None, f"{type(error).__name__} {error.sqlstate or ''}".strip()


def answer_services(
    target: Target, endpoint: PostgresEndpoint | None, vault: VaultFacts | None, not_decrypted: str = ""
) -> tuple[ServiceFacts, ...]:
    """Ask every declared service that this sandbox can hold; one that it can't hold stays unknown.

    not_decrypted: why no data could be restored, so that a database's absence says nothing about its service.
    """
    asks: dict[str, Callable[[], tuple[bool | None, str]]] = {
        "postgres": lambda: (
            (None, f"its backup was not decrypted: {not_decrypted}")
            if not_decrypted
            else _postgres(endpoint, target)
        ),
        "vault": lambda: _vault(vault),
    }

    def answer(name: str, kind: str) -> ServiceFacts:
        unknown = (None, "the embedded sandbox has no such service; check it with --provision live or docker")
        healthy, detail = asks.get(kind, lambda: unknown)()
        return ServiceFacts(name=name, kind=kind, healthy=healthy, detail=detail)

    return tuple(answer(service.name, service.kind) for service in target.services)


def _postgres(endpoint: PostgresEndpoint | None, target: Target) -> tuple[bool | None, str]:
    """Healthy: writes and reads in every declared database, as the server's own answer."""
    if endpoint is None:
        return None, "no sandbox was started"
    for database in target.database_names or ("postgres",):
        try:
            with psycopg.connect(
                endpoint.conninfo(database, connect_timeout=CONNECT_TIMEOUT_S), autocommit=True
            ) as connection:
                connection.execute("CREATE TEMPORARY TABLE smos_probe AS SELECT 42 AS answer")
                row = connection.execute("SELECT answer, pg_is_in_recovery() FROM smos_probe").fetchone()
        except psycopg.Error as error:
            return False, f"{database}: {type(error).__name__} {error.sqlstate or ''}".strip()
        if row != (42, False):
            return False, f"{database}: the server does not take writes"
    return True, f"wrote and read in {len(target.database_names)} databases"


def _vault(facts: VaultFacts | None) -> tuple[bool | None, str]:
    if facts is None:
        return None, "no Vault was recovered"
    return (True, "initialised, unsealed, active") if facts.unsealed else (False, "sealed or unreachable")


@contextmanager
def _read_only(endpoint: PostgresEndpoint, database: str, reader: str | None) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        endpoint.conninfo(database, reader, connect_timeout=CONNECT_TIMEOUT_S, client_encoding="utf8")
    ) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute(f"SET LOCAL statement_timeout = {QUESTION_TIMEOUT_MS}")
        try:
            yield connection
        finally:
            connection.rollback()
