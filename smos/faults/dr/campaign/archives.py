"""Damage inside of a volume's archive, below its compression and with hashes that fit.

The oracle unpacks it with GNU tar and compares the trees. Where tar complains, a check may as well.
"""

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import zstandard

from smos.faults.dr.campaign.files import BYTES
from smos.faults.dr.campaign.model import (
    Bench,
    Dice,
    Effect,
    Level,
    NothingToDo,
    Step,
    Truth,
    run_steps,
    seal,
)
from smos.faults.dr.campaign.reference import tree
from smos.faults.dr.campaign.volumes import NAMES
from smos.faults.dr.exercise import Scope
from smos.faults.dr.workspace import Workspace

BLOCK = 512
TOOL_S = 60
EXTRACT = (
    "--extract",
    "--numeric-owner",
    "--same-permissions",
    "--acls",
    "--xattrs",
    "--xattrs-include=*",
    # Our archives have keywords that GNU tar doesn't know, and times are not compared: no complaint about a backup.
    "--warning=no-unknown-keyword",
    "--warning=no-timestamp",
    "--file=-",
)
FIELDS = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12)}
"""Numbers in a header: where they lie and how long they are (POSIX.1-2017, ustar)."""
FRAME = 3000
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar.zst": partial(zstandard.compress, level=19),
    ".tar.gz": lambda data: gzip.compress(data, 1, mtime=0),
    ".tar.xz": partial(lzma.compress, preset=0),
    ".tar.bz2": partial(bz2.compress, compresslevel=1),
    ".tar": bytes,
    "frames.tar.zst": lambda data: b"".join(
        zstandard.compress(data[at : at + FRAME]) for at in range(0, len(data), FRAME)
    ),
    "members.tar.gz": lambda data: b"".join(
        gzip.compress(data[at : at + FRAME], mtime=0) for at in range(0, len(data), FRAME)
    ),
}


@dataclass(frozen=True, slots=True)
class _Member:
    """A member with everything that belongs to it: its extended headers, its header, its content."""

    data: bytes
    header: int
    name: str
    kind: bytes


def _members(data: bytes) -> tuple[list[_Member], bytes]:
    """Return the members of a tar and what follows them. Raises NothingToDo for one that is damaged."""
    members = []
    at = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found = archive.getmembers()
            ends = [*(item.offset for item in found[1:]), archive.offset]
    except (tarfile.TarError, ValueError) as error:
        raise NothingToDo("the archive is damaged already") from error
    for item, end in zip(found, ends, strict=True):
        # The last header before the content is the member's own; before it lie the extended ones.
        header = item.offset_data - BLOCK - item.offset
        members.append(_Member(data[item.offset : end], header, item.name, item.type))
        at = end
    return members, data[at:]


def _summed(block: bytes) -> bytes:
    """Return a header with the right checksum."""
    header = bytearray(block)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


