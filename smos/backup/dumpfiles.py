"""The files of a dump in pg_dump's directory or tar format, against the table of contents that names them.

This reads all that `pg_restore --file=/dev/null` reads of these formats. It does not depend on how pg_restore
was built, and it ends: pg_restore 18 loops for ever on a tar-format dump that was cut.
"""

from collections.abc import Mapping
from dataclasses import replace

from smos.backup.facts import ContentFacts
from smos.backup.model import ArtifactKind
from smos.backup.names import printable
from smos.backup.pgdump import (
    ArchiveHeader,
    TocEntry,
    TocError,
    TocTooNewError,
    parse_archive_header,
    parse_toc,
)
from smos.backup.probe import TOC_NAME
from smos.verdict import Problem

TOC_BYTES = 32 << 20
"""Most bytes of a table of contents that are kept to be parsed (some 50,000 tables)."""
LIST_BYTES = 32 << 20
EMPTY_COPY = b"\\.\n\n\n"
"""What pg_dump ends the data of every table with."""
SUFFIXES = ("", ".gz", ".lz4", ".zst")
_ENDING_BYTES = 16
_SETTINGS = {"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "COMMENT", "ACL"}


class Member:
    """One file of the dump while it is read: its size, its last bytes, and all of a list or table of contents.

    whole: no fault was found in its stream.
    """

    def __init__(self, name: str) -> None:
        self._keep = TOC_BYTES if name == TOC_NAME else LIST_BYTES if name.endswith(".toc") else 0
        self.data = bytearray()
        self.last = b""
        self.size = 0
        self.whole = True

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file, decompressed."""
        self.size += len(data)
        self.data += data[: max(self._keep - len(self.data), 0)]
        self.last = (self.last + data[-_ENDING_BYTES:])[-_ENDING_BYTES:]


def archive_facts(
    kind: ArtifactKind, toc: bytes, *, cut: bool, shown: str, problems: list[Problem]
) -> ContentFacts:
    """Read header and table of contents of an archive format; what is wrong is added to `problems`.

    cut: `toc` is only the beginning, because it is too large to be kept.
    """
    header: ArchiveHeader | None = None
    entries: tuple[TocEntry, ...] | None = None
    try:
        header = parse_archive_header(toc)
        entries, end = parse_toc(toc)[1:]
        if kind is not ArtifactKind.PG_DUMP_CUSTOM and end != len(toc):
            problems.append(Problem("trailing-bytes", f"{shown}: bytes follow after the table of contents"))
    except TocTooNewError as error:
        if not any(problem.code == "version-gap" for problem in problems):
            problems.append(Problem("version-gap", f"{shown}: {error}"))
    except TocError as error:
        if not cut and not problems:
            problems.append(Problem("dump-unreadable", f"{shown}: {error}"))
    return ContentFacts(
        kind=kind,
        databases=(printable(header.database),) if header and header.database else (),
        server_version=printable(header.server_version) if header else "",
        dump_version=printable(header.dump_version) if header else "",
        has_objects=None if entries is None else any(entry.kind not in _SETTINGS for entry in entries),
        has_rows=None if entries is None else any(entry.has_data for entry in entries),
        problems=tuple(problems),
    )


def dump_content(
    kind: ArtifactKind, members: Mapping[str, Member], *, shown: str, problems: list[Problem]
) -> ContentFacts:
    """Compare the files of a dump with its table of contents.

    members: by stored name. problems: what is known to be wrong already.
    """
    toc = bytes(members[TOC_NAME].data) if TOC_NAME in members else b""
    facts = archive_facts(
        kind, toc, cut=len(toc) >= TOC_BYTES, shown=f"{shown}/{TOC_NAME}", problems=problems
    )
    try:
        entries = parse_toc(toc)[1]
    except TocError:
        return facts  # the problem is recorded already
    more: list[Problem] = []
    known, rows = {TOC_NAME, "restore.sql"}, False
    for entry in entries:
        if not entry.file:
            continue
        name = _file_of(entry, members)
        if name is None:
            more.append(Problem("dump-incomplete", f"{shown}: the data of {_title(entry)} are missing"))
            continue
        known.add(name)
        member = members[name]
        if name.endswith(".toc"):
            objects, lost = _large_objects(bytes(member.data), members)
            known |= objects
            rows = rows or bool(objects)
            more += [Problem("dump-incomplete", f"{shown}: large object {item} is missing") for item in lost]
        elif entry.copied:
            rows = rows or member.size > len(EMPTY_COPY)
            if member.whole and not member.last.endswith(EMPTY_COPY):
                more.append(Problem("dump-truncated", f"{shown}: the data of {_title(entry)} end too early"))
        else:
            rows = rows or member.size > 0
    more += [
        Problem("unknown-file", f"{shown}/{printable(name)}: not named by the dump's table of contents")
        for name in sorted(members.keys() - known)
    ]
    found = (*facts.problems, *more)
    return replace(
        facts,
        has_rows=rows,
        members=len(members),
        read_by="" if found else "its table of contents, every file to the end of its data",
        problems=found,
    )


def _file_of(entry: TocEntry, members: Mapping[str, Member]) -> str | None:
    """Return the stored file of an entry. The tar format lists large objects elsewhere than its entry says."""
    names = [entry.file]
    if entry.kind == "BLOBS":
        names += [f"blobs_{entry.file.partition('.')[0]}.toc", "blobs.toc"]
    return next((name for name in (_stored_name(file, members) for file in names) if name), None)


def _title(entry: TocEntry) -> str:
    return f"{entry.kind.lower()} {printable(entry.tag)}"


def _stored_name(file: str, members: Mapping[str, Member]) -> str | None:
    return next((file + suffix for suffix in SUFFIXES if file + suffix in members), None)


def _large_objects(listing: bytes, members: Mapping[str, Member]) -> tuple[set[str], list[str]]:
    """Return the files of the large objects that a `blobs_*.toc` lists, and those that are not there."""
    found, lost = set(), []
    lines = listing.decode("utf-8", "backslashreplace").splitlines(keepends=True)
    for line in lines:
        number, _, file = line.rstrip("\n").partition(" ")
        name = _stored_name(file, members)
        if name is None or not line.endswith("\n"):
            lost.append(printable(number))
        else:
            found.add(name)
    return found, lost or ([] if lines else ["(none is listed)"])
