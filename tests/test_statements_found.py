"""Changed statements of a manifest or of a list of entries that once passed, or made a check break off."""

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard

from smos.backup.entries import EntriesError, Entry, EntryType, EntryWriter, read_entries
from smos.backup.manifest import VolumeEntry
from smos.backup.volumes import create_volume_archive
from smos.drill.plan import VolumeSource
from smos.drill.volumes import restore_volumes, verify_volumes
from smos.postgres.catalogue import Catalogue
from smos.postgres.compare import compare_content
from smos.postgres.content import (
    DatabaseContent,
    LargeObjects,
    RowSecurityFacts,
    SequenceContent,
    TableContent,
)
from smos.postgres.hashing import HashMode
from smos.target import Limits

FILE = Entry(b"a/f", EntryType.FILE, 1000, 1000, 0o644, 5, 1795493390841796777, "ab" * 32)
LISTED = (
    Entry(b"", EntryType.DIRECTORY, 0, 0, 0o755, 0, 1),
    Entry(b"a", EntryType.DIRECTORY, 0, 0, 0o2750, 0, -1),
    FILE,
    Entry(b"a/l", EntryType.SYMLINK, 0, 0, 0o777, 0, 2, link=b"f"),
    Entry(b"a/null", EntryType.CHAR, 0, 0, 0o600, 0, 2, device="1:3"),
    Entry(b"a/\xff", EntryType.FILE, 0, 0, 0, 0, 2**80, "cd" * 32, b"", b"a/f", (("user.x", "1"),), "", True),
)
HEAD, DIRECTORY, SUB, LINE, LINK, DEVICE, RAW, END = range(8)


def a_list(tmp_path: Path) -> list[dict[str, Any]]:
    with EntryWriter(tmp_path / "v.jsonl.zst", "v") as writer:
        for entry in LISTED:
            writer.write(entry)
    packed = (tmp_path / "v.jsonl.zst").read_bytes()
    text = zstandard.ZstdDecompressor().stream_reader(packed).read()
    return [json.loads(line) for line in text.splitlines()]


def read(tmp_path: Path, lines: list[str]) -> list[Entry]:
    data = zstandard.compress("".join(f"{line}\n" for line in lines).encode())
    (tmp_path / "other.jsonl.zst").write_bytes(data)
    return list(read_entries(tmp_path / "other.jsonl.zst", "v"))


def test_a_list_of_entries_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read(tmp_path, [json.dumps(line) for line in a_list(tmp_path)]) == list(LISTED)


@pytest.mark.parametrize(
    ("at", "change"),
    [
        *((HEAD, f'"version": {value}') for value in ("true", "1.0", '"1"')),
        (HEAD, '"extra": 1'),
        *((END, f'"entries": {value}') for value in ("6.0", '"6"', "null")),
        *((END, f'"end": {value}') for value in ("1", '"true"', "false")),
        (END, '"extra": 1'),
        *(
            (LINE, f'"{field}": {value}')
            for field in ("uid", "gid", "size", "mtime_ns")
            for value in ("1000.9", "1000.0", '"1000"', '" 1000 "', "true", "null", "1e999", "-Infinity", "NaN")
        ),
        *((LINE, f'"mtime_ns": {value}') for value in ("1" + "0" * 400, "1" + "0" * 5000)),
        *((LINE, f'"mode": "{value}"') for value in (" 0644", "0644 ", "644", "0o644", "+0644", "0_644", "00644")),
        (LINE, '"mode": 420'),
        (LINE, '"id": null'),
        *((LINE, f'"torn": {value}') for value in ("1", '"true"', "false")),
        *((LINE, f'"hardlink": {value}') for value in ("null", "1", "[]")),
        *((LINE, f'"xattrs": {value}') for value in ("null", "[]", '{"user.x": null}', '{"user.x": 1}')),
        (LINE, '"path_b64": "YS9m"'),
        (LINE, '"sha256": null'),
        (LINE, '"extra": 1'),
        (LINE, '"link": "x"'),
        (LINE, '"device": "1:3"'),
        (LINE, '"size": -5'),
        (SUB, '"size": 4096'),
        (SUB, f'"sha256": "{"ab" * 32}"'),
        (LINK, '"link": ""'),
        (DEVICE, '"device": ""'),
        (RAW, '"path_b64": 5'),
    ],
)  # fmt: skip
def test_what_no_list_of_entries_holds_is_damage(tmp_path: Path, at: int, change: str) -> None:
    lines = [json.dumps(line) for line in a_list(tmp_path)]
    lines[at] = f"{lines[at][:-1]}, {change}}}"  # of two values of one name, the last one counts
    with pytest.raises(EntriesError):
        read(tmp_path, lines)


