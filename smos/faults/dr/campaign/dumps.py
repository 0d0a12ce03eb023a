"""Damage inside of a dump, below its compression and with hashes that fit.

Lines and bytes of SQL, of data, of the table of contents; and the same dump made with other options, which changes
nothing or leaves something out.

The oracle restores what was damaged with psql or pg_restore, as a person would by hand, and compares what came back.
"""

import bz2
import gzip
import lzma
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import zstandard

from smos.faults.dr.campaign.databases import NAMES, compare
from smos.faults.dr.campaign.files import BYTES, Edit
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
from smos.faults.dr.campaign.reference import Portrait
from smos.faults.dr.exercise import Scope
from smos.faults.dr.workspace import Workspace
from smos.provision.embedded.postgres import EmbeddedPostgres

TOOL_S = 120
MAGIC = b"PGDMP"
DATED_BYTES = 51
"""Of an archive, up to the end of its date, in all versions of the format that are dumped here."""
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, 1, mtime=0),
    ".zst": partial(zstandard.compress, level=1),
    ".xz": partial(lzma.compress, preset=0),
    ".bz2": partial(bz2.compress, compresslevel=1),
    "": bytes,
}
OPTIONS = (
    "--inserts", "--column-inserts", "--rows-per-insert=50", "--on-conflict-do-nothing --inserts", "--disable-triggers",
    "--quote-all-identifiers", "--no-toast-compression", "--no-table-access-method", "--no-tablespaces",
    "--no-security-labels", "--no-subscriptions", "--no-publications", "--load-via-partition-root",
    "--clean --if-exists", "--clean", "--use-set-session-authorization", "--no-unlogged-table-data",
    "--enable-row-security", "--extra-float-digits=3", "--extra-float-digits=0", "--no-owner", "--no-privileges",
    "--no-comments", "--schema-only", "--data-only", "--no-large-objects", "--no-policies", "--section=pre-data",
    "--section=pre-data --section=data", "--exclude-table=smos.heartbeat", "--exclude-table-data=smos.heartbeat",
    "--exclude-schema=smos", "--exclude-extension=hstore", "--exclude-extension=pg_trgm", "--no-schema",
    "--statistics", "--statistics-only", "--serializable-deferrable",
)  # fmt: skip
"""Options of pg_dump: of some the dump is another one and its content the same, others leave something out."""


# --- lines --------------------------------------------------------------------------------------------------------


def _lines(change: Callable[[Dice, list[bytes]], str], dice: Dice, data: bytes) -> tuple[bytes, str]:
    # An archive's header holds the moment of the dump as numbers, of which 10 and 13 would end a line.
    dated = DATED_BYTES if data.startswith(MAGIC) else 0
    lines = data[dated:].splitlines(keepends=True)
    if dated:
        lines[:1] = [data[:dated] + b"".join(lines[:1])]
    done = change(dice, lines)
    return b"".join(lines), done


def _delete_lines(dice: Dice, lines: list[bytes]) -> str:
    start, end = dice.span(len(lines), dice.pick((1, 1, 1, 30)))
    del lines[start:end]
    return f"lines {start} to {end} deleted"


def _repeat_line(dice: Dice, lines: list[bytes]) -> str:
    at = dice.below(len(lines))
    lines.insert(at, lines[at])
    return f"line {at} repeated"


def _exchange_lines(dice: Dice, lines: list[bytes]) -> str:
    one, other = dice.two(range(len(lines)))
    if dice.below(2):
        other = (one + 1) % len(lines)
    lines[one], lines[other] = lines[other], lines[one]
    return f"lines {one} and {other} exchanged"


def _move_lines(dice: Dice, lines: list[bytes]) -> str:
    start, end = dice.span(len(lines), 20)
    part = lines[start:end]
    del lines[start:end]
    at = dice.below(len(lines) + 1)
    lines[at:at] = part
    return f"lines {start} to {end} moved to {at}"


