"""Reads a whole dump in an archive format with PostgreSQL's own pg_restore, which prints the SQL to nowhere.

`pg_restore --list` reads only the table of contents and exits 0 for a file that was cut in half; writing the
script to /dev/null reads and decompresses every byte of data. Nothing is executed, no server is involved.
"""

import contextlib
import os
import resource
import subprocess
import tempfile
import threading
from pathlib import Path

from smos.backup.names import printable
from smos.verdict import Problem

MEMORY_BYTES = 2 << 30
STDERR_BYTES = 1 << 20
_TOO_NEW = ("unsupported version", "unsupported archive version")
_NO_COMPRESSION = (
    "does not support compression",
    "not built with",
    "compression is not supported",
    "could not initialize compression",
    "no data will be available",
)


class FullRead:
    """One run of `pg_restore --file=/dev/null`, on a file (seekable) or on what is fed to it.

    timeout_s: seconds after which it counts as hung and is killed.
    """

    def __init__(self, tool: Path, *, source: Path | None, timeout_s: float) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `finish`)
        self._timeout_s = timeout_s
        self._timed_out = False
        handle = None if source is None else os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                [tool, "--file=/dev/null"],
                stdin=subprocess.PIPE if handle is None else handle,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            )
        except OSError:
            self._stderr.close()
            raise
        finally:
            if handle is not None:
                os.close(handle)
        self._limit()
        self._timer = threading.Timer(timeout_s, self._stop)
        self._timer.daemon = True
        self._timer.start()

    def feed(self, data: bytes) -> None:
        """Hand on the next bytes; once the program has ended, they are dropped (its exit says why)."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        try:
            self._process.stdin.write(data)
        except BrokenPipeError:
            self._close_input()

    def finish(self, *, shown: str) -> Problem | None:
        """Wait for the end and say what was wrong; None when every byte could be read."""
        self._close_input()
        code = self._process.wait()  # bounded by the timer
        self._timer.cancel()
        self._stderr.seek(0)
        complaint = self._stderr.read(8192).decode(errors="backslashreplace")
        self._stderr.close()
        last = printable(" / ".join(complaint.strip().splitlines()[-2:]))
        if self._timed_out:
            return Problem(
                "limit-reached", f"{shown}: pg_restore was still reading after {self._timeout_s:g} s"
            )
        if any(text in complaint for text in _TOO_NEW):
            return Problem("version-gap", f"{shown}: {last}")
        if any(text in complaint for text in _NO_COMPRESSION):
            return Problem("tool-lacks-compression", f"{shown}: {last}")
        if code:
            return Problem("dump-unreadable", f"{shown}: pg_restore ended with {code}: {last}")
        return None

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _stop(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _limit(self) -> None:
        """Bound memory and what it may write (its complaints): the file is untrusted. Linux only."""
        if hasattr(resource, "prlimit"):
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                resource.prlimit(self._process.pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
                resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (STDERR_BYTES, STDERR_BYTES))
