"""Where the stacks' data files and this machine's caches are."""

import errno
import os
import stat
from pathlib import Path

_BESIDE = Path(__file__).resolve().parent.parent / "compose"
_INSIDE = Path(__file__).resolve().parent / "_compose"


def compose_dir() -> Path:
    """Return the folder of the stacks: beside the package in a checkout, inside it in a wheel."""
    return _INSIDE if _INSIDE.is_dir() else _BESIDE


def suites_dir() -> Path:
    """Return the folder that holds suites/, fixtures/, conftest.py and pytest's settings, in a checkout or a wheel."""
    inside = Path(__file__).resolve().parent / "_suites"
    return inside if inside.is_dir() else _BESIDE.parent


def cache_dir() -> Path:
    """Return the folder for things that can be made again (templates, copies of server binaries).

    Root's cache lies where the unprivileged service user can read it. Created when missing.
    """
    path = Path("/var/cache/smos") if os.geteuid() == 0 else Path.home() / ".cache" / "smos"
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def require_regular(path: Path) -> None:
    """Raise OSError unless `path` is a regular file: opening a FIFO would wait for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


def read_part(path: Path, limit: int) -> bytes:
    """Return the first bytes of a regular file. Raises OSError, for a link and for what is no file as well."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read(limit)
