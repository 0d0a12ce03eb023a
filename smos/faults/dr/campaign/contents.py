"""One field of one entry of a dump's table of contents says another thing, hashes made to fit.

Bytes changed at random (the level of directories) mostly leave a table of contents that nothing can read. Here it
stays well-formed: what is tried is every field, in every kind of entry, in the header, and in all three formats.
The oracle restores it with pg_restore, as a person would by hand.
"""

import io
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from smos.faults.dr.campaign.databases import NAMES
from smos.faults.dr.campaign.dumps import file_truth, folder_truth, opened, pg_dump
from smos.faults.dr.campaign.model import Bench, Dice, Level, Step, Truth, run_steps
from smos.faults.dr.contents import Contents
from smos.faults.dr.workspace import Workspace

Entry = dict[str, Any]
FORMATS = ("directory", "directory", "custom", "tar")
TEXTS = (None, b"", b"nonsense")
LISTED = {
    "catalogue": (b"0", b"1259"),
    "oid": (b"0", b"99999"),
    "kind": (b"TABLE", b"COMMENT", b"ACL", b"TABLE DATA", b"SCHEMA"),
    "section": (1, 2, 3, 4),
    "drop": (b"DROP TABLE app.users CASCADE;\n",),
    "namespace": (b"public", b"app"),
    "tablespace": (b"fast",),
    "method": (b"heap",),
    "relkind": tuple(b"\0rpvmSf"),
    "owner": (b"postgres", b"smarteros_app"),
    "with_oids": (b"true", b"false"),
    "needs": ([], [b"1"], [b"999999"]),
}
"""Values that are tried in a field, beside TEXTS and what other entries have there."""
HEADER = {
    "major": (0, 2), "minor": (13, 14, 15, 17), "revision": (1, 255), "integer": (8, 2), "offset": (4, 1),
    "format": (1, 3, 4, 5, 9), "compression": (0, 1, 2, 3, 200), "second": (1, 61), "minute": (1, 99),
    "hour": (1, 99), "day": (1, 40), "month": (1, 14), "year": (99, 1000), "dst": (1, -1),
    "database": (None, b"", b"other"), "server": (None, b"", b"17.1", b"9.6"), "tool": (None, b"", b"17.1"),
}  # fmt: skip
"""Values that are tried in the header."""


def values(contents: Contents, entry: Entry, field: str) -> list[Any]:  # noqa: C901  (one case per type of field)
    """Return what is tried in one field of an entry: only what is not there now."""
    now = entry[field]
    tried: list[Any] = list(LISTED.get(field, ()))
    peers = [item[field] for item in contents.entries if item["kind"] == entry["kind"] and item is not entry]
    tried += peers[:1] + peers[-1:]
    if field == "id":
        tried += [contents.entries[0]["id"], max(item["id"] for item in contents.entries) + 1]
    elif field == "has_data":
        tried += [0, 1]
    elif field == "needs":
        tried += [now[1:], now[:-1], [*now, b"%d" % entry["id"]], [*now, b"%d" % contents.entries[-1]["id"]]]
    elif field == "place" and isinstance(now, tuple):
        tried += [(1, now[1]), (2, now[1]), (3, now[1]), (now[0], 0)]
    elif not isinstance(now, int):
        tried += TEXTS
        if now:
            tried += [now[:-1], now.swapcase(), now + b"x", now + now]
        if now and field in {"definition", "copy"}:
            lines = now.splitlines(keepends=True)
            tried += [b"".join(lines[:-1]), b"".join(lines[1:]), b";".join(reversed(now.split(b";")))]
        if now and field == "copy" and b", " in now:
            first, _, others = now.partition(b"(")
            columns, _, last = others.partition(b")")
            tried.append(first + b"(" + b", ".join(reversed(columns.split(b", "))) + b")" + last)
    kept: list[Any] = []
    for value in tried:
        if value != now and value not in kept:
            kept.append(value)
    return kept


def _shown(value: object) -> str:
    return repr(value)[:60]


def _named(entry: Entry) -> str:
    return f"{(entry['kind'] or b'?').decode(errors='replace')} {(entry['tag'] or b'?').decode(errors='replace')}"


def _field(contents: Contents, dice: Dice) -> str:
    kinds = sorted({item["kind"] or b"" for item in contents.entries})
    kind = dice.pick(kinds)  # a kind of which there is one as often as one of which there are many
    entry = dice.pick([item for item in contents.entries if (item["kind"] or b"") == kind])
    field = dice.pick(tuple(entry))
    value = dice.pick(values(contents, entry, field))
    named = _named(entry)
    done = f"{named}: {field} {_shown(entry[field])} becomes {_shown(value)}"
    entry[field] = value
    return done


