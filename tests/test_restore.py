"""Dumps of every kind come back equal to their source, by an oracle that is not ours; facts and gaps are recorded."""

import bz2
import dataclasses
import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pydantic
import pytest
import zstandard

from smos.backup.model import ArtifactKind
from smos.checks.dr.restore import restore_findings
from smos.drill.restore import DumpSource, RestoreFacts, assert_sandbox, inspect_sandbox, make_durable
from smos.drill.sandbox import OWN_PREFIX
from smos.errors import UnsafeInputError
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import choose_installation, find_installations
from smos.provision.owner import Owner
from smos.target import Limits
from smos.verdict import Verdict
from tests import _restore_kit as kit

DEFAULT = choose_installation().major
"""The version of the servers of tests that are about no version."""


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-restore") as owner:
        yield owner


class Sources:
    """Servers that hold what is dumped; nothing changes them, so each version's is made, and looked at, once."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._servers: dict[int, EmbeddedPostgres] = {}
        self._seen: dict[tuple[int, str], list[str]] = {}

    def of(self, major: int) -> EmbeddedPostgres:
        """Return the one of this version."""
        if major not in self._servers:
            installation = choose_installation(major=major)
            self._servers[major] = kit.source_server(self._owner, memory=True, installation=installation)
        return self._servers[major]

    def oracle(self, major: int, database: str) -> list[str]:
        """Return what pg_dump says of a database of it."""
        key = (major, database)
        if key not in self._seen:
            self._seen[key] = kit.oracle(self.of(major), database)
        return self._seen[key]


@pytest.fixture(scope="module")
def sources(owner: Owner) -> Sources:
    return Sources(owner)


@pytest.fixture(scope="module")
def source(sources: Sources) -> EmbeddedPostgres:
    return sources.of(DEFAULT)


@pytest.fixture(scope="module")
def globals_file(source: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("globals") / "globals.sql.zst"
    path.write_bytes(zstandard.compress(kit.dump(source, "pg_dumpall", "--globals-only")))
    return path


@pytest.fixture(scope="module")
def sandboxes(owner: Owner) -> kit.Sandboxes:
    return kit.Sandboxes(owner)


@pytest.fixture
def sandbox(sandboxes: kit.Sandboxes) -> EmbeddedPostgres:
    return sandboxes.take()


def only(facts: RestoreFacts) -> object:
    """Return the one database of the facts, and make sure that it came back whole."""
    assert len(facts.databases) == 1
    database = facts.databases[0]
    assert (database.restored, database.complete, database.errors, database.refused) == (True, True, (), ())
    return database


def query(server: EmbeddedPostgres, database: str, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.endpoint.conninfo(database)) as connection:
        return connection.execute(text).fetchall()


def layout_of_ours(folder: Path) -> None:
    """Compress a directory dump's data files as our own backups have them."""
    for path in folder.glob("*.dat"):
        if path.name != "toc.dat":
            path.with_name(path.name + ".zst").write_bytes(zstandard.compress(path.read_bytes()))
            path.unlink()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("plain", ("--create",)),
        ("plain", ("--create", "--clean", "--if-exists")),
        ("plain", ("--create", "--clean", "--inserts")),
        ("custom", ()),
        ("custom", ("--inserts",)),
        ("custom", ("--compress=0",)),
        ("tar", ()),
        ("directory", ()),
        ("directory", ("--compress=0",)),
        ("directory", ("--compress=0", "ours")),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else "-".join(word.strip("-") for word in value) or "default"
    ),
)
def test_a_dump_of_any_kind_comes_back_equal(
    kind: str, words: tuple[str, ...], source: EmbeddedPostgres, sources: Sources, sandbox: EmbeddedPostgres, owner: Owner,
    globals_file: Path, tmp_path: Path,
) -> None:  # fmt: skip
    path = tmp_path / "dump"
    options = [word for word in words if word.startswith("--")]
    kit.dump(source, "pg_dump", f"--format={kind}", f"--file={path}", *options, "--dbname=rich")
    if "ours" in words:
        layout_of_ours(path)
    facts = kit.restore(
        sandbox, owner, DumpSource(database="rich", kind=kit.KINDS[kind], path=path), globals_=globals_file
    )
    database = only(facts)
    assert database.name == "rich"
    assert database.gaps == ()
    assert kit.oracle(sandbox, "rich") == sources.oracle(DEFAULT, "rich")
    assert restore_findings(("rich",), facts) == tuple(
        finding for finding in restore_findings(("rich",), facts) if finding.verdict is Verdict.PASS
    )


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "bzip2", "xz"])
def test_a_cluster_dump_comes_back_equal_through_any_compression(
    compression: str,
    source: EmbeddedPostgres,
    sources: Sources,
    sandbox: EmbeddedPostgres,
    owner: Owner,
    tmp_path: Path,
) -> None:
    press = {
        "none": bytes, "gzip": gzip.compress, "zstd": zstandard.compress, "bzip2": bz2.compress, "xz": lzma.compress,
    }  # fmt: skip
    path = tmp_path / "all.sql"
    path.write_bytes(press[compression](kit.dump(source, "pg_dumpall")))
    facts = kit.restore(
        sandbox,
        owner,
        DumpSource(database=None, kind=ArtifactKind.PG_DUMPALL, path=path, compression=compression),
    )
    assert [(item.name, item.restored, item.complete) for item in facts.databases] == [
        ('Sp ace"d', True, True),
        ("rich", True, True),
    ]
    assert facts.problems == ()
    for name in ("rich", 'Sp ace"d'):
        assert kit.oracle(sandbox, name) == sources.oracle(DEFAULT, name)


