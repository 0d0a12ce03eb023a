"""Damage anywhere in an archive or in its list is named, with its place, and never taken for health."""

import hashlib
import os
import random
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from smos.backup.entries import (
    EntriesError,
    Entry,
    EntryType,
    EntryWriter,
    compare_entries,
    read_entries,
    sort_key,
)
from smos.backup.tree import read_tree
from smos.checks.dr.volumes import judge_volumes
from smos.verdict import Verdict
from tests._volume_kit import codes, hostile_tar, kinds, make_archive, member, restore_one

DAMAGE = {
    "compression-truncated",
    "compression-corrupt",
    "trailing-bytes",
    "tar-truncated",
    "tar-corrupt",
    "tar-no-end",
    "tar-unsupported",
    "header-too-large",
    "memory-limit",
    "archive-empty",
}


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """Return a small archive and its list."""
    source = tmp_path / "source"
    (source / "dir").mkdir(parents=True)
    (source / "dir" / "file").write_bytes(hashlib.sha512(b"x").digest() * 20)
    (source / "dir" / "other").write_text("text\n" * 50)
    (source / "link").symlink_to("dir/file")
    os.link(source / "dir" / "other", source / "hard")
    archive, entries, _ = make_archive(source, tmp_path / "backup")
    return archive, entries


def restore_bytes(data: bytes, tmp_path: Path, entries: Path | None) -> tuple[set[str], set[str], bool]:
    """Restore bytes as an archive; return codes, kinds of differences, and whether the check passes."""
    sandbox = tmp_path / "sandbox"
    shutil.rmtree(sandbox, ignore_errors=True)
    (tmp_path / "damaged").write_bytes(data)
    facts = restore_one(tmp_path / "damaged", sandbox, entries=entries)
    return codes(facts), kinds(facts), judge_volumes(("vol",), (facts,)).verdict is Verdict.PASS


def unpacked(archive: Path) -> bytes:
    return subprocess.run(["zstd", "-dc", str(archive)], capture_output=True, check=True).stdout


def test_an_archive_cut_at_any_byte_is_damage(small: tuple[Path, Path], tmp_path: Path) -> None:
    archive, entries = small
    data = archive.read_bytes()
    assert restore_bytes(data, tmp_path, entries) == (set(), set(), True)
    for length in range(0, len(data), 7):
        found, _, passed = restore_bytes(data[:length], tmp_path, entries)
        assert found & DAMAGE, length
        assert not passed


