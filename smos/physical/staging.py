"""The log that a sandbox may read: whole, uncompressed files under the server's own names, in a directory of its own.

The sandbox never sees the archive itself. What its user may read is linked, the rest copied or decompressed; a file of
the wrong size is left out and said.
"""

import os
import shlex
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from smos.backup.streams import StreamFault
from smos.physical.archive import LONGEST_HISTORY, Archive, Segment, content
from smos.physical.coverage import Coverage
from smos.provision.users import ServiceUser, can_read
from smos.verdict import Problem


def stage(
    archive: Archive, coverage: Coverage, place: Path, user: ServiceUser | None, give: Callable[[Path], None]
) -> tuple[Problem, ...]:
    """Fill `place` with what recovery along `coverage` can ask for. Codes: wal-torn, wal-damaged, wal-unread."""
    problems: list[Problem] = []
    root = Path(archive.directory)
    for timeline, begin in coverage.chain:
        floor = max(coverage.first, begin // archive.segment_bytes)
        for number, segment in sorted(archive.numbers(timeline).items()):
            if number >= floor:
                problem = _segment(root, segment, archive.segment_bytes, place, user, give)
                problems += [problem] if problem else []
    for timeline, path in archive.history_paths.items():
        target = place / f"{timeline:08X}.history"
        try:
            target.write_bytes(b"".join(content(root / path, LONGEST_HISTORY)))
            give(target)
        except (OSError, StreamFault, ValueError) as error:
            problems.append(Problem("timeline-history-damaged", f"{path}: {error}"))
    return tuple(problems)


def restore_command(place: Path) -> str:
    """Return the command with which a server takes a file from `place`; quiet where there is none.

    An archive may be read-only, and cp takes that along: the server would not open its own copy.
    """
    source = f"{shlex.quote(str(place)).replace('%', '%%')}/%f"
    return f'test -f {source} && cp {source} "%p" && chmod 600 "%p"'


def _segment(
    root: Path,
    segment: Segment,
    size: int,
    place: Path,
    user: ServiceUser | None,
    give: Callable[[Path], None],
) -> Problem | None:
    source, target = root / segment.path, place / segment.name
    plain = segment.compression == "none" and segment.name in segment.path
    if plain and segment.bytes != size:
        return Problem("wal-torn", f"{segment.path} holds {segment.bytes} bytes of {size}")
    try:
        if plain and stat.S_ISREG(source.lstat().st_mode) and (user is None or can_read(source, user)):
            target.symlink_to(source)
            return None
        done = _copy(source, target, size)
    except (OSError, StreamFault) as error:
        target.unlink(missing_ok=True)
        reason = error.detail if isinstance(error, StreamFault) else error.strerror or str(error)
        code = (
            "wal-damaged"
            if isinstance(error, StreamFault) and error.code != "decompressor-missing"
            else "wal-unread"
        )
        return Problem(code, f"{segment.path}: {reason}")
    except ValueError as error:
        target.unlink(missing_ok=True)
        return Problem("wal-torn", f"{segment.path}: {error}")
    if done != size:
        target.unlink(missing_ok=True)
        return Problem("wal-torn", f"{segment.path} holds {done} bytes of {size}")
    give(target)
    return None


def _copy(source: Path, target: Path, size: int) -> int:
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as out:
        for block in content(source, size):
            out.write(block)
        return out.tell()


def room_at(path: Path) -> int:
    """Return the bytes that are free where `path` lies."""
    return shutil.disk_usage(path).free