def test_roles_come_back_and_superusers_are_withheld(
    source: EmbeddedPostgres, sandbox: EmbeddedPostgres, owner: Owner, globals_file: Path, tmp_path: Path
) -> None:
    text = kit.dump(source, "pg_dump", "--create", "--dbname=rich")
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", None, text), globals_=globals_file)
    only(facts)
    withheld = {role.name: (role.attributes, role.roles) for role in facts.roles_withheld}
    assert withheld == {
        "boss": (("SUPERUSER",), ()),
        "postgres": (("SUPERUSER",), ()),
        "granter": ((), ("pg_execute_server_program",)),
    }
    assert facts.sandbox.superusers == (facts.sandbox.administrator,)
    wanted = """
    SELECT rolname, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
        rolvaliduntil, rolpassword, shobj_description(oid, 'pg_authid'), (SELECT setconfig FROM pg_db_role_setting
        WHERE setrole = pg_authid.oid AND setdatabase = 0)
    FROM pg_authid WHERE rolname !~ '^(pg|smos)_' ORDER BY 1
    """
    assert query(sandbox, "postgres", wanted) == query(source, "postgres", wanted)
    members = """
    SELECT roleid::regrole::text, member::regrole::text, admin_option, inherit_option, set_option FROM pg_auth_members
    WHERE member::regrole::text !~ '^"?(pg|smos)_' AND roleid::regrole::text <> 'pg_execute_server_program' ORDER BY 1, 2
    """
    assert query(sandbox, "postgres", members) == query(source, "postgres", members)
    left = query(
        sandbox, "postgres", f"SELECT rolname FROM pg_roles WHERE rolname LIKE '{OWN_PREFIX}%' ORDER BY 1"
    )
    assert (
        tuple(name for (name,) in left)
        == facts.harness_roles
        == (facts.sandbox.administrator, facts.sandbox.reader)
    )


def test_the_restoring_role_has_no_power_and_no_password_is_recorded(
    source: EmbeddedPostgres, sandbox: EmbeddedPostgres, owner: Owner, globals_file: Path, tmp_path: Path
) -> None:
    text = kit.dump(source, "pg_dump", "--create", "--dbname=rich")
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", None, text), globals_=globals_file)
    adapter = pydantic.TypeAdapter(RestoreFacts)
    recorded = adapter.dump_json(facts)
    assert adapter.validate_json(recorded) == facts
    for secret in (b"SCRAM-SHA", b"geheim", "pässwort".encode()):
        assert secret not in recorded
        assert secret.decode() not in sandbox.logs()


def test_a_dump_without_names_and_globals_gets_the_callers_name_and_placeholders(
    source: EmbeddedPostgres, sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path
) -> None:
    text = kit.dump(source, "pg_dump", "--dbname=rich")
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "mine", text))
    database = only(facts)
    assert database.name == "mine"
    assert {problem.code for problem in database.gaps} == {"role-unknown"}
    assert {"app_owner", "app_user", "granter", "postgres"} <= set(facts.roles_created)
    assert {finding.verdict for finding in restore_findings(("mine",), facts)} == {
        Verdict.PASS,
        Verdict.NOT_PROVEN,
    }
    assert query(sandbox, "mine", "SELECT count(*) FROM app.t") == [(4,)]


