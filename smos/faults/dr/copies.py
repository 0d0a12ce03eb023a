"""Whether a copy of a damaged directory is damaged in the same way."""

import os
import stat
from pathlib import Path

Portrait = list[tuple[object, ...]]


def is_ordinary(root: Path) -> bool:
    """Tell whether below `root` there are only directories and files with one name and no attributes.

    A copy of anything else (a link, a pipe, a file with a second name) may be something else.
    """
    return all(_ordinary(path) for path in root.rglob("*"))


def portrait(root: Path) -> Portrait:
    """Return what `lstat` says of all that lies below `root`, but for what no two copies share."""
    found = [(path.relative_to(root), path.lstat()) for path in sorted(root.rglob("*"))]
    return [
        (name, item.st_mode, item.st_uid, item.st_gid, item.st_mtime_ns)
        + ((item.st_size,) if stat.S_ISREG(item.st_mode) else ())
        for name, item in found
    ]


def _ordinary(path: Path) -> bool:
    status = path.lstat()
    if stat.S_ISREG(status.st_mode):
        return status.st_nlink == 1 and not (hasattr(os, "listxattr") and os.listxattr(path))
    return stat.S_ISDIR(status.st_mode)