def test_an_entry_that_vanished_is_said_to_be_torn(tmp_path: Path) -> None:
    lines = [json.dumps(line) for line in a_list(tmp_path)]
    gone = {"path": "b", "id": "x", "type": "vanished", "uid": 0, "gid": 0, "mode": "0000", "size": 0}
    lines[END:] = [json.dumps({**gone, "mtime_ns": 0, "torn": True}), json.dumps({"end": True, "entries": 7})]
    assert read(tmp_path, lines)[-1].torn
    lines[END] = json.dumps({**gone, "mtime_ns": 0})
    with pytest.raises(EntriesError, match="its type"):
        read(tmp_path, lines)


def test_a_socket_that_no_archive_carries_is_no_broken_promise(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_text("four")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "server.sock"))
    summary = create_volume_archive(root, "v", tmp_path / "v.tar.zst", tmp_path / "v.jsonl.zst")
    promised = VolumeEntry(
        name="v", archive="v.tar.zst", entries="v.jsonl.zst", files=summary.files, bytes=summary.bytes
    )
    assert (promised.files, promised.bytes) == (2, 4)

    def found(entry: VolumeEntry) -> list[str]:
        target: Any = SimpleNamespace(references=())
        manifest: Any = SimpleNamespace(volumes=(entry,))
        place = tmp_path / f"{entry.files}-{entry.bytes}"
        with ExitStack() as stack:
            source = VolumeSource(
                name="v",
                archive=tmp_path / "v.tar.zst",
                compression="zstd",
                entries=tmp_path / "v.jsonl.zst",
            )
            restored = restore_volumes((source,), place, Limits(), stack)
            (facts,) = verify_volumes(restored, place, target, manifest, lambda _database, _query: (None, ""))
        return [problem.code for problem in facts.problems]

    assert found(promised) == []
    for other in ({"files": 1}, {"bytes": 5}):
        assert found(promised.model_copy(update=other)) == ["manifest-contradicts"]


POLICED = {"columns": [{"name": "id", "type": "integer"}], "owner": "app", "row_security": True}
VIEW = {"columns": [{"name": "n", "type": "bigint"}], "owner": "app", "populated": True}
SEEN = RowSecurityFacts(table="app.t", role="user", total_rows=3, visible_without_context=0)
ORDINARY = ("user", "other")
CATALOGUE = Catalogue(
    server_version_num=180006,
    objects={
        "database:": {"owner": "app", "encoding": "UTF8", "collate": "C", "ctype": "C"},
        "default-privileges:app..r": {"acl": ["=r/app"]},
        "large-objects:app x": {"owner": "app", "acl": [], "count": 1, "oids": "7"},
        "materialized-view:app.m": VIEW,
        "sequence:app.s": {"owner": "app", "increment": 1},
        "table:app.t": POLICED,
    },
)
WHOLE = DatabaseContent(
    server_version_num=180006,
    mode=HashMode.FAST,
    lsn="0/1",
    heartbeat_at=None,
    catalogue=CATALOGUE,
    tables={"app.m": TableContent(rows=1, hash="1:2"), "app.t": TableContent(rows=3, hash="3:4")},
    sequences={"app.s": SequenceContent(last_value=4, is_called=True, increment=1)},
    large_objects=LargeObjects(count=1, bytes=7, hash="1:2"),
    sort_canary=tuple("aáb"),
    row_security=(SEEN, replace(SEEN, role="smos_reader")),
)
PROMISED = replace(WHOLE, row_security=(SEEN,))
"""What the manifest says: the sandbox has a role of its own, too."""


