"""Nothing in a dump runs a command, touches a file or opens a connection; and harmless look-alikes are left alone."""

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from smos.backup.model import ArtifactKind
from smos.checks.dr.restore import restore_findings
from smos.drill.feed import can_restrict
from smos.drill.restore import DumpSource, RestoreFacts
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.owner import Owner
from smos.verdict import Verdict
from tests import _restore_kit as kit


class Canary:
    """A directory that anybody may write to, and a port that counts who comes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o777)
        for parent in folder.parents:  # pytest's folders are root's alone
            if parent == Path(tempfile.gettempdir()):
                break
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
        self.file = folder / "sang"
        self.visits = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self._socket.accept()
                self.visits += 1
                visitor.close()

    @property
    def silent(self) -> bool:
        """Whether nothing was written and nobody came."""
        return not list(self.folder.iterdir()) and self.visits == 0

    def close(self) -> None:
        """Close the port."""
        self._socket.close()


@pytest.fixture
def canary() -> Iterator[Canary]:
    with tempfile.TemporaryDirectory(prefix="canary-") as folder:
        bird = Canary(Path(folder))
        yield bird
        bird.close()


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with Owner("test-hostile") as owner:
        yield owner


@pytest.fixture(scope="module")
def sandboxes(owner: Owner) -> kit.Sandboxes:
    return kit.Sandboxes(owner)


@pytest.fixture
def sandbox(sandboxes: kit.Sandboxes) -> EmbeddedPostgres:
    return sandboxes.take()


# What is refused before any server sees it: name, text. {f}: the canary's file, {p}: its port.
REFUSED = {
    "shell": "\\! touch {f}",
    "shell-glued": "\\!touch {f}",
    "shell-inside-a-statement": "SELECT 1 \\! touch {f}\n;",
    "shell-behind-a-statement": "SELECT pg_catalog.setval('a', 1, true); \\! touch {f}",
    "shell-after-carriage-return": "-- harmless\r\\! touch {f}",
    "shell-after-nested-comment": "/* /* */ */ \\! touch {f}",
    "shell-after-copy": "COPY public.t (a, b) FROM stdin;\n1\tx\n\\.\n\\! touch {f}",
    "shell-after-backslash-quote": "COMMENT ON TABLE public.t IS 'a\\';\n\\! touch {f}\n--'",
    "shell-in-off-mode": "SET standard_conforming_strings = off;\nCOMMENT ON TABLE public.t IS 'a\\'';\n\\! touch {f}",
    "copy-to-program": "\\copy public.t to program 'touch {f}'",
    "include": "\\i {f}",
    "include-relative": "\\ir {f}",
    "output": "\\o {f}",
    "output-pipe": "\\o |touch {f}",
    "write": "\\w {f}",
    "go-pipe": "SELECT 1 \\g |touch {f}",
    "go-file": "SELECT 1 \\g {f}",
    "gexec": "SELECT 'x' \\gexec",
    "set-backtick": "\\set x `touch {f}`",
    "if-backtick": "\\if `touch {f}`",
    "setenv": "\\setenv PAGER 'touch {f}'",
    "edit": "\\e {f}",
    "large-object-export": "\\lo_export 1 {f}",
    "connect-elsewhere": '\\connect "host=127.0.0.1 port={p}"',
    "connect-with-words": "\\connect x y 127.0.0.1 {p}",
    "connect-url": "\\connect postgresql://127.0.0.1:{p}/x",
    "connect-then-shell": "\\connect x \\! touch {f}",
    "connect-backtick": "\\connect `touch {f}`",
    "unrestrict-then-shell": "\\unrestrict abc\n\\! touch {f}",
    "copy-program": "COPY public.t FROM PROGRAM 'touch {f}';",
    "copy-program-lower-case": "copy public.t\nfrom /* x */ program $$touch {f}$$;",
    "copy-query-to-program": "COPY (SELECT 1) TO PROGRAM 'touch {f}';",
    "copy-to-file": "COPY public.t TO '{f}';",
    "copy-from-file": "COPY public.t FROM '/etc/passwd';",
    "copy-from-e-file": "COPY public.t FROM E'/etc/p\\141sswd';",
    "server-export": "SELECT lo_export(1, '{f}');",
    "server-import": "SELECT pg_catalog.lo_import('/etc/passwd');",
    "read-file": "SELECT pg_read_file('/etc/passwd');",
    "insert-that-reads": "INSERT INTO public.t VALUES (1, pg_read_file('/etc/passwd'));",
    "dblink": "SELECT * FROM dblink('host=127.0.0.1 port={p}', 'x') AS t(a int);",
    "do": "DO $$BEGIN EXECUTE 'COPY public.t TO PROGRAM ''touch {f}'''; END$$;",
    "call": "CALL public.p();",
    "load": "LOAD '{f}';",
    "alter-system": "ALTER SYSTEM SET archive_command = 'touch {f}';",
    "superuser": "ALTER ROLE CURRENT_USER SUPERUSER;",
    "new-superuser": "CREATE ROLE evil SUPERUSER LOGIN;",
    "membership": "GRANT pg_execute_server_program TO CURRENT_USER;",
    "parameter": "GRANT ALTER SYSTEM ON PARAMETER archive_command TO PUBLIC;",
    "foreign-library": "CREATE FUNCTION public.s(text) RETURNS integer LANGUAGE c AS '/lib/libc.so.6', 'system';",
    "import-schema": "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO public;",
    "ambiguous-literal": "COMMENT ON TABLE public.t IS E'a'\n'\\';\n\\! touch {f}\n--';",
}  # fmt: skip

# What looks dangerous and is data, a name or a definition: it must restore.
HARMLESS = {
    "command-in-data": "COPY public.t (a, b) FROM stdin;\n5\t\\\\! touch {f}\n6\t\\\\connect x\n\\.",
    "program-in-data": "COPY public.t (a, b) FROM stdin;\n5\tCOPY x FROM PROGRAM 'touch {f}';\n\\.",
    "command-in-insert": "INSERT INTO public.t VALUES (5, '\\! touch {f}');\nINSERT INTO public.t VALUES (6, 'a\n\\! id\nb');",
    "command-in-e-literal": "INSERT INTO public.t VALUES (5, E'\\'\\\\! touch {f}');",
    "command-in-comment": "-- \\! touch {f}\n/* \\! touch {f}\n\\i {f} */",
    "command-in-name": 'CREATE TABLE public."\\! touch {f}" ("COPY x FROM PROGRAM \'y\'" integer);',
    "command-in-object-comment": "COMMENT ON TABLE public.t IS '\\! touch {f}; ALTER SYSTEM; COPY x FROM PROGRAM ''y''';",
    "program-in-body": "CREATE FUNCTION public.f() RETURNS void LANGUAGE plpgsql AS $_$\nBEGIN\n"
    "\\! touch {f}\nCOPY public.t TO PROGRAM 'touch {f}'; PERFORM pg_read_file('/etc/passwd'); END $_$;",
    "program-in-sql-body": "CREATE FUNCTION public.g() RETURNS text LANGUAGE sql\n    BEGIN ATOMIC\n SELECT 'a;\\! x';\n"
    " SELECT CASE WHEN true THEN 'COPY t FROM PROGRAM' ELSE 'y' END;\nEND;",
    "words-in-view": "CREATE VIEW public.v AS SELECT 'lo_export(1, ''{f}'')'::text AS program, 'pg_read_file(' AS x;",
    "dollars-in-text": "INSERT INTO public.t VALUES (5, '$$ \\! $a$');\nCREATE DOMAIN public.d AS text DEFAULT '\\! x';",
    "trailer-in-data": "COPY public.t (a, b) FROM stdin;\n5\t-- PostgreSQL database dump complete\n\\.",
}

# What is definition and runs during the restore, as the unprivileged role.
RUNS = {
    "index": "CREATE INDEX i ON public.t (public.evil(a));",
    "check": "ALTER TABLE public.t ADD CONSTRAINT c CHECK (public.evil(a) > 0);",
    "generated": "CREATE TABLE public.g (a integer, b integer GENERATED ALWAYS AS (public.evil(a)) STORED);\n"
    "COPY public.g (a) FROM stdin;\n1\n\\.",
    "default": "CREATE TABLE public.g (a integer, b integer DEFAULT public.evil(1));\nCOPY public.g (a) FROM stdin;\n1\n\\.",
    "domain": "CREATE DOMAIN public.d AS integer CHECK (public.evil(VALUE) > 0);\nCREATE TABLE public.g (a public.d);\n"
    "COPY public.g (a) FROM stdin;\n1\n\\.",
    "view": "CREATE MATERIALIZED VIEW public.m AS SELECT public.evil(a) FROM public.t WITH NO DATA;\n"
    "REFRESH MATERIALIZED VIEW public.m;",
    "definer": "ALTER FUNCTION public.evil(integer) OWNER TO postgres;\nALTER FUNCTION public.deed() OWNER TO postgres;\nCREATE INDEX i ON public.t (public.evil(a));",
    "trigger": "CREATE FUNCTION public.tr() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM public.evil(1); RETURN NEW; END$$;\n"
    "CREATE TRIGGER x BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.tr();\n"
    "COPY public.t (a, b) FROM stdin;\n9\ty\n\\.",
}
DEEDS = {
    "program": "EXECUTE $x$COPY public.t TO PROGRAM 'touch {f}'$x$;",
    "file": "EXECUTE $x$COPY public.t TO '{f}'$x$;",
    "export": "PERFORM lo_export(lo_from_bytea(0, 'x'), '{f}');",
    "superuser": "EXECUTE 'ALTER ROLE ' || quote_ident(session_user) || ' SUPERUSER'; "
    "EXECUTE $x$COPY public.t TO PROGRAM 'touch {f}'$x$;",
    "become": "EXECUTE 'SET SESSION AUTHORIZATION smos_sandbox_admin'; EXECUTE $x$COPY public.t TO '{f}'$x$;",
    "grant": "EXECUTE 'GRANT pg_execute_server_program TO ' || quote_ident(session_user);",
    "system": "EXECUTE $x$ALTER SYSTEM SET archive_command = 'touch {f}'$x$;",
    "language": "EXECUTE $x$CREATE FUNCTION public.sh(cstring) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'$x$;",
    "dblink": "PERFORM * FROM public.dblink('host=127.0.0.1 port={p} user=x password=y', 'SELECT 1') AS t(a int);",
    "dblink-socket": "PERFORM public.dblink_exec('user=smos_sandbox_admin password=x host=' || split_part(current_setting("
    "'unix_socket_directories'), ',', 1) || ' dbname=postgres', 'ALTER ROLE ' || quote_ident(session_user) || ' SUPERUSER');",
    "subscription": "EXECUTE $x$CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={p} password=x' PUBLICATION p$x$;",
    "foreign": "EXECUTE $x$CREATE SERVER w FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{p}')$x$; "
    "EXECUTE $x$CREATE USER MAPPING FOR PUBLIC SERVER w OPTIONS (user 'x', password 'y')$x$; "
    "EXECUTE $x$CREATE FOREIGN TABLE public.w (a int) SERVER w$x$; EXECUTE 'SELECT * FROM public.w';",
}
EVIL = (
    "CREATE FUNCTION public.deed() RETURNS integer LANGUAGE plpgsql{definer} AS $_$BEGIN {deed} RETURN 1; END$_$;\n"
    "CREATE FUNCTION public.evil(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE{definer} AS\n"
    "    $_$BEGIN RETURN public.deed(); END$_$;\n"
)
"""What an index or a constraint calls must say that it is immutable, and may call anything."""


def restored(
    sandbox: EmbeddedPostgres,
    owner: Owner,
    canary: Canary,
    tmp_path: Path,
    texts: dict[str, str],
    *,
    head: str = "",
) -> RestoreFacts:
    """Restore one dump per text into one sandbox."""
    sources = []
    for number, text in enumerate(texts.values()):
        body = text.replace("{f}", str(canary.file)).replace("{p}", str(canary.port))
        whole = kit.wrap(body).replace("CREATE TABLE public.t", head + "CREATE TABLE public.t", 1)
        sources.append(kit.plain(tmp_path / f"{number}.sql", f"d{number}", whole))
    return kit.restore(sandbox, owner, *sources)


def test_the_canary_sings_where_nothing_protects(owner: Owner, canary: Canary, tmp_path: Path) -> None:
    server = EmbeddedPostgres(owner, name="open", memory=True, settings={"fsync": "off"})
    server.start()
    for text in (
        "\\! touch {f}-1",
        "CREATE TABLE t (a int); COPY t TO PROGRAM 'touch {f}-2';",
        "COPY t TO '{f}-3';",
    ):
        (tmp_path / "x.sql").write_text(text.replace("{f}", str(canary.file)) + "\n")
        subprocess.run(
            [server.installation.tool("psql"), "-qX", "-f", tmp_path / "x.sql", server.endpoint.conninfo()],
            env={**os.environ, **server.endpoint.env()},
            check=True,
        )
    with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION dblink")
        with pytest.raises(psycopg.Error):
            connection.execute(DEEDS["dblink"].replace("PERFORM", "SELECT").replace("{p}", str(canary.port)))
    assert sorted(path.name for path in canary.folder.iterdir()) == ["sang-1", "sang-2", "sang-3"]
    assert canary.visits >= 1


def test_no_hostile_statement_is_executed_and_each_is_named(
    sandbox: EmbeddedPostgres, owner: Owner, canary: Canary, tmp_path: Path
) -> None:
    facts = restored(sandbox, owner, canary, tmp_path, REFUSED)
    state = dict(zip(REFUSED, sorted(facts.databases, key=lambda item: int(item.name[1:])), strict=True))
    assert canary.silent
    assert [name for name, item in state.items() if item.restored] == []
    unnamed = [name for name, item in state.items() if not item.refused]
    assert unnamed == []
    codes = {problem.code for item in state.values() for problem in item.refused}
    assert codes == {"hostile-statement", "unreadable-text"}
    assert str(canary.file) not in repr(facts)
    assert facts.sandbox.superusers == (facts.sandbox.administrator,)
    findings = restore_findings(tuple(item.name for item in facts.databases), facts)
    failed = {finding.message.split(":")[0] for finding in findings if finding.verdict is Verdict.FAIL}
    assert failed == {item.name for item in facts.databases}
    assert sandbox.running


def test_a_refusal_names_kind_and_line_and_never_the_text(
    sandbox: EmbeddedPostgres, owner: Owner, canary: Canary, tmp_path: Path
) -> None:
    facts = restored(
        sandbox, owner, canary, tmp_path, {"x": "\\! touch geheim\nCOPY public.t FROM PROGRAM 'geheim';"}
    )
    line = kit.wrap("\\! touch").splitlines().index("\\! touch") + 1
    details = [problem.detail for problem in facts.databases[0].refused]
    assert details[0].startswith(f"line {line}: psql command \\!")
    assert details[1].startswith(f"line {line + 1}: COPY PROGRAM")
    assert "geheim" not in repr(facts)


def test_what_only_looks_hostile_restores(
    sandbox: EmbeddedPostgres, owner: Owner, canary: Canary, tmp_path: Path
) -> None:
    facts = restored(sandbox, owner, canary, tmp_path, HARMLESS)
    state = dict(zip(HARMLESS, sorted(facts.databases, key=lambda item: int(item.name[1:])), strict=True))
    wrong = {
        name: (item.errors, item.refused, item.gaps)
        for name, item in state.items()
        if not item.restored or not item.complete or item.refused or item.gaps
    }
    assert wrong == {}
    assert canary.silent
    with psycopg.connect(sandbox.endpoint.conninfo("d2")) as connection:
        rows = connection.execute("SELECT a, b FROM public.t WHERE a > 4 ORDER BY a").fetchall()
    assert rows == [(5, f"\\! touch {canary.file}"), (6, "a\n\\! id\nb")]


@pytest.mark.parametrize("definer", ["", " SECURITY DEFINER"], ids=["invoker", "definer"])
def test_code_that_runs_during_a_restore_reaches_nothing(
    definer: str, sandbox: EmbeddedPostgres, owner: Owner, canary: Canary, tmp_path: Path
) -> None:
    texts = {
        f"{place}-{deed}": EVIL.format(definer=definer, deed=DEEDS[deed].replace("{f}", "{{f}}").replace("{p}", "{{p}}"))
        .replace("{{", "{").replace("}}", "}") + RUNS[place]
        for place in RUNS
        for deed in (DEEDS if place in {"index", "definer"} else ("program",))
    }  # fmt: skip
    head = (
        "CREATE EXTENSION IF NOT EXISTS dblink WITH SCHEMA public;\n"
        "CREATE EXTENSION IF NOT EXISTS postgres_fdw WITH SCHEMA public;\n"
    )
    facts = restored(sandbox, owner, canary, tmp_path, texts, head=head)
    assert canary.silent
    assert facts.sandbox.superusers == (facts.sandbox.administrator,)
    state = dict(zip(texts, sorted(facts.databases, key=lambda item: int(item.name[1:])), strict=True))
    assert [name for name, item in state.items() if item.restored] == []
    findings = restore_findings(tuple(item.name for item in facts.databases), facts)
    # Refused for want of rights, for want of a network, or as nothing that may run inside a statement.
    assert {error.code for item in state.values() for error in item.errors} <= {"42501", "08001", "25001"}
    bad = {finding.message.split(":")[0] for finding in findings if finding.verdict is not Verdict.PASS}
    assert bad == {item.name for item in facts.databases}


def test_without_a_network_namespace_nothing_that_connects_is_there(
    sandboxes: kit.Sandboxes, owner: Owner, canary: Canary, tmp_path: Path
) -> None:
    texts = {
        deed: EVIL.format(definer="", deed=DEEDS[deed]) + RUNS["index"]
        for deed in ("dblink", "foreign", "subscription")
    }
    head = (
        "CREATE EXTENSION IF NOT EXISTS dblink WITH SCHEMA public;\n"
        "CREATE EXTENSION IF NOT EXISTS postgres_fdw WITH SCHEMA public;\n"
    )
    sandbox = sandboxes.take(no_network=False)
    facts = restored(sandbox, owner, canary, tmp_path, texts, head=head)
    assert facts.sandbox.isolation == "configuration"
    assert canary.silent


GLOBALS = """--
-- PostgreSQL database cluster dump
--
SET default_transaction_read_only = off;
CREATE ROLE evil;
ALTER ROLE evil WITH SUPERUSER LOGIN BYPASSRLS;
CREATE ROLE runner;
ALTER ROLE runner WITH NOSUPERUSER LOGIN;
GRANT pg_execute_server_program TO runner WITH INHERIT TRUE GRANTED BY evil;
GRANT pg_write_server_files TO runner;
ALTER ROLE runner SET session_preload_libraries TO '{f}';
ALTER ROLE runner SET local_preload_libraries TO '{f}';
ALTER ROLE ALL SET dynamic_library_path TO '{f}';
ALTER ROLE runner SET "plperl.on_init" TO 'system q(touch {f})';
GRANT SET, ALTER SYSTEM ON PARAMETER archive_command TO runner;
GRANT ALTER SYSTEM ON PARAMETER log_statement TO runner;
ALTER SYSTEM SET archive_command = 'touch {f}';
COPY pg_authid TO PROGRAM 'touch {f}';
SELECT pg_read_file('/etc/passwd');
CREATE FUNCTION x() RETURNS void LANGUAGE c AS '{f}', 'x';
DO $$BEGIN END$$;
\\! touch {f}
ALTER ROLE smos_sandbox_admin WITH PASSWORD 'x';
CREATE ROLE smos_sandbox_admin;
CREATE ROLE pg_evil;
CREATE TABLESPACE t OWNER evil LOCATION '{f}';
CREATE ROLE "a;b""c";
ALTER ROLE "a;b""c" SET application_name TO $$x$$;
--
-- PostgreSQL database cluster dump complete
--
"""


def test_globals_are_parsed_and_never_executed(
    sandbox: EmbeddedPostgres, owner: Owner, canary: Canary, tmp_path: Path
) -> None:
    path = tmp_path / "globals.sql"
    path.write_text(GLOBALS.replace("{f}", str(canary.file)))
    body = EVIL.format(definer=" SECURITY DEFINER", deed=DEEDS["program"]).replace("{f}", str(canary.file))
    text = kit.wrap(body + "ALTER FUNCTION public.deed() OWNER TO runner;\n" + RUNS["index"])
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "x", text), globals_=path)
    assert canary.silent
    assert facts.sandbox.superusers == ("smos_sandbox_admin",)
    assert {role.name: (role.attributes, set(role.roles)) for role in facts.roles_withheld} == {
        "evil": (("SUPERUSER",), set()),
        "runner": ((), {"pg_execute_server_program", "pg_write_server_files"}),
    }
    codes = [problem.code for problem in facts.problems]
    assert codes.count("setting-refused") == 5
    assert codes.count("hostile-statement") >= 6
    assert {"role-name-taken", "privilege-withheld", "tablespace-mapped"} <= set(codes)
    assert str(canary.file) not in repr(facts)
    with psycopg.connect(sandbox.endpoint.conninfo()) as connection:
        names = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'")}
    assert names >= {"evil", "runner", 'a;b"c'}
    assert Verdict.FAIL in {finding.verdict for finding in restore_findings(("x",), facts)}


CONTENTS = {
    "empty": "",
    "led": "CREATE TABLE t (a text); INSERT INTO t VALUES ('x'); SELECT lo_from_bytea(5, 'x')",
    "wide": f"CREATE TABLE wide ({', '.join(f'a_rather_long_column_{n} int' for n in range(9))}); INSERT INTO wide VALUES (1);"
    "CREATE INDEX an_index_with_a_name_long_enough_to_replace_its_definition ON wide (a_rather_long_column_1);"
    "CREATE VIEW a_view AS SELECT 'a long text a long text a long text a long text a long text a long text' AS x;",
}
"""Databases of which archives are made, by their names."""


@pytest.fixture(scope="module")
def server(owner: Owner) -> EmbeddedPostgres:
    """Start what archives are made of: it holds CONTENTS, and nothing changes it."""
    server = EmbeddedPostgres(owner, name="made", memory=True, settings={"fsync": "off"})
    server.start()
    for name, content in CONTENTS.items():
        with psycopg.connect(server.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
        with psycopg.connect(server.endpoint.conninfo(name), autocommit=True) as connection:
            connection.execute(content)
    return server


@pytest.mark.parametrize("kind", ["custom", "tar", "directory"])
def test_an_archive_with_altered_statements_runs_none(
    kind: str,
    server: EmbeddedPostgres,
    sandbox: EmbeddedPostgres,
    owner: Owner,
    canary: Canary,
    tmp_path: Path,
) -> None:
    made = tmp_path / "made"
    kit.dump(server, "pg_dump", f"--format={kind}", "--compress=0", f"--file={made}", "--dbname=wide")
    toc = made / "toc.dat" if kind == "directory" else made
    original = toc.read_bytes()

    def altered(name: str, start: bytes, end: bytes, text: str) -> DumpSource:
        at = original.index(start)
        stop = original.index(end, at) + len(end)
        new = text.replace("{f}", str(canary.file)).encode()
        assert len(new) <= stop - at
        folder = tmp_path / name
        if kind == "directory":
            folder.mkdir()
            for path in made.iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
        target = folder / "toc.dat" if kind == "directory" else folder
        target.write_bytes(original[:at] + new.ljust(stop - at) + original[stop:])
        return DumpSource(database=name, kind=kit.KINDS[kind], path=folder)

    copy = (b"COPY public.wide", b"FROM stdin;")
    index = (b"CREATE INDEX an_index", b";")
    view = (b"CREATE VIEW public.a_view", b";")
    sources = [
        altered("copy1", *copy, "COPY public.wide FROM PROGRAM 'touch {f}';"),
        altered("copy2", *copy, "COPY (SELECT 1) TO '{f}'; COPY public.wide FROM stdin;"),
        altered("index1", *index, "COPY (SELECT 1) TO PROGRAM 'touch {f}';"),
        altered("index2", *index, "\\! touch {f}\n;"),
        altered("view1", *view, "\\! touch {f}\n;"),
        altered("view2", *view, "DO $$BEGIN COPY (SELECT 1) TO PROGRAM 'touch {f}'; END$$;"),
        altered("view3", *view, "ALTER ROLE CURRENT_USER SUPERUSER;"),
    ]
    facts = kit.restore(sandbox, owner, *sources)
    assert canary.silent
    assert {item.name for item in facts.databases} == {source.database for source in sources}
    assert [item.name for item in facts.databases if item.restored or not item.refused] == []
    assert facts.sandbox.superusers == (facts.sandbox.administrator,)


def test_an_archive_of_the_unaltered_kind_restores(
    server: EmbeddedPostgres, sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path
) -> None:
    kit.dump(server, "pg_dump", "--format=custom", f"--file={tmp_path / 'x'}", "--dbname=empty")
    source = DumpSource(database="empty", kind=ArtifactKind.PG_DUMP_CUSTOM, path=tmp_path / "x")
    facts = kit.restore(sandbox, owner, source)
    assert [(item.name, item.restored, item.complete) for item in facts.databases] == [("empty", True, True)]


def test_psql_itself_refuses_what_the_lexer_is_made_to_overlook(
    sandbox: EmbeddedPostgres, owner: Owner, canary: Canary, tmp_path: Path
) -> None:
    # A trigger switches standard_conforming_strings off behind the lexer's back: from then on psql reads a
    # backslash before a quote in another way than the lexer, and finds a command inside what it takes for a literal.
    text = (
        "CREATE FUNCTION public.off() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN\n"
        " PERFORM pg_catalog.set_config('standard_conforming_strings', 'off', false); RETURN NEW; END$$;\n"
        "CREATE TRIGGER off BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.off();\n"
        "COPY public.t (a, b) FROM stdin;\n9\ty\n\\.\n"
        "COMMENT ON TABLE public.t IS '\\' '\n\\! touch {f}\n--';\n"
    )
    facts = restored(sandbox, owner, canary, tmp_path, {"x": text})
    assert canary.silent
    database = facts.databases[0]
    assert not database.restored
    assert [error.code for error in database.errors] == ["psql-restricted"]
    findings = restore_findings((database.name,), facts)
    assert "hostile-statement" in {finding.code for finding in findings if finding.verdict is Verdict.FAIL}


def test_a_psql_without_restricted_mode_is_not_used(
    sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smos.drill.restore.can_restrict", lambda _version: False)
    facts = kit.restore(sandbox, owner, kit.plain(tmp_path / "x.sql", "x", kit.wrap("")))
    assert facts.databases == ()
    assert "psql-unrestricted" in {problem.code for problem in facts.problems}


@pytest.mark.parametrize(
    ("version", "known"),
    [
        (180000, True),
        (190000, True),
        (170006, True),
        (170005, False),
        (150014, True),
        (130021, False),
        (120020, False),
    ],
)
def test_which_psql_has_restricted_mode(version: int, known: bool) -> None:
    assert can_restrict(version) is known


def test_a_directory_that_leads_elsewhere_is_not_followed(
    server: EmbeddedPostgres, sandbox: EmbeddedPostgres, owner: Owner, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    kit.dump(server, "pg_dump", "--format=directory", "--compress=0", f"--file={made}", "--dbname=led")
    data = next(made.glob("[0-9]*.dat")).name
    sources = []

    def variant(name: str) -> Path:
        folder = shutil.copytree(made, tmp_path / name)
        sources.append(DumpSource(database=name, kind=ArtifactKind.PG_DUMP_DIRECTORY, path=folder))
        return folder

    folder = variant("link")
    (folder / data).unlink()
    (folder / data).symlink_to("/etc/passwd")
    folder = variant("name")
    toc = (folder / "toc.dat").read_bytes()
    (folder / "toc.dat").write_bytes(toc.replace(data.encode(), b"../../x.dat"[: len(data)]))
    folder = variant("blob")
    listing = next(folder.glob("blobs*.toc"))
    listing.write_text("5 ../../../../../../etc/passwd\n")
    folder = variant("pipe")
    os.mkfifo(folder / "extra")
    facts = kit.restore(sandbox, owner, *sources)
    assert [item.name for item in facts.databases if item.restored] == []
    assert {problem.code for problem in facts.problems} == {"archive-unreadable"}
