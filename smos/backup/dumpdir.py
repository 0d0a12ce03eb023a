"""Reads a dump in pg_dump's directory format whole: table of contents, and every file that it names.

That is all that `pg_restore --file=/dev/null` reads of such a dump, without its dependence on how it was
built (data files may be zstd or lz4). Each table's data must end as pg_dump ends it.
"""

import hashlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from smos.backup.content import EMPTY_COPY, TOC_BYTES, archive_facts
from smos.backup.facts import ContentFacts, FileFacts
from smos.backup.model import Artifact, ArtifactKind
from smos.backup.names import is_plain_name, printable
from smos.backup.onepass import PassFacts, read_whole
from smos.backup.pgdump import TocEntry, TocError, parse_toc
from smos.backup.probe import TOC_NAME
from smos.target import Limits
from smos.verdict import Problem

SUFFIXES = ("", ".gz", ".lz4", ".zst")
ENTROPY_LIMIT = 7.5
"""Bits per byte in 4 KiB: text stays below 6.5 in every language, encrypted bytes reach 7.9."""
_LISTS_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFacts:
    """A directory dump as read. Sizes are sums; entropies are the worst of any table's data."""

    content: ContentFacts
    files: tuple[FileFacts, ...]
    stored_bytes: int
    content_bytes: int
    sha256: str
    entropy: float
    entropy_peak: float


class _Ending:
    """Keeps the last bytes of a file, and the first ones of a small file."""

    def __init__(self, keep_bytes: int) -> None:
        self._keep = keep_bytes
        self.data = bytearray()
        self.last = b""
        self.size = 0

    def feed(self, data: bytes) -> None:
        self.size += len(data)
        self.data += data[: max(self._keep - len(self.data), 0)]
        self.last = (self.last + data[-16:])[-16:]


def read_dump_directory(directory: Path, artifact: Artifact, *, limits: Limits) -> DirectoryFacts:
    """Read every file of the dump once. Raises OSError when the directory itself can't be listed."""
    problems: list[Problem] = []
    passes: dict[str, tuple[PassFacts, _Ending]] = {}
    shown = artifact.path
    left = limits.bytes
    for name in sorted(entry.name for entry in (directory / artifact.path).iterdir()):
        path = directory / artifact.path / name
        if not is_plain_name(name) or not stat.S_ISREG(os.lstat(path).st_mode):
            problems.append(Problem("unknown-file", f"{shown}/{printable(name)}: not a regular file"))
            continue
        ending = _Ending(TOC_BYTES if name == TOC_NAME else _LISTS_BYTES if name.endswith(".toc") else 0)
        try:
            done = read_whole(
                path,
                shown=f"{shown}/{name}",
                limits=limits.model_copy(update={"bytes": max(left, 1)}),
                choose=lambda _peek, ending=ending: ending,  # type: ignore[misc]
            )
        except OSError as error:
            problems.append(Problem("unreadable", f"{shown}/{name}: {error.strerror}"))
            continue
        left -= done.content_bytes
        problems.extend(done.problems)
        passes[name] = (done, ending)
    content = _content(shown, passes, problems)
    tables = [done for name, (done, _) in passes.items() if _is_table(name)]
    files = tuple(
        FileFacts(path=f"{shown}/{name}", bytes=done.stored_bytes, sha256=done.sha256)
        for name, (done, _) in passes.items()
    )
    return DirectoryFacts(
        content=content,
        files=files,
        stored_bytes=sum(done.stored_bytes for done, _ in passes.values()),
        content_bytes=sum(done.content_bytes for done, _ in passes.values()),
        sha256=combined_sha256(files),
        entropy=max((done.entropy for done in tables), default=0.0),
        entropy_peak=max((done.entropy_peak for done in tables), default=0.0),
    )


def combined_sha256(files: tuple[FileFacts, ...]) -> str:
    """Return one hash for several files: over the sorted lines `<sha256>  <path>`."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content(
    shown: str, passes: dict[str, tuple[PassFacts, _Ending]], problems: list[Problem]
) -> ContentFacts:
    toc = bytes(passes[TOC_NAME][1].data) if TOC_NAME in passes else b""
    facts = archive_facts(ArtifactKind.PG_DUMP_DIRECTORY, toc, shown=f"{shown}/{TOC_NAME}", problems=problems)
    try:
        entries = parse_toc(toc)[1]
    except TocError:
        return facts  # the problem is recorded already
    more, rows, known = [], False, {TOC_NAME}
    for entry in entries:
        if not entry.file:
            continue
        name = _stored_name(entry.file, passes)
        if name is None:
            more.append(Problem("dump-incomplete", f"{shown}: the data of {_title(entry)} are missing"))
            continue
        known.add(name)
        done, ending = passes[name]
        if name.endswith(".toc"):
            blobs, lost = _blobs(bytes(ending.data), passes)
            known |= blobs
            rows = rows or bool(blobs)
            more += [Problem("dump-incomplete", f"{shown}: large object {item} is missing") for item in lost]
        elif entry.copied:
            rows = rows or ending.size > len(EMPTY_COPY)
            if done.whole and not ending.last.endswith(EMPTY_COPY):
                more.append(Problem("dump-truncated", f"{shown}: the data of {_title(entry)} end too early"))
        else:
            rows = rows or ending.size > 0
    more += [
        Problem("unknown-file", f"{shown}/{name}: not named by the dump's table of contents")
        for name in sorted(passes.keys() - known)
    ]
    problems = [*facts.problems, *more]
    return replace(
        facts,
        has_rows=rows,
        members=len(passes),
        read_by="" if problems else "its table of contents, every file to the end of its data",
        problems=tuple(problems),
    )


def _title(entry: TocEntry) -> str:
    return f"{entry.kind.lower()} {printable(entry.tag)}"


def _stored_name(file: str, passes: dict[str, tuple[PassFacts, _Ending]]) -> str | None:
    return next((file + suffix for suffix in SUFFIXES if file + suffix in passes), None)


def _blobs(listing: bytes, passes: dict[str, tuple[PassFacts, _Ending]]) -> tuple[set[str], list[str]]:
    """Return the files of the large objects that a `blobs_*.toc` lists, and those that are not there."""
    found, lost = set(), []
    for line in listing.decode("utf-8", "backslashreplace").splitlines():
        number, _, file = line.partition(" ")
        name = _stored_name(file, passes)
        if name is None:
            lost.append(printable(number))
        else:
            found.add(name)
    return found, lost


def _is_table(name: str) -> bool:
    return name != TOC_NAME and name[:1].isdigit() and ".dat" in name
