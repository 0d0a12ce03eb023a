"""Directories kept as compressed pieces: what is restored is what was packed, and damage is named."""

import dataclasses
import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from smos.errors import UnsafeInputError
from smos.pieces import MANIFEST, PiecesError, pack, read_manifest, unpack, verify

PIECE = 64 << 10


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a directory like a cluster's: one file of several pieces, many small ones, empty ones, folders."""
    source = random.Random(7)  # noqa: S311  (nothing secret)
    root = tmp_path / "tree"
    (root / "base" / "5").mkdir(parents=True)
    (root / "pg_wal" / "archive_status").mkdir(parents=True)
    (root / "base" / "5" / "16384").write_bytes(source.randbytes(5 * PIECE + 8192 + 17))
    (root / "base" / "5" / "16385").write_bytes(bytes(2 * PIECE))
    for number in range(60):
        (root / "base" / "5" / f"{number}").write_bytes(source.randbytes(number * 97))
    (root / "PG_VERSION").write_text("18\n")
    (root / "PG_VERSION").chmod(0o640)
    return root


@pytest.fixture
def packed(tree: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "pieces"
    folder.mkdir()
    pack(tree, folder, piece_bytes=PIECE)
    return folder


def restored(folder: Path, target: Path, **options: object) -> dict[str, tuple[int, bytes]]:
    target.mkdir()
    unpack(folder, target, **options)  # type: ignore[arg-type]
    return contents(target)


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
    }


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_comes_back_is_what_was_packed(tree: Path, packed: Path, tmp_path: Path, jobs: int) -> None:
    assert restored(packed, tmp_path / "back", jobs=jobs) == contents(tree)
    assert verify(packed, jobs=jobs) == read_manifest(packed)
    assert not [path for path in packed.iterdir() if path.name.startswith(".")]


def test_files_past_the_page_cache_keep_every_byte_of_an_odd_end(tree: Path, tmp_path: Path) -> None:
    data = os.urandom((3 << 20) + 4097)
    (tree / "large").write_bytes(data)
    folder = tmp_path / "p"
    folder.mkdir()
    pack(tree, folder, piece_bytes=1 << 20)
    assert restored(folder, tmp_path / "back")["large"][1] == data


