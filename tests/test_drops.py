"""What a text dump drops after making it is told; the head that `--clean` writes is not."""

from pathlib import Path

import pytest

from smos.backup.model import ArtifactKind
from smos.checks.dr.restore import restore_findings
from smos.drill.cleaning import Cleaning
from smos.drill.globals import read_globals
from smos.drill.restore import DumpSource
from smos.drill.sqlrules import judge
from smos.drill.sqlstream import SqlLexer, Statement
from smos.provision.installations import choose_installation, find_installations
from smos.provision.owner import Owner
from smos.verdict import Verdict
from tests import _restore_kit as kit

MAJORS = sorted({item.major for item in find_installations()})
MADE = """
CREATE SCHEMA app;
CREATE EXTENSION hstore WITH SCHEMA app;
CREATE TABLE app.orders (id integer);
CREATE TABLE public."Weird.Name" (id integer);
CREATE FUNCTION app.f(a integer, b text) RETURNS integer LANGUAGE sql AS 'select 1';
CREATE INDEX orders_id ON app.orders (id);
CREATE POLICY own ON app.orders;
"""


def told(text: str) -> list[str]:
    """Return what is said of the statements of a database's text, in their order."""
    cleaning, lexer, said = Cleaning(), SqlLexer(), []
    for event in [*lexer.feed(text.encode()), *lexer.close()]:
        assert isinstance(event, Statement)
        ruling = judge(event, server_version_num=180000, features=())
        if not cleaning.heads(event, ruling):
            said += [cleaning.drops(event, ruling), cleaning.note(event, ruling)]
    return [line for line in said if line]


@pytest.mark.parametrize(
    "drop",
    [
        "DROP TABLE app.orders",
        "DROP TABLE IF EXISTS app.orders CASCADE",
        "DROP TABLE orders",
        'drop table app."orders"',
        "DROP TABLE app.ORDERS",
        "DROP /* x */ TABLE app.other, -- y\n app.orders",
        'DROP TABLE public."Weird.Name"',
        "DROP SCHEMA app CASCADE",
        "DROP SCHEMA public CASCADE",
        "DROP SCHEMA other, app",
        "DROP FUNCTION app.f(integer, text)",
        "DROP FUNCTION other(numeric(3, 2)[]), app.f",
        "DROP ROUTINE app.f",
        "DROP INDEX app.orders_id",
        "DROP POLICY own ON app.orders",
        "DROP EXTENSION hstore CASCADE",
        "DROP EXTENSION plpgsql CASCADE",
        "DROP LANGUAGE plpgsql CASCADE",
        "DROP CAST (a AS b)",
        "DROP OPERATOR app.=== (integer, integer)",
        "DROP USER MAPPING FOR a SERVER b",
        "DROP OWNED BY a",
        "DROP ROLE a",
        "DROP TABLE",
        "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '42'",
    ],
)
def test_what_is_dropped_after_it_was_made_is_told(drop: str) -> None:
    assert told(MADE) == []
    assert len(told(f"{MADE}{drop};\n")) == 1


def test_a_drop_can_not_hide_behind_a_name_that_is_not_written() -> None:
    drop = "DROP TABLE app.b;\n"
    assert told(f"CREATE TABLE app.a (id integer);\n{drop}") == []
    assert told(f"CREATE TABLE app.a (id integer);\nALTER TABLE app.a RENAME TO b;\n{drop}")
    assert told("CREATE TABLE a (id serial);\nDROP SEQUENCE a_id_seq CASCADE;\n")
    assert told("SET search_path = app;\nCREATE TABLE a (id integer);\nDROP SCHEMA app CASCADE;\n")


def test_a_second_dump_in_the_same_file_may_drop_what_it_makes() -> None:
    one = "DROP TABLE IF EXISTS app.{0};\nCREATE TABLE app.{0} (id integer);\nCREATE INDEX {0}_id ON app.{0} (id);\n"
    other = "DROP TRIGGER t ON app.b;\nDROP INDEX app.b_id;\n" + one.format("b")
    assert told(one.format("a") + other) == []
    assert told(one.format("a") + one.format("a"))


def test_the_head_of_a_clean_dump_is_left_out_to_its_end() -> None:
    head = (
        "DROP POLICY own ON app.a;\nALTER TABLE ONLY app.a DROP CONSTRAINT a_fkey;\n"
        "ALTER TABLE IF EXISTS ONLY app.a ALTER COLUMN id DROP DEFAULT;\n"
        "ALTER TABLE ONLY app.a DETACH PARTITION app.a1;\nSELECT pg_catalog.lo_unlink('42');\n"
        "CREATE OR REPLACE VIEW app.v AS\nSELECT\n    NULL::integer AS id;\n"
    )
    assert told(f"{head}DROP VIEW IF EXISTS app.v;\nDROP SCHEMA app;\n{MADE}") == []
    assert told(f"{head}{MADE}"), "a view without its query would stay"


@pytest.mark.parametrize("kind", ["ROLE", "TABLESPACE", "DATABASE"])
def test_globals_drop_several_at_once_before_they_make_them(kind: str) -> None:
    create = b"CREATE ROLE a;\nCREATE TABLESPACE a OWNER a LOCATION '/x';\n"
    drop = f"DROP {kind} IF EXISTS b, a;\n".encode()
    assert read_globals([drop, create]).problems == []
    assert [item.code for item in read_globals([create, drop]).problems] == ["unexpected-statement"]


@pytest.mark.parametrize("major", MAJORS)
def test_clean_dumps_come_back_whole_and_their_drops_at_the_end_do_not(major: int, tmp_path: Path) -> None:
    installation = choose_installation(major=major)
    with Owner(f"test-drops-{major}") as owner:
        source = kit.source_server(owner, memory=True, installation=installation)
        texts = {}
        for words in (("--clean",), ("--clean", "--if-exists"), ("--clean", "--create")):
            texts[words] = kit.dump(source, "pg_dump", *words, "--dbname=rich")
        cluster = kit.dump(source, "pg_dumpall", "--clean", "--if-exists")
        roles = tmp_path / "globals.sql"
        roles.write_bytes(kit.dump(source, "pg_dumpall", "--globals-only", "--clean"))

    sandboxes = 0

    def codes(text: bytes, database: str | None) -> set[str]:
        nonlocal sandboxes
        sandboxes += 1
        with Owner(f"test-drops-{major}-{sandboxes}") as owner:
            sandbox = kit.sandbox_server(owner, memory=True, installation=installation)
            (tmp_path / "dump.sql").write_bytes(text)
            kind = ArtifactKind.PG_DUMP_PLAIN if database else ArtifactKind.PG_DUMPALL
            dump = DumpSource(database=database, kind=kind, path=tmp_path / "dump.sql")
            facts = kit.restore(sandbox, owner, dump, globals_=roles if database else None)
        return {item.code for item in restore_findings(("rich",), facts) if item.verdict is not Verdict.PASS}

    for words, text in texts.items():
        assert codes(text, "rich") == set(), words
    assert codes(cluster, None) == set()
    assert codes(texts["--clean",] + b"DROP TABLE app.t CASCADE;\n", "rich") == {"unexpected-statement"}
    for late in (
        b"DROP ROLE app_user;\n",
        b"\\connect postgres\nDROP DATABASE rich;\n",
        b"DROP DATABASE x;\n",
    ):
        assert codes(cluster + late, None) == {"unexpected-statement"}, late
