r"""One psql behind its own `\restrict`, fed from Python; and what it reports, without a single value of a row.

`VERBOSITY=sqlstate` makes psql print severity and SQLSTATE only. Restricted, it refuses every backslash command
but the one with our random token: that is the second line of defence behind the lexer.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from smos.errors import UnsafeInputError
from smos.provision.base import PostgresEndpoint
from smos.provision.owner import BASE_ENV
from smos.provision.users import service_user

PIPE = 2**20
"""Bytes between us and psql: holds the indexes and constraints at the end of most dumps, so that the next database
can be read while they are built."""
F_SETPIPE_SZ = 1031
MEMORY = 4 * 2**30
"""Bytes of address space that one tool may take."""
MOST_LINES = 200
LONGEST_LINE = 400
REMEMBERED = 1 << 16
_ERROR = re.compile(r"psql:<stdin>:(\d+): (?:ERROR|FATAL|PANIC):  (\w{5})")
_OWN = re.compile(r"psql:<stdin>:(\d+): (?:error|fatal): (.*)")
RESTRICT_SINCE = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
"""Minor versions in which psql got `\\restrict` (CVE-2025-8714)."""
NEUTRAL = (
    "DBNAME",
    "USER",
    "HOST",
    "PORT",
    "SERVICE",
    "VERSION",
    "SERVER_VERSION_NAME",
    "LAST_ERROR_MESSAGE",
)
"""psql's own variables: unset, so that `:NAME` in a dump stays what it is."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What psql reported. code: SQLSTATE or a word. kind, subject, line: of the statement, as the feeder named it."""

    code: str
    kind: str
    subject: str
    line: int | None


def can_restrict(version_num: int) -> bool:
    r"""Whether the psql of this version has `\restrict`."""
    major, minor = divmod(version_num, 10000)
    return major >= 18 or minor >= RESTRICT_SINCE.get(major, sys.maxsize)