def _header(contents: Contents, dice: Dice) -> str:
    field = dice.pick(tuple(HEADER))
    value = dice.pick([item for item in HEADER[field] if item != contents.header[field]])
    done = f"header: {field} {_shown(contents.header[field])} becomes {_shown(value)}"
    contents.header[field] = value
    return done


def _drop(contents: Contents, dice: Dice) -> str:
    return f"{_named(contents.entries.pop(dice.below(len(contents.entries))))} dropped"


def _repeat(contents: Contents, dice: Dice) -> str:
    entry = dice.pick(contents.entries)
    contents.entries.insert(dice.below(len(contents.entries) + 1), dict(entry))
    return f"{_named(entry)} is there twice"


def _move(contents: Contents, dice: Dice) -> str:
    entry = contents.entries.pop(dice.below(len(contents.entries)))
    contents.entries.insert(dice.below(len(contents.entries) + 1), entry)
    return f"{_named(entry)} moved"


def _exchange(contents: Contents, dice: Dice) -> str:
    field = dice.pick(("definition", "owner", "copy", "place", "tag", "needs"))
    kind = dice.pick(contents.entries)["kind"]
    one, other = dice.two([item for item in contents.entries if item["kind"] == kind])
    one[field], other[field] = other[field], one[field]
    return f"{_named(one)} and {_named(other)}: {field} exchanged"


CHANGES: dict[str, Callable[[Contents, Dice], str]] = {
    "change a field": _field,
    "change the header": _header,
    "drop an entry": _drop,
    "repeat an entry": _repeat,
    "move an entry": _move,
    "exchange a field": _exchange,
}

TOC = "toc.dat"
UNLISTED = ("id", "has_data", "section", "definition", "drop", "copy", "needs", "place")


def perform(bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Change the table of contents of a dump; the first step's dice say of which, and in which format."""
    first = Dice(steps[0].dice)
    name, kind = first.pick(NAMES), first.pick(FORMATS)
    rest = [Step(step.kind, step.dice[2:]) for step in steps]
    return perform_on(bench, work, name, kind, lambda contents: _run(contents, rest))


def _run(contents: Contents, steps: Sequence[Step]) -> str:
    return run_steps(steps, {name: partial(change, contents) for name, change in CHANGES.items()})


def perform_on(
    bench: Bench, work: Workspace, name: str, kind: str, change: Callable[[Contents], str]
) -> Truth:
    """Change the table of contents of a database's dump in one format (directory, custom or tar)."""
    if kind == "directory":
        before = opened(work, name)
        contents = Contents.parse(before[TOC])
        doubt, done = _changed(contents, change)
        after = before | {TOC: contents.to_bytes()}
        return folder_truth(bench, work, name, (before, after), f"{kind}, {done}", doubt)
    words = (f"--format={kind}", "--compress=0")
    whole = work.workshop.remembered(
        f"{kind} {name}", name, lambda server, name: pg_dump(server, name, *words)
    )
    contents = Contents.parse(whole if kind == "custom" else _member(whole))
    doubt, done = _changed(contents, change)
    data = contents.to_bytes()
    suffix = ".dump" if kind == "custom" else ".tar"
    file = data if kind == "custom" else _with_member(whole, data)
    return file_truth(bench, work, name, (whole, file), suffix, f"{kind}, {done}", doubt)


def _changed(contents: Contents, change: Callable[[Contents], str]) -> tuple[str, str]:
    """Change it; return why a check may object though the same comes back, and what was done."""
    before = _heard(contents)
    done = change(contents)
    return "" if _heard(contents) == before else "pg_dump writes no such entry, and no listing shows it", done


def _heard(contents: Contents) -> list[list[Any]]:
    """Return what pg_restore goes by and does not list: other orders, or other tools, may make something else of it."""
    return [[entry.get(field) for field in UNLISTED] for entry in contents.entries]


def _member(archive: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = tar.extractfile(TOC)
        return found.read() if found is not None else b""


def _with_member(archive: bytes, contents: bytes) -> bytes:
    """Return a tar with another table of contents, all other members as they were."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as tar,
        tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as made,
    ):
        for member in tar:
            file = tar.extractfile(member)
            data = contents if member.name == TOC or file is None else file.read()
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return out.getvalue()


CONTENTS = Level(
    name="dump-contents",
    title="fields of entries in a dump's table of contents, in all its formats, hashes made to fit",
    kinds=("change a field", "change a field", *CHANGES),
    perform=perform,
    examples=5,
    most=2,
)