def test_the_recorded_digests_are_the_usual_ones(tree: Path, packed: Path) -> None:
    manifest = read_manifest(packed)
    for file in manifest.files:
        assert hashlib.sha256((tree / file.path).read_bytes()).hexdigest() == file.sha256
    for piece in manifest.pieces:
        assert hashlib.sha256((packed / piece.name).read_bytes()).hexdigest() == piece.sha256
    assert hashlib.sha256((packed / MANIFEST).read_bytes()).hexdigest() == manifest.sha256


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def other_frame(path: Path) -> None:
    """Sound zstd of the same stored size that holds something else."""
    data = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    content = bytes([data[0] ^ 1]) + data[1:]
    path.write_bytes(zstandard.ZstdCompressor(level=1, write_checksum=True).compressobj().compress(content))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: flip(path, 100), id="first-bytes"),
        pytest.param(lambda path: flip(path, path.stat().st_size // 2), id="middle"),
        pytest.param(lambda path: flip(path, path.stat().st_size - 1), id="checksum"),
        pytest.param(cut, id="cut"),
        pytest.param(grow, id="grown"),
        pytest.param(other_frame, id="other-content"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
    ],
)
def test_a_damaged_piece_is_named(packed: Path, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    damage(packed / "000002.zst")
    with pytest.raises(PiecesError, match=r"000002\.zst"):
        verify(packed)
    with pytest.raises(PiecesError, match=r"000002\.zst") as caught:
        restored(packed, tmp_path / "back")
    assert (caught.value.code, caught.value.piece) == ("piece-damaged", "000002.zst")


def test_a_missing_piece_is_named(packed: Path, tmp_path: Path) -> None:
    (packed / "000001.zst").unlink()
    with pytest.raises(PiecesError) as caught:
        restored(packed, tmp_path / "back")
    assert (caught.value.code, caught.value.piece) == ("piece-missing", "000001.zst")


def test_pieces_are_not_followed_where_they_are_links(packed: Path, tmp_path: Path) -> None:
    (packed / "000001.zst").rename(tmp_path / "elsewhere")
    (packed / "000001.zst").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PiecesError) as caught:
        restored(packed, tmp_path / "back")
    assert caught.value.code == "piece-missing"


def test_pieces_that_changed_places_are_noticed(packed: Path, tmp_path: Path) -> None:
    (packed / "000000.zst").rename(packed / "x")
    (packed / "000001.zst").rename(packed / "000000.zst")
    (packed / "x").rename(packed / "000001.zst")
    with pytest.raises(PiecesError) as caught:
        restored(packed, tmp_path / "back")
    assert caught.value.code == "piece-damaged"


def test_a_file_whose_digest_is_another_is_named(packed: Path, tmp_path: Path) -> None:
    manifest = read_manifest(packed)
    files = list(manifest.files)
    files[3] = dataclasses.replace(files[3], sha256="0" * 64)
    (packed / MANIFEST).write_text(dataclasses.replace(manifest, files=tuple(files)).text())
    with pytest.raises(PiecesError) as caught:
        restored(packed, tmp_path / "back")
    assert (caught.value.code, caught.value.file) == ("file-damaged", files[3].path)


def test_a_set_without_its_manifest_was_never_finished(packed: Path, tmp_path: Path) -> None:
    (packed / MANIFEST).unlink()
    with pytest.raises(PiecesError) as caught:
        restored(packed, tmp_path / "back")
    assert caught.value.code == "manifest-missing"


def change(data: dict, key: str, row: int, column: int, value: object) -> None:
    data[key][row][column] = value


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda d: change(d, "files", 0, 0, "../outside"), id="parent"),
        pytest.param(lambda d: change(d, "files", 0, 0, "/etc/x"), id="absolute"),
        pytest.param(lambda d: change(d, "files", 0, 0, "base/./x"), id="dot"),
        pytest.param(lambda d: change(d, "files", 0, 0, "nowhere/x"), id="no-such-folder"),
        pytest.param(lambda d: change(d, "files", 0, 0, d["files"][1][0]), id="twice"),
        pytest.param(
            lambda d: d["links"].append(["link", "/etc"]) or change(d, "files", 0, 0, "link/x"), id="link"
        ),
        pytest.param(lambda d: change(d, "files", 0, 1, 0o4755), id="setuid"),
        pytest.param(lambda d: change(d, "files", 0, 2, -1), id="negative"),
        pytest.param(lambda d: change(d, "files", 0, 2, d["files"][0][2] + 1), id="overlap"),
        pytest.param(lambda d: change(d, "files", 0, 5, 8), id="gap"),
        pytest.param(lambda d: change(d, "pieces", 0, 2, 1 << 40), id="huge-piece"),
        pytest.param(lambda d: d["pieces"].append(d["pieces"][0]), id="piece-too-many"),
        pytest.param(lambda d: d["pieces"].pop(), id="piece-too-few"),
        pytest.param(lambda d: d.pop("files"), id="no-files"),
        pytest.param(lambda d: d.update(format="smos-pieces/2"), id="other-format"),
        pytest.param(lambda d: d.update(files=7), id="no-list"),
    ],
)
def test_a_manifest_that_lies_is_refused_before_anything_is_written(
    packed: Path, tmp_path: Path, edit: Callable[[dict], object]
) -> None:
    data = json.loads((packed / MANIFEST).read_text())
    edit(data)
    (packed / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(PiecesError) as caught:
        restored(packed, tmp_path / "back")
    assert caught.value.code == "manifest-damaged"
    assert not list((tmp_path / "back").iterdir())


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff", "null", '{"format": NaN}'])
def test_any_text_in_the_manifests_place_is_a_named_error(packed: Path, tmp_path: Path, text: str) -> None:
    (packed / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(PiecesError) as caught:
        read_manifest(packed)
    assert caught.value.code == "manifest-damaged"


def test_another_manifest_than_the_signed_one_is_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(PiecesError, match="digest"):
        restored(packed, tmp_path / "back", sha256="0" * 64)


def test_more_than_is_allowed_or_fits_is_refused_before_anything_is_written(
    packed: Path, tmp_path: Path
) -> None:
    with pytest.raises(PiecesError) as caught:
        restored(packed, tmp_path / "back", most_bytes=1000)
    assert caught.value.code == "no-room"
    assert not list((tmp_path / "back").iterdir())


def test_nothing_is_restored_over_something_else(packed: Path, tree: Path) -> None:
    with pytest.raises(PiecesError) as caught:
        unpack(packed, tree)
    assert caught.value.code == "not-empty"


def test_a_tree_with_a_link_out_of_it_is_not_packed(tree: Path, tmp_path: Path) -> None:
    (tree / "base" / "x").symlink_to("/etc")
    (tmp_path / "p").mkdir()
    with pytest.raises(UnsafeInputError, match="symbolic link"):
        pack(tree, tmp_path / "p")
    assert not (tmp_path / "p" / MANIFEST).exists()
