"""Servers, databases and tools for the tests of smos.postgres."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from smos.postgres.content import DatabaseContent
from smos.postgres.fingerprint import read_content
from smos.provision.embedded.postgres import EmbeddedPostgres

DATA = Path(__file__).parent / "data"


def connector(server: EmbeddedPostgres, name: str) -> Callable[[], psycopg.Connection]:
    return lambda: psycopg.connect(server.endpoint.conninfo(name))


def content(server: EmbeddedPostgres, name: str, **options: Any) -> DatabaseContent:
    return read_content(connector(server, name), **options)


def execute(server: EmbeddedPostgres, name: str, text: str, *, user: str | None = None) -> None:
    """Run statements; those of a text with `-- separately` one by one, outside of a transaction."""
    with psycopg.connect(server.endpoint.conninfo(name, user=user), autocommit=True) as connection:
        if text.startswith("-- separately"):
            for statement in text.split(";\n"):
                connection.execute(statement)
        else:
            with connection.transaction():
                connection.execute(text)


def load(server: EmbeddedPostgres, name: str, file: Path) -> None:
    tool(
        server,
        "psql",
        f"--dbname={name}",
        "--quiet",
        "--no-psqlrc",
        "--set=ON_ERROR_STOP=1",
        f"--file={file}",
    )


def copy_database(server: EmbeddedPostgres, source: str, name: str) -> None:
    execute(
        server, "postgres", f'-- separately\nCREATE DATABASE "{name}" TEMPLATE "{source}" STRATEGY file_copy'
    )


def drop_database(server: EmbeddedPostgres, name: str) -> None:
    execute(server, "postgres", f'-- separately\nDROP DATABASE "{name}" WITH (FORCE)')


def tool(server: EmbeddedPostgres, name: str, *arguments: str, data: bytes | None = None) -> bytes:
    done = subprocess.run(
        [server.installation.tool(name), *arguments],
        env={**server.endpoint.env(), "PGOPTIONS": "-c client_min_messages=warning"},
        input=data,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def sorted_dump(server: EmbeddedPostgres, name: str) -> list[str]:
    """Return the independent oracle: all that pg_dump says about a database, in the order of the alphabet."""
    text = tool(server, "pg_dump", "--create", f"--dbname={server.endpoint.conninfo(name)}").decode()
    text = re.sub(rf'"?\b{re.escape(name)}\b"?', "THE_DATABASE", text)
    return sorted(
        line for line in text.splitlines() if not line.startswith(("--", "\\restrict", "\\unrestrict"))
    )
