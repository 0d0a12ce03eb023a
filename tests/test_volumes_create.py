"""Taking a volume's archive: complete or not at all, honest about a volume that changes, bounded in memory."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smos.backup import archive as archive_module
from smos.backup.entries import EntryType, entry_id, read_entries
from smos.backup.tree import Copied, read_tree
from smos.backup.volumes import create_volume_archive
from smos.checks.dr.volumes import judge_volumes
from smos.errors import BackupError
from smos.verdict import Verdict
from tests._volume_kit import (
    CHECKOUT,
    NOBODY,
    ROOT,
    deepen,
    kinds,
    make_archive,
    nasty_tree,
    restore_one,
    run_as_nobody,
)

MEMORY_LIMIT_BYTES = {"large": 300 << 20, "many": 100 << 20}
"""Less than the volume takes in memory: 300 MiB of content, or 15,000 entries of 4 KiB beside the 40 MiB of Python."""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that an ordinary user can reach and write to."""
    with tempfile.TemporaryDirectory(prefix="smos-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if ROOT:
            os.chown(folder, NOBODY, NOBODY)
        yield folder


def test_an_unreadable_entry_is_an_error_and_leaves_nothing_behind(open_folder: Path) -> None:
    answer = run_as_nobody(
        """
        folder = Path(sys.argv[1])
        source = folder / "source"
        results = []
        for name, make in (("file", Path.touch), ("dir", Path.mkdir)):
            source.mkdir(exist_ok=True)
            (source / "fine").write_text("x")
            make(source / name)
            (source / name).chmod(0)
            try:
                create_volume_archive(source, "vol", folder / "v.tar.zst", folder / "v.jsonl.zst")
            except BackupError as error:
                results.append([str(error), sorted(path.name for path in folder.iterdir())])
            (source / name).chmod(0o700)
            (source / name).unlink() if name == "file" else (source / name).rmdir()
        print(json.dumps({"results": results}))
        """,
        open_folder,
    )
    assert len(answer["results"]) == 2
    for (message, left), name in zip(answer["results"], ("file", "dir"), strict=True):
        assert name in message
        assert "Permission denied" in message
        assert "What to do" in message
        assert left == ["source"]


def test_an_ordinary_user_restores_and_compares_what_it_can_and_says_what_it_can_not(
    open_folder: Path, tmp_path: Path
) -> None:
    kept = nasty_tree(tmp_path / "source")
    archive, entries, _ = make_archive(tmp_path / "source", tmp_path / "backup")
    (tmp_path / "source" / "closed").chmod(0o700)
    for path in (archive, entries):
        (open_folder / path.name).write_bytes(path.read_bytes())
        (open_folder / path.name).chmod(0o644)
    answer = run_as_nobody(
        """
        folder = Path(sys.argv[1])
        facts = kit.restore_one(folder / "vol.tar.zst", folder / "sandbox", entries=folder / "vol.jsonl.zst")
        print(TypeAdapter(VolumeFacts).dump_json(facts).decode())
        """,
        open_folder,
    )
    assert answer["differences"] == []
    assert answer["problems"] == []
    assert answer["compared"] is True
    assert answer["owners_checked"] == ("archive" if ROOT else "disk")
    assert answer["extraction"]["owners_restored"] is not ROOT
    gaps = {gap["attribute"] for gap in answer["extraction"]["attribute_gaps"]}
    assert ("security.capability" in gaps) == (kept["security.capability"] and ROOT)
    assert ("trusted.*" in gaps) == (kept["on a link"] and ROOT)


def test_what_an_ordinary_user_can_not_set_is_still_compared_as_the_archive_has_it(
    open_folder: Path, tmp_path: Path
) -> None:
    """The archive lost owners and modes (a tool without -p made it); the list knows them."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("x")
    owner = 4242 if ROOT else os.getuid()
    os.chown(source / "f", owner, -1)
    (source / "f").chmod(0o4755)
    _, entries, _ = make_archive(source, tmp_path / "backup")
    subprocess.run(
        [
            "tar",
            "--owner=seven:7",
            "--group=seven:7",
            "--mode=0644",
            "-C",
            str(source),
            "-cf",
            str(open_folder / "vol.tar"),
            ".",
        ],
        check=True,
    )
    (open_folder / "vol.jsonl.zst").write_bytes(entries.read_bytes())
    answer = run_as_nobody(
        """
        folder = Path(sys.argv[1])
        facts = kit.restore_one(folder / "vol.tar", folder / "sandbox", entries=folder / "vol.jsonl.zst")
        print(TypeAdapter(VolumeFacts).dump_json(facts).decode())
        """,
        open_folder,
    )
    found = {item["kind"] for item in answer["differences"]}
    assert {"owner", "mode"} <= found
    details = [example["detail"] for item in answer["differences"] for example in item["examples"]]
    assert f"{owner} expected, 7 found" in details
    assert "4755 expected, 0644 found" in details


def grows_while_read(root: Path, name: str) -> object:
    """Return a stand-in for copying content that changes the file meanwhile, as a service does."""
    real = archive_module.copy_content

    def copy(handle: int, size: int, segments: list[tuple[int, int]], sink: object = None) -> Copied:
        copied = real(handle, size, segments, sink)  # type: ignore[arg-type]  # handed through
        if Path(f"/proc/self/fd/{handle}").readlink().name == name:
            with (root / name).open("ab") as file:
                file.write(b"more")
        return copied

    return copy


@pytest.mark.parametrize("size", [100, 3 << 20], ids=["small", "large"])
def test_a_file_that_changes_while_it_is_read_is_torn_and_never_green(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "log").write_bytes(b"x" * size)
    (source / "still").write_bytes(b"y")
    monkeypatch.setattr(archive_module, "copy_content", grows_while_read(source, "log"))
    archive, entries, summary = make_archive(source, tmp_path / "backup")
    assert [problem.code for problem in summary.problems] == ["torn-while-reading"]
    assert entry_id(b"log") in summary.problems[0].detail
    facts = restore_one(archive, tmp_path / "sandbox", entries=entries)
    assert kinds(facts) == {"torn-while-reading"}
    assert judge_volumes(("vol",), (facts,)).verdict is Verdict.NOT_PROVEN


def test_a_file_that_shrinks_while_it_is_read_leaves_a_whole_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "log").write_bytes(b"x" * (3 << 20))
    (source / "z").write_bytes(b"after")
    real = archive_module.data_segments

    def shrink(handle: int, size: int) -> list[tuple[int, int]]:
        segments = real(handle, size)
        os.truncate(source / "log", 1 << 20)
        return segments

    monkeypatch.setattr(archive_module, "data_segments", shrink)
    archive, entries, summary = make_archive(source, tmp_path / "backup")
    assert [problem.code for problem in summary.problems] == ["torn-while-reading"]
    facts = restore_one(archive, tmp_path / "sandbox", entries=entries)
    assert kinds(facts) == {"torn-while-reading"}
    assert (tmp_path / "sandbox" / "vol" / "z").read_bytes() == b"after"


def test_a_small_file_that_settles_is_read_again_and_not_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "log").write_bytes(b"x" * 10)
    calls = []
    real = archive_module.copy_content

    def once(handle: int, size: int, segments: list[tuple[int, int]], sink: object = None) -> Copied:
        copied = real(handle, size, segments, sink)  # type: ignore[arg-type]  # handed through
        if not calls:
            (source / "log").write_bytes(b"settled")
        calls.append(size)
        return copied

    monkeypatch.setattr(archive_module, "copy_content", once)
    archive, entries, summary = make_archive(source, tmp_path / "backup")
    assert summary.problems == ()
    assert calls == [10, 7]
    facts = restore_one(archive, tmp_path / "sandbox", entries=entries)
    assert facts.differences == ()
    assert (tmp_path / "sandbox" / "vol" / "log").read_bytes() == b"settled"


def test_an_entry_that_vanishes_is_recorded_and_the_rest_is_archived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_text(name)
    real = os.stat

    def vanish(path: object, **options: object) -> os.stat_result:
        if path == b"b":
            (source / "b").unlink(missing_ok=True)
        return real(path, **options)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr("smos.backup.safepath.os.stat", vanish)
    archive, entries, summary = make_archive(source, tmp_path / "backup")
    monkeypatch.undo()
    assert [problem.code for problem in summary.problems] == ["vanished-while-reading"]
    listed = {item.path: item.type for item in read_entries(entries)}
    assert listed[b"b"] is EntryType.VANISHED
    facts = restore_one(archive, tmp_path / "sandbox", entries=entries)
    assert kinds(facts) == {"torn-while-reading"}
    assert sorted(path.name for path in (tmp_path / "sandbox" / "vol").iterdir()) == ["a", "c"]


def test_an_archive_inside_of_its_own_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="inside"):
        create_volume_archive(tmp_path, "vol", tmp_path / "v.tar.zst", tmp_path / "v.jsonl.zst")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "v.tar.zst").write_text("precious")
    with pytest.raises(BackupError):
        create_volume_archive(tmp_path / "source", "vol", tmp_path / "v.tar.zst", tmp_path / "v.jsonl.zst")
    assert (tmp_path / "v.tar.zst").read_text() == "precious"


def test_the_source_is_only_read(tmp_path: Path) -> None:
    nasty_tree(tmp_path / "source")
    os.utime(tmp_path / "source" / "plain", ns=(1_000_000_000, 2_000_000_000))
    before = list(read_tree(tmp_path / "source"))
    os.utime(tmp_path / "source" / "plain", ns=(1_000_000_000, 2_000_000_000))
    make_archive(tmp_path / "source", tmp_path / "backup")
    assert (tmp_path / "source" / "plain").stat().st_atime_ns == 1_000_000_000
    assert list(read_tree(tmp_path / "source")) == before
    (tmp_path / "source" / "closed").chmod(0o700)


def test_a_tree_deeper_than_any_path_may_be_comes_back(tmp_path: Path) -> None:
    """40,000 bytes of path and 200 levels: beyond PATH_MAX, and beyond the handles that are kept open."""
    source = tmp_path / "source"
    source.mkdir()
    try:
        deepen(source / "deep", 200)
        archive, entries, summary = make_archive(source, tmp_path / "backup")
        assert summary.entries == 203
        facts = restore_one(archive, tmp_path / "sandbox", entries=entries)
        assert facts.differences == ()
        assert facts.problems == ()
    finally:  # nobody else's clean-up can reach so deep
        subprocess.run(["rm", "-rf", str(source), str(tmp_path / "sandbox")], check=True)


MEASURE = """
import json, os, random, re, resource, sys
from pathlib import Path
import _volume_kit as kit
base = Path(sys.argv[1])
source = base / "source"
source.mkdir()
def peak():
    # Not ru_maxrss on Linux: it remembers the process that this one was forked from.
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
if sys.argv[2] == "large":
    blocks = [random.Random(number).randbytes(1 << 19) for number in range(8)]  # more than zstd looks back
    with (source / "large").open("wb") as file:
        for number in range(300):
            file.write(blocks[number % 8] + bytes(1 << 19))
else:
    for number in range(15_000):
        if number % 500 == 0:
            folder = source / str(number)
            folder.mkdir()
        (folder / f"a file with a longer name {number}").write_bytes(b"x" * 20)
archive, entries, summary = kit.make_archive(source, base / "backup")
facts = kit.restore_one(archive, base / "sandbox", entries=entries)
print(json.dumps({
    "rss": peak(),
    "differences": [item.kind for item in facts.differences], "problems": [p.code for p in facts.problems],
    "files": facts.files, "bytes": facts.bytes,
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["large", "many"])
def test_memory_does_not_grow_with_the_volume(tmp_path: Path, what: str) -> None:
    memory = Path("/dev/shm")  # noqa: S108  (a directory of our own below it)
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as base:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, base, what],
            capture_output=True,
            text=True,
            check=True,
            timeout=240,
            env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}"},
        )
    answer = json.loads(done.stdout)
    assert answer["problems"] == []
    assert answer["differences"] == []
    assert answer["files"] == (1 if what == "large" else 15_000)
    assert answer["rss"] < MEMORY_LIMIT_BYTES[what]
