"""Hostile archives: nothing is written outside of the sandbox, nothing fills the disk or hangs, all is named."""

import os
import socket
import struct
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
import zstandard

from smos.backup.extract import extract_archive
from smos.backup.layout import Layout
from smos.backup.volumes import restore_archive
from smos.checks.dr.volumes import judge_volumes
from smos.errors import UnsafeInputError
from smos.target import Limits
from smos.verdict import Verdict
from tests._volume_kit import ROOT, codes, hostile_tar, kinds, make_archive, member, restore_one

SYM, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
EVIL = b"written by an archive"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Return a directory outside of the sandbox with a file that nobody may touch."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("untouched")
    return outside


def state(folder: Path) -> list[tuple[str, int, int, bytes]]:
    """Return all that an attack could change in a directory."""
    rows = []
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        rows.append((str(path), status.st_mode, status.st_nlink, content))
    return rows


ATTACKS = {
    "climbs": ("path-climbs", [member("../../outside/new", content=EVIL)]),
    "climbs-in-the-middle": ("path-climbs", [member("a/../../../outside/canary", content=EVIL)]),
    "climbs-in-a-directory": ("path-climbs", [member("../../outside/dir", DIR)]),
    "absolute": ("path-absolute", [member("{outside}/new", content=EVIL)]),
    "through-a-link": (
        "path-through-link",
        [member("a", SYM, "../../outside"), member("a/new", content=EVIL)],
    ),
    "through-an-absolute-link": (
        "path-through-link",
        [member("a", SYM, "{outside}"), member("a/canary", content=EVIL)],
    ),
    "through-a-chain": (
        "path-through-link",
        [
            member("b", SYM, ".."),
            member("c", SYM, "b/.."),
            member("a", SYM, "c/outside"),
            member("a/new", content=EVIL),
        ],
    ),
    "directory-over-a-link": (
        "duplicate-member",
        [member("a", SYM, "{outside}"), member("a", DIR), member("a/new", content=EVIL)],
    ),
    "file-over-a-link": (
        "duplicate-member",
        [member("a", SYM, "{outside}/canary"), member("a", content=EVIL)],
    ),
    "hard-link-outside": ("hard-link-outside", [member("a", HARD, "../../outside/canary")]),
    "hard-link-absolute": ("hard-link-outside", [member("a", HARD, "{outside}/canary")]),
    "hard-link-through-a-link": (
        "path-through-link",
        [member("l", SYM, "{outside}"), member("a", HARD, "l/canary"), member("a", content=EVIL)],
    ),
    "file-over-a-hard-linked-link": (
        "duplicate-member",
        [member("l", SYM, "{outside}/canary"), member("a", HARD, "l"), member("a", content=EVIL)],
    ),
    "hard-link-to-nothing": ("hard-link-target-missing", [member("a", HARD, "never")]),
    "hard-link-to-a-directory": ("hard-link-target-missing", [member("d", DIR), member("a", HARD, "d")]),
    "link-below-a-link": (
        "path-through-link",
        [member("a", SYM, "{outside}"), member("a/new", SYM, "canary")],
    ),
    "fifo-below-a-link": (
        "path-through-link",
        [member("a", SYM, "{outside}"), member("a/new", tarfile.FIFOTYPE)],
    ),
    "root-is-a-link": ("name-invalid", [member(".", SYM, "{outside}"), member("./canary", content=EVIL)]),
    "below-a-file": ("path-through-link", [member("a", content=b"x"), member("a/b", content=EVIL)]),
    "twice": ("duplicate-member", [member("a", content=b"first"), member("./a", content=b"second")]),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_an_attack_writes_nothing_outside_and_fails_the_check(
    tmp_path: Path, canary: Path, attack: str
) -> None:
    code, members = ATTACKS[attack]
    filled = []
    for info, content in members:
        info.name = info.name.format(outside=canary)
        info.linkname = info.linkname.format(outside=canary)
        filled.append((info, content))
    archive = hostile_tar(tmp_path / "vol.tar", member("fine", content=b"data"), *filled)
    before = state(canary)
    around = {path.name for path in tmp_path.iterdir()}
    facts = restore_one(archive, tmp_path / "sandbox")
    assert state(canary) == before
    assert {path.name for path in tmp_path.iterdir()} == around | {"sandbox"}
    assert code in codes(facts)
    assert (tmp_path / "sandbox" / "vol" / "fine").read_bytes() == b"data"
    assert judge_volumes(("vol",), (facts,)).verdict is Verdict.FAIL
    text = repr(judge_volumes(("vol",), (facts,)))
    assert "canary" not in text


def test_several_attacks_through_gnu_tars_long_names_are_refused_as_well(
    tmp_path: Path, canary: Path
) -> None:
    long = "../" * 60 + "outside/new"
    with tarfile.open(tmp_path / "vol.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        info, _ = member(long)
        tar.addfile(info)
        info, _ = member("x" * 150, HARD, "../" * 60 + "outside/canary")
        tar.addfile(info)
    before = state(canary)
    facts = restore_one(tmp_path / "vol.tar", tmp_path / "sandbox")
    assert codes(facts) == {"path-climbs", "hard-link-outside"}
    assert state(canary) == before


def test_a_link_that_points_outside_is_data_and_is_restored_as_it_is(tmp_path: Path, canary: Path) -> None:
    archive = hostile_tar(
        tmp_path / "vol.tar",
        member("data", SYM, str(canary)),
        member("up", SYM, "../.."),
        member("in", SYM, "data"),
    )
    facts = restore_one(archive, tmp_path / "sandbox")
    assert facts.problems == ()
    assert facts.extraction is not None
    assert facts.extraction.links_outward == 2
    assert str((tmp_path / "sandbox" / "vol" / "data").readlink()) == str(canary)
    assert "links-outward" in {finding.code for finding in judge_volumes(("vol",), (facts,)).findings}


def test_device_nodes_are_never_made_and_their_absence_is_not_blamed_on_the_backup(tmp_path: Path) -> None:
    archive = hostile_tar(
        tmp_path / "vol.tar", member("null", tarfile.CHRTYPE), member("sda", tarfile.BLKTYPE), member("f")
    )
    facts = restore_one(archive, tmp_path / "sandbox")
    assert sorted(path.name for path in (tmp_path / "sandbox" / "vol").iterdir()) == ["f"]
    assert facts.extraction is not None
    assert facts.extraction.devices_not_restored == 2
    if ROOT:
        source = tmp_path / "source"
        source.mkdir()
        try:
            os.mknod(source / "null", 0o020666, os.makedev(1, 3))
        except PermissionError:  # a container without the right: nothing can be archived then
            assert not (source / "null").exists()
            return
        archive, entries, _ = make_archive(source, tmp_path / "backup")
        facts = restore_one(archive, tmp_path / "sandbox2", entries=entries)
        assert kinds(facts) == {"device-not-restored"}
        assert judge_volumes(("vol",), (facts,)).verdict is Verdict.NOT_PROVEN


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/etc", "a\0b"])
def test_a_volume_with_a_hostile_name_is_refused(tmp_path: Path, name: str) -> None:
    archive = hostile_tar(tmp_path / "vol.tar", member("f"))
    with pytest.raises(UnsafeInputError):
        restore_archive(archive, tmp_path / "sandbox", volumes=(name,), limits=Limits())
    assert not (tmp_path / "sandbox").exists()


def test_a_name_with_a_nul_byte_is_refused(tmp_path: Path) -> None:
    info, _ = member("short")
    info.pax_headers = {"path": "../x\0y"}
    facts = restore_one(hostile_tar(tmp_path / "vol.tar", (info, b"")), tmp_path / "sandbox")
    assert codes(facts) <= {"name-invalid", "path-climbs"}
    assert facts.problems


def bomb(path: Path, size: int) -> Path:
    """Write a zstd tar with one file of zeros, without holding it in memory."""
    info, _ = member("zeros")
    info.size = size
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as out:
        out.write(info.tobuf())
        for _ in range(size >> 20):
            out.write(bytes(1 << 20))
        out.write(bytes(10240))
    return path


def test_an_archive_bomb_is_ended_by_its_expansion(tmp_path: Path) -> None:
    facts = restore_one(
        bomb(tmp_path / "vol.tar.zst", 256 << 20), tmp_path / "sandbox", limits=Limits(ratio=500)
    )
    assert codes(facts) == {"bomb-ratio"}
    assert sum(path.stat().st_blocks * 512 for path in (tmp_path / "sandbox").rglob("*")) < 64 << 20
    assert judge_volumes(("vol",), (facts,)).findings[0].code == "archive-bomb"


def test_a_volume_above_the_limit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    facts = restore_one(
        bomb(tmp_path / "vol.tar.zst", 8 << 20), tmp_path / "sandbox", limits=Limits(bytes=1 << 20)
    )
    assert codes(facts) == {"bomb-bytes"}
    assert not (tmp_path / "sandbox" / "vol" / "zeros").exists()


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    archive = hostile_tar(tmp_path / "vol.tar", *(member(f"f{number}") for number in range(50)))
    facts = restore_one(archive, tmp_path / "sandbox", limits=Limits(files=10))
    assert codes(facts) == {"bomb-files"}
    assert len(list((tmp_path / "sandbox" / "vol").iterdir())) == 10


def test_a_sparse_file_of_exabytes_is_refused_by_its_logical_size(tmp_path: Path) -> None:
    info, _ = member("GNUSparseFile.0/x")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "hole",
        "GNU.sparse.realsize": str(1 << 60),
    }
    content = b"1\n%d\n0\n" % (1 << 60)
    facts = restore_one(
        hostile_tar(tmp_path / "vol.tar", (info, content.ljust(512, b"\0"))), tmp_path / "sandbox"
    )
    assert codes(facts) == {"bomb-bytes"}
    assert not (tmp_path / "sandbox" / "vol").exists()


@pytest.mark.parametrize(
    "text",
    [b"2\n0\n512\n256\n512\n", b"1\n0\n99999999\n", b"99999999999\n", b"x\n", b"1\n4096\n512\n"],
    ids=["overlap", "too-long", "too-many", "no-number", "beyond-the-end"],
)
def test_a_sparse_map_that_lies_is_damage(tmp_path: Path, text: bytes) -> None:
    info, _ = member("GNUSparseFile.0/x")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "s",
        "GNU.sparse.realsize": "1024",
    }
    archive = hostile_tar(tmp_path / "vol.tar", (info, text.ljust(512, b"\0") + bytes(1024)))
    facts = restore_one(archive, tmp_path / "sandbox")
    assert codes(facts) <= {"tar-corrupt", "header-too-large"}
    assert facts.problems