def test_a_plain_tar_cut_at_any_block_is_damage_with_the_byte_named(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    archive, entries = small
    data = unpacked(archive)
    end = len(data.rstrip(b"\0"))
    for length in [*range(0, end, 512), *range(100, end, 1111), end + 600]:
        (tmp_path / "cut.tar").write_bytes(data[:length])
        shutil.rmtree(tmp_path / "sandbox", ignore_errors=True)
        facts = restore_one(tmp_path / "cut.tar", tmp_path / "sandbox", entries=entries)
        assert codes(facts) & DAMAGE, length
        assert any("at byte" in problem.detail for problem in facts.problems), length
        assert judge_volumes(("vol",), (facts,)).verdict is not Verdict.PASS


def test_a_tar_whose_second_end_block_is_missing_is_cut_off(small: tuple[Path, Path], tmp_path: Path) -> None:
    data = unpacked(small[0])
    end = -(-len(data.rstrip(b"\0")) // 512) * 512
    assert restore_bytes(data[: end + 512], tmp_path, small[1])[0] == {"tar-no-end"}
    assert restore_bytes(data[: end + 1024], tmp_path, small[1]) == (set(), set(), True)


def test_every_flipped_bit_of_a_compressed_archive_is_found_or_changes_nothing(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    archive, entries = small
    data = archive.read_bytes()
    original = unpacked(archive)
    silent = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        found, differing, passed = restore_bytes(bytes(damaged), tmp_path, entries)
        assert passed == (not found and not differing)
        if passed:  # an independent decompressor must then give the very same tar
            silent += 1
            assert unpacked(tmp_path / "damaged") == original
    # Bits that mean nothing, such as unused ones of a block's header: how many depends on the times in the archive.
    assert silent * 20 <= len(data)


def test_every_flipped_bit_of_a_plain_tar_is_found_or_changes_nothing(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    """Without a checksum over all, the list of entries must find what the headers' checksums do not."""
    archive, entries = small
    data = unpacked(archive)
    expected = list(read_tree(tmp_path / "source"))
    for position in range(0, len(data.rstrip(b"\0")) + 1024, 37):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        found, differing, passed = restore_bytes(bytes(damaged), tmp_path, entries)
        if passed:
            assert not found
            assert not differing
            restored = read_tree(tmp_path / "sandbox" / "vol")
            assert not [item for item in compare_entries(iter(expected), restored) if item.kind != "mtime"]


def test_bytes_after_the_end_are_damage(small: tuple[Path, Path], tmp_path: Path) -> None:
    archive, entries = small
    assert restore_bytes(archive.read_bytes() + b"more", tmp_path, entries)[0] & DAMAGE
    assert restore_bytes(unpacked(archive) + b"more".ljust(512), tmp_path, entries)[0] == {"trailing-bytes"}
    assert restore_bytes(unpacked(archive) + bytes(5 << 20), tmp_path, entries) == (set(), set(), True)


def test_something_else_than_a_tar_is_damage(tmp_path: Path) -> None:
    for data in (b"", b"PGDMP" * 500, bytes(10240), b"\x1f\x8b", b"x" * 511, b"x" * 100_000):
        found, _, passed = restore_bytes(data, tmp_path, None)
        assert found & DAMAGE
        assert not passed


def test_a_list_of_entries_cut_or_flipped_anywhere_proves_nothing(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    archive, entries = small
    data = entries.read_bytes()
    damaged = tmp_path / "vol.jsonl.zst"
    expected = list(read_entries(entries))
    variants = [data[:length] for length in range(0, len(data), 5)]
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        variants.append(bytes(flipped))
    variants.append(data + data)
    for variant in variants:
        damaged.write_bytes(variant)
        with suppress(EntriesError):  # any other exception would be a traceback for the user
            assert list(read_entries(damaged)) == expected
    damaged.write_bytes(data[:-9])
    facts = restore_one(archive, tmp_path / "sandbox", entries=damaged)
    assert codes(facts) == {"entries-damaged"}
    assert not facts.compared
    assert judge_volumes(("vol",), (facts,)).verdict is Verdict.NOT_PROVEN


def entry(path: bytes, **other: object) -> Entry:
    values = {"type": EntryType.FILE, "uid": 0, "gid": 0, "mode": 0o644, "size": 0, "mtime_ns": 0, **other}
    return Entry(path, **values)  # type: ignore[arg-type]  # a test's shorthand


@pytest.mark.parametrize(
    "paths", [[b"b", b"a"], [b"a", b"a"], [b"../x"], [b"/x"], [b"a//b"], [b"a/."]], ids=str
)
def test_a_list_with_impossible_paths_or_order_is_damaged(tmp_path: Path, paths: list[bytes]) -> None:
    with EntryWriter(tmp_path / "l.zst", "vol") as writer:
        for path in paths:
            writer.write(entry(path))
    with pytest.raises(EntriesError):
        list(read_entries(tmp_path / "l.zst"))


def test_the_order_of_the_list_is_that_of_a_walk(tmp_path: Path) -> None:
    for name in ("a", "a-b", "a.b", "b", "é", "Z"):
        (tmp_path / "t" / name / "x").mkdir(parents=True)
    (tmp_path / "t" / "a" / "-").touch()
    (tmp_path / "t" / "a0").touch()
    paths = [item.path for item in read_tree(tmp_path / "t")]
    assert paths == sorted(paths, key=sort_key)


def test_a_comparison_counts_everything_and_shows_fifty(tmp_path: Path) -> None:
    left = [entry(b"%06d" % number) for number in range(1000)]
    (found,) = compare_entries(iter(left), iter([]))
    assert (found.kind, found.count, len(found.examples)) == ("missing", 1000, 50)
    (found,) = compare_entries(iter([]), iter(left))
    assert (found.kind, found.count) == ("extra", 1000)
    assert compare_entries(iter(left), iter(left)) == ()


def test_one_file_against_another_archive_is_found_in_every_aspect(tmp_path: Path) -> None:
    archive = hostile_tar(tmp_path / "a.tar", member(".", b"5"), member("f", content=b"new"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(b"old")
    (source / "f").chmod(0o600)
    source.chmod(0o755)
    _, entries, _ = make_archive(source, tmp_path / "backup")
    facts = restore_one(archive, tmp_path / "sandbox", entries=entries)
    assert {"content", "mode"} <= kinds(facts)
    details = [example.detail for item in facts.differences for example in item.examples]
    assert "other bytes" in details
    assert "0600 expected, 0755 found" in details


@pytest.mark.parametrize("keyword", ["uid", "gid", "size", "mtime"])
@pytest.mark.parametrize("kind", [b"0", b"5"], ids=["file", "directory"])
def test_numbers_beyond_every_system_end_in_a_word_and_no_traceback(
    tmp_path: Path, keyword: str, kind: bytes
) -> None:
    for number in ("9" * 19, "9" * 20, "9" * 21, "-1", "1e3", "0x10", "1_0"):
        info, _ = member("d/f" if kind == b"0" else "d", kind)
        info.pax_headers = {keyword: number}
        archive = hostile_tar(tmp_path / "vol.tar", (info, b""))
        shutil.rmtree(tmp_path / "sandbox", ignore_errors=True)
        facts = restore_one(archive, tmp_path / "sandbox")
        assert codes(facts) <= DAMAGE | {"bomb-bytes", "tar-truncated"}
        assert codes(facts) or keyword == "mtime"


def test_random_damage_under_right_checksums_never_ends_in_a_traceback(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    """The damage gets past the headers' checksums, which are made right again."""
    data = unpacked(small[0])
    generator = random.Random(20261101)  # noqa: S311  (the same damage in every run)
    pieces = (b"../", b"/", b"\0", b"..", b"\xff", b"\x80", b"7", b"=", b"\n", b" ", b"99999999999", b"-1")
    outside = tmp_path / "outside"
    outside.mkdir()
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            block = generator.randrange(len(data.rstrip(b"\0")) // 512) * 512
            at = block + generator.randrange(512)
            piece = generator.choice(pieces)
            damaged[at : at + len(piece)] = piece
            damaged[block + 148 : block + 156] = b" " * 8
            damaged[block + 148 : block + 156] = b"%06o\0 " % sum(damaged[block : block + 512])
        found, differing, passed = restore_bytes(bytes(damaged), tmp_path, small[1])
        assert passed == (not found and not differing)
        assert {path.name for path in tmp_path.iterdir()} == {
            "source",
            "backup",
            "outside",
            "damaged",
            "sandbox",
        }
        assert not list(outside.iterdir())
