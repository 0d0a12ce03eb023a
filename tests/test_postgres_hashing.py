"""Hashes tell rows apart that print differently, whatever compares equal; and mean tomorrow what they mean today."""

# Fixtures carry the types; statements stay on one line.
# ruff: noqa: ANN001, ANN201

import pytest

from smos.postgres.hashing import HashMode
from smos.postgres.row_hash import BITS, DEPTH
from smos.provision.embedded.postgres import EmbeddedPostgres
from smos.provision.installations import find_installations
from smos.provision.owner import Owner
from tests._postgres_kit import content, execute

SETTINGS = {"fsync": "off", "max_wal_senders": "0", "wal_level": "minimal", "autovacuum": "off"}

# Definition of a table, and two contents of it that are not the same.
PAIRS = {
    "a number and one that folds to the same 32 bits": ("a int8", "(1)", "(4294967296)"),
    "a negative one likewise": ("a int8", "(-1)", "(4294967295)"),
    "two numbers of 64 bits, swapped": ("a int8, b int8", "(5, 6)", "(6, 5)"),
    "a number moved to the next column": ("a int4, b int8, c int8", "(7, 0, 0)", "(0, 7, 0)"),
    "the same bits in two columns": ("a int8, b int4", "(3, 0)", "(0, 3)"),
    "the same bits in two columns, the other way": ("a int4, b int8", "(3, 0)", "(0, 3)"),
    "zero and NULL": ("a int4", "(0)", "(NULL)"),
    "false and NULL": ("a bool", "(false)", "(NULL)"),
    "nothing and NULL": ("a text", "('')", "(NULL)"),
    "no bytes and NULL": ("a bytea", "('')", "(NULL)"),
    "the nil UUID and NULL": ("a uuid", "('00000000-0000-0000-0000-000000000000')", "(NULL)"),
    "NULL in another column": ("a text, b text", "(NULL, '')", "('', NULL)"),
    "NULL in another column of one that prints": ("a numeric, b numeric", "(NULL, 1)", "(1, NULL)"),
    "a letter in another column": ("a text, b text", "('ab', 'c')", "('a', 'bc')"),
    "columns swapped": ("a text, b text", "('x', 'y')", "('y', 'x')"),
    "values swapped between rows": ("a int4, b text", "(1, 'x'), (2, 'y')", "(1, 'y'), (2, 'x')"),
    "numbers swapped between rows": ("a int4, b int4", "(1, 6), (2, 5)", "(1, 5), (2, 6)"),
    "long numbers swapped between rows": ("a int8, b int8", "(1, 6), (2, 5)", "(1, 5), (2, 6)"),
    "a duplicate more of another row": ("a int4", "(1), (1), (2)", "(1), (2), (2)"),
    "duplicates that XOR would cancel": ("a int4", "(1), (1)", "(2), (2)"),
    "a scale": ("a numeric", "(1.0)", "(1.00)"),
    "a sign": ("a numeric", "(5)", "(-5)"),
    "a scale within jsonb": ("a jsonb", "('1.0')", "('1.00')"),
    "a sign within jsonb": ("a jsonb", "('5')", "('-5')"),
    "the order of keys of json": ("a json", """('{"a":1,"b":2}')""", """('{"b":2,"a":1}')"""),
    "minus zero": ("a float8", "(0)", "('-0')"),
    "minus zero of 32 bits": ("a float4", "(0)", "('-0')"),
    "a day of 24 hours": ("a interval", "('1 day')", "('24 hours')"),
    "a zone": ("a timetz", "('10:00+00')", "('11:00+01')"),
    "a microsecond": ("a timestamptz", "('2026-01-01Z')", "('2026-01-01 00:00:00.000001Z')"),
    "a time without zone": ("a timestamp", "('infinity')", "('-infinity')"),
    "case that doesn't count": ("a text COLLATE nocase", "('A')", "('a')"),
    "blanks of a text": ("a varchar(9)", "('x')", "('x ')"),
    "blanks that don't count": ("a bpchar", "('x')", "('x ')"),
    "a number and the length of the next": ("a int4, b bpchar", "(1, 'x')", "(0, 'x ')"),
    "an array's lower bound": ("a int[]", "('{1}')", "('[2:2]={1}')"),
    "a scale within an array": ("a numeric[]", "('{1.0}')", "('{1.00}')"),
    "an enum": ("a mood, b text", "('good', 'bad')", "('bad', 'good')"),
    "a domain": ("a few", "(1.0)", "(1.00)"),
    "a composite": ("a pair", "(ROW(1, NULL))", "(ROW(NULL, 1))"),
    "a composite of NULLs": ("a pair", "(ROW(NULL, NULL))", "(NULL)"),
    "a bit": ("a bit(3), b oid", "(B'101', 1)", "(B'100', 1)"),
    "an address": ("a inet, b int2", "('10.0.0.0/8', 1)", "('10.0.0.0/9', 1)"),
    "text behind many columns": (f"{', '.join(f'n{n} int2' for n in range(DEPTH + 5))}", f"({', '.join(['1'] * (DEPTH + 5))})", f"({', '.join(['1'] * (DEPTH + 4))}, NULL)"),
    "NULL behind many columns": (f"{', '.join(f'n{n} int8' for n in range(BITS + 5))}", f"({', '.join(['0'] * (BITS + 5))})", f"({', '.join(['0'] * (BITS + 4))}, NULL)"),
}  # fmt: skip
PREPARATION = """
CREATE COLLATION nocase (provider = builtin, locale = 'C.UTF-8');
CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN few AS numeric; CREATE TYPE pair AS (a int, b int);
"""
GOLDEN = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE golden (a int2, b int4, c int8, d bool, e text, f varchar(9), g char(9), h uuid, i bytea, j oid, k numeric,
    l float8, m timestamptz, n date, o jsonb, p json, q int[], r mood, s interval, t inet);