def without(key: str, **changes: object) -> Catalogue:
    """Return the catalogue with another definition of one object; None removes an attribute."""
    named = {**CATALOGUE.objects[key], **changes}
    definition = {name: value for name, value in named.items() if value is not None}
    return replace(CATALOGUE, objects={**CATALOGUE.objects, key: definition})


def test_a_whole_content_compares_equal() -> None:
    assert compare_content(PROMISED, WHOLE, ordinary_roles=ORDINARY) == ()


@pytest.mark.parametrize(
    ("changes", "code", "uncertain"),
    [
        ({"tables": {**WHOLE.tables, "app.t": TableContent(rows=None, hash=None)}}, "content-unread", True),
        ({"tables": {**WHOLE.tables, "app.m": TableContent(rows=None, hash=None)}}, "content-unread", True),
        ({"sequences": {}}, "content-unread", True),
        ({"large_objects": None}, "content-unread", True),
        ({"large_objects": LargeObjects(count=1, bytes=7, hash=None)}, "content-unread", True),
        ({"sort_canary": None}, "content-unread", True),
        ({"row_security": ()}, "row-security-not-probed", True),
        ({"row_security": (replace(SEEN, role="nobody"),)}, "row-security-not-probed", True),
        ({"row_security": (replace(SEEN, role="other"),)}, "row-security-not-probed", True),
        (
            {"catalogue": without("materialized-view:app.m", populated=None)},
            "materialized-view-differs",
            False,
        ),
        ({"catalogue": without("database:", extra=1)}, "definition-differs", False),
        ({"catalogue": without("database:", tablespace="fast")}, "tablespace-differs", False),
        (
            {"catalogue": without("default-privileges:app..r", extra=1)},
            "default-privileges-differ",
            False,
        ),
    ],
)  # fmt: skip
def test_a_promise_that_is_left_out_is_missed(changes: dict[str, Any], code: str, uncertain: bool) -> None:
    found = compare_content(replace(PROMISED, **changes), WHOLE, ordinary_roles=ORDINARY)
    assert {(item.code, item.uncertain) for item in found} == {(code, uncertain)}


def test_large_objects_of_which_more_is_said_than_is_known_are_not_compared() -> None:
    promised = replace(PROMISED, catalogue=without("large-objects:app x", extra=1))
    with pytest.raises(ValueError, match="does not know"):
        compare_content(promised, WHOLE)


def _set(*path: str | int, value: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(_set("tables", "app.t", 0, value=value) for value in (True, 3.0, "3", [3])),
        _set("tables", "app.t", 1, value=7),
        _set("tables", "app.t", 2, value=None),
        _set("tables", "app.t", value=[3, "3:4", 0, 0]),
        _set("tables", "app.t", value=[3, "3:4", 0, "", ""]),
        *(_set("large_objects", value=value) for value in ({}, [], 0, "", {"count": 1, "bytes": 7})),
        _set("large_objects", "count", value=True),
        *(_set("row_security", 0, "role", value=value) for value in (None, 0, True, ["user"])),
        _set("row_security", 0, value={}),
        *(_set("row_security_probed", value=value) for value in (None, 0, "", [], 1)),
        _set("lsn", value=None),
        *(_set("sort_canary", value=value) for value in (["a", "á", "b"], 0)),
        *(_set("sequences", "app.s", 2, value=value) for value in (True, 1.0)),
        _set("problems", value=[["x", 1]]),
        *(_set("server_version_num", value=value) for value in (180006.0, "180006")),
        *(_set("catalogue", "server_version_num", value=value) for value in (180006.0, 180006.5, "180006")),
        _set("catalogue", "extra", value=None),
        _set("catalogue", "objects", "table:app.t", value=list(POLICED.items())),
        _set("catalogue", "objects", "table:app.t", "columns", value=[*POLICED["columns"], *POLICED["columns"]]),  # type: ignore[misc]
        _set("catalogue", "objects", "table:app.t", "columns", value=[{"type": "integer"}]),
    ],
)  # fmt: skip
def test_values_of_another_kind_are_no_content(change: Callable[[Any], None]) -> None:
    data = json.loads(json.dumps(PROMISED.to_json()))
    assert DatabaseContent.from_json(data) == PROMISED
    change(data)
    with pytest.raises(ValueError, match=r"does not know|not the content|two columns"):
        DatabaseContent.from_json(data)
