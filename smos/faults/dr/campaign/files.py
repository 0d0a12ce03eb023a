"""Damage to the files of a backup set, hashes and manifest left as they are: any changed byte must fail DR-02.

The oracle is a list of every name and every byte, taken before and after.
"""

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import shake_256
from pathlib import Path

import zstandard

from smos.faults.dr.campaign.model import Bench, Dice, Effect, Level, NothingToDo, Step, Truth, run_steps
from smos.faults.dr.workspace import Workspace

MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"
MOST = 5000
"""Bytes that one step cuts, inserts or repeats at most."""
Edit = Callable[[Dice, bytes], tuple[bytes, str]]


def snapshot(folder: Path) -> dict[str, object]:
    """Return every name below `folder` with what lies there: bytes, the text of a link, or that it is a directory."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))  # noqa: PTH115  (a Path would tidy it up)
        else:
            found[name] = "directory" if path.is_dir() else path.read_bytes()
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


# --- bytes --------------------------------------------------------------------------------------------------------


def _flip(dice: Dice, data: bytes) -> tuple[bytes, str]:
    at, bit = dice.below(len(data)), dice.below(8)
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed), f"bit {bit} of byte {at} flipped"


def _set(dice: Dice, data: bytes) -> tuple[bytes, str]:
    at, value = dice.below(len(data)), dice.below(256)
    return data[:at] + bytes([value]) + data[at + 1 :], f"byte {at} set to {value}"


def _cut_end(dice: Dice, data: bytes) -> tuple[bytes, str]:
    count = 1 + dice.below(len(data))
    return data[: len(data) - count], f"the last {count} bytes cut"


def _cut_start(dice: Dice, data: bytes) -> tuple[bytes, str]:
    count = 1 + dice.below(min(MOST, len(data)))
    return data[count:], f"the first {count} bytes cut"


def _delete(dice: Dice, data: bytes) -> tuple[bytes, str]:
    start, end = dice.span(len(data), MOST)
    return data[:start] + data[end:], f"bytes {start} to {end} deleted"


def _insert(dice: Dice, data: bytes) -> tuple[bytes, str]:
    at, count = dice.below(len(data) + 1), 1 + dice.below(MOST)
    return data[:at] + shake_256(b"noise").digest(count) + data[at:], f"{count} bytes inserted at {at}"


def _append(dice: Dice, data: bytes) -> tuple[bytes, str]:
    tail = dice.pick((b"\n", b"\0", b" ", bytes(512), bytes(10240), b"-- end\n", data[-40:], data))
    return data + tail, f"{len(tail)} bytes appended"


def _repeat(dice: Dice, data: bytes) -> tuple[bytes, str]:
    start, end = dice.span(len(data), MOST)
    return data[:end] + data[start:], f"bytes {start} to {end} repeated"


def _zero(dice: Dice, data: bytes) -> tuple[bytes, str]:
    start, end = dice.span(len(data), MOST)
    return data[:start] + bytes(end - start) + data[end:], f"bytes {start} to {end} zeroed"


def _exchange(dice: Dice, data: bytes) -> tuple[bytes, str]:
    size = 1 + dice.below(min(512, len(data)))
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    one, other = dice.two(range(len(blocks)))
    blocks[one], blocks[other] = blocks[other], blocks[one]
    return b"".join(blocks), f"blocks {one} and {other} of {size} bytes exchanged"


def _reverse(dice: Dice, data: bytes) -> tuple[bytes, str]:
    start, end = dice.span(len(data), MOST)
    return data[:start] + data[start:end][::-1] + data[end:], f"bytes {start} to {end} reversed"


def _empty(_dice: Dice, _data: bytes) -> tuple[bytes, str]:
    return b"", "emptied"


BYTES: dict[str, Edit] = {
    "flip a bit": _flip,
    "set a byte": _set,
    "cut the end": _cut_end,
    "cut the start": _cut_start,
    "delete bytes": _delete,
    "insert bytes": _insert,
    "append bytes": _append,
    "repeat bytes": _repeat,
    "zero bytes": _zero,
    "exchange blocks": _exchange,
    "reverse bytes": _reverse,
    "empty": _empty,
}
"""Ways to damage bytes; also used on decompressed dumps and archives."""


def _edit(edit: Edit, folder: Path, dice: Dice) -> str:
    path = dice.pick(_files(folder))
    data, done = edit(dice, path.read_bytes())
    path.write_bytes(data)
    return f"{path.relative_to(folder)}: {done}"


# --- files --------------------------------------------------------------------------------------------------------


def _remove(folder: Path, dice: Dice) -> str:
    path = dice.pick(_files(folder))
    path.unlink()
    return f"{path.relative_to(folder)} removed"


def _remove_seal(folder: Path, dice: Dice) -> str:
    names = dice.pick(((MANIFEST, SIGNATURE), (SIGNATURE,), (MANIFEST,)))
    for name in names:
        (folder / name).unlink(missing_ok=True)
    return f"{' and '.join(names)} removed"


def _remove_folder(folder: Path, dice: Dice) -> str:
    path = dice.pick([path for path in sorted(folder.rglob("*")) if path.is_dir()])
    for item in _files(path):
        item.unlink()
    for item in sorted((path, *path.rglob("*")), reverse=True):
        if item.is_dir() and not item.is_symlink():
            item.rmdir()
        else:
            item.unlink(missing_ok=True)
    return f"{path.relative_to(folder)}/ removed"


def _rename(folder: Path, dice: Dice) -> str:
    path = dice.pick([path for path in sorted(folder.rglob("*")) if not path.is_symlink()])
    change = dice.pick(
        (f"{path.name}.bak", f".{path.name}", path.name.swapcase(), path.stem, f"{path.name} ")
    )
    target = path.with_name(change)
    if target.exists():
        raise NothingToDo("the name is taken")
    path.rename(target)
    return f"{path.relative_to(folder)} renamed to {change!r}"


def _exchange_files(folder: Path, dice: Dice) -> str:
    one, other = dice.two(_files(folder))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return f"{one.relative_to(folder)} and {other.relative_to(folder)} exchanged"


def _copy_over(folder: Path, dice: Dice) -> str:
    one, other = dice.two(_files(folder))
    other.write_bytes(one.read_bytes())
    return f"{other.relative_to(folder)} overwritten by {one.relative_to(folder)}"


def _add_copy(folder: Path, dice: Dice) -> str:
    path = dice.pick(_files(folder))
    places = [
        folder,
        *(item for item in sorted(folder.rglob("*")) if item.is_dir() and not item.is_symlink()),
    ]
    target = dice.pick(places) / dice.pick((f"{path.name}.1", f"0{path.name}", path.name))
    if target.exists():
        raise NothingToDo("the name is taken")
    target.write_bytes(path.read_bytes())
    return f"{path.relative_to(folder)} copied to {target.relative_to(folder)}"


def _add_noise(folder: Path, dice: Dice) -> str:
    target = (
        folder
        / dice.pick(("databases", "volumes", "vault", "."))
        / dice.pick(("x", "x.sql", "x.tar.zst", ".x"))
    )
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(shake_256(b"noise").digest(1 + dice.below(300)))
    return f"{target.relative_to(folder)} added"


def _older(older: Path, folder: Path, dice: Dice) -> str:
    """Take a file, or a file and the manifest that fits it, from the set before."""
    names = [path.relative_to(folder) for path in _files(folder)]
    name = dice.pick(names)
    source = older / name
    if not source.is_file():
        raise NothingToDo("the older set has no such file")
    (folder / name).write_bytes(source.read_bytes())
    return f"{name} taken from {older.name}"


def _older_seal(older: Path, folder: Path, _dice: Dice) -> str:
    for name in (MANIFEST, SIGNATURE):
        (folder / name).write_bytes((older / name).read_bytes())
    return f"manifest and signature taken from {older.name}"


def _link(outside: Path, folder: Path, dice: Dice) -> str:
    path = dice.pick(_files(folder))
    outside.mkdir(exist_ok=True)
    target = outside / path.name
    path.replace(target)
    path.symlink_to(target)
    return f"{path.relative_to(folder)} became a link to a copy of itself"


def _recompress(folder: Path, dice: Dice) -> str:
    path = dice.pick([path for path in _files(folder) if path.suffix == ".zst"])
    try:
        data = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    except zstandard.ZstdError as error:
        raise NothingToDo("it is damaged already") from error
    level = dice.pick((1, 6, 12))
    path.write_bytes(zstandard.compress(data, level))
    return f"{path.relative_to(folder)} compressed anew at level {level}"


# --- the manifest, its signature left alone -------------------------------------------------------------------------


def _manifest(folder: Path, dice: Dice) -> str:
    path = folder / MANIFEST
    if not path.is_file():
        raise NothingToDo("there is no manifest")
    try:
        text = json.loads(path.read_bytes())
        artifacts = text["artifacts"]
        at, other = dice.two(range(len(artifacts)))
    except (ValueError, KeyError, TypeError) as error:
        raise NothingToDo("the manifest is damaged already") from error
    what = dice.pick(("drop", "repeat", "exchange", "hash", "size", "exchange hashes", "spaces", "key order"))
    if what == "drop":
        del artifacts[at]
    elif what == "repeat":
        artifacts.append(artifacts[at])
    elif what == "exchange":
        artifacts[at], artifacts[other] = artifacts[other], artifacts[at]
    elif what == "hash":
        artifacts[at]["sha256"] = artifacts[at]["sha256"][::-1]
    elif what == "size":
        artifacts[at]["bytes"] += 1
    elif what == "exchange hashes":
        one, two = artifacts[at], artifacts[other]
        one["sha256"], two["sha256"] = two["sha256"], one["sha256"]
    indent = 2 if what == "spaces" else 1
    path.write_text(json.dumps(text, indent=indent, sort_keys=what == "key order"), encoding="utf-8")
    return f"manifest, entry {at}: {what}"


def _operations(folder: Path, older: Path, outside: Path) -> dict[str, Callable[[Dice], str]]:
    return {
        **{name: partial(_edit, edit, folder) for name, edit in BYTES.items()},
        "remove a file": partial(_remove, folder),
        "remove the seal": partial(_remove_seal, folder),
        "remove a folder": partial(_remove_folder, folder),
        "rename": partial(_rename, folder),
        "exchange two files": partial(_exchange_files, folder),
        "copy one over another": partial(_copy_over, folder),
        "add a copy": partial(_add_copy, folder),
        "add a file": partial(_add_noise, folder),
        "take an older file": partial(_older, older, folder),
        "take the older seal": partial(_older_seal, older, folder),
        "replace by a link": partial(_link, outside, folder),
        "compress anew": partial(_recompress, folder),
        "edit the manifest": partial(_manifest, folder),
    }


def perform(_bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Damage files of the newest set."""
    folder = work.newest
    before = snapshot(folder)
    done = run_steps(steps, _operations(folder, work.sets[-2], work.directory / "outside"))
    after = snapshot(folder)
    changed = after != before
    return Truth(
        effect=Effect.CHANGED if changed else Effect.SAME,
        done=done,
        checks=("DR-02",),
        why="" if changed else "no byte is another one",
        # A link is not followed: what lies behind it is not the set's, so it can't be said to be changed.
        must_fail=not any(isinstance(item, tuple) for item in after.values()),
    )


FILES = Level(
    name="files",
    title="bytes, files and manifest of a set, hashes left as they were",
    kinds=tuple(_operations(Path(), Path(), Path())),
    perform=perform,
    examples=50,
    most=3,
)