def test_an_owner_that_the_dump_lost_is_told_from_a_dump_without_owners(
    source: EmbeddedPostgres, sandbox: EmbeddedPostgres, owner: Owner, globals_file: Path, tmp_path: Path
) -> None:
    text = kit.dump(source, "pg_dump", "--dbname=rich")
    lost = text.replace(b"ALTER TYPE app.mood OWNER TO postgres;\n", b"")
    none = kit.dump(source, "pg_dump", "--no-owner", "--dbname=rich")
    assert lost != text
    facts = kit.restore(
        sandbox, owner, kit.plain(tmp_path / "lost.sql", "lost", lost), kit.plain(tmp_path / "none.sql", "none", none),
        globals_=globals_file,
    )  # fmt: skip
    of_one, of_none = facts.databases
    assert [item.detail for item in of_one.gaps if item.code == "owner-lost"] == [
        "the dump names owners, but none of type app.mood"
    ]
    assert "owner-lost" not in {item.code for item in of_none.gaps}
    assert "owner-unknown" in {item.code for item in of_none.notes}


def test_several_dumps_are_restored_beside_a_broken_one(
    source: EmbeddedPostgres, sandbox: EmbeddedPostgres, owner: Owner, globals_file: Path, tmp_path: Path
) -> None:
    good = kit.dump(source, "pg_dump", "--dbname=rich")
    facts = kit.restore(
        sandbox, owner,
        kit.plain(tmp_path / "a.sql", "one", good),
        kit.plain(tmp_path / "b.sql", "two", kit.wrap("SELECT pg_catalog.setval('public.missing', 1, true);")),
        kit.plain(tmp_path / "c.sql", "three", good),
        globals_=globals_file,
    )  # fmt: skip
    state = {item.name: (item.restored, item.complete) for item in facts.databases}
    assert state == {"one": (True, True), "three": (True, True), "two": (False, True)}
    failed = next(item for item in facts.databases if item.name == "two")
    assert [(error.code, error.kind, error.attributed) for error in failed.errors] == [
        ("42P01", "SELECT setval or large object", "")
    ]
    assert {
        finding.code for finding in restore_findings(("one", "two"), facts) if finding.verdict is Verdict.FAIL
    } == {"statement-failed"}


def test_an_error_names_the_statement_and_its_line_and_no_row(
    sandbox: EmbeddedPostgres, sandboxes: kit.Sandboxes, owner: Owner, tmp_path: Path
) -> None:
    text = kit.wrap(
        "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (a);", rows="7\tgeheim\n7\tx\n"
    )
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "x", text))
    error = facts.databases[0].errors[0]
    assert (error.code, error.kind, error.subject) == ("23505", "ALTER TABLE", "TABLE public.t")
    assert text.splitlines()[error.line - 1].startswith("ALTER TABLE ONLY")
    text = kit.wrap("", rows="1\tx\ngeheim\ty\n")
    facts2 = kit.restore(sandboxes.take(), owner, kit.plain(tmp_path / "y.sql", "y", text))
    error = facts2.databases[0].errors[0]
    assert (error.code, error.kind, error.subject) == ("22P02", "COPY FROM stdin", "TABLE public.t")
    assert "geheim" not in repr((facts, facts2))
    assert "geheim" not in sandbox.logs()


def test_what_needs_a_superuser_is_a_gap_and_what_depends_on_it_is_excused(
    sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path
) -> None:
    body = """
CREATE FUNCTION public.c(integer) RETURNS integer LANGUAGE c AS '$libdir/hstore', 'x';
ALTER FUNCTION public.c(integer) OWNER TO postgres;
COMMENT ON FUNCTION public.c(integer) IS 'x';
CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION public.f();
ALTER EVENT TRIGGER e OWNER TO postgres;
CREATE CAST (integer AS text) WITH INOUT;
CREATE OPERATOR CLASS public.oc FOR TYPE integer USING btree AS STORAGE integer;
CREATE PUBLICATION p FOR ALL TABLES;
ALTER PUBLICATION p OWNER TO postgres;
CREATE FUNCTION public.ok(a integer DEFAULT 1) RETURNS integer LANGUAGE sql LEAKPROOF AS $$SELECT 1$$;
CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false);
ALTER SUBSCRIPTION s OWNER TO postgres;
SET default_tablespace = fast;
CREATE TABLE public.later (a integer);
"""
    facts = kit.restore(
        sandbox, owner,
        kit.plain(tmp_path / "x.sql", "x", kit.wrap(body)),
        kit.plain(tmp_path / "y.sql", "y", kit.wrap(body + "CREATE VIEW public.v AS SELECT public.c(1) AS c;")),
    )  # fmt: skip
    first, second = facts.databases
    assert first.restored
    codes = [problem.code for problem in first.gaps]
    assert codes.count("needs-superuser") == 6
    assert {problem.code for problem in first.notes} >= {"subscription-disabled", "tablespace-mapped"}
    assert query(sandbox, "x", "SELECT count(*) FROM public.later") == [(0,)]
    assert not second.restored
    assert [(error.code, error.attributed) for error in second.errors] == [("42883", "needs-superuser")]
    assert {finding.verdict for finding in restore_findings(("y",), facts)} == {
        Verdict.NOT_PROVEN,
        Verdict.PASS,
    }