def _statement(lines: list[bytes], dice: Dice) -> tuple[int, int]:
    """Return where a paragraph of a dump lies: a statement with its heading, or a part of one."""
    gaps = [-1, *(number for number, line in enumerate(lines) if line == b"\n"), len(lines)]
    parts = [(one + 1, two) for one, two in pairwise(gaps) if two - one > 1]
    return dice.pick(parts)


def _delete_statement(dice: Dice, lines: list[bytes]) -> str:
    start, end = _statement(lines, dice)
    del lines[start:end]
    return f"the paragraph of lines {start} to {end} deleted"


def _repeat_statement(dice: Dice, lines: list[bytes]) -> str:
    start, end = _statement(lines, dice)
    lines[end:end] = [b"\n", *lines[start:end]]
    return f"the paragraph of lines {start} to {end} repeated"


def _move_statement(dice: Dice, lines: list[bytes]) -> str:
    start, end = _statement(lines, dice)
    part = [*lines[start:end], b"\n"]
    del lines[start:end]
    at = _statement(lines, dice)[0]
    lines[at:at] = part
    return f"the paragraph of lines {start} to {end} moved to {at}"


def _change_word(dice: Dice, lines: list[bytes]) -> str:
    at = dice.below(len(lines))
    words = lines[at].split(b" ")
    word = dice.below(len(words))
    what = dice.pick(("delete", "repeat", "upper", "digit"))
    if what == "delete" and len(words) > 1:
        del words[word]
    elif what == "repeat":
        words.insert(word, words[word])
    elif what == "upper":
        words[word] = words[word].swapcase()
    else:
        words[word] = words[word].translate(bytes.maketrans(b"0123456789", b"1234567890"))
    lines[at] = b" ".join(words)
    return f"line {at}, word {word}: {what}"


def _blank(dice: Dice, lines: list[bytes]) -> str:
    at = dice.below(len(lines) + 1)
    lines.insert(at, dice.pick((b"\n", b"-- a remark\n", b"/* a remark */\n", b" \t\n")))
    return f"a line that says nothing put at {at}"


LINES: dict[str, Edit] = {
    name: partial(_lines, change)
    for name, change in {
        "delete lines": _delete_lines,
        "repeat a line": _repeat_line,
        "exchange lines": _exchange_lines,
        "move lines": _move_lines,
        "delete a statement": _delete_statement,
        "repeat a statement": _repeat_statement,
        "move a statement": _move_statement,
        "change a word": _change_word,
        "add a blank line": _blank,
    }.items()
}
EDITS: dict[str, Edit] = {**LINES, **BYTES}


# --- three kinds of dumps -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Plain:
    """The dump of a database as one SQL text."""

    data: bytes

    def edit(self, edit: Edit, dice: Dice) -> str:
        self.data, done = edit(dice, self.data)
        return done


@dataclass(slots=True)
class _Folder:
    """The dump of a database in directory format, decompressed."""

    files: dict[str, bytes]

    def edit(self, edit: Edit, dice: Dice) -> str:
        # The table of contents as often as all data files together.
        names = sorted(self.files)
        name = dice.pick(("toc.dat", dice.pick([name for name in names if name != "toc.dat"])))
        self.files[name], done = edit(dice, self.files[name])
        return f"{name}: {done}"


