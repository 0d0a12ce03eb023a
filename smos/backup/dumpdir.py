"""Reads a dump in pg_dump's directory format whole, file by file."""

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

from smos.backup.dumpfiles import Member, dump_content
from smos.backup.envelope import SUFFIX, Opening
from smos.backup.facts import ContentFacts, FileFacts
from smos.backup.model import Artifact, ArtifactKind
from smos.backup.names import claimed_compression, is_plain_name, printable
from smos.backup.onepass import PassFacts, read_whole
from smos.backup.opening import SetOpener, stored_problems
from smos.target import Limits
from smos.verdict import Problem

ENTROPY_LIMIT = 7.5
"""Bits per byte in 4 KiB: text stays below 7 in every language, encrypted bytes reach 7.9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFacts:
    """A directory dump as read. Sizes are sums; entropies are the worst of any table's data.

    encryption: "age" where any file is encrypted so. decrypted: True where all of them opened.
    """

    content: ContentFacts
    files: tuple[FileFacts, ...]
    stored_bytes: int
    content_bytes: int
    sha256: str
    entropy: float
    entropy_peak: float
    encryption: str = ""
    decrypted: bool | None = None


def read_dump_directory(
    directory: Path, artifact: Artifact, *, limits: Limits, opener: SetOpener | None = None
) -> DirectoryFacts:
    """Read every file of the dump once. Raises OSError when the directory itself can't be listed.

    opener: of an encrypted set.
    """
    problems: list[Problem] = []
    passes: dict[str, PassFacts] = {}
    members: dict[str, Member] = {}
    shown = artifact.path
    left = limits.bytes
    closed = 0
    encryption = ""
    for stored in sorted(entry.name for entry in (directory / artifact.path).iterdir()):
        path = directory / artifact.path / stored
        name = stored.removesuffix(SUFFIX) if opener else stored
        way = opener.opening(f"{shown}/{stored}") if opener else None
        try:
            if not is_plain_name(stored) or name in members or not stat.S_ISREG(path.lstat().st_mode):
                problems.append(Problem("unknown-file", f"{shown}/{printable(stored)}: not a regular file"))
                continue
            member = Member(name)
            done = read_whole(
                path,
                shown=f"{shown}/{stored}",
                opening=way if isinstance(way, Opening) else None,
                limits=limits.model_copy(update={"bytes": max(left, 1)}),
                choose=lambda _head, member=member: member,  # type: ignore[misc]  # binds this round's value
            )
        except OSError as error:
            problems.append(Problem("unreadable", f"{shown}/{stored}: {error.strerror}"))
            continue
        encryption = encryption or done.encryption
        if way is not None:
            found = stored_problems(f"{shown}/{stored}", done.encryption, way)
            if isinstance(way, Problem) and found == [way]:  # the reason is the same for all of its files
                found = [Problem(way.code, way.detail.replace(f"{shown}/{stored}", f"{shown}/"))]
            problems += [item for item in found if item not in problems]
        if (opener or done.encryption) and not (isinstance(way, Opening) and way.opened):
            closed += 1
            member.whole = False
        elif (claimed := claimed_compression(name)) and claimed != done.compression:
            text = f"{shown}/{stored}: {done.stored_bytes} bytes that are no {claimed}"
            problems.append(Problem("dump-truncated", text))
        member.whole = member.whole and done.whole
        left -= done.content_bytes
        problems.extend(done.problems)
        passes[stored], members[name] = done, member
    if closed:  # what can't be opened has no structure to look at
        content = ContentFacts(kind=ArtifactKind.PG_DUMP_DIRECTORY, problems=tuple(problems))
    else:
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
        encryption=encryption,
        decrypted=not closed if encryption or opener else None,
        entropy=max((done.entropy for done in tables), default=0.0),
        entropy_peak=max((done.entropy_peak for done in tables), default=0.0),
    )


def combined_sha256(files: tuple[FileFacts, ...]) -> str:
    """Return one hash for several files: over the sorted lines `<sha256>  <path>`."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