def test_an_extended_header_of_gigabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    info, _ = member("x", b"x")
    info.size = 8 << 30
    (tmp_path / "vol.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    facts = restore_one(tmp_path / "vol.tar", tmp_path / "sandbox")
    assert codes(facts) == {"header-too-large"}


def test_a_flood_of_headers_without_members_is_ended(tmp_path: Path) -> None:
    info, _ = member("x", b"g")
    record = b"comment=" + b"x" * (3 << 20)
    record = b"%d " % (len(record) + 9) + record + b"\n"
    info.size = len(record)
    block = info.tobuf() + record + bytes(-len(record) % 512)
    with (tmp_path / "vol.tar.zst").open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as out:
        for _ in range(64):
            out.write(block)
    facts = restore_one(
        tmp_path / "vol.tar.zst", tmp_path / "sandbox", limits=Limits(bytes=1 << 20, ratio=10**9)
    )
    assert codes(facts) == {"bomb-bytes"}


def test_a_restore_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    facts = restore_one(
        bomb(tmp_path / "vol.tar.zst", 64 << 20),
        tmp_path / "sandbox",
        limits=Limits(restore_seconds=1e-9, ratio=10**9),
    )
    assert codes(facts) == {"restore-timeout"}
    assert judge_volumes(("vol",), (facts,)).verdict is Verdict.NOT_PROVEN


def test_an_archive_that_is_a_fifo_or_a_socket_does_not_hang_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.tar")
    started = time.monotonic()
    facts = restore_one(tmp_path / "fifo.tar", tmp_path / "sandbox")
    assert codes(facts) == {"archive-unreadable"}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.tar"))
        assert codes(restore_one(tmp_path / "s.tar", tmp_path / "sandbox2")) == {"archive-unreadable"}
    assert codes(restore_one(tmp_path / "never.tar", tmp_path / "sandbox3")) == {"archive-unreadable"}
    assert time.monotonic() - started < 120
    verdict = judge_volumes(("vol",), (facts,)).verdict
    assert verdict is Verdict.NOT_PROVEN


def test_a_full_disk_is_a_gap_of_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"a" * 4000)
    (source / "b").write_bytes(b"b" * 4000)
    archive, entries, _ = make_archive(source, tmp_path / "backup")

    def full(handle: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("smos.backup.extract._write", full)
    facts = restore_one(archive, tmp_path / "sandbox", entries=entries)
    assert "sandbox-disk-full" in codes(facts)
    judgement = judge_volumes(("vol",), (facts,))
    assert judgement.verdict is Verdict.NOT_PROVEN  # what is missing is not blamed on the backup


def test_a_disk_that_is_really_full_is_a_gap_of_the_sandbox(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        # Without the right to mount there is no small disk; the test above stands for it with the same error.
        assert not os.path.ismount(small)
        return
    try:
        source = tmp_path / "source"
        source.mkdir()
        for number in range(10):
            (source / f"f{number}").write_bytes(os.urandom(64 << 10))
        archive, entries, _ = make_archive(source, tmp_path / "backup")
        facts = restore_one(archive, small / "sandbox", entries=entries)
        assert "sandbox-disk-full" in codes(facts)
        assert judge_volumes(("vol",), (facts,)).verdict is Verdict.NOT_PROVEN
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_names_that_a_disk_can_not_tell_apart_are_a_gap_of_the_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smos.backup.extract._names_exact", lambda _handle: False)
    archive = hostile_tar(tmp_path / "vol.tar", member("a", content=b"1"), member("a", content=b"2"))
    facts = restore_one(archive, tmp_path / "sandbox")
    assert codes(facts) == {"name-collision"}


def test_a_device_number_or_owner_that_nobody_can_have_does_not_end_the_restore(tmp_path: Path) -> None:
    info, content = member("f", content=b"x")
    info.uid = info.gid = (1 << 32) + 5
    facts = restore_one(hostile_tar(tmp_path / "vol.tar", (info, content)), tmp_path / "sandbox")
    assert facts.owners_checked == "archive"
    assert (tmp_path / "sandbox" / "vol" / "f").read_bytes() == b"x"


def test_attributes_with_hostile_names_are_recorded_and_not_set(tmp_path: Path) -> None:
    info, content = member("f", content=b"x")
    info.pax_headers = {
        "SCHILY.xattr.": "empty",
        "SCHILY.xattr.nonsense": "1",
        "SCHILY.xattr." + "user." + "n" * 300: "1",
    }
    facts = restore_one(hostile_tar(tmp_path / "vol.tar", (info, content)), tmp_path / "sandbox")
    assert facts.extraction is not None
    assert sum(gap.count for gap in facts.extraction.attribute_gaps) == 3
    assert facts.xattrs_checked == "archive"


def test_an_unknown_member_type_is_not_guessed_at(tmp_path: Path) -> None:
    facts = restore_one(
        hostile_tar(tmp_path / "vol.tar", member("f", b"M", content=b"x")), tmp_path / "sandbox"
    )
    assert codes(facts) == {"tar-unsupported"}
    assert judge_volumes(("vol",), (facts,)).verdict is Verdict.NOT_PROVEN


def test_hundreds_of_refused_members_stay_a_short_record(tmp_path: Path) -> None:
    archive = hostile_tar(tmp_path / "vol.tar", *(member(f"../x{number}") for number in range(300)))
    facts = restore_one(archive, tmp_path / "sandbox")
    assert len(facts.problems) == 50
    assert facts.extraction is not None
    assert dict(facts.extraction.problem_counts) == {"path-climbs": 300}
    (finding,) = [
        item for item in judge_volumes(("vol",), (facts,)).findings if item.code == "volume-escape-refused"
    ]
    assert "300 in all" in finding.message


def test_an_inherited_acl_of_the_sandbox_is_not_taken_for_one_of_the_backup(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    everyone = 0xFFFFFFFF
    entries = [(1, 7, everyone), (2, 7, 4321), (4, 5, everyone), (0x10, 7, everyone), (0x20, 5, everyone)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("x")
    archive, listing, _ = make_archive(source, tmp_path / "backup")
    try:
        os.setxattr(parent, "system.posix_acl_default", value)
    except OSError:  # no ACLs here: nothing can be inherited, and the restore must be equal all the same
        value = b""
    facts = restore_one(archive, parent / "sandbox", entries=listing)
    assert facts.differences == ()
    assert ("system.posix_acl_default" in os.listxattr(parent)) == bool(value)


def test_extraction_alone_needs_no_ledger_of_the_caller(tmp_path: Path) -> None:
    archive = hostile_tar(tmp_path / "vol.tar", member("f", content=b"x"))
    facts = extract_archive(
        archive, tmp_path / "sandbox", volumes=("vol",), limits=Limits(), layout=Layout.ROOT
    )
    assert facts.complete
    assert facts.files == 1
