"""Globals of every version since 10 are parsed into values; what is not on the allow list is named and left out."""

import pytest

from smos.drill.globals import Globals, Membership, Setting, ordered, read_globals

HEAD = "--\n-- PostgreSQL database cluster dump\n--\n\nSET default_transaction_read_only = off;\n\n"
TAIL = "\n--\n-- PostgreSQL database cluster dump complete\n--\n"


def read(text: str) -> Globals:
    """Read globals between head and trailer."""
    return read_globals([(HEAD + text + TAIL).encode()])


def test_what_version_10_writes() -> None:
    found = read(
        "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\nCREATE ROLE a;\n"
        "ALTER ROLE a WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS"
        " CONNECTION LIMIT -1 PASSWORD 'md5abc' VALID UNTIL 'infinity';\n"
        "ALTER ROLE a SET search_path TO 'x', 'y z';\nALTER ROLE a SET work_mem TO '8MB';\n"
        "CREATE ROLE g;\nALTER ROLE g WITH NOSUPERUSER NOINHERIT NOLOGIN;\n"
        "GRANT g TO a WITH ADMIN OPTION GRANTED BY postgres;\n"
        "COMMENT ON ROLE g IS 'it''s; a \\ group';\n"
        "CREATE TABLESPACE fast OWNER a LOCATION '/mnt/fast';\nALTER TABLESPACE fast SET (random_page_cost=1);\n"
        "REVOKE ALL ON TABLESPACE fast FROM a;\nGRANT CREATE ON TABLESPACE fast TO g;\n"
    )
    assert found.problems == []
    assert found.complete
    assert found.roles["a"].attributes == {"INHERIT", "LOGIN"}
    assert (found.roles["a"].connection_limit, found.roles["a"].valid_until) == (-1, "infinity")
    assert found.roles["a"].password == "md5abc"
    assert "md5abc" not in repr(found)
    assert found.roles["g"].attributes == set()
    assert found.roles["g"].comment == "it's; a \\ group"
    assert found.memberships == [Membership("g", "a", admin=True, grantor="postgres")]
    assert found.settings == [
        Setting("a", "", "search_path", ("x", "y z")),
        Setting("a", "", "work_mem", ("8MB",)),
    ]
    assert found.tablespaces == ["fast"]


