"""Loopback ports that are claimed before use, so that two servers of any two runs never meet.

A port is claimed by a lock on a file named after it, held as long as the claim lives (the kernel releases it when
the process dies). Claims lie below the range from which the kernel takes ports for outgoing connections, so
nobody else's client can sit on one; what other programs listen on is found by trying.
"""

import fcntl
import os
import secrets
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from smos.errors import ProvisionError

FIRST, LAST = 15_000, 29_999
"""Below net.ipv4.ip_local_port_range of Linux (32768) and macOS (49152)."""
TRIES = 200


class PortClaim:
    """A claimed TCP port on 127.0.0.1; a context manager. It stays claimed over restarts of its server."""

    def __init__(self) -> None:
        self._lock: int | None = None
        home = _home()
        for _ in range(TRIES):
            port = FIRST + secrets.randbelow(LAST - FIRST + 1)
            lock = os.open(home / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            if _free(port):
                self._lock = lock
                self.port = port
                return
            os.close(lock)
        raise ProvisionError(
            f"No free port was found between {FIRST} and {LAST} in {TRIES} tries",
            remedy="look what listens there: ss -ltn",
        )

    @property
    def address(self) -> str:
        """The address as servers write it: 127.0.0.1:PORT."""
        return f"127.0.0.1:{self.port}"

    def release(self) -> None:
        """Give the port back; may be called again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


def _home() -> Path:
    """Return the directory of this user's lock files; ports of other users are found by trying."""
    home = Path("/tmp") / f"smos-ports-{os.geteuid()}"  # noqa: S108  (0700, and checked)
    home.mkdir(mode=0o700, exist_ok=True)
    facts = home.lstat()
    if home.is_symlink() or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise ProvisionError(
            f"{home} belongs to somebody else or can be written by others", remedy="remove it"
        )
    return home


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A port whose last connections are in TIME_WAIT is free: servers listen with this option as well.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