def tool_process(
    argv: Sequence[str | Path],
    endpoint: PostgresEndpoint,
    *,
    stdin: int,
    stdout: int,
    stderr: int = subprocess.PIPE,
) -> "subprocess.Popen[bytes]":
    """Start one of PostgreSQL's tools as the service user, with nothing of our environment, in its own session."""
    user = service_user()
    return subprocess.Popen(
        [*_limits(), *(str(word) for word in argv)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd="/",
        env={**BASE_ENV, **endpoint.env(), "HOME": "/nonexistent", "LC_ALL": "C"},
        start_new_session=True,
        umask=0o077,
        user=None if user is None else user.uid,
        group=None if user is None else user.gid,
        extra_groups=None if user is None else (),
    )


@cache
def _limits() -> tuple[str, ...]:
    """Return the command that bounds memory and forbids core dumps (they would hold rows), where there is one.

    Not from here: a container's root may not change the limits of another user's process.
    """
    program = shutil.which("prlimit", path=BASE_ENV["PATH"])
    return () if program is None else (program, f"--as={MEMORY}", "--core=0", "--")


def end_process(process: "subprocess.Popen[bytes]") -> None:
    """Kill a tool and what it started (pg_restore's workers): it has a session of its own."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class Psql:
    """A restricted psql in one database."""

    def __init__(self, program: Path, version_num: int, endpoint: PostgresEndpoint, conninfo: str) -> None:
        if not can_restrict(version_num):
            raise UnsafeInputError(
                f"psql {version_num // 10000}.{version_num % 10000} has no \\restrict",
                remedy="update PostgreSQL's client to the newest minor version",
            )
        self._process = tool_process(
            [
                program, "--no-psqlrc", "--quiet", "--no-password", "--file=-", f"--dbname={conninfo}",
                *("--set=ON_ERROR_STOP=1", "--set=VERBOSITY=sqlstate", "--set=SHOW_CONTEXT=never"),
            ],
            endpoint, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdin is not None  # noqa: S101  (asked for above; narrows the type)
        assert self._process.stderr is not None  # noqa: S101
        self._stdin: IO[bytes] = self._process.stdin
        with contextlib.suppress(OSError):  # not Linux, or over the user's limit
            fcntl.fcntl(self._stdin.fileno(), F_SETPIPE_SZ, PIPE)
        self._marks: deque[tuple[int, int, str, str]] = deque(maxlen=REMEMBERED)
        self._line = 1
        self._messages: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,), daemon=True)
        self._reader.start()
        self.broken = False
        self.reason = ""
        token = secrets.token_hex(16)
        self._raw(
            b"".join(b"\\unset %s\n" % name.encode() for name in NEUTRAL) + f"\\restrict {token}\n".encode()
        )
        self._line += len(NEUTRAL) + 1

    def feed(self, text: bytes, kind: str, subject: str, line: int, *, open_end: bool = False) -> None:
        """Hand over a statement. open_end: COPY data (which begin with the line's end) or more of it follow."""
        if not open_end and not text.endswith(b"\n"):
            text += b"\n"
        self._line += text.count(b"\n")
        self._marks.append((self._line, line, kind, subject))
        self._raw(text)

    def data(self, text: bytes) -> None:
        """Hand over COPY data of the statement before."""
        self._line += text.count(b"\n")
        _, line, kind, subject = self._marks.pop()
        self._marks.append((self._line, line, kind, subject))
        self._raw(text)

    def _raw(self, text: bytes) -> None:
        if self.broken:
            return
        try:
            self._stdin.write(text)
        except (BrokenPipeError, ValueError):
            self.broken = True

    def synchronise(self, marker: str, wait: Callable[[Callable[[], bool]], None]) -> None:
        """Make it set its application's name to `marker`; `wait` gets a probe that is True when it has ended."""
        self.feed(f"SET application_name = '{marker}';".encode(), "SET", "", 0)
        self.flush()
        wait(lambda: self._process.poll() is not None)

    def flush(self) -> None:
        """Send what is buffered."""
        if not self.broken:
            try:
                self._stdin.flush()
            except BrokenPipeError:
                self.broken = True

    def kill(self, reason: str) -> None:
        """End it at once; `reason` becomes the failure's code."""
        self.reason = self.reason or reason
        end_process(self._process)

    def close_input(self) -> None:
        """Say that nothing follows; psql works on what it has."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def finish(self) -> tuple[Failure, ...]:
        """Wait for its end (bounded by whoever may call `kill`) and return what failed; empty when all went well."""
        self.close_input()
        code = self._process.wait()
        self._reader.join()
        failures = [failure for line in self._messages if (failure := self._failure(line)) is not None]
        if self.reason:
            return (Failure(self.reason, *self._last()),)
        if code and not failures:
            failures.append(Failure("connection-lost" if code == 2 else "psql-failed", *self._last()))
        return tuple(failures)

    def _last(self) -> tuple[str, str, int | None]:
        if not self._marks:
            return "", "", None
        _, line, kind, subject = self._marks[-1]
        return kind, subject, line

    def _failure(self, text: str) -> Failure | None:
        if (match := _ERROR.match(text)) is not None:
            return Failure(match[2], *self._at(int(match[1])))
        if (match := _OWN.match(text)) is not None:
            restricted = "restricted" in match[2]
            return Failure("psql-restricted" if restricted else "psql-failed", *self._at(int(match[1])))
        return Failure("connection-failed", "", "", None) if text.startswith("psql: error:") else None

    def _at(self, line: int) -> tuple[str, str, int | None]:
        for end, source, kind, subject in self._marks:
            if end > line:
                return kind, subject, source
        return self._last()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in iter(lambda: stream.readline(1 << 16), b""):
                if len(self._messages) < MOST_LINES:
                    self._messages.append(line[:LONGEST_LINE].decode(errors="replace").rstrip())