class _Archive:
    """An archive that is being damaged. packer: how it will be compressed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.packer = ".tar.zst"

    def operations(self) -> dict[str, Callable[[Dice], str]]:
        """Return the steps."""
        raw = {name: partial(self._bytes, name) for name in BYTES}
        return {
            **raw,
            "drop a member": partial(self._list, self._drop),
            "repeat a member": partial(self._list, self._repeat),
            "move a member": partial(self._list, self._move),
            "exchange members": partial(self._list, self._swap),
            "shuffle": partial(self._list, self._shuffle),
            "change a number": self._number,
            "change a name": self._rename,
            "change a type": self._type,
            "change the end": self._end,
            "pack otherwise": self._pack,
        }

    def _bytes(self, name: str, dice: Dice) -> str:
        self.data, done = BYTES[name](dice, self.data)
        return done

    def _list(self, change: Callable[[list[_Member], Dice], str], dice: Dice) -> str:
        members, end = _members(self.data)
        done = change(members, dice)
        self.data = b"".join(member.data for member in members) + end
        return done

    @staticmethod
    def _drop(members: list[_Member], dice: Dice) -> str:
        return f"{members.pop(dice.below(len(members))).name!r} dropped"

    @staticmethod
    def _repeat(members: list[_Member], dice: Dice) -> str:
        member = dice.pick(members)
        members.insert(dice.below(len(members) + 1), member)
        return f"{member.name!r} is there twice"

    @staticmethod
    def _move(members: list[_Member], dice: Dice) -> str:
        member = members.pop(dice.below(len(members)))
        members.insert(dice.below(len(members) + 1), member)
        return f"{member.name!r} moved"

    @staticmethod
    def _swap(members: list[_Member], dice: Dice) -> str:
        one, other = dice.two(range(len(members)))
        members[one], members[other] = members[other], members[one]
        return f"{members[one].name!r} and {members[other].name!r} exchanged"

    @staticmethod
    def _shuffle(members: list[_Member], dice: Dice) -> str:
        """Put the members into another order; links stay behind what they link to."""
        rest = [member for member in members if member.kind != tarfile.LNKTYPE]
        links = [member for member in members if member.kind == tarfile.LNKTYPE]
        start = dice.below(len(rest))
        step = dice.pick((1, -1))
        members[:] = [*(rest[start:] + rest[:start])[::step], *links]
        return "members in another order"

    def _header(self, dice: Dice, change: Callable[[bytes], tuple[bytes, str]]) -> str:
        members, end = _members(self.data)
        at = dice.below(len(members))
        member = members[at]
        head = member.data[member.header : member.header + BLOCK]
        after, done = change(head)
        data = member.data[: member.header] + _summed(after) + member.data[member.header + BLOCK :]
        parts = [item.data for item in members]
        parts[at] = data
        self.data = b"".join(parts) + end
        return f"{member.name!r}: {done}"

    def _number(self, dice: Dice) -> str:
        field = dice.pick(tuple(FIELDS))
        at, size = FIELDS[field]

        def change(head: bytes) -> tuple[bytes, str]:
            text = head[at : at + size].rstrip(b"\0 ") or b"0"
            try:
                number = int(text, 8)
            except ValueError as error:
                raise NothingToDo("no octal number") from error
            after = dice.pick((number ^ 1 << dice.below(9), 0, number + 1))
            return head[:at] + b"%0*o\0" % (size - 1, after) + head[
                at + size :
            ], f"{field} {number} becomes {after}"

        return self._header(dice, change)

    def _rename(self, dice: Dice) -> str:
        def change(head: bytes) -> tuple[bytes, str]:
            name = head[:100].rstrip(b"\0")
            if not name:
                raise NothingToDo("no name")
            where = dice.below(len(name))
            after = name[:where] + bytes([dice.pick(b"aZ0/.- ")]) + name[where + 1 :]
            return after.ljust(100, b"\0") + head[100:], f"called {after!r}"

        return self._header(dice, change)

    def _type(self, dice: Dice) -> str:
        kind = bytes([dice.pick(b"012345679SLKxgA\0")])

        def change(head: bytes) -> tuple[bytes, str]:
            return head[:156] + kind + head[157:], f"type {head[156:157]!r} becomes {kind!r}"

        return self._header(dice, change)

    def _end(self, dice: Dice) -> str:
        what = dice.pick(("no zeros", "one block", "many zeros", "garbage"))
        bare = b"".join(member.data for member in _members(self.data)[0])
        ends = {"no zeros": b"", "one block": bytes(BLOCK), "many zeros": bytes(40 * BLOCK)}
        self.data = bare + ends.get(what, bytes(2 * BLOCK) + b"garbage" * 80)
        return f"the end: {what}"

    def _pack(self, dice: Dice) -> str:
        self.packer = dice.pick(tuple(PACKERS))
        return f"packed as {self.packer}"


def _extract(data: bytes, place: Path) -> bool:
    """Unpack with GNU tar, as this user; return whether it had nothing to say."""
    place.mkdir()
    done = subprocess.run(
        ["tar", "--directory", place, *EXTRACT],
        input=data, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, capture_output=True,
        timeout=TOOL_S, check=False,
    )  # fmt: skip
    return done.returncode == 0 and not done.stderr.strip()


def _doubt(data: bytes) -> str:
    """Say why tools may differ in what they restore from a tar that GNU tar reads without a word."""
    try:
        members, end = _members(data)
    except NothingToDo:
        return "Python's tarfile can't read it"
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        return "a name is there twice"
    if len(end) < 2 * BLOCK or len(end) % BLOCK or end.strip(b"\0"):
        return "it does not end with blocks of zeros alone"
    return ""


def perform(_bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Damage the archive of a volume; the first step's dice say which."""
    name = Dice(steps[0].dice).pick(NAMES)
    rest = [Step(step.kind, step.dice[1:]) for step in steps]
    path = work.path(f"volumes/{name}.tar.zst")
    whole = work.unpacked(f"volumes/{name}.tar.zst")
    archive = _Archive(whole)
    done = run_steps(rest, archive.operations())
    path.unlink()
    suffix = archive.packer.removeprefix("frames").removeprefix("members")
    path.with_name(f"{name}{suffix}").write_bytes(PACKERS[archive.packer](archive.data))
    seal(work, **{name: f"volumes/{name}{suffix}"})
    before, after = work.directory / "tar-before", work.directory / "tar-after"
    _extract(whole, before)
    clean = _extract(archive.data, after)
    same = tree(before) == tree(after)
    for place in (before, after):
        shutil.rmtree(place)
    effect, why = (Effect.SAME, "GNU tar restores the same") if same else (Effect.CHANGED, "")
    if same and not clean:
        effect, why = Effect.EITHER, "GNU tar restores the same, and complains"
    elif same and (doubt := _doubt(archive.data)):
        effect, why = Effect.EITHER, f"GNU tar restores the same, other tools may not: {doubt}"
    return Truth(
        effect=effect,
        done=f"{name}: {done}",
        checks=("DR-04",),
        scope=Scope(volumes=(name,)),
        why=why,
    )


ARCHIVES = Level(
    name="archives",
    title="members, headers and bytes of a volume's archive, hashes made to fit",
    kinds=tuple(_Archive(b"").operations()),
    perform=perform,
    examples=20,
    most=2,
)
