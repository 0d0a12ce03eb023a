"""Which user the servers run as. PostgreSQL refuses root, so root's servers get an unprivileged user."""

import os
import platform
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from smos.errors import ProvisionError

OWN_NAME = "smos"
KNOWN_NAMES = (OWN_NAME, "postgres")
CREATE_S = 60
"""Seconds that `useradd` may take (it waits for a lock on the user database)."""


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """An unprivileged account of this machine."""

    name: str
    uid: int
    gid: int


@cache
def service_user() -> ServiceUser | None:
    """Return the user that servers run as; None when this process is not root (they run as it does).

    Root: the user `smos` or `postgres` where one exists, else a system user `smos` is created, else `nobody`.
    Raises ProvisionError when there is none of them.
    """
    if os.geteuid() != 0:
        return None
    for name in KNOWN_NAMES:
        if (known := _lookup(name)) is not None:
            return known
    _create()
    for name in (OWN_NAME, "nobody"):
        if (known := _lookup(name)) is not None:
            return known
    raise ProvisionError(
        "The harness runs as root and there is no unprivileged user to run PostgreSQL as",
        remedy=f"create one: useradd --system --no-create-home {OWN_NAME}",
    )


def server_user() -> str:
    """Return the name of the user that servers and tools run as: the service user, or whoever runs the harness."""
    user = service_user()
    return user.name if user is not None else pwd.getpwuid(os.geteuid()).pw_name


def can_enter(directory: Path, user: ServiceUser) -> bool:
    """Whether `user` may pass through `directory` and all above it (by the mode bits)."""
    real = directory.resolve()
    return all(_allows(folder, user, stat.S_IXOTH) for folder in (real, *real.parents))


def can_read(path: Path, user: ServiceUser) -> bool:
    """Whether `user` may enter every directory above `path` and read it (by the mode bits)."""
    real = path.resolve()
    return can_enter(real.parent, user) and _allows(real, user, stat.S_IROTH)


def _allows(path: Path, user: ServiceUser, other_bit: int) -> bool:
    facts = path.stat()
    if facts.st_uid == user.uid:
        return bool(facts.st_mode & other_bit << 6)
    if facts.st_gid == user.gid:
        return bool(facts.st_mode & other_bit << 3)
    return bool(facts.st_mode & other_bit)


def _lookup(name: str) -> ServiceUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return ServiceUser(name, entry.pw_uid, entry.pw_gid) if entry.pw_uid != 0 else None


def _create() -> None:
    """Create the system user; where that is impossible (no useradd, read-only /etc) `nobody` serves."""
    tool = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if tool is None or platform.system() != "Linux":
        return
    subprocess.run(
        [
            tool,
            "--system",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            OWN_NAME,
        ],
        capture_output=True,
        check=False,
        timeout=CREATE_S,
    )