def pg_dump(server: EmbeddedPostgres, name: str, *words: str) -> bytes:
    """Return what pg_dump writes of a database. Raises NothingToDo where it refuses its options."""
    done = subprocess.run(
        [server.installation.tool("pg_dump"), "--create", "--no-password", *words,
         f"--dbname={server.endpoint.conninfo(name)}"],
        env={"PATH": "/usr/bin:/bin", **server.endpoint.env()},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=TOOL_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NothingToDo(f"pg_dump refuses {' '.join(words)}")
    return done.stdout


def _truth(
    whole: Portrait,
    back: tuple[Portrait | None, bool],
    name: str,
    done: str,
    *,
    checks: tuple[str, ...] = ("DR-03",),
    doubt: str = "",
) -> Truth:
    """Put together what the oracle says. back: what came back, and whether without an error. doubt: see `_doubt`."""
    found, clean = back
    effect, why = (Effect.CHANGED, "") if found is None else compare(whole, found)
    if effect is Effect.SAME:
        why = "the same comes back"
        if not clean or doubt:
            effect = Effect.EITHER
            why += f", though {doubt or 'a statement fails'}"
    return Truth(
        effect=effect,
        done=f"{name}: {done}",
        checks=("DR-03",) if effect is Effect.CHANGED else checks,
        scope=Scope(databases=(name,)),
        why=why,
    )


def _doubt(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """Say what is odd about damaged files from which the same comes back."""
    for name, data in after.items():
        if name == "sql" and b"PostgreSQL database dump" not in data[:200]:
            return "its head no longer says that it is a dump"
        if name == "sql" and b"PostgreSQL database dump complete" not in data[-300:]:
            return "its end no longer says that it is complete"
        if b"\0" in data and b"\0" not in before[name]:
            return "there are NUL bytes in the text"
        if name.endswith(".dat") and name != "toc.dat" and data != before[name]:
            marks = [item.partition(b"\n\\.\n") for item in (before[name], data)]
            if marks[0][0] == marks[1][0] and marks[0][2] != marks[1][2]:
                return "the data don't end as pg_dump ends them"
    return ""


def _whole(bench: Bench, work: Workspace, name: str) -> Portrait:
    return work.workshop.whole(name, bench.reference.of_database)


def _put_plain(work: Workspace, name: str, data: bytes, suffix: str) -> None:
    work.drop(work.path(f"databases/{name}"))
    file = f"databases/{name}.sql{suffix}"
    work.path(file).write_bytes(PACKERS[suffix](data))
    seal(work, **{name: file})


def perform_plain(bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Damage the SQL text of a database; the first step's dice say which, and how it is compressed."""
    first = Dice(steps[0].dice)
    name, suffix = first.pick(NAMES), first.pick(tuple(PACKERS))
    rest = [Step(step.kind, step.dice[2:]) for step in steps]
    text = work.workshop.remembered(f"plain {name}", name, pg_dump)
    dump = _Plain(text)
    done = run_steps(rest, {kind: partial(dump.edit, edit) for kind, edit in EDITS.items()})
    _put_plain(work, name, dump.data, suffix)
    return _truth(
        _whole(bench, work, name),
        bench.reference.of_plain(dump.data, name),
        name,
        f"plain{suffix}, {done}",
        doubt=_doubt({"sql": text}, {"sql": dump.data}),
    )


def perform_folder(bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Damage the files of a dump in directory format."""
    first = Dice(steps[0].dice)
    name = first.pick(NAMES)
    rest = [Step(step.kind, step.dice[1:]) for step in steps]
    before = opened(work, name)
    dump = _Folder(dict(before))
    done = run_steps(rest, {kind: partial(dump.edit, edit) for kind, edit in EDITS.items()})
    return folder_truth(bench, work, name, (before, dump.files), done)


def opened(work: Workspace, name: str) -> dict[str, bytes]:
    """Return the files of a dump in directory format, decompressed, by name."""
    return {
        path.name.removesuffix(".zst"): _open(path)
        for path in sorted(work.path(f"databases/{name}").iterdir())
    }


def folder_truth(
    bench: Bench,
    work: Workspace,
    name: str,
    files: tuple[Mapping[str, bytes], Mapping[str, bytes]],
    done: str,
    doubt: str = "",
) -> Truth:
    """Put the damaged files of a dump in directory format in its place, and ask the oracle. files: before, after."""
    before, after = files
    for path in sorted(work.path(f"databases/{name}").iterdir()):
        data = after[path.name.removesuffix(".zst")]
        path.write_bytes(zstandard.compress(data) if path.suffix == ".zst" else data)
    seal(work)
    doubt = doubt or _doubt(before, after)
    reordered = after["toc.dat"] != before["toc.dat"]
    return _archive_truth(bench, work, name, files, done, doubt=doubt, reordered=reordered)


def file_truth(
    bench: Bench, work: Workspace, name: str, files: tuple[bytes, bytes], suffix: str, done: str, doubt: str
) -> Truth:
    """Do the same with a dump in custom or tar format. files: before, after. suffix: of its name."""
    work.drop(work.path(f"databases/{name}"))
    path = f"databases/{name}{suffix}"
    work.path(path).write_bytes(files[1])
    seal(work, **{name: path})
    return _archive_truth(bench, work, name, files, done, doubt=doubt, reordered=suffix != ".tar")


def _archive_truth(
    bench: Bench,
    work: Workspace,
    name: str,
    files: tuple[bytes | Mapping[str, bytes], bytes | Mapping[str, bytes]],
    done: str,
    *,
    doubt: str = "",
    reordered: bool,
) -> Truth:
    before, after = files
    whole = _whole(bench, work, name)
    back = bench.reference.of_archive(after, name)
    if back == (whole, True):
        if not doubt and bench.reference.listing(after) != bench.reference.listing(before):
            doubt = "the table of contents says another thing (pg_restore --list)"
    elif reordered:
        # One session keeps to the order of the table of contents, several to what each entry says that it needs.
        parallel = bench.reference.of_archive(after, name, "--jobs=2")
        if parallel == (whole, True):
            back, doubt = (
                parallel,
                "only with several sessions: entries are in an order that one can't follow",
            )
    return _truth(whole, back, name, done, doubt=doubt)


def _open(path: Path) -> bytes:
    data = path.read_bytes()
    return zstandard.ZstdDecompressor().stream_reader(data).read() if path.suffix == ".zst" else data


def perform_options(bench: Bench, work: Workspace, steps: Sequence[Step]) -> Truth:
    """Dump a database with other options, or in another format or compression."""
    dice = Dice(steps[0].dice)
    name, words, suffix = dice.pick(NAMES), dice.pick(OPTIONS).split(), dice.pick(tuple(PACKERS))
    kind = dice.pick(("plain", "custom", "tar"))
    whole = _whole(bench, work, name)
    try:
        with work.workshop.clone(name):
            data = pg_dump(work.workshop.server, name, *words, f"--format={kind}")
    except NothingToDo as refused:
        return Truth(effect=Effect.SAME, done=str(refused), checks=(), why="pg_dump refuses these options")
    if kind == "plain":
        back = bench.reference.of_plain(data, name)
        _put_plain(work, name, data, suffix)
    else:
        back = bench.reference.of_archive(data, name)
        work.drop(work.path(f"databases/{name}"))
        suffix = dice.pick(("", ".gz", ".zst"))
        file = f"databases/{name}.{'dump' if kind == 'custom' else 'tar'}{suffix}"
        work.path(file).write_bytes(PACKERS[suffix](data))
        seal(work, **{name: file})
    done = f"dumped with {' '.join(words)} as {kind}{suffix}"
    return _truth(whole, back, name, done, checks=("DR-02", "DR-03"))


PLAIN = Level(
    name="plain-dumps",
    title="lines and bytes of a plain SQL dump, hashes made to fit",
    kinds=tuple(EDITS),
    perform=perform_plain,
    examples=6,
    most=2,
)
FOLDERS = Level(
    name="directory-dumps",
    title="data files and table of contents of a dump in directory format, hashes made to fit",
    kinds=tuple(EDITS),
    perform=perform_folder,
    examples=6,
    most=2,
)
FORMATS = Level(
    name="dump-options",
    title="a dump made with other options, formats and compressions, hashes made to fit",
    kinds=("dump",),
    perform=perform_options,
    examples=3,
)