INSERT INTO golden VALUES
    (1, -2, 30000000000, true, 'añb', 'x ', 'yz', md5('u')::uuid, '\\x0001ff', 4000000000, 1.50, 0.1, '2026-11-23 10:11:12.5Z',
     '2026-11-23', '{"b": [1.0, "ü"], "a": null}', '{"a" :1}', '{1,NULL}', 'bad', '1 day 2 hours', '10.0.0.1/8'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (0, 0, 0, false, '', '', '', NULL, '', 0, 0, 0, 'infinity', '-infinity', '{}', 'null', '{}', 'good', '0', '::1')
"""
MEANT = {
    "fast-2": "706121863697120278:-4555510638660088753",
    "fast": "5641151705673255600:-2542853694577527917",
    "sha256": "-10141454135406907738:-9872715177205110201:-366171222496349051:-9034775442232090524",
}
"""What manifests hold: these numbers never change. Another way to hash is another mode."""


@pytest.fixture(scope="module")
def owner():
    with Owner("smos-test-pghashing") as owner:
        yield owner


@pytest.fixture(scope="module")
def server(owner):
    server = EmbeddedPostgres(owner, name="hashing", memory=True, settings=SETTINGS)
    server.start()
    return server


@pytest.fixture(scope="module")
def hashes(server):
    """Both tables of every pair, all in one database and read in one go."""
    execute(server, "postgres", "-- separately\nCREATE DATABASE pairs")
    execute(server, "pairs", PREPARATION)
    for number, (definition, left, right) in enumerate(PAIRS.values()):
        for side, rows in (("l", left), ("r", right)):
            execute(
                server,
                "pairs",
                f"CREATE TABLE {side}{number} ({definition}); INSERT INTO {side}{number} VALUES {rows}",
            )
    return {name: table.hash for name, table in content(server, "pairs", probe=False).tables.items()}


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=list(PAIRS))
def test_what_prints_differently_is_hashed_differently(hashes, number):
    left, right = (hashes[f"public.{side}{number}"].split(":") for side in "lr")
    assert len(left) == len(right) == 2
    assert all(one != other for one, other in zip(left, right, strict=True)), "both sums tell them apart"


def test_where_a_value_lies_does_not_change_its_hash(server):
    execute(server, "postgres", "-- separately\nCREATE DATABASE places")
    execute(
        server,
        "places",
        "CREATE TABLE within (a int, b text, c bytea, d varchar, e jsonb); CREATE TABLE outside (LIKE within);"
        "ALTER TABLE outside ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL, ALTER d SET STORAGE EXTERNAL;"
        "INSERT INTO outside SELECT n, repeat('b', 5000 * n), decode(repeat('0a', 3000 * n), 'hex'), repeat('d', 4000), to_jsonb(repeat('e', 3000)) FROM generate_series(1, 3) AS n;"
        "INSERT INTO outside VALUES (4); INSERT INTO within SELECT * FROM outside",
    )
    tables = content(server, "places", probe=False).tables
    assert tables["public.within"].hash == tables["public.outside"].hash
    assert tables["public.within"].rows == 4


@pytest.mark.parametrize("mode", list(HashMode))
def test_a_column_whose_type_is_gone_is_not_left_out_of_the_hash(server, mode):
    name = f"damaged-{mode}"
    execute(server, "postgres", f'-- separately\nCREATE DATABASE "{name}"')
    execute(
        server,
        name,
        "CREATE DOMAIN gone AS text; CREATE TABLE t (a int, b gone); INSERT INTO t VALUES (1, 'x')",
    )
    execute(server, name, "DELETE FROM pg_type WHERE typname = 'gone'")
    table = content(server, name, mode=mode, probe=False).tables["public.t"]
    assert (table.rows, table.hash) == (None, None)
    assert "XX000" in table.problem


@pytest.mark.parametrize("major", [13, 14, 15, 16, 17, 18])
def test_a_hash_is_what_it_was_when_the_manifest_was_made(owner, server, major):
    installation = next((one for one in find_installations() if one.major == major), None)
    if installation is None:
        pytest.skip(f"PostgreSQL {major} is not installed here")
    one = server
    if major != server.installation.major:
        one = EmbeddedPostgres(owner, name=f"golden{major}", installation=installation, memory=True)
        one.start()
    execute(one, "postgres", "-- separately\nCREATE DATABASE golden")
    execute(one, "golden", GOLDEN)
    found = {
        str(mode): content(one, "golden", mode=mode, probe=False).tables["public.golden"].hash
        for mode in HashMode
    }
    if one is not server:
        one.stop()
    assert found == MEANT