def test_what_version_16_and_later_write() -> None:
    found = read(
        '\\restrict abc\nCREATE ROLE "We""ird; Role";\nCREATE ROLE b;\n'
        'ALTER ROLE "We""ird; Role" WITH SUPERUSER NOINHERIT CREATEROLE CREATEDB NOLOGIN REPLICATION BYPASSRLS;\n'
        "ALTER ROLE b WITH NOSUPERUSER LOGIN PASSWORD E'a\\\\b''c';\n"
        'GRANT "We""ird; Role" TO b WITH ADMIN OPTION, INHERIT FALSE, SET FALSE GRANTED BY postgres;\n'
        "GRANT pg_read_all_data TO b WITH INHERIT TRUE GRANTED BY postgres;\n"
        "GRANT SET ON PARAMETER log_min_messages TO b;\nGRANT SET ON PARAMETER app.x TO b WITH GRANT OPTION;\n"
        "ALTER ROLE b IN DATABASE x SET \"TimeZone\" TO 'UTC';\n\\unrestrict abc\n"
    )
    assert found.problems == []
    assert found.roles['We"ird; Role'].attributes == {
        "SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS",
    }  # fmt: skip
    assert found.roles["b"].password == "a\\b'c"
    assert found.memberships[0] == Membership('We"ird; Role', "b", True, False, False, "postgres")
    assert [(grant.parameter, grant.grantable) for grant in found.parameters] == [
        ("log_min_messages", False),
        ("app.x", True),
    ]
    assert found.settings == [Setting("b", "x", "TimeZone", ("UTC",))]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("\\! id", "hostile-statement"),
        ("\\connect x", "hostile-statement"),
        ("COPY x FROM PROGRAM 'id';", "hostile-statement"),
        ("DO $$BEGIN END$$;", "hostile-statement"),
        ("ALTER SYSTEM SET x = 'y';", "hostile-statement"),
        ("SELECT lo_export(1, 'x');", "hostile-statement"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1';", "hostile-statement"),
        ("CREATE ROLE a SUPERUSER;", "unexpected-statement"),
        ("CREATE ROLE pg_x;", "unexpected-statement"),
        ("ALTER ROLE unknown WITH LOGIN;", "unexpected-statement"),
        ("ALTER ROLE known WITH FLYING;", "unexpected-statement"),
        ("ALTER ROLE known RENAME TO other;", "unexpected-statement"),
        ("ALTER ROLE ALL WITH SUPERUSER;", "unexpected-statement"),
        ("GRANT SELECT ON TABLE x TO known;", "unexpected-statement"),
        ("GRANT a TO known WITH MAGIC TRUE;", "unexpected-statement"),
        ("REVOKE a FROM known;", "unexpected-statement"),
        ("SET role = postgres;", "unexpected-statement"),
        ("SET session_preload_libraries = 'x';", "unexpected-statement"),
        ("CREATE TABLE x (a int);", "unexpected-statement"),
        ("DROP TABLE x;", "unexpected-statement"),
        ("SELECT pg_catalog.set_config('search_path', 'x', false);", "hostile-statement"),
        ("INSERT INTO pg_authid VALUES (1);", "unexpected-statement"),
        ("ALTER ROLE known SET session_preload_libraries TO 'x';", "setting-refused"),
        ("ALTER ROLE known SET \"Local_Preload_Libraries\" TO 'x';", "setting-refused"),
        ("ALTER ROLE known SET dynamic_library_path TO 'x';", "setting-refused"),
        ("ALTER ROLE ALL SET archive_command TO 'x';", "setting-refused"),
        ("ALTER ROLE known SET restore_command TO 'x';", "setting-refused"),
        ("ALTER ROLE known SET \"plperl.on_init\" TO 'x';", "setting-refused"),
        ("ALTER DATABASE x SET ssl_passphrase_command TO 'x';", "setting-refused"),
        ("GRANT SET ON PARAMETER archive_command TO known;", "setting-refused"),
        ("GRANT ALTER SYSTEM ON PARAMETER work_mem TO known;", "privilege-withheld"),
        ("ALTER ROLE known SET default_tablespace TO 'x';", "tablespace-mapped"),
        ("CREATE ROLE 'x", "literal-unterminated"),
        ("CREATE ROLE x", "statement-unterminated"),
    ],
)
def test_what_is_not_on_the_list_is_named_and_left_out(text: str, code: str) -> None:
    secret = "geheim"
    found = read(f"CREATE ROLE known;\nALTER ROLE known WITH PASSWORD '{secret}';\n{text}\n")
    assert [problem.code for problem in found.problems] == [code]
    assert set(found.roles) == {"known"}
    assert found.settings == []
    assert not any(secret in problem.detail for problem in found.problems)


def test_globals_that_were_cut_say_so() -> None:
    text = (HEAD + "CREATE ROLE a;\nALTER ROLE a WITH LOGIN;\n" + TAIL).encode()
    whole = text.rindex(b"complete") + len(b"complete")
    assert [at for at in range(whole) if read_globals([text[:at]]).complete] == []
    assert read_globals([text[:whole]]).complete


def test_a_flood_of_refusals_is_bounded() -> None:
    assert len(read("DO $$BEGIN END$$;\n" * 500).problems) == 50


def test_grantors_get_their_option_before_they_grant() -> None:
    later = Membership("team", "c", grantor="b")
    first = Membership("team", "b", admin=True, grantor="postgres")
    lost = Membership("team", "d", grantor="nobody")
    assert list(ordered([later, lost, first], lambda name: name == "postgres")) == [first, later, lost]