def test_a_missing_extension_is_the_sandboxs_gap(
    sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path
) -> None:
    text = kit.wrap("").replace(
        "CREATE TABLE public.t",
        "CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;\nCOMMENT ON EXTENSION postgis IS 'x';\n"
        "CREATE TABLE public.g (shape public.geometry);\nCREATE TABLE public.t",
        1,
    )
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "x", text))
    database = facts.databases[0]
    assert [problem.code for problem in database.gaps] == ["extension-unavailable"]
    assert [(error.code, error.attributed) for error in database.errors] == [
        ("42704", "extension-unavailable")
    ]
    assert {finding.verdict for finding in restore_findings(("x",), facts)} <= {
        Verdict.NOT_PROVEN,
        Verdict.PASS,
    }


def test_extensions_that_connect_need_a_cut_network(
    sandboxes: kit.Sandboxes, owner: Owner, tmp_path: Path
) -> None:
    sandbox = sandboxes.take(no_network=False)
    text = kit.wrap("").replace(
        "CREATE TABLE", "CREATE EXTENSION IF NOT EXISTS dblink WITH SCHEMA public;\nCREATE TABLE", 1
    )
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "x", text))
    assert facts.sandbox.isolation == "configuration"
    assert [problem.code for problem in facts.databases[0].gaps] == ["extension-withheld"]


def test_an_extension_after_other_objects_is_not_created(
    sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path
) -> None:
    text = kit.wrap("CREATE EXTENSION hstore;")
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "x", text))
    assert [problem.code for problem in facts.databases[0].gaps] == ["extension-withheld"]
    assert query(sandbox, "x", "SELECT extname FROM pg_extension") == [("plpgsql",)]


def test_a_locale_that_the_sandbox_lacks_is_replaced_and_recorded(
    sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path
) -> None:
    head = (
        "CREATE DATABASE far WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'xx_YY.UTF-8'"
        " ICU_LOCALE = 'de';\nALTER DATABASE far OWNER TO someone;\n\\connect far\n"
    )
    body = "CREATE COLLATION public.ci (provider = icu, deterministic = false, locale = 'und-u-ks-level2');"
    text = kit.wrap(body).replace("CREATE TABLE", head + "CREATE TABLE", 1)
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", None, text))
    database = only(facts)
    assert database.name == "far"
    assert [problem.code for problem in database.gaps].count("collation-unavailable") == 2
    assert query(
        sandbox, "far", "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'far'"
    ) == [("UTF8",)]


def test_a_dump_from_a_newer_server_is_not_tried(
    sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path
) -> None:
    text = kit.wrap("").replace("version 18.1", "version 99.1")
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "x", text))
    assert [problem.code for problem in facts.databases[0].gaps] == ["version-gap"]
    findings = restore_findings(("x",), facts)
    assert {finding.verdict for finding in findings} == {Verdict.NOT_PROVEN}
    assert all(finding.remedy for finding in findings)


def test_a_restore_that_hangs_is_ended(sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path) -> None:
    body = """
CREATE FUNCTION public.forever(a integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN LOOP NULL; END LOOP; END $$;
CREATE INDEX slow ON public.t (public.forever(a));
"""
    facts = kit.restore(
        sandbox, owner, kit.plain(tmp_path / "x.sql", "x", kit.wrap(body)), limits=Limits(restore_seconds=2)
    )
    database = facts.databases[0]
    assert [problem.code for problem in database.gaps] == ["restore-timeout"]
    assert not database.restored
    assert facts.seconds < 120


def test_a_restore_beyond_the_limit_is_ended(sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path) -> None:
    body = """
CREATE TABLE public.u (a integer, b text);
CREATE FUNCTION public.grow(a integer) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
BEGIN INSERT INTO public.u SELECT -1, repeat(md5(g::text), 200) FROM generate_series(1, 100000000) g; RETURN a; END $$;
ALTER TABLE public.t ADD CONSTRAINT c CHECK (a < 0 OR public.grow(a) > 0);
"""
    facts = kit.restore(
        sandbox, owner, kit.plain(tmp_path / "x.sql", "x", kit.wrap(body)), limits=Limits(bytes=60_000_000)
    )
    assert {problem.code for problem in facts.databases[0].gaps} == {"sandbox-disk-full"}, facts.databases[
        0
    ].errors


