"""What went wrong in a pg_restore, as a code; its own words are dropped, they may quote a row."""

import re
import threading
from typing import TYPE_CHECKING

from smos.drill.feed import Failure

if TYPE_CHECKING:
    import subprocess

MOST_LINES = 400
_ENTRY = re.compile(r"pg_restore: from TOC entry \d+; \d+ \d+ ([A-Z][A-Z ]*[A-Z]) ([^\s]+)")
_SERVER = re.compile(r"(?:ERROR|FATAL|PANIC):  (.*)")
_CLASSES: tuple[tuple[str, str], ...] = (
    (r"(?:must be (?:super|owner)|permission denied|only (?:super|roles with))", "42501"),
    (r".*does not exist", "undefined"),
    (r".*already exists", "42710"),
    (r".*(?:could not (?:extend|write)|No space left|temporary file size exceeds)", "53100"),
    (r".*(?:terminating connection|shutting down|starting up)", "57P01"),
    (r".*duplicate key|.*could not create unique index", "23505"),
    (r".*violates foreign key", "23503"),
    (r".*violates check|.*is violated by some row", "23514"),
    (r".*violates not-null|.*contains null values", "23502"),
    (r".*syntax error", "42601"),
    (r"invalid input syntax", "22P02"),
    (r".*not supported", "0A000"),
)


class Messages:
    """What pg_restore says, read while it runs; kept in memory only as long as it is needed for a code."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stderr is not None  # noqa: S101  (always asked for; narrows the type)
        self._stream = process.stderr
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream as stream:
            for line in iter(lambda: stream.readline(1 << 16), b""):
                if len(self._lines) < MOST_LINES:
                    self._lines.append(line[:400].decode(errors="replace").rstrip())

    def failure(self, code: int) -> Failure:
        """Return a code for what happened; the server's words are dropped, they may quote a row."""
        self._thread.join()
        kind, subject, found = "pg_restore", "", ""
        for line in self._lines:
            if (entry := _ENTRY.match(line)) is not None:
                kind, subject = entry[1], f"{entry[1]} {entry[2]}"
            if (server := _SERVER.search(line)) is not None and not found:
                found = next(
                    (state for pattern, state in _CLASSES if re.match(pattern, server[1])), "server-error"
                )
            elif not found and line.startswith("pg_restore: error:"):
                found = _own_code(line)
        return Failure(found or f"exit-{code}", kind, subject, None)


def _own_code(line: str) -> str:
    if "unsupported version" in line:
        return "version-gap"
    if "connection to server" in line or "server closed" in line or "lost synchronization" in line:
        return "connection-lost"
    if re.search(
        r"end of file|could not read|could not find|corrupt|did not find magic|unexpected|could not uncompress|invalid",
        line,
    ):
        return "archive-truncated"
    return "pg-restore-error"
