"""A volume goes into the archive and comes back, entry by entry; GNU tar is the independent judge."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from smos.backup.entries import Entry, EntryDifference, compare_entries, entry_id, read_entries
from smos.backup.tree import read_tree
from smos.backup.volumes import VolumeFacts, restore_archive
from smos.target import Limits
from tests._volume_kit import ROOT, add_socket, kinds, make_archive, nasty_tree, restore_one

GNU_RESTORE = ("--xattrs", "--xattrs-include=*", "--acls", "-p", "--numeric-owner", "--same-owner")
UNPRIVILEGED = {"owner", "group", "mode"}
"""What differs on disk when an ordinary user restores: a directory without `w` could not be filled or removed."""
PACKERS = {"none": [], "gzip": ["-z"], "zstd": ["--zstd"], "bzip2": ["-j"], "xz": ["-J"]}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "source"
    nasty_tree(root)
    yield root
    root.chmod(0o700)
    (root / "closed").chmod(0o700)


def gnu_tar(*arguments: object) -> None:
    done = subprocess.run(["tar", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def unequal(expected: Iterator[Entry], actual: Iterator[Entry]) -> list[EntryDifference]:
    return [item for item in compare_entries(expected, actual) if item.kind != "mtime"]


def test_a_nasty_tree_comes_back_equal_on_disk(tree: Path, tmp_path: Path) -> None:
    archive, entries, summary = make_archive(tree, tmp_path / "backup")
    facts = restore_one(archive, tmp_path / "sandbox", entries=entries)
    assert facts.compared
    assert facts.differences == ()  # times to the nanosecond included
    assert facts.problems == ()
    assert facts.files == summary.files
    if ROOT:
        assert (facts.owners_checked, facts.modes_checked, facts.xattrs_checked) == ("disk", "disk", "disk")
        assert compare_entries(read_tree(tree), read_tree(tmp_path / "sandbox" / "vol")) == ()


def test_the_file_system_kept_what_the_tests_rely_on_or_the_list_says_what_is_there(tmp_path: Path) -> None:
    kept = nasty_tree(tmp_path / "source")
    _, entries, _ = make_archive(tmp_path / "source", tmp_path / "backup")
    listed = {entry.path: dict(entry.xattrs) for entry in read_entries(entries)}
    assert ("user.text" in listed[b"plain"]) == kept["user.text"]
    assert ("user.dir" in listed[b"sub"]) == kept["directory"]
    assert ("security.capability" in listed[b"setuid"]) == kept["security.capability"]
    assert ("system.posix_acl_access" in listed[b"zz"]) == kept["access acl"]  # the same inode as hard1
    assert ("trusted.x" in listed[b"link"]) == kept["on a link"]
    (tmp_path / "source" / "closed").chmod(0o700)


def test_gnu_tar_restores_our_archive_to_the_same_entries(tree: Path, tmp_path: Path) -> None:
    archive, entries, _ = make_archive(tree, tmp_path / "backup")
    out = tmp_path / "gnu"
    out.mkdir()
    options = GNU_RESTORE if ROOT else GNU_RESTORE[:-1]  # the last one is for root
    gnu_tar(*options, "--zstd", "-C", out, "-xf", archive)
    differences = compare_entries(read_entries(entries), read_tree(out))
    assert [item.kind for item in differences if ROOT or item.kind not in UNPRIVILEGED] == []


@pytest.mark.parametrize("packer", list(PACKERS))
@pytest.mark.parametrize("form", ["gnu", "oldgnu", "pax"])
def test_an_archive_of_gnu_tar_comes_back_equal(tree: Path, tmp_path: Path, form: str, packer: str) -> None:
    archive = tmp_path / "vol.tar"
    attributes = ["--xattrs", "--xattrs-include=*", "--acls"] if form == "pax" else []
    gnu_tar(
        f"--format={form}",
        "--sparse",
        "--numeric-owner",
        *attributes,
        *PACKERS[packer],
        "-C",
        tree,
        "-cf",
        archive,
        ".",
    )
    facts = restore_one(archive, tmp_path / "sandbox")
    assert facts.problems == ()
    assert facts.extraction.compression == packer
    assert facts.extraction.layout == "root"
    assert not facts.has_entries
    differences = unequal(read_tree(tree), read_tree(tmp_path / "sandbox" / "vol"))
    expected = set() if form == "pax" else {"xattr"}  # the older formats have no place for attributes
    assert {item.kind.value for item in differences if ROOT or item.kind not in UNPRIVILEGED} == expected


def test_every_sparse_format_of_gnu_tar_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    for version in ("0.0", "0.1", "1.0"):
        archive = tmp_path / f"{version}.tar"
        gnu_tar(
            "--format=pax",
            "--sparse",
            f"--sparse-version={version}",
            "-C",
            tree,
            "-cf",
            archive,
            "sparse",
            "only a hole",
        )
        facts = restore_one(archive, tmp_path / version)
        assert facts.problems == ()
        for name in ("sparse", "only a hole"):
            restored = tmp_path / version / "vol" / name
            assert restored.read_bytes() == (tree / name).read_bytes()
            assert restored.stat().st_blocks * 512 < 1 << 20  # the holes are holes again


def three_volumes(base: Path) -> tuple[str, ...]:
    for name in ("n8n_data", "odoo-web-data", "chatwoot-data"):
        data = base / name / "_data"
        data.mkdir(parents=True)
        (data / "file").write_text(name)
        (data / "own").symlink_to("file")
        os.link(data / "file", data / "second")
        data.chmod(0o711)
    (base / "metadata.db").write_bytes(b"docker's own")
    return ("n8n_data", "odoo-web-data", "chatwoot-data")


@pytest.mark.parametrize(
    ("folder", "what"),
    [
        (".", ["n8n_data", "odoo-web-data", "chatwoot-data"]),
        (".", ["."]),
        ("../../../..", ["var/lib/docker/volumes"]),
        (
            "../../../..",
            [
                "./var/lib/docker/volumes/n8n_data",
                "./var/lib/docker/volumes/odoo-web-data",
                "./var/lib/docker/volumes/chatwoot-data",
            ],
        ),
    ],
    ids=["top-level", "dot", "docker-path", "docker-path-each"],
)
def test_several_volumes_of_one_archive_are_told_apart(tmp_path: Path, folder: str, what: list[str]) -> None:
    base = tmp_path / "host" / "var" / "lib" / "docker" / "volumes"
    names = three_volumes(base)
    archive = tmp_path / "volumes-20261101_020000.tar.gz"
    gnu_tar("-C", base / folder, "-czf", archive, *what)
    facts = restore_archive(archive, tmp_path / "sandbox", volumes=names, limits=Limits())
    assert [item.name for item in facts] == list(names)
    for item in facts:
        assert item.restored
        assert item.problems == ()
        assert (
            unequal(read_tree(base / item.name / "_data"), read_tree(tmp_path / "sandbox" / item.name)) == []
        )


def test_top_level_directories_without_dockers_data_directory_are_volumes_too(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "host" / name).mkdir(parents=True)
        (tmp_path / "host" / name / "file").write_text(name)
    gnu_tar("-C", tmp_path / "host", "-czf", tmp_path / "volumes.tar.gz", "one", "two")
    facts = restore_archive(
        tmp_path / "volumes.tar.gz", tmp_path / "sandbox", volumes=("one", "two", "three"), limits=Limits()
    )
    assert [item.restored for item in facts] == [True, True, False]
    assert (tmp_path / "sandbox" / "two" / "file").read_text() == "two"


def test_a_single_volume_is_found_by_its_name_by_data_and_at_the_root(tmp_path: Path) -> None:
    source = tmp_path / "host" / "vol" / "_data"
    source.mkdir(parents=True)
    (source / "file").write_text("here")
    for number, (folder, what) in enumerate(
        (("host", "vol"), ("host/vol", "_data"), ("host/vol/_data", "."), ("host/vol/_data", "file"))
    ):
        archive = tmp_path / f"{number}.tar.gz"
        gnu_tar("-C", tmp_path / folder, "-czf", archive, what)
        facts = restore_one(archive, tmp_path / f"sandbox{number}")
        assert facts.problems == ()
        assert (tmp_path / f"sandbox{number}" / "vol" / "file").read_text() == "here"


def test_an_empty_volume_comes_back_with_the_mode_of_its_root(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source").chmod(0o1730)
    archive, entries, summary = make_archive(tmp_path / "source", tmp_path / "backup")
    facts = restore_one(archive, tmp_path / "sandbox", entries=entries)
    assert (summary.files, summary.entries) == (0, 1)
    assert facts.restored
    assert facts.differences == ()
    assert (tmp_path / "sandbox" / "vol").stat().st_mode & 0o7777 == 0o1730


def test_the_sandbox_is_private_so_that_setuid_programs_are_out_of_reach(tree: Path, tmp_path: Path) -> None:
    archive, _, _ = make_archive(tree, tmp_path / "backup")
    restore_one(archive, tmp_path / "sandbox")
    assert (tmp_path / "sandbox").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "sandbox" / "vol" / "setuid").stat().st_mode & 0o7777 == 0o6755


def test_a_socket_is_listed_and_noted_and_its_absence_is_no_difference(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("x")
    add_socket(tmp_path / "source")
    archive, entries, summary = make_archive(tmp_path / "source", tmp_path / "backup")
    assert [problem.code for problem in summary.problems] == ["socket-skipped"]
    assert entry_id(b"server.sock") in summary.problems[0].detail
    assert b"server.sock" in {entry.path for entry in read_entries(entries)}
    assert kinds(restore_one(archive, tmp_path / "sandbox", entries=entries)) == set()


def test_a_destination_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    archive, _, _ = make_archive(tmp_path / "source", tmp_path / "backup")
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / "left").write_text("by another run")
    with pytest.raises(FileExistsError):
        restore_one(archive, tmp_path / "sandbox")


def test_the_facts_survive_json_and_name_no_file(tree: Path, tmp_path: Path) -> None:
    archive, entries, _ = make_archive(tree, tmp_path / "backup")
    shutil.copytree(tree / "sub", tree / "juan-perez-contrato")
    (tree / "plain").unlink()
    _, changed, _ = make_archive(tree, tmp_path / "other")
    facts = restore_one(archive, tmp_path / "sandbox", entries=changed)
    assert kinds(facts) >= {"missing", "extra"}
    adapter = TypeAdapter(VolumeFacts)
    text = adapter.dump_json(facts)
    assert adapter.validate_json(text) == facts
    assert b"juan-perez" not in text
    assert entry_id(b"juan-perez-contrato") in json.dumps(json.loads(text))
    assert entries.exists()


MUTATIONS = {
    "content": lambda p: (p / "plain").write_bytes(b"contenT\n" * 100),
    "missing": lambda p: (p / "fifo").unlink(),
    "extra": lambda p: (p / "new").write_text("x"),
    "mode": lambda p: p.chmod(0o2755),
    "type": lambda p: ((p / "empty").unlink(), (p / "empty").mkdir()),
    "link-target": lambda p: ((p / "outward").unlink(), (p / "outward").symlink_to("/data/elsewherE")),
    "hard-link": lambda p: ((p / "zz").unlink(), shutil.copy2(p / "hard1", p / "zz")),
}
if ROOT:
    MUTATIONS["owner"] = lambda p: os.chown(p, 0, -1)
    MUTATIONS["group"] = lambda p: os.chown(p / "link", -1, 0, follow_symlinks=False)


@pytest.mark.parametrize("kind", list(MUTATIONS))
def test_each_way_to_differ_is_found_and_named(tree: Path, tmp_path: Path, kind: str) -> None:
    _, entries, _ = make_archive(tree, tmp_path / "backup")
    MUTATIONS[kind](tree)
    found = {item.kind.value for item in unequal(read_entries(entries), read_tree(tree))}
    assert kind in found
    # What is made anew in a setgid directory takes its group, and a copy may lose attributes.
    assert found <= {kind, "group", "xattr"}


def test_a_lost_attribute_is_found(tree: Path, tmp_path: Path) -> None:
    _, entries, _ = make_archive(tree, tmp_path / "backup")
    target = tree / "plain"
    names = os.listxattr(target)
    for name in names:
        os.removexattr(target, name)
    found = [item.kind.value for item in unequal(read_entries(entries), read_tree(tree))]
    assert found == (["xattr"] if names else [])
