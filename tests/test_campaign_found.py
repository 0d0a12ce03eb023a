"""What random damage found, each as a test of its own: the product once took it for whole, or broke off."""

import base64
import io
import json
import os
import stat
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smos.backup.coherence import LISTED, contradictions
from smos.backup.entries import DifferenceKind, EntriesError, read_entries
from smos.backup.manifest import Manifest, read_manifest
from smos.backup.signing import sign_manifest, verify_manifest
from smos.backup.tarheaders import TarFault
from smos.backup.tarread import TarReader
from smos.backup.volumes import create_volume_archive, restore_archive
from smos.drill.archive import _LARGE_OBJECTS
from smos.drill.archive_errors import _command
from smos.drill.globals import read_globals
from smos.drill.sqlrules import _SETTING, Action, judge
from smos.drill.sqlstream import _COPY, SqlLexer, Statement
from smos.errors import BackupError
from smos.postgres.catalogue import Catalogue
from smos.postgres.compare import _large_objects
from smos.postgres.compare_catalogue import compare_catalogues
from smos.postgres.compare_grants import Names
from smos.postgres.content import DatabaseContent, LargeObjects
from smos.postgres.hashing import HashMode
from smos.restore.deferred import _OWNER
from smos.target import Limits
from tests._backup_kit import keys

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def test_a_signature_in_another_spelling_is_refused(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    signature = sign_manifest(b"{}", private)
    text = signature.decode().rstrip("\n")
    assert text.endswith("==")
    # The last letter before the padding holds four bits that no byte needs.
    other = text[:-3] + LETTERS[LETTERS.index(text[-3]) ^ 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(text)
    for spelling in (other.encode() + b"\n", signature + b"\n", b" " + signature, text.encode()):
        assert not verify_manifest(b"{}", spelling, public), spelling
    assert verify_manifest(b"{}", signature, public)


@pytest.mark.parametrize("kind", [b"L", b"K"])
def test_a_long_name_that_is_empty_is_damage(kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        head = tarfile.TarInfo("storage")
        head.type = kind
        archive.addfile(head)
        archive.addfile(tarfile.TarInfo("file"))
    with pytest.raises(TarFault, match="long name that is empty"):
        TarReader(iter([buffer.getvalue()])).next()


def test_the_list_of_another_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("x")
    create_volume_archive(tmp_path / "root", "n8n_data", tmp_path / "a.tar.zst", tmp_path / "a.jsonl.zst")
    assert len(list(read_entries(tmp_path / "a.jsonl.zst", "n8n_data"))) == 2
    with pytest.raises(EntriesError, match="another volume"):
        list(read_entries(tmp_path / "a.jsonl.zst", "odoo"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device node")
def test_a_device_node_that_the_list_does_not_have_is_an_extra_entry(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    os.mknod(root / "known", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    create_volume_archive(root, "v", tmp_path / "v.tar.zst", tmp_path / "v.jsonl.zst")
    os.mknod(root / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    create_volume_archive(root, "v", tmp_path / "more.tar.zst", tmp_path / "more.jsonl.zst")
    (facts,) = restore_archive(
        tmp_path / "more.tar.zst", tmp_path / "out", volumes=("v",), limits=Limits(),
        entries={"v": tmp_path / "v.jsonl.zst"},
    )  # fmt: skip
    kinds = {item.kind: item.count for item in facts.differences}
    assert kinds[DifferenceKind.EXTRA] == 1
    assert kinds[DifferenceKind.DEVICE] == 1, "the one that is listed is a gap of the sandbox"


def test_a_membership_of_a_role_that_is_created_only_later_is_told() -> None:
    create = [b"CREATE ROLE a;\n", b"CREATE ROLE b;\n"]
    grant = [b"GRANT a TO b WITH INHERIT TRUE GRANTED BY postgres;\n"]
    assert read_globals([*create, *grant]).problems == []
    assert [item.code for item in read_globals([*grant, *create]).problems] == ["unexpected-statement"] * 2
    assert read_globals([*create, b"GRANT rds_superuser TO a;\n"]).problems == [], (
        "a role of another server's own"
    )


def test_the_role_that_initdb_made_is_there_before_any_statement() -> None:
    """Its CREATE ROLE is often taken out: it fails on a new server."""
    create, alter = b"CREATE ROLE boss;\n", b"ALTER ROLE boss WITH SUPERUSER NOLOGIN;\n"
    grant = b"CREATE ROLE a;\nGRANT boss TO a;\n"
    for text in ([alter], [alter, create], [grant, create], [b"COMMENT ON ROLE boss IS 'x';\n", create]):
        assert read_globals(text, "boss").problems == []
        assert "unexpected-statement" in {item.code for item in read_globals(text).problems}
    assert read_globals([alter], "boss").roles["boss"].attributes == {"INHERIT", "SUPERUSER"}
    assert "SUPERUSER" in read_globals([create], "boss").roles["boss"].attributes
    assert read_globals([create, b"ALTER ROLE boss WITH NOSUPERUSER;\n"], "boss").roles[
        "boss"
    ].attributes == {"INHERIT"}


def test_a_role_that_is_dropped_after_it_was_made_is_told() -> None:
    create = b"CREATE ROLE a;\n"
    assert read_globals([b"DROP ROLE IF EXISTS a;\nDROP ROLE b;\n", create]).problems == []
    for drop in (b"DROP ROLE a;\n", b"DROP ROLE IF EXISTS a;\n", b"DROP USER a;\n", b"DROP ROLE x, a;\n"):
        assert [item.code for item in read_globals([create, drop]).problems] == ["unexpected-statement"]


@pytest.mark.parametrize("field", ["started", "finished"])
def test_a_time_without_a_zone_is_no_time(field: str) -> None:
    with pytest.raises(ValueError, match="timezone"):
        manifest(**{field: "2026-01-02T03:04:05"})
    with pytest.raises(ValueError, match="timezone"):
        manifest(database={"snapshot_at": "2026-01-02T03:04:05"})


def volume(name: str, lies_as: str = "") -> dict[str, object]:
    lies_as = lies_as or name
    return {
        "name": name, "archive": f"volumes/{lies_as}.tar.zst", "entries": f"volumes/{lies_as}.jsonl.zst",
        "files": 1, "bytes": 1,
    }  # fmt: skip


def manifest(**changes: Any) -> Manifest:
    moment = "2026-01-02T03:04:05Z"
    database = {
        "name": "n8n", "directory": "databases/n8n", "server_version_num": 180006, "dump_version": "18.6",
        "snapshot_at": moment, "lsn": "0/1", "heartbeat_at": moment,
        "content": {"server_version_num": 180006, "heartbeat_at": "2026-01-02T03:04:05+00:00"},
    }  # fmt: skip
    paths = (
        "databases/n8n/toc.dat",
        "globals.sql.zst",
        "volumes/v.tar.zst",
        "volumes/v.jsonl.zst",
        "vault/s",
        "vault/c",
    )
    data = {
        "set_id": "smos-20260102_030405", "source": "x", "tool": "x", "started": moment, "finished": moment,
        "system_identifier": "1", "globals_path": "globals.sql.zst",
        "roles": {"roles": {"postgres": {"bootstrap": True}, "app": {"bootstrap": False}}},
        "databases": [database | dict(changes.pop("database", {}))] * changes.pop("databases_", 1),
        "volumes": [volume("v")],
        "vault": {"snapshot": "vault/s", "canary": "vault/c", "version": "2", "policies": [], "auth_roles": []},
        "artifacts": [{"path": path, "bytes": 1, "sha256": "0"} for path in paths] * changes.pop("artifacts_", 1),
    }  # fmt: skip
    return Manifest.model_validate_json(json.dumps(data | changes))


def test_a_coherent_manifest_does_not_contradict_itself() -> None:
    assert contradictions(manifest()) == ()
    encrypted = [item.model_dump() | {"path": f"{item.path}.age"} for item in manifest().artifacts]
    assert contradictions(manifest(artifacts=encrypted)) == ()
    flat = [
        item | {"path": item["path"].replace("n8n/toc.dat", "n8n.dump.zst")}
        for item in (artifact.model_dump() for artifact in manifest().artifacts)
    ]
    assert contradictions(manifest(artifacts=flat, database={"directory": "databases/n8n.dump.zst"})) == (), (
        "a dump in one file"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"globals_path": "globals.sql"}, "globals lies in globals.sql"),
        ({"database": {"directory": "databases/other"}}, "where no artifact is"),
        ({"database": {"server_version_num": 170000}}, "two server versions"),
        ({"database": {"content": {"catalogue": {"server_version_num": 170000}}}}, "another server version"),
        ({"database": {"heartbeat_at": "2026-01-02T03:04:06Z"}}, "two newest heartbeats"),
        (
            {"roles": {"roles": {"postgres": {"bootstrap": True}, "app": {"bootstrap": True}}}},
            "app, postgres",
        ),
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "archive": "volumes/w",
                        "entries": "volumes/v.jsonl.zst",
                        "files": 1,
                        "bytes": 1,
                    }
                ]
            },
            "the volume v lies in volumes/w",
        ),
        ({"volumes": []}, "volumes/v.tar.zst is an artifact, and nothing says of what"),
        ({"vault": None}, "vault/c is an artifact, and nothing says of what"),
        ({"globals_path": None}, "globals.sql.zst is an artifact"),
        ({"globals_path": "databases/n8n/toc.dat"}, "globals.sql.zst is an artifact"),
        ({"volumes": [volume("w", "v")]}, "is called after another one"),
        ({"volumes": [volume("v"), volume("v")]}, "the volume v is named 2 times"),
        ({"databases_": 2}, "the database n8n is named 2 times"),
        ({"artifacts_": 2}, "the artifact vault/s is named 2 times"),
        ({"finished": "2026-01-02T02:59:04Z"}, "finished before it was started"),
        ({"database": {"content": {"catalogue": {"server_version_num": []}}}}, "another server version"),
        ({"database": {"content": {"catalogue": {"server_version_num": {}}}}}, "another server version"),
        ({"database": {"content": {"server_version_num": []}}}, "two server versions"),
        ({"database": {"content": {"heartbeat_at": [{}]}}}, "two newest heartbeats"),
        ({"globals_path": "databases/n8n/toc.dat"}, "globals lies in databases/n8n/toc.dat, which is a"),
        ({"roles": {"roles": []}}, "roles have no names"),
        ({"roles": {"roles": None}}, "roles have no names"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_found(changes: dict[str, object], words: str) -> None:
    assert words in " | ".join(contradictions(manifest(**changes)))


def test_what_only_an_encrypted_file_has_is_said_of_encrypted_files() -> None:
    envelope = {"wrapped_key": "vault:v1:AAAA", "transit_key": "k", "escrow_recipient": "age1"}
    plain = {"bytes": 1, "digest": f"sha256:{'0' * 64}"}
    stored = [item.model_dump() for item in manifest().artifacts]
    sealed = [item | {"path": f"{item['path']}.age", "plain": plain} for item in stored[:-1]]
    assert contradictions(manifest(encryption=envelope, artifacts=[*sealed, stored[-1]])) == ()
    for artifacts, words in (
        ([*sealed, stored[-1] | {"plain": plain}], "vault/c is encrypted, and not called so"),
        ([sealed[0] | {"plain": None}, *sealed[1:], stored[-1]], "nothing says what is in it"),
    ):
        said = contradictions(manifest(encryption=envelope, artifacts=artifacts))
        assert len(said) == 1, said
        assert words in said[0]
    assert "the set is not" in contradictions(manifest(artifacts=[*sealed, stored[-1]]))[0]


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ('"files": 1', '"files": "1"'),
        ('"files": 1', '"files": 1.0'),
        ('"files": 1', '"files": true'),
        ('"set_id": "smos-20260102_030405"', '"set_id": null'),
        ('"started": "2026-01-02T03:04:05Z"', '"started": 1767323045'),
        ('"vault:v1:', '"vault:v0:'),
        ('"vault:v1:', '"vault:v01:'),
    ],
)
def test_values_of_another_kind_are_no_manifest(tmp_path: Path, written: str, instead: str) -> None:
    envelope = {"wrapped_key": "vault:v1:AAAA", "transit_key": "k", "escrow_recipient": "age1"}
    text = manifest(encryption=envelope).to_json().decode()
    (tmp_path / "manifest.json").write_text(text)
    assert read_manifest(tmp_path) is not None
    assert written in text
    (tmp_path / "manifest.json").write_text(text.replace(written, instead, 1))
    with pytest.raises(BackupError, match="not a manifest"):
        read_manifest(tmp_path)


def dumps(databases: dict[str, str], *paths: str) -> tuple[str, ...]:
    """Return what a manifest contradicts that has nothing but databases (name to directory) in these files."""
    entry = manifest().databases[0].model_dump(mode="json")
    return contradictions(
        manifest(
            databases=[entry | {"name": name, "directory": place} for name, place in databases.items()],
            artifacts=[{"path": path, "bytes": 1, "sha256": "0"} for path in paths],
            volumes=[], vault=None, globals_path=None,
        )
    )  # fmt: skip


def test_only_a_file_loses_the_suffix_of_encrypted_ones() -> None:
    both = {"a": "databases/a", "a.age": "databases/a.age"}
    assert dumps(both, "databases/a/toc.dat", "databases/a.age/toc.dat") == ()
    assert dumps(both, "databases/a/toc.dat.age", "databases/a.age/toc.dat.age") == ()
    assert dumps({"a.age": "databases/a.age"}, "databases/a.age/toc.dat") == ()
    for spelling in ("databases/a.dump", "databases/a.dump.age"):
        assert dumps({"a": spelling}, "databases/a.dump.age") == (), "an encrypted single file"
    assert dumps(both, "databases/a.age", "databases/a.age.age") == (), "two of them"


@pytest.mark.parametrize(
    ("databases", "paths", "words"),
    [
        ({"a": "d/a", "b": "d/a.age"}, ["d/a.age/toc.dat"], "the database a lies in d/a, where no artifact is"),
        ({"a": "d/a", "b": "d/a.age"}, ["d/a/toc.dat"], "the database b lies in d/a.age, where no artifact is"),
        ({"a": "d/a", "b": "d/a.age"}, ["d/a.age"], "d/a.age is of two databases"),
        ({"a": "d", "b": "d/b"}, ["d/toc.dat", "d/b/toc.dat"], "d/b lies in d, and they are of two"),
        ({"a": "d", "b": "d/b.dump"}, ["d/toc.dat", "d/b.dump"], "d/b.dump lies in d, and they are of two"),
        ({"a": "d/a", "b": "d/a"}, ["d/a/toc.dat"], "what lies in d/a is named 2 times"),
        ({"a": "d/a"}, ["d/a/toc.dat", "d/a!/toc.dat"], "d/a!/toc.dat is an artifact, and nothing"),
    ],
)  # fmt: skip
def test_two_databases_in_one_place_are_found(
    databases: dict[str, str], paths: list[str], words: str
) -> None:
    assert words in " | ".join(dumps(databases, *paths))
    apart = {"a": "d/a", "b": "d/b"}
    assert dumps(apart, "d/a/toc.dat", "d/a/1.dat", "d/b/toc.dat") == ()


def test_a_clock_that_was_set_back_during_a_backup_is_no_contradiction() -> None:
    assert contradictions(manifest(finished="2026-01-02T03:00:05Z")) == ()
    assert contradictions(manifest(started="9999-12-31T23:59:59-14:00", finished="0001-01-01T00:00:00+14:00"))


@pytest.mark.timeout(300)
def test_contradictions_without_end_are_counted_and_hold_nobody_up() -> None:
    number = 20_000
    databases = {f"b{n}": f"databases/b{n}" for n in range(number)}
    found = dumps(databases, *(f"other/{n}" for n in range(number)))
    assert len(found) == LISTED + 1
    assert found[-1] == f"and {2 * number - LISTED} contradictions more"
    nested = {f"b{n}": "d" + "/d" * n for n in range(1000)}
    assert len(dumps(nested, "d" + "/d" * 1000)) == LISTED + 1


@pytest.mark.parametrize("version", ["1e999", "[]", "{}", "null", "NaN"])
def test_a_version_that_is_no_number_is_no_content(version: str) -> None:
    whole = contents(LargeObjects(count=1, bytes=7, hash="1:2")).to_json()
    with pytest.raises(ValueError, match=r"content of a database|cannot convert float NaN"):
        DatabaseContent.from_json(
            whole | {"server_version_num": json.loads(version.replace("1e999", "Infinity"))}
        )


def test_a_database_that_became_a_template_is_found() -> None:
    def catalogue(**more: object) -> Catalogue:
        return Catalogue(server_version_num=180006, objects={"database:": {"owner": "app", **more}})

    found = list(
        compare_catalogues(catalogue(), catalogue(template=True), names=Names(None), same_major=True)
    )
    assert [item.code for item in found] == ["setting-differs"]


def test_names_of_not_null_constraints_count_only_between_servers_that_have_them() -> None:
    def catalogue(version: int, **more: object) -> Catalogue:
        column = {"name": "id", "type": "integer", "notnull": True, **more}
        return Catalogue(server_version_num=version, objects={"table:t": {"owner": "a", "columns": [column]}})

    old, new = catalogue(170000), catalogue(180006, notnull_name="other")
    assert list(compare_catalogues(old, new, names=Names(None), same_major=False)) == []
    assert [
        item.code for item in compare_catalogues(catalogue(180006), new, names=Names(None), same_major=True)
    ] == ["column-differs"]


def test_large_objects_of_another_size_are_found() -> None:
    before = LargeObjects(count=1, bytes=7, hash="1:2")
    found = list(_large_objects(contents(before), contents(replace(before, bytes=8))))
    assert [item.code for item in found] == ["large-objects-differ"]


def contents(large_objects: LargeObjects) -> DatabaseContent:
    return DatabaseContent(
        server_version_num=180006, mode=HashMode.FAST, lsn="0/1", heartbeat_at=None,
        catalogue=Catalogue(server_version_num=180006, objects={}), tables={}, sequences={},
        large_objects=large_objects, sort_canary=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    "row", [[1, True], ["1", True, 1, None, None], [1, 1, 1, None, None], [1, True, 1, None, "public.t.id"]]
)
def test_a_sequence_of_another_shape_is_no_content(row: list[object]) -> None:
    data = {
        "server_version_num": 180006, "mode": "fast", "lsn": "0/1", "heartbeat_at": None,
        "catalogue": Catalogue(server_version_num=180006, objects={}).to_json(), "tables": {},
        "sequences": {"public.s": row}, "large_objects": None, "sort_canary": None, "row_security": [],
        "row_security_probed": True, "problems": [],
    }  # fmt: skip
    with pytest.raises(ValueError, match="not the content of a database"):
        DatabaseContent.from_json(data)


def test_a_comment_on_an_extension_is_restored_and_not_skipped() -> None:
    lexer = SqlLexer()
    events = [*lexer.feed(b"COMMENT ON EXTENSION pg_trgm IS 'x';\n"), *lexer.close()]
    statement = next(event for event in events if isinstance(event, Statement))
    assert judge(statement, server_version_num=180006, features=()).action is Action.EXTENSION


@pytest.mark.parametrize(
    ("lines", "kind", "subject"),
    [
        (
            [
                "Command was: ALTER TABLE ONLY public.accounts",
                "    ADD CONSTRAINT accounts_pkey PRIMARY KEY (id);",
            ],
            "ADD CONSTRAINT accounts_pkey",
            "TABLE public.accounts",
        ),
        (
            ["Command was: CREATE INDEX by_name ON public.t USING btree (name);"],
            "CREATE INDEX",
            "INDEX by_name",
        ),
        (['pg_restore: error: COPY failed for table "messages": ERROR:  x'], "COPY", "TABLE messages"),
        (["Command was: INSERT INTO public.t VALUES (1, 'secret');"], "INSERT INTO", ""),
        (["pg_restore: error: out of memory"], "pg_restore", ""),
    ],
)
def test_a_statement_that_pg_restore_could_not_run_is_named_without_its_values(
    lines: list[str], kind: str, subject: str
) -> None:
    assert _command(lines) == (kind, subject)


def test_a_content_that_says_more_than_this_version_knows_is_not_read() -> None:
    whole = contents(LargeObjects(count=1, bytes=7, hash="1:2")).to_json()
    assert DatabaseContent.from_json(whole).large_objects is not None
    with pytest.raises(ValueError, match="does not know"):
        DatabaseContent.from_json(whole | {"extra": None})


def test_a_list_of_large_objects_that_ends_in_no_number_is_refused_at_once() -> None:
    numbers = "".join(f"{number}\n" for number in range(17034, 17034 + 1000))
    assert _LARGE_OBJECTS.fullmatch(f"17034..18033|{numbers}")
    assert _LARGE_OBJECTS.fullmatch("17034|SELECT pg_catalog.lo_create('17034');\n")
    assert not _LARGE_OBJECTS.fullmatch(f"17034..18033|{numbers}x")


@pytest.mark.parametrize(
    "statement", ["SET a TO x{}y", "  set a = {}", "COPY a{} (a{}, b) from stdin", "ALTER TABLE{} a{} b"]
)
def test_blanks_without_end_hold_no_reader_of_statements_up(statement: str) -> None:
    text = statement.replace("{}", " \t" * 50_000).encode()
    assert not any(pattern.match(text) for pattern in (_SETTING, _COPY, _OWNER))
    assert _SETTING.match(b"SET SESSION work_mem  =  '1MB' ;\n")
    assert _COPY.match(b'COPY app . "a""b" ( a , b )  with oids  from stdin ;')
    assert _OWNER.match(b"ALTER OPERATOR CLASS app.x USING btree OWNER TO a;")
    assert _OWNER.match(b"ALTER FUNCTION app.f (integer) OWNER TO a;")
