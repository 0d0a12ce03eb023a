"""`smos demo` on a real server: load, seed, generate, clean up; and what it refuses."""

import json
import os
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from smos.provision.base import PostgresEndpoint
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from tests._forked import run_smos


@pytest.fixture(scope="module")
def endpoint() -> Iterator[PostgresEndpoint]:
    with Owner("test-demo-cli") as owner:
        server = EmbeddedPostgres(owner, name="cli", memory=True)
        server.start()
        with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE demo")
            connection.execute("CREATE DATABASE production")
        with psycopg.connect(server.endpoint.conninfo("production"), autocommit=True) as connection:
            connection.execute("CREATE TABLE orders (id int)")
        yield server.endpoint


def smos(endpoint: PostgresEndpoint, *words: str) -> subprocess.CompletedProcess[str]:
    return run_smos(
        ["demo", *words, "--host", endpoint.host, "--port", str(endpoint.port)],
        env={**os.environ, "PGUSER": "", "NO_COLOR": "1"},
    )


def test_the_whole_life_of_a_demo(endpoint: PostgresEndpoint) -> None:
    assert smos(endpoint, "seed").returncode == 1  # not loaded yet: nothing is written
    for _ in range(2):
        loaded = smos(endpoint, "load")
        assert loaded.returncode == 0, loaded.stderr
    seeded = smos(endpoint, "seed", "--json")
    assert seeded.returncode == 0, seeded.stderr
    assert json.loads(seeded.stdout)["seed"] == "loaded"
    now = "2026-11-23T12:00:00Z"
    filled = smos(endpoint, "seed", "--tenants", "3", "--rows", "500", "--now", now, "--json")
    assert json.loads(filled.stdout)["total"] == 500, filled.stderr
    half = json.loads(smos(endpoint, "cleanup", "--now", now, "--json").stdout)
    assert half["finished"]
    rest = json.loads(
        smos(endpoint, "cleanup", "--days", "1", "--now", "2027-01-01T00:00:00Z", "--json").stdout
    )
    assert half["removed"] + rest["removed"] == 500
    assert "0 expired rows removed" in smos(endpoint, "cleanup", "--now", "2027-01-01T00:00:00Z").stdout


def test_a_database_that_is_not_the_demo_is_never_touched(endpoint: PostgresEndpoint) -> None:
    for words in (("load",), ("seed", "--user", "postgres"), ("cleanup", "--user", "postgres")):
        answer = smos(endpoint, *words, "--database", "production")
        assert answer.returncode == 1
        assert "not the demo" in answer.stderr
    with psycopg.connect(endpoint.conninfo("production")) as connection:
        found = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'demo'").fetchone()
    assert found == (0,)


@pytest.mark.parametrize(
    "words",
    [
        ("seed", "--tenants", "3"),
        ("cleanup", "--now", "tomorrow"),
        ("cleanup", "--now", "2026-01-01"),
        ("cleanup", "--days", "0"),
    ],
)
def test_wrong_words_are_wrong_usage(endpoint: PostgresEndpoint, words: tuple[str, ...]) -> None:
    assert smos(endpoint, *words).returncode == 2


def test_a_server_that_is_not_there_is_unreachable() -> None:
    nowhere = PostgresEndpoint(host="127.0.0.1", port=1, superuser="postgres", version_num=0)
    answer = smos(nowhere, "cleanup", "--json")
    assert answer.returncode == 4
    assert json.loads(answer.stdout)["error"]["code"] == "unreachable"