def test_a_sandbox_that_is_used_or_the_source_is_refused(
    sandbox: EmbeddedPostgres, owner: Owner, source: EmbeddedPostgres, tmp_path: Path
) -> None:
    dump = kit.plain(tmp_path / "x.sql", "x", kit.wrap(""))
    identifier = inspect_sandbox(sandbox).system_identifier
    assert_sandbox(inspect_sandbox(sandbox, source_identifier="1"))
    with pytest.raises(UnsafeInputError, match="Refused on identity"):
        assert_sandbox(inspect_sandbox(sandbox, source_identifier=identifier))
    refused = kit.restore(sandbox, owner, dump, source_identifier=identifier)
    assert refused.databases == ()
    assert "sandbox-is-source" in {finding.code for finding in restore_findings(("x",), refused)}
    assert kit.restore(sandbox, owner, dump).databases[0].restored
    again = kit.restore(sandbox, owner, dump)
    assert again.databases == ()
    assert "sandbox-not-empty" in {finding.code for finding in restore_findings(("x",), again)}
    with pytest.raises(UnsafeInputError, match="no safe sandbox"):
        assert_sandbox(inspect_sandbox(source))


def test_a_loaded_sandbox_becomes_durable(sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path) -> None:
    kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "x", kit.wrap("")))
    assert query(sandbox, "postgres", "SHOW fsync") == [("off",)]
    assert make_durable(sandbox) > 0
    assert query(sandbox, "postgres", "SHOW fsync") == [("on",)]
    assert query(sandbox, "x", "SELECT count(*) FROM public.t") == [(2,)]


def test_every_finding_of_the_judge_has_a_remedy_or_is_information(
    sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path
) -> None:
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "x", kit.wrap("\\! id\n")))
    missing = restore_findings(("x", "y"), facts)
    assert {"hostile-statement", "database-missing"} <= {finding.code for finding in missing}
    assert all(finding.remedy or finding.verdict is Verdict.PASS for finding in missing)
    elevated = dataclasses.replace(
        facts, sandbox=dataclasses.replace(facts.sandbox, superusers=(*facts.sandbox.superusers, "evil"))
    )
    assert "role-elevated" in {finding.code for finding in restore_findings((), elevated)}


MAJORS = sorted({installation.major for installation in find_installations()})


@pytest.mark.parametrize("major", MAJORS)
def test_every_installed_version_restores_its_own_dumps_equal(
    major: int, sources: Sources, sandboxes: kit.Sandboxes, owner: Owner, tmp_path: Path
) -> None:
    source = sources.of(major)
    roles = tmp_path / "globals.sql"
    roles.write_bytes(kit.dump(source, "pg_dumpall", "--globals-only"))
    kit.dump(source, "pg_dump", "--format=custom", f"--file={tmp_path / 'x'}", "--dbname=rich")
    sandbox = sandboxes.take(installation=choose_installation(major=major))
    facts = kit.restore(
        sandbox,
        owner,
        DumpSource(database="rich", kind=ArtifactKind.PG_DUMP_CUSTOM, path=tmp_path / "x"),
        globals_=roles,
    )
    only(facts)
    assert kit.oracle(sandbox, "rich") == sources.oracle(major, "rich")
    withheld = {role.name: role.attributes for role in facts.roles_withheld}
    assert withheld["boss"] == ("SUPERUSER",)
    assert ("CREATEROLE" in withheld.get("maker", ())) is (major < 16)
    assert query(
        sandbox, "postgres", """SELECT rolinherit FROM pg_roles WHERE rolname = 'Weird "Role'"""
    ) == [(False,)]


@pytest.mark.skipif(len(MAJORS) < 2, reason="one PostgreSQL version is installed")
def test_a_cluster_of_an_older_version_comes_up_in_a_newer_one(
    sources: Sources, sandboxes: kit.Sandboxes, owner: Owner, tmp_path: Path
) -> None:
    old = sources.of(MAJORS[0])
    path = tmp_path / "all.sql"
    path.write_bytes(kit.dump(old, "pg_dumpall", "--clean"))
    sandbox = sandboxes.take(installation=choose_installation(major=MAJORS[-1]))
    facts = kit.restore(sandbox, owner, DumpSource(database=None, kind=ArtifactKind.PG_DUMPALL, path=path))
    assert [(item.name, item.restored, item.complete) for item in facts.databases] == [
        ('Sp ace"d', True, True),
        ("rich", True, True),
    ]
    assert query(sandbox, "rich", "TABLE app.t") == query(old, "rich", "TABLE app.t")
