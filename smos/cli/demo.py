"""`smos demo`: load the demo's schema, seed it, fill it to any size, clean it up."""

from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smos.cli import console
from smos.cli.console import print_json, say
from smos.errors import AuthenticationError, SmosError, TargetError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

app = typer.Typer(
    help="The demo environment: schema, seed, data of any size, clean-up.", no_args_is_help=True
)

CONNECT_S = 10
Host = Annotated[str, typer.Option(help="PostgreSQL's host or socket directory.")]
Port = Annotated[int, typer.Option(help="PostgreSQL's port; compose/demo.yml publishes 55432.")]
Database = Annotated[str, typer.Option(help="The demo's database.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("load")
def load(
    host: Host = "127.0.0.1",
    port: Port = 55432,
    database: Database = "demo",
    user: str = "postgres",
    *,
    as_json: AsJson = False,
) -> None:
    """Load roles, tables, policies and the clean-up into the demo's database; may be repeated. As a superuser.

    Everything but passwords: give those with psql and compose/demo/passwords.sql, or with psql.
    """
    from smos.demo.schema import load_schema

    with _connected(host, port, database, user) as connection:
        _demo_or_new(connection)
        load_schema(connection)
    console.result(
        f"{database}: the demo's schema is there", {"database": database, "schema": True}, as_json=as_json
    )


@app.command("seed")
def seed(
    *,
    host: Host = "127.0.0.1",
    port: Port = 55432,
    database: Database = "demo",
    user: Annotated[
        str | None, typer.Option(help="demo_seeder for the seed; a superuser for --tenants.")
    ] = None,
    tenants: Annotated[int | None, typer.Option(help="Also generate this many tenants.")] = None,
    rows: Annotated[int | None, typer.Option(help="With this many rows over all tables.")] = None,
    seed_number: Annotated[int, typer.Option(help="The same number gives the same data.")] = 0,
    now: Annotated[
        str | None, typer.Option(help="The moment the data lead up to, ISO 8601 with a zone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load the base seed (may be repeated: changes nothing); with --tenants and --rows, generate data of any size.

    Examples: smos demo seed; smos demo seed --tenants 1000 --rows 1000000
    """
    from smos.clock import SystemClock
    from smos.demo.generate import generate
    from smos.demo.schema import load_seed

    if (tenants is None) != (rows is None):
        raise TargetError("--tenants and --rows belong together", remedy="give both, or neither")
    moment = _moment(now)
    account = user or ("postgres" if tenants is not None else "demo_seeder")
    with _connected(host, port, database, account) as connection:
        _demo(connection)
        load_seed(connection)
        document: dict[str, Any] = {"database": database, "seed": "loaded"}
        if tenants is not None and rows is not None:
            made = generate(
                connection,
                tenants=tenants,
                rows=rows,
                seed=seed_number,
                now=moment or SystemClock().now(),
                progress=say,
            )
            document |= {"rows": dict(made.rows), "total": made.total, "seconds": round(made.seconds, 3)}
    if as_json:
        print_json(document)
        return
    console.tell(f"{database}: the base seed is there")
    if "total" in document:
        console.tell(f"{database}: {document['total']} rows generated in {document['seconds']:.1f} s")


@app.command("cleanup")
def cleanup(
    *,
    host: Host = "127.0.0.1",
    port: Port = 55432,
    database: Database = "demo",
    user: Annotated[str, typer.Option(help="The role that cleans up.")] = "demo_maintenance",
    days: Annotated[int, typer.Option(min=1, max=3650, help="Keep what is younger than this.")] = 7,
    now: Annotated[str | None, typer.Option(help="As if it were then: ISO 8601 with a zone.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Rows in one transaction, at most.")] = 1000,
    max_batches: Annotated[int, typer.Option(min=1, help="Stop after so many; run again later.")] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Remove expired demo data; the base seed and what is kept stay. May be interrupted and repeated.

    Example: smos demo cleanup --days 7 --now 2026-12-01T00:00:00Z
    """
    from smos.demo.cleanup import clean_up

    moment = _moment(now)
    with _connected(host, port, database, user) as connection:
        _demo(connection)
        result = clean_up(connection, days=days, now=moment, batch=batch, max_batches=max_batches)
    if as_json:
        print_json({"database": database, "removed": result.rows, "finished": result.finished})
        return
    more = "" if result.finished else "; not finished, run it again"
    console.tell(f"{database}: {result.rows} expired rows removed{more}")


@contextmanager
def _connected(host: str, port: int, database: str, user: str) -> "Iterator[psycopg.Connection[Any]]":
    """Give an autocommit connection; the password comes from ~/.pgpass or PGPASSFILE, never from an argument.

    Raises AuthenticationError, UnreachableError; SmosError for what the server refuses, without any row of it.
    """
    import psycopg

    try:
        connection = psycopg.connect(
            host=host, port=port, dbname=database, user=user, connect_timeout=CONNECT_S, autocommit=True
        )
    except psycopg.OperationalError as error:
        text = f"{user} can't log into {database} at {host}:{port}: {error}".strip()
        if "password" in str(error):
            raise AuthenticationError(text, remedy="put the password into ~/.pgpass or PGPASSFILE") from error
        if "does not exist" in str(error):
            raise SmosError(
                text, remedy="smos demo load makes the roles; the database itself must be there"
            ) from error
        raise UnreachableError(
            text,
            remedy="start it with docker compose -f compose/demo.yml up -d, or correct --host and --port",
        ) from error
    with connection:
        try:
            yield connection
        except psycopg.Error as error:
            primary = error.diag.message_primary or type(error).__name__
            raise SmosError(
                f"PostgreSQL refused it as {user}: {primary} (SQLSTATE {error.sqlstate})",
                remedy="load the schema again with smos demo load, or use the role that --help names",
            ) from error


def _demo(connection: "psycopg.Connection[Any]") -> None:
    """Raise SmosError unless the database says that it is the demo: nothing else is ever written to."""
    row = connection.execute("SELECT to_regclass('demo.identity') IS NOT NULL").fetchone()
    if row != (True,):
        raise SmosError(
            "This database is not the demo", remedy="name the demo's with --database, or smos demo load"
        )


def _demo_or_new(connection: "psycopg.Connection[Any]") -> None:
    """Raise SmosError for a database that holds anything but the demo: it could be production's."""
    row = connection.execute(
        "SELECT to_regclass('demo.identity') IS NOT NULL OR NOT EXISTS (SELECT FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
        " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')"
    ).fetchone()
    if row != (True,):
        raise SmosError(
            "This database has tables and is not the demo", remedy="create an empty database for the demo"
        )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise TargetError(f"--now {text}: no moment", remedy="for instance 2026-12-01T00:00:00Z") from error
    if moment.tzinfo is None:
        raise TargetError(f"--now {text}: it has no time zone", remedy="for instance 2026-12-01T00:00:00Z")
    return moment
