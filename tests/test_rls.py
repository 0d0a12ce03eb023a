"""The row-security prober on real servers: sound schemas pass, every pitfall is found, nothing stays behind."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sarif_pydantic.sarif import Sarif

from smos.faults.rls.pitfalls import PITFALLS, Pitfall
from smos.faults.rls.workspace import STYLES, RlsStack, schema_text, workspace
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import choose_installation
from smos.provision.owner import Owner
from smos.rls import pgrls
from smos.rls.check import prove_isolation
from smos.rls.clone import Copies
from smos.rls.discover import connect, discover_on, read_counters
from smos.rls.facts import Mode, ProbeFacts, ProbeOptions
from smos.rls.finding import IsolationFinding, Severity
from smos.rls.judge import isolation_findings, judge_isolation
from smos.rls.probe import _moved, probe
from smos.rls.sarif import to_sarif
from smos.verdict import Verdict
from smos.wait import wait_for
from tests._forked import run_smos

EFFECTS = ("F278b", "F278c")
"""Pitfalls behind triggers that write elsewhere."""
CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with Owner("test-rls") as owner:
        server = EmbeddedPostgres(owner, name="subject", settings={"fsync": "off"}, memory=True)
        server.start()
        yield server


@pytest.fixture(scope="module")
def copies() -> Iterator[Copies]:
    with Owner("test-rls-copies") as owner:
        yield Copies(owner)


def load(server: EmbeddedPostgres, *texts: str) -> str:
    """Load a schema into a fresh database of a server without other roles; return its connection string."""
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
        roles = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND oid <> 10"
        ).fetchall()
        for (role,) in roles:
            connection.execute(f'DROP ROLE "{role}"'.encode())
        connection.execute("CREATE DATABASE shop")
    with psycopg.connect(server.endpoint.conninfo("shop"), autocommit=True) as connection:
        for text in texts:
            connection.execute(text.encode())
    return server.endpoint.conninfo("shop")


style = schema_text


def found(facts: ProbeFacts) -> list[IsolationFinding]:
    return [item for item in isolation_findings(facts) if item.severity is not Severity.RISK]


@pytest.mark.parametrize("mode", [Mode.IN_PLACE, Mode.CLONE])
@pytest.mark.parametrize("name", STYLES)
def test_a_sound_schema_has_no_finding_and_every_table_was_probed(
    server: EmbeddedPostgres, copies: Copies, name: str, mode: Mode
) -> None:
    facts = probe(load(server, style(name)), ProbeOptions(mode=mode), copies=copies)
    if (name, mode) == (
        "objects",
        Mode.IN_PLACE,
    ):  # a trigger of it draws from a counter: tried on the copy only
        assert [(item.code, item.target) for item in isolation_findings(facts)] == [
            ("write-not-shown", "crm.deals")
        ]
        return
    assert isolation_findings(facts) == ()
    # A partition that nobody may ask directly needs no row of its own.
    owned = [
        item for oid, item in facts.tables.items() if item.owned and not facts.schema.relations[oid].partition
    ]
    assert owned
    assert all(item.planted for item in owned)
    assert facts.statements > 20
    assert judge_isolation(facts).verdict is Verdict.PASS
    untried = judge_isolation(replace(facts, acts=()))
    assert untried.verdict is Verdict.NOT_PROVEN
    assert {item.code for item in untried.findings} >= {"own-row-invisible"}


@pytest.fixture(scope="module")
def stack() -> Iterator[RlsStack]:
    with Owner("test-rls-stack") as owner:
        yield RlsStack(owner)


@pytest.mark.parametrize(
    "pitfall",
    # What has effects is never provoked in the user's own database; suites/rls/negative tries it on the copy.
    [
        item
        for item in PITFALLS
        if item.code not in {"definer-function-writes", "matview-leaks"}
        and item.id not in (*EFFECTS, "F266f")
    ],
    ids=lambda item: item.id,
)
def test_every_pitfall_is_found_in_place_on_the_object_that_has_it(stack: RlsStack, pitfall: Pitfall) -> None:
    with workspace(stack) as work:
        work.open(pitfall.schema)
        work.sql(pitfall.patch, undo=pitfall.undo)
        facts = probe(work.dsn, ProbeOptions(mode=Mode.IN_PLACE))
    hits = [item for item in isolation_findings(facts) if item.code == pitfall.code]
    assert [item.target for item in hits if pitfall.target in item.target]
    assert all(item.fix for item in hits)
    assert judge_isolation(facts).verdict is not Verdict.PASS


def test_probing_in_place_leaves_rows_sequences_and_definitions_as_they_were(
    server: EmbeddedPostgres,
) -> None:
    dsn = load(server, style("single_tenant"), "INSERT INTO app.tenants (name) VALUES ('first'), ('second')")

    def state() -> list[object]:
        with psycopg.connect(dsn) as connection:
            rows = connection.execute(
                "SELECT xmin::text, t::text FROM app.tenants AS t ORDER BY 2"
            ).fetchall()
            counters = connection.execute(
                "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
            ).fetchall()
            objects = connection.execute("SELECT count(*), max(oid::int8) FROM pg_class").fetchall()
        return [rows, counters, objects]

    before = state()
    facts = probe(dsn, ProbeOptions(mode=Mode.IN_PLACE))
    assert facts.statements > 100
    assert state() == before


def test_a_counter_that_moved_meanwhile_is_named(server: EmbeddedPostgres) -> None:
    dsn = load(server, "CREATE SCHEMA app; CREATE SEQUENCE app.tickets; CREATE SEQUENCE app.untouched")
    with connect(dsn) as connection:
        schema = discover_on(connection)
        assert _moved(connection, schema) == ()
        connection.execute("SELECT nextval('app.tickets')")
        assert _moved(connection, schema) == ("app.tickets",)
        assert read_counters(connection) == {
            oid: item.state for oid, item in discover_on(connection).sequences.items()
        }


def test_by_default_the_database_is_only_read(server: EmbeddedPostgres) -> None:
    dsn = load(server, style("single_tenant"))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER DATABASE shop SET default_transaction_read_only = on")
    facts = probe(dsn)
    assert facts.statements > 100
    assert judge_isolation(facts).verdict is Verdict.PASS


def test_rows_that_exist_are_read_and_counted_but_never_shown(server: EmbeddedPostgres) -> None:
    dsn = load(
        server,
        style("single_tenant"),
        "INSERT INTO app.tenants (name) VALUES ('Sociedad Secreta'), ('Otra Empresa');"
        "ALTER POLICY own ON app.tenants USING (name IS NOT NULL)",
    )
    facts = probe(dsn, ProbeOptions(mode=Mode.READ_ONLY))
    live = [act for act in facts.acts if act.column == "existing rows" and act.target == "app.tenants"]
    assert any(act.seen_other for act in live)
    judgement = judge_isolation(facts)
    assert judgement.verdict is Verdict.FAIL
    assert "Secreta" not in json.dumps(judgement.facts, default=str)


def test_without_a_known_context_nothing_is_proven(server: EmbeddedPostgres) -> None:
    dsn = load(
        server,
        "CREATE ROLE app LOGIN; CREATE TABLE t (id int PRIMARY KEY, body text); GRANT SELECT ON t TO app;"
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id > 0)",
    )
    facts = probe(dsn)
    assert "no-context" in {item.code for item in found(facts)}
    assert judge_isolation(facts).verdict is not Verdict.PASS


def test_a_declared_context_reaches_what_no_policy_shows(server: EmbeddedPostgres) -> None:
    schema = (
        "CREATE ROLE app LOGIN; CREATE TABLE items (id int PRIMARY KEY, tenant_id int NOT NULL, body text);"
        "GRANT SELECT ON items TO app"
    )
    facts = probe(load(server, schema), ProbeOptions(contexts=("SET LOCAL app.tenant_id = {tenant}",)))
    assert [(item.code, item.target) for item in found(facts)] == [("rls-off", "public.items")]


def test_a_canary_that_can_not_be_made_is_not_proven_with_its_reason(server: EmbeddedPostgres) -> None:
    dsn = load(
        server,
        style("single_tenant"),
        "CREATE FUNCTION app.never(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';"
        "ALTER TABLE app.files ADD COLUMN code text NOT NULL CHECK (app.never(code))",
    )
    facts = probe(dsn, ProbeOptions(mode=Mode.IN_PLACE))
    gaps = [item for item in found(facts) if item.code == "not-planted"]
    assert [item.target for item in gaps] == ["app.files"]
    assert "23514" in gaps[0].why
    assert judge_isolation(facts).verdict is Verdict.NOT_PROVEN


def test_what_tells_no_tenant_is_not_proven(stack: RlsStack) -> None:
    with workspace(stack) as work:
        work.open("tree")
        work.sql("ALTER POLICY ours ON tree.shared_notes USING (cardinality(units) > 0)")
        judgement = prove_isolation(work.dsn, copies=stack.copies)
        assert [(item.code, item.verdict) for item in judgement.findings] == [
            ("tenant-unknown", Verdict.NOT_PROVEN)
        ]
        shared = ProbeOptions(shared=("tree.shared_notes",))
        assert prove_isolation(work.dsn, shared, copies=stack.copies).verdict is Verdict.PASS


def test_a_partition_with_a_policy_of_its_own_and_no_canary_is_not_proven(stack: RlsStack) -> None:
    with workspace(stack) as work:
        work.open("composite")
        work.sql("GRANT SELECT ON erp.boleta_otros TO co_till")
        assert (
            prove_isolation(work.dsn, copies=stack.copies).verdict is Verdict.PASS
        )  # its policies are those that were tried elsewhere
        work.sql("ALTER POLICY cuenta ON erp.boleta_otros USING (true)")
        findings = prove_isolation(work.dsn, copies=stack.copies).findings
        assert [(item.code, item.verdict) for item in findings] == [("not-planted", Verdict.NOT_PROVEN)]


def test_roles_that_are_tenants_themselves_are_told_apart(server: EmbeddedPostgres) -> None:
    schema = (
        "CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN;"
        "CREATE TABLE notes (id int PRIMARY KEY, owner name NOT NULL DEFAULT current_user, body text);"
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY; GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO alice, bob;"
        "CREATE POLICY own ON notes USING (owner = {who})"
    )
    assert found(probe(load(server, schema.format(who="session_user")))) == []
    broken = (
        schema.format(who="current_user") + "; CREATE POLICY more ON notes FOR UPDATE USING (body IS NULL)"
    )
    assert {item.code for item in found(probe(load(server, broken)))} >= {"cross-tenant-write"}


def test_a_role_that_the_connected_one_can_not_become_was_not_tried(stack: RlsStack) -> None:
    """Being refused its identity looks like being refused its rights: another role's proof must not cover it."""
    with workspace(stack) as work:
        work.open("supabase")
        work.sql(
            "CREATE ROLE half_admin LOGIN BYPASSRLS; CREATE ROLE reports LOGIN;"
            "GRANT pg_read_all_data, pg_write_all_data, anon, authenticated TO half_admin;"
            "GRANT USAGE ON SCHEMA public, auth TO reports; GRANT SELECT ON public.todos TO reports;"
            "CREATE POLICY leak ON public.todos FOR SELECT TO reports USING (task IS NOT NULL)",
            undo="DROP ROLE half_admin, reports",
        )
        dsn = stack.server.endpoint.conninfo(work.database, user="half_admin")
        options = ProbeOptions(mode=Mode.IN_PLACE, trusted=("half_admin",))
        facts = probe(dsn, options)
        assert "reports" in facts.probed
        assert "reports" not in {act.role for act in facts.acts}
        gaps = [(item.code, item.target) for item in facts.gaps]
        assert gaps == [("cannot-become", "reports")]
        assert judge_isolation(facts).verdict is Verdict.NOT_PROVEN
        work.sql("GRANT reports TO half_admin")
        assert "cross-tenant-read" in {item.code for item in found(probe(dsn, options))}


