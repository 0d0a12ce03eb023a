"""Reads a dump in pg_dump's directory format whole, file by file."""

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

from smos.backup.dumpfiles import Member, dump_content
from smos.backup.facts import ContentFacts, FileFacts
from smos.backup.model import Artifact, ArtifactKind
from smos.backup.names import claimed_compression, is_plain_name, printable
from smos.backup.onepass import PassFacts, read_whole
from smos.target import Limits
from smos.verdict import Problem

ENTROPY_LIMIT = 7.5
"""Bits per byte in 4 KiB: text stays below 7 in every language, encrypted bytes reach 7.9."""


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


def read_dump_directory(directory: Path, artifact: Artifact, *, limits: Limits) -> DirectoryFacts:
    """Read every file of the dump once. Raises OSError when the directory itself can't be listed."""
    problems: list[Problem] = []
    passes: dict[str, PassFacts] = {}
    members: dict[str, Member] = {}
    shown = artifact.path
    left = limits.bytes
    for name in sorted(entry.name for entry in (directory / artifact.path).iterdir()):
        path = directory / artifact.path / name
        try:
            if not is_plain_name(name) or not stat.S_ISREG(path.lstat().st_mode):
                problems.append(Problem("unknown-file", f"{shown}/{printable(name)}: not a regular file"))
                continue
            member = Member(name)
            done = read_whole(
                path,
                shown=f"{shown}/{name}",
                limits=limits.model_copy(update={"bytes": max(left, 1)}),
                choose=lambda _head, member=member: member,  # type: ignore[misc]  # binds this round's value
            )
        except OSError as error:
            problems.append(Problem("unreadable", f"{shown}/{name}: {error.strerror}"))
            continue
        claimed = claimed_compression(name)
        if claimed and claimed != done.compression:
            text = f"{shown}/{name}: {done.stored_bytes} bytes that are no {claimed}"
            problems.append(Problem("dump-truncated", text))
        member.whole = done.whole
        left -= done.content_bytes
        problems.extend(done.problems)
        passes[name], members[name] = done, member
    content = dump_content(ArtifactKind.PG_DUMP_DIRECTORY, members, shown=shown, problems=problems)
    tables = [done for name, done in passes.items() if name[:1].isdigit()]
    files = tuple(
        FileFacts(path=f"{shown}/{name}", bytes=done.stored_bytes, sha256=done.sha256)
        for name, done in passes.items()
    )
    return DirectoryFacts(
        content=content,
        files=files,
        stored_bytes=sum(done.stored_bytes for done in passes.values()),
        content_bytes=sum(done.content_bytes for done in passes.values()),
        sha256=combined_sha256(files),
        entropy=max((done.entropy for done in tables), default=0.0),
        entropy_peak=max((done.entropy_peak for done in tables), default=0.0),
    )


def combined_sha256(files: tuple[FileFacts, ...]) -> str:
    """Return one hash for several files: over the sorted lines `<sha256>  <path>`."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
