"""The demo's SQL on every PostgreSQL that is here: it loads, loads again without a trace, and every check passes."""

from collections.abc import Iterator

import psycopg
import pytest

from smos.demo.expected import DIGESTS, ROWS
from smos.demo.schema import load_schema, text_of
from smos.demo.stack import DemoStack, login
from smos.demo.verify.seed import FIXED, digests
from smos.faults.demo.isolation import answer_as_n8n
from smos.faults.demo.workspace import exercise, workspace
from smos.provision.installations import find_installations
from smos.provision.owner import Owner
from smos.verdict import Verdict

OLDEST = min((one for one in find_installations() if one.major >= 15), key=lambda one: one.version_num)
"""PostgreSQL 15 where there is one: the suite itself runs on the newest."""
CATALOGUE = """
SELECT 'acl ' || oid::regclass || coalesce(relacl::text, '') || relrowsecurity || relforcerowsecurity || relowner
FROM pg_class WHERE relnamespace IN ('demo'::regnamespace, 'auth'::regnamespace)
UNION ALL SELECT 'policy ' || polrelid::regclass || polname || polcmd::text || polroles::text
    || coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') FROM pg_policy
UNION ALL SELECT 'function ' || oid::regprocedure || coalesce(proacl::text, '') || md5(pg_get_functiondef(oid)) FROM pg_proc
    WHERE pronamespace IN ('demo'::regnamespace, 'auth'::regnamespace)
UNION ALL SELECT 'column ' || attrelid::regclass || attname || coalesce(attacl::text, '') FROM pg_attribute
    WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'demo'::regnamespace)
UNION ALL SELECT 'constraint ' || conrelid::regclass || conname FROM pg_constraint
    WHERE connamespace = 'demo'::regnamespace AND conrelid <> 0
ORDER BY 1
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[DemoStack]:
    with Owner("test-demo") as owner:
        yield DemoStack(owner, OLDEST)


def test_loading_the_schema_again_changes_nothing(stack: DemoStack) -> None:
    with stack.clone() as database, database.connect() as connection:
        before = connection.execute(CATALOGUE.encode()).fetchall()
        load_schema(connection)
        assert connection.execute(CATALOGUE.encode()).fetchall() == before
        assert len(before) > 100


@pytest.mark.parametrize("check_id", [f"DEMO-{number:02d}" for number in range(1, 15)])
def test_every_check_passes_on_the_oldest_postgresql(stack: DemoStack, check_id: str) -> None:
    with workspace(stack) as work:
        well = (200, b'{"status":"ok"}')
        answer_as_n8n(work, {"/healthz": well, "/healthz/readiness": well})
        judgement = exercise(check_id, work)
        assert judgement.verdict is Verdict.PASS, judgement.findings


def test_the_pinned_digests_are_the_seeds_own(stack: DemoStack) -> None:
    with stack.clone() as database, database.connect() as connection:
        connection.execute(FIXED)
        assert digests(connection) == dict(DIGESTS)
        rows = {t: connection.execute(f"SELECT count(*) FROM demo.{t}".encode()).fetchone()[0] for t in ROWS}
        assert rows == dict(ROWS)


def test_a_policy_of_the_visitor_lets_nobody_delete_the_seed(stack: DemoStack) -> None:
    with stack.clone() as database, database.connect("demo_app") as app, app.transaction(force_rollback=True):
        app.execute(
            "SELECT demo.enter('d3300000-0000-4000-8000-000000000001', 'd3300000-0000-4000-8000-000000000101')"
        )
        assert app.execute("SELECT count(*) FROM demo.products").fetchone() == (15,)
        assert app.execute("DELETE FROM demo.products").rowcount == 0
        assert app.execute("UPDATE demo.orders SET comuna = 'x'").rowcount == 0


def test_the_servers_ask_for_the_right_password(stack: DemoStack) -> None:
    with stack.clone() as database:
        with pytest.raises(psycopg.OperationalError):
            login(database.endpoint, database.name, "demo_app", {"demo_app": "wrong"})
        with database.connect("demo_app") as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("demo_app",)


def test_a_rut_with_a_wrong_check_digit_is_refused_by_the_database(stack: DemoStack) -> None:
    cases = {"76543210-3": True, "15678432-K": True, "15678432-k": False, "76543210-4": False, "7654-1": False,
             "": False, "015678432-K": False, "11111111-1": True, "12345678-5": True}  # fmt: skip
    with stack.clone() as database, database.connect() as connection:
        for text, valid in cases.items():
            assert connection.execute("SELECT demo.rut_is_valid(%s)", (text,)).fetchone() == (valid,), text


def test_the_sql_that_libpq_runs_holds_no_psql_command() -> None:
    for name in ("init", "supabase", "database", "cleanup", "seed"):
        assert not [line for line in text_of(name).splitlines() if line.startswith("\\")], name


def test_the_passwords_reach_the_roles_through_psql(stack: DemoStack) -> None:
    """As in the container: psql runs passwords.sql with its environment."""
    import subprocess

    names = ("app", "readonly", "maintenance", "seeder", "authenticator")
    given = {f"demo_{name}": f"pass'word-{name}" for name in names}
    server = stack.server
    with stack.clone() as database:
        environment = {
            "PATH": "/usr/bin:/bin",
            **{f"{role.upper()}_PASSWORD": word for role, word in given.items()},
        }
        from smos.demo.stack import set_passwords
        from smos.paths import compose_dir

        done = subprocess.run(
            [server.installation.tool("psql"), "-X", "-v", "ON_ERROR_STOP=1", "-d", server.endpoint.conninfo(database.name),
             "-f", str(compose_dir() / "demo" / "passwords.sql")],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        try:
            assert done.returncode == 0, done.stderr
            for role in given:
                with login(database.endpoint, database.name, role, given) as connection:
                    assert connection.execute("SELECT current_user").fetchone() == (role,)
            assert not any(word in server.logs() for word in given.values())
        finally:
            with database.connect() as connection:
                set_passwords(connection, stack.passwords)