def test_copies_one_after_another_on_a_server_share_nothing(stack: RlsStack, copies: Copies) -> None:
    """The second copy is of a schema that is sound only without the first one's roles and rights."""
    with workspace(stack) as work:
        work.open("single_tenant")
        work.sql("ALTER ROLE st_app SUPERUSER", undo="ALTER ROLE st_app NOSUPERUSER")
        assert prove_isolation(work.dsn, copies=copies).verdict is Verdict.FAIL
    with workspace(stack) as work:
        work.open("single_tenant")
        assert prove_isolation(work.dsn, copies=copies).verdict is Verdict.PASS


def test_a_server_that_can_not_be_emptied_holds_no_second_copy(copies: Copies) -> None:
    installation = choose_installation()
    with copies.empty(installation) as first:
        pass
    with copies.empty(installation) as again:
        assert again is first
        with psycopg.connect(again.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET row_security = off")
    assert not first.running
    with copies.empty(installation) as other:
        assert other is not first
        with psycopg.connect(other.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE smos_clone")
            connection.execute("CREATE ROLE left_behind SUPERUSER")
    with copies.empty(installation) as emptied, psycopg.connect(emptied.endpoint.conninfo()) as connection:
        assert emptied is other
        names = "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'"
        assert {name for (name,) in connection.execute(names)} == {
            "postgres", "template0", "template1", "smos_clone_admin",
        }  # fmt: skip


FUNCTIONS = {
    "raises": "(kind text) RETURNS text LANGUAGE plpgsql|IF kind <> 'all' THEN RAISE EXCEPTION 'no such kind'; END IF;"
    " RETURN (SELECT max(note) FROM app.orders);",
    "raises_with_context": "(kind text) RETURNS text LANGUAGE plpgsql|IF kind <> app.current_tenant()::text THEN"
    " RAISE EXCEPTION 'no such kind'; END IF; RETURN (SELECT max(note) FROM app.orders);",
    "dynamic": "(kind text) RETURNS SETOF text LANGUAGE plpgsql|PERFORM kind::int / 0;"
    " RETURN QUERY EXECUTE 'SELECT note FROM app.' || 'or' || 'ders';",
    "cursor": "() RETURNS refcursor LANGUAGE plpgsql|DECLARE c refcursor := 'c'; BEGIN OPEN c FOR SELECT * FROM app.orders;"
    " RETURN c; END;",
    "smallest": "() RETURNS text LANGUAGE plpgsql|RETURN (SELECT max(note) FROM app.orders WHERE note < 'a');",
    "any_of_them": "(kind text) RETURNS uuid LANGUAGE plpgsql|PERFORM app.current_tenant();"
    " PERFORM FROM app.orders; RETURN gen_random_uuid();",
}
"""Functions past the policies of which no call shows anything: arguments, text and body."""


def test_a_function_of_which_no_call_shows_anything_is_not_proven(stack: RlsStack) -> None:
    with workspace(stack) as work:
        work.open("single_tenant")
        for name, text in FUNCTIONS.items():
            head, _, body = text.partition("|")
            work.sql(
                f"CREATE FUNCTION app.{name}{head} SECURITY DEFINER SET search_path = '' AS $$ BEGIN {body} END $$"
            )
        # These refuse B's keys, and answer for A's own.
        work.sql(
            "CREATE FUNCTION app.refuses(p_tenant uuid) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''"
            " AS $$ BEGIN IF p_tenant IS DISTINCT FROM app.current_tenant() THEN RAISE EXCEPTION 'not yours'; END IF;"
            " RETURN (SELECT count(*) FROM app.orders WHERE tenant_id = p_tenant); END $$;"
            "CREATE PROCEDURE app.own_count(INOUT found bigint) LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''"
            " AS $$ BEGIN SELECT count(*) INTO found FROM app.orders WHERE tenant_id = app.current_tenant(); END $$"
        )
        facts = probe(work.dsn, copies=stack.copies)
    unproven = {item.target.partition("(")[0] for item in found(facts) if item.code == "function-not-probed"}
    assert unproven == {f"app.{name}" for name in FUNCTIONS}
    assert len(found(facts)) == len(FUNCTIONS)
    assert judge_isolation(facts).verdict is Verdict.NOT_PROVEN


def test_a_context_that_the_server_gives_every_session_is_found(stack: RlsStack) -> None:
    with workspace(stack) as work:
        work.open("single_tenant")
        work.sql("ALTER SYSTEM SET app.tenant_id = '11111111-1111-1111-1111-111111111111'")
        work.sql("SELECT pg_reload_conf()")
        try:
            wait_for(
                lambda: _shown(work.dsn, "app.tenant_id"), what="the server reads its settings", deadline_s=60
            )
            codes = {item.code for item in found(probe(work.dsn, ProbeOptions(mode=Mode.READ_ONLY)))}
        finally:
            work.sql("ALTER SYSTEM RESET app.tenant_id")
            work.sql("SELECT pg_reload_conf()")
            wait_for(lambda: not _shown(work.dsn, "app.tenant_id"), what="it reads them again", deadline_s=60)
        assert "context-default" in codes
        own = f"{work.dsn} options='-c app.tenant_id=mine'"
        again = {item.code for item in found(probe(own, ProbeOptions(mode=Mode.READ_ONLY)))}
        assert "context-default" not in again


def _shown(dsn: str, name: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT coalesce(current_setting(%s, true), '')", (name,)).fetchone()
    return str(row[0]) if row else ""


def test_triggers_that_set_the_tenant_are_no_crossing(server: EmbeddedPostgres) -> None:
    dsn = load(
        server,
        style("single_tenant"),
        "ALTER POLICY own ON app.files WITH CHECK (true);"
        "CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " NEW.tenant_id := app.current_tenant(); RETURN NEW; END $$;"
        "CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON app.files FOR EACH ROW EXECUTE FUNCTION app.stamp()",
    )
    assert "cross-tenant-write" not in {item.code for item in found(probe(dsn))}


def smos(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run_smos(
        ["rls", *words], cwd=CHECKOUT, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **env}
    )


def test_the_command_gives_json_sarif_and_the_documented_codes(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    dsn = load(server, style("supabase"))
    sound = smos(dsn, "--json", "--no-pgrls")
    assert sound.returncode == 0, sound.stderr
    assert json.loads(sound.stdout)["verdict"] == "PASS"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE public.todos DISABLE ROW LEVEL SECURITY")
    log = tmp_path / "rls.sarif"
    broken = smos(dsn, "--json", "--no-pgrls", "--sarif", str(log))
    assert broken.returncode == 1
    document = json.loads(broken.stdout)
    assert [item["code"] for item in document["findings"]] == ["rls-off"]
    assert {"statement", "role", "operation", "fix"} <= set(document["findings"][0])
    read = Sarif.model_validate_json(log.read_text(encoding="utf-8"))
    assert [result.rule_id for result in read.runs[0].results or []] == ["rls-off"]
    table = smos(dsn, "--no-pgrls")
    assert "rls-off" in table.stdout
    assert "\x1b" not in table.stdout
    assert smos(dsn, "--read-only", "--probe-writes").returncode == 2
    assert smos(dsn, "--read-only", "--no-pgrls").returncode == 1  # the catalogue alone says that it is off
    nowhere = smos("host=/nonexistent dbname=x", "--json")
    assert nowhere.returncode == 4
    assert json.loads(nowhere.stdout)["error"]["code"] == "unreachable"


def test_a_malformed_string_never_shows_its_password() -> None:
    done = smos("postgresql://app:hunter2@/%zz")
    assert done.returncode == 2
    assert "hunter2" not in done.stdout + done.stderr


def test_the_sarif_log_names_rule_place_and_fix() -> None:
    finding = IsolationFinding(
        code="rls-off",
        severity=Severity.LEAK,
        target="app.orders",
        why="row security is off",
        fix="ALTER …",
        role="app",
    )
    log = json.loads(to_sarif([finding], "shop"))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (result,) = log["runs"][0]["results"]
    assert result["level"] == "error"
    assert result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "shop.app.orders"
    assert re.fullmatch(r"[0-9a-f]{32}", result["partialFingerprints"]["finding/v1"])


def test_a_second_opinion_is_joined_by_object_and_rule() -> None:
    ours = IsolationFinding(
        code="rls-off", severity=Severity.LEAK, target="app.orders", why="off", fix="ALTER …"
    )
    said = [
        {"rule_id": "SEC001", "severity": "error", "title": "", "message": "off", "location": "app.orders"},
        {"rule_id": "SEC001", "severity": "error", "title": "", "message": "off", "location": "app.lines"},
        {
            "rule_id": "SEC003",
            "severity": "info",
            "title": "",
            "message": "wide",
            "location": "app.orders.own",
        },
    ]
    joined = pgrls.join([ours], said)
    assert [(item.code, item.target, item.also) for item in joined] == [
        ("rls-off", "app.orders", ("pgrls SEC001",)),
        ("pgrls-SEC001", "app.lines", ()),
    ]
    assert joined[1].as_finding().verdict is Verdict.PASS


def test_every_code_is_documented() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "smos" / "rls").glob("*.py"))
    codes = set(re.findall(r'code="([a-z-]+)"', source)) | set(
        re.findall(r'(?:act|_finding\(\s*act), "([a-z-]+)", [Ss]ev', source)
    )
    text = (CHECKOUT / "docs" / "rls.md").read_text(encoding="utf-8")
    assert len(codes) > 30
    assert sorted(code for code in codes if f"`{code}`" not in text) == []
