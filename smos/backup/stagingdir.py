"""Where the files of an encrypted set lie in plain text until they are encrypted: a private directory, never for long.

A run that is killed with SIGKILL can't remove it. So every run holds a lock on its directory (flock, on the directory
itself), and removes those beside it that nobody holds any more. What isn't ours, or is no directory, is left alone.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "smos-staging-"
_UNFINISHED = "smos-stage-new-"
"""Until it is locked, and empty: another run must not take it for one that was left."""


@contextlib.contextmanager
def staging_directory(base: Path | None = None) -> Iterator[Path]:
    """Yield a new directory (0700) below `base` (None: the system's for temporary files), removed at the end.

    Raises OSError where none can be made.
    """
    place = Path(tempfile.gettempdir()) if base is None else base
    remove_left(place)
    made = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=place))
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stage = made
    try:
        with contextlib.suppress(OSError):  # a file system without locks: then nobody removes it but this run
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stage = made.rename(made.with_name(PREFIX + made.name.removeprefix(_UNFINISHED)))
        yield stage
    finally:
        try:
            shutil.rmtree(stage)
        finally:
            os.close(lock)


def remove_left(place: Path) -> tuple[Path, ...]:
    """Remove what killed runs of this user left below `place`; return the paths. What can't be removed stays."""
    removed = []
    for path in sorted(place.glob(f"{PREFIX}*")):
        if _is_left(path):
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                removed.append(path)
    return tuple(removed)


def _is_left(path: Path) -> bool:
    """Tell whether it is a private directory of this user's that no living run holds."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # a link, a file, somebody else's, or gone
        return False
    try:
        state = os.fstat(lock)
        if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) != 0o700:
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: it can't be told from a living run's
        return False
    finally:
        os.close(lock)
    return True
