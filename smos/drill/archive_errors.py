"""What went wrong in a pg_restore, as a code; its own words are dropped, they may quote a row."""

import re
import threading
from typing import TYPE_CHECKING

from smos.drill.feed import Failure
from smos.drill.sqlobjects import head, object_of
from smos.drill.sqlstream import SqlLexer, Statement

if TYPE_CHECKING:
    import subprocess

MOST_LINES = 400
MOST_STATEMENT_LINES = 40
_WAS = "Command was: "
_COPY = re.compile(r'pg_restore: error: COPY failed for table "([^"]{1,130})"')
_ADDED = re.compile(rb'\bADD CONSTRAINT ("(?:[^"]|"")+"|[^\s"(]+)')
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
        (kind, subject), found = _command(self._lines), ""
        for line in self._lines:
            if not subject and (entry := _ENTRY.match(line)) is not None:
                kind, subject = entry[1], f"{entry[1]} {entry[2]}"
            if (server := _SERVER.search(line)) is not None and not found:
                found = next(
                    (state for pattern, state in _CLASSES if re.match(pattern, server[1])), "server-error"
                )
            elif not found and line.startswith("pg_restore: error:"):
                found = _own_code(line)
        return Failure(found or f"exit-{code}", kind, subject, None)


def _command(lines: list[str]) -> tuple[str, str]:
    """Return kind and subject of the statement that pg_restore says it tried; its names only, never its values."""
    for number, line in enumerate(lines):
        if (copied := _COPY.match(line)) is not None:
            return "COPY", f"TABLE {copied[1]}"
        if not line.startswith(_WAS):
            continue
        text = "\n".join([line.removeprefix(_WAS), *lines[number + 1 : number + MOST_STATEMENT_LINES]])
        lexer = SqlLexer()
        for event in (*lexer.feed(text.encode()), *lexer.close()):
            if isinstance(event, Statement):
                words = head(event.skeleton)
                added = _ADDED.search(event.skeleton)
                if added is not None:
                    return f"ADD CONSTRAINT {added[1].decode(errors='replace')}", object_of(event.skeleton)
                return " ".join(words[:2]), object_of(event.skeleton)
    return "pg_restore", ""


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
