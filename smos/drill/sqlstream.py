"""A streaming lexer for the SQL text that pg_dump and pg_dumpall write: bytes in, statements and data out.

It splits the stream exactly where psql would (quotes, E'' literals, dollar quotes, nested comments, brackets,
`BEGIN ATOMIC` bodies, COPY data), so that every psql command (a backslash outside a literal) is seen before psql
sees it. What psql versions read in different ways (a literal glued to a word, a literal that goes on in the next
line after an E'' one, text behind `COPY … FROM stdin;`, NUL bytes) is no guess of ours: it is reported as a
`Flaw`, and pg_dump never writes it. Memory is bounded by one statement (64 MiB; INSERTs come in pieces).
"""

import re
from enum import Enum
from itertools import takewhile

from smos.drill.sqlevents import FLAWS, Command, Comment, CopyData, Event, Flaw, Inserts, Statement

__all__ = ["FLAWS", "Command", "Comment", "CopyData", "Event", "Flaw", "Inserts", "SqlLexer", "Statement"]

LONGEST_STATEMENT = 64 * 2**20
"""Bytes of one statement that is no INSERT; pg_dump's longest are function bodies."""
PIECE = 2**20
"""Bytes after which an INSERT is handed on in pieces."""
LONGEST_COMMAND = 8192
"""Bytes of a psql command or a dollar quote's tag; names have at most 63 (SQL) or a few hundred (conninfo)."""
LONGEST_SKELETON = 2**18
"""Bytes of a statement, without its literals and comments, that are kept for the rules."""


class _Mode(Enum):
    SQL = 1
    STANDARD = 2
    ESCAPE = 3
    NAME = 4
    DOLLAR = 5
    BLOCK = 6
    LINE = 7
    COPY_LINE = 8
    COPY = 9
    DEAD = 10


_BLANK = re.compile(rb"[ \t\r\n\f\v]*+")
_SPECIAL = re.compile(rb"['\"$;()\\]|--|/\*|[-/]\Z")
_RUN = re.compile(rb"[A-Za-z0-9_$\x80-\xff]*\Z")
_DOLLAR = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$")
_DOLLAR_OPEN = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\Z")
_ESCAPE_STOP = re.compile(rb"['\\]")
_COMMENT_END = re.compile(rb"[\r\n]")
_BLOCK = re.compile(rb"/\*|\*/")
_WORD = re.compile(rb"(?<![A-Za-z0-9_$\x80-\xff])(begin|case|end)(?![A-Za-z0-9_$\x80-\xff])", re.IGNORECASE)
_ROUTINE = re.compile(
    rb"\s*create\s+(?:or\s+replace\s+)?(?:function|procedure)(?![A-Za-z0-9_$])", re.IGNORECASE
)
_IDENT = rb"(?:[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+|\"(?:[^\"]|\"\")*+\")"
_COPY = re.compile(
    rb"\s*+copy\s++" + _IDENT + rb"(?:\s*+\.\s*+" + _IDENT + rb"){0,2}+\s*+(?:\(\s*+" + _IDENT
    + rb"(?:\s*+,\s*+" + _IDENT + rb")*+\s*+\)\s*+)?+(?:with\s++oids\s++)?+from\s++(?:stdin|stdout)\s*+;\s*+\Z",
    re.IGNORECASE,
)  # fmt: skip
_COPY_END = re.compile(rb"\n\\\.\r?\n")
_CONFORMING = re.compile(
    rb"\s*set\s+standard_conforming_strings\s*(?:=|to)\s*'?(on|off)'?\s*;\s*\Z", re.IGNORECASE
)
_NAME = rb"(?:[a-z_][a-z0-9_$]*+|\"[^\"\n]*+\")"
_VALUE = rb"(?:[BX]?'(?:[^']++|'')*+'|NULL|DEFAULT|true|false|-?[0-9]++(?:\.[0-9]++)?+(?:e[+-]?[0-9]++)?+)"
_TUPLE = rb"\(" + _VALUE + rb"(?:, " + _VALUE + rb")*+\)"
_INSERTS = re.compile(
    rb"(?:INSERT INTO " + _NAME + rb"(?:\." + _NAME + rb")?+ (?:\(" + _NAME + rb"(?:, " + _NAME + rb")*+\) )?+"
    rb"(?:OVERRIDING SYSTEM VALUE )?+VALUES\s++" + _TUPLE + rb"(?:,\s++" + _TUPLE
    + rb")*+(?: ON CONFLICT DO NOTHING)?+;\n++)++"
)  # fmt: skip
_INSERT_HEAD = re.compile(rb"\s*insert\s+into\s", re.IGNORECASE)
_GLUED = frozenset({b"", b"B", b"b", b"X", b"x", b"N", b"n"})


class SqlLexer:
    """Push bytes in with `feed`, say `close` at the end; both return events in the order of the stream.

    The events do not depend on how the bytes are cut into chunks, except where the pieces of one COPY or of
    one run of INSERTs begin and end.
    """

    def __init__(self) -> None:
        self._mode = _Mode.SQL
        self._buffer = b""
        self._line = 1
        self._conforming = True
        self._events: list[Event] = []
        self._first = True
        self._reset()

    @property
    def line(self) -> int:
        """The line that is being read, from 1."""
        return self._line

    @property
    def dead(self) -> bool:
        """Whether a flaw made it impossible to read on."""
        return self._mode is _Mode.DEAD

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream."""
        if self._mode is _Mode.DEAD:
            return []
        if b"\0" in chunk:
            self._read(final=False)
            self._die("nul-byte")
            return self._take()
        self._buffer = self._buffer + chunk if self._buffer else chunk
        self._read(final=False)
        return self._take()

    def close(self) -> list[Event]:
        """Take the end of the stream."""
        if self._mode is not _Mode.DEAD:
            self._read(final=True)
        if self._mode in {_Mode.COPY, _Mode.COPY_LINE}:
            if self._buffer:
                self._events.append(CopyData(self._buffer, self._line, last=False))
            self._die("copy-unterminated")
        elif self._mode in {_Mode.STANDARD, _Mode.ESCAPE, _Mode.NAME, _Mode.DOLLAR, _Mode.BLOCK}:
            self._die("literal-unterminated")
        elif self._mode is not _Mode.DEAD and self._started:
            self._die("statement-unterminated")
        return self._take()

    # --- the loop -------------------------------------------------------------------------------------------

    def _take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _reset(self) -> None:
        self._parts: list[bytes] = []
        self._skeleton: list[bytes] = []
        self._size = 0
        self._skeleton_size = 0
        self._depth = 0
        self._atomic = 0
        self._run = b""
        self._after_escape = False
        self._started = False
        self._creates = False
        self._pieces = False
        self._start_line = 0
        self._tag = b""
        self._nesting = 0

    def _die(self, code: str) -> None:
        self._events.append(Flaw(code, self._line))
        self._mode = _Mode.DEAD
        self._buffer = b""
        self._reset()

    def _read(self, *, final: bool) -> None:
        """Read as far as the buffer allows without knowing what comes next."""
        if self._first and (len(self._buffer) >= 3 or final):
            self._first = False
            self._buffer = self._buffer.removeprefix(b"\xef\xbb\xbf")
        buffer, position = self._buffer, 0
        if self._first:
            return
        steps = {
            _Mode.SQL: self._sql, _Mode.STANDARD: self._standard, _Mode.ESCAPE: self._escape, _Mode.NAME: self._name,
            _Mode.DOLLAR: self._dollar, _Mode.BLOCK: self._block, _Mode.LINE: self._line_comment,
            _Mode.COPY_LINE: self._copy_line, _Mode.COPY: self._copy,
        }  # fmt: skip
        while self._mode is not _Mode.DEAD:
            before, mode = position, self._mode
            position = steps[mode](buffer, position, final)
            if position == before and self._mode is mode:
                break  # it needs more bytes
        if self._mode is not _Mode.DEAD:
            self._buffer = buffer[position:]
            if self._size > LONGEST_STATEMENT:
                self._die("statement-too-long")

    def _keep(self, text: bytes, skeleton: bytes) -> None:
        """Add a part to the statement, and count its lines."""
        self._parts.append(text)
        self._size += len(text)
        self._line += text.count(b"\n")
        if self._skeleton_size < LONGEST_SKELETON:
            self._skeleton.append(skeleton)
            self._skeleton_size += len(skeleton)
        if self._size > PIECE and (self._pieces or _INSERT_HEAD.match(b"".join(self._skeleton[:8]))):
            self._pieces = True
            self._flush(final=False)

    def _flush(self, *, final: bool) -> None:
        skeleton = b"".join(self._skeleton)
        copies = final and not self._pieces and _COPY.match(skeleton) is not None
        text = b"".join(self._parts)
        self._events.append(Statement(text, skeleton, self._start_line, copies, final))
        if final:
            if (setting := _CONFORMING.match(text)) is not None:
                self._conforming = setting[1].lower() == b"on"
            self._reset()
            self._mode = _Mode.COPY_LINE if copies else _Mode.SQL
        else:
            self._parts, self._size, self._start_line = [], 0, self._line

    # --- outside of literals --------------------------------------------------------------------------------

    def _sql(self, buffer: bytes, position: int, final: bool) -> int:  # noqa: C901, PLR0911, PLR0912, FBT001
        # One branch per character that matters: splitting them would hide the order in which they are tried.
        if not self._started:
            if (blank := _BLANK.match(buffer, position)) is not None and blank.end() > position:
                self._line += buffer.count(b"\n", position, blank.end())
                position = blank.end()
            if position == len(buffer):
                return position
            if self._conforming and buffer.startswith(b"INSERT", position):
                run = _INSERTS.match(buffer, position)
                if run is not None:
                    text = run[0]
                    self._events.append(Inserts(text, self._line))
                    self._line += text.count(b"\n")
                    return run.end()
        special = _SPECIAL.search(buffer, position)
        end = len(buffer) if special is None else special.start()
        if end > position:
            return self._plain(buffer, position, end, hold=special is None and not final)
        if special is None:
            return position
        mark = special[0]
        if mark in {b"-", b"/"}:
            return self._plain(buffer, position, position + 1, hold=False) if final else position
        if mark == b"\\":
            return self._command(buffer, position, final)
        if mark == b"--":
            self._mode = _Mode.LINE
            return position
        if not self._started and mark != b"/*":
            self._begin()
        if mark == b"'":
            return self._quote(position)
        if mark == b'"':
            self._other(b'"', b'"')
            self._mode = _Mode.NAME
        elif mark == b"$":
            return self._money(buffer, position, final)
        elif mark == b"/*":
            self._begin_if_new()
            self._nesting = 1
            self._parts.append(b"/*")
            self._size += 2
            self._skeleton.append(b" ")
            self._run = b""
            self._mode = _Mode.BLOCK
            return position + 2
        else:
            self._other(mark, mark)
            if mark == b"(":
                self._depth += 1
            elif mark == b")":
                self._depth = max(0, self._depth - 1)
            elif self._depth == 0 and self._atomic == 0:
                self._flush(final=True)
        return position + 1

    def _begin(self) -> None:
        self._started = True
        self._start_line = self._line

    def _begin_if_new(self) -> None:
        if not self._started:
            self._begin()

    def _other(self, text: bytes, skeleton: bytes) -> None:
        """Add a character that is neither blank nor part of a word."""
        self._run = b""
        self._after_escape = False
        self._keep(text, skeleton)

    def _plain(self, buffer: bytes, position: int, end: int, *, hold: bool) -> int:
        """Take text without special characters; with `hold` leave a word at its end, which may go on."""
        text = buffer[position:end]
        tail = _RUN.search(text)
        run = b"" if tail is None else tail[0]
        if hold and run and len(run) <= LONGEST_COMMAND:
            text = text[: len(text) - len(run)]
            if not text:
                return position
            run = b""
        if not self._started:
            self._begin()
            self._creates = text[:6].lower() == b"create"
        blank = not text.strip()
        self._after_escape = self._after_escape and blank
        if self._creates and self._depth == 0:
            self._track_atomic(buffer, position, position + len(text))
        self._run = self._run + run if run == text else run
        self._keep(text, text)
        return position + len(text)

    def _track_atomic(self, buffer: bytes, position: int, end: int) -> None:
        """Count BEGIN, CASE and END as psql does, so that semicolons in an SQL body do not end the statement."""
        if not _WORD.search(buffer[position : end + 1]) or not _ROUTINE.match(
            b"".join(self._skeleton) + buffer[position:end]
        ):
            return
        for word in takewhile(lambda found: found.start() < end, _WORD.finditer(buffer, position)):
            name = word[1].lower()
            if name == b"begin" or (name == b"case" and self._atomic):
                self._atomic += 1
            elif name == b"end":
                self._atomic = max(0, self._atomic - 1)

    def _quote(self, position: int) -> int:
        escape = self._run in {b"E", b"e"}
        if (not escape and self._run not in _GLUED) or (self._after_escape and self._conforming):
            self._die("ambiguous-literal")
            return position
        self._mode = _Mode.ESCAPE if escape or not self._conforming else _Mode.STANDARD
        self._other(b"'", b"'")
        return position + 1

    def _money(self, buffer: bytes, position: int, final: bool) -> int:  # noqa: FBT001
        if not self._run:
            if (tag := _DOLLAR.match(buffer, position)) is not None:
                self._tag = tag[0]
                self._other(self._tag, b"$$")
                self._mode = _Mode.DOLLAR
                return tag.end()
            if not final and _DOLLAR_OPEN.match(buffer, position):
                if len(buffer) - position > LONGEST_COMMAND:
                    self._die("ambiguous-literal")
                return position
        elif self._run[:1].isdigit():
            self._die("ambiguous-literal")
            return position
        run = self._run + b"$"
        self._keep(b"$", b"$")
        self._run = run
        return position + 1

    def _command(self, buffer: bytes, position: int, final: bool) -> int:  # noqa: FBT001
        end = buffer.find(b"\n", position)
        if end < 0:
            if len(buffer) - position > LONGEST_COMMAND:
                self._die("command-too-long")
                return position
            if not final:
                return position
            end = len(buffer)
        if end - position > LONGEST_COMMAND:
            self._die("command-too-long")
            return position
        text = buffer[position:end].rstrip(b"\r")
        self._events.append(Command(text, self._line, self._started))
        return end

    # --- literals and comments ------------------------------------------------------------------------------

    def _standard(self, buffer: bytes, position: int, _final: bool) -> int:  # noqa: FBT001
        end = buffer.find(b"'", position)
        return self._literal(buffer, position, end, 1, b"'")

    def _name(self, buffer: bytes, position: int, _final: bool) -> int:  # noqa: FBT001
        end = buffer.find(b'"', position)
        stop = len(buffer) if end < 0 else end + 1
        if stop > position:
            self._keep(buffer[position:stop], buffer[position:stop])
        if end >= 0:
            self._mode = _Mode.SQL
        return stop

    def _dollar(self, buffer: bytes, position: int, _final: bool) -> int:  # noqa: FBT001
        end = buffer.find(self._tag, position)
        if end < 0:  # the tag may have begun at the end of the buffer
            stop = max(position, len(buffer) - len(self._tag) + 1)
            if stop > position:
                self._keep(buffer[position:stop], b"")
            return stop
        return self._literal(buffer, position, end, len(self._tag), b"$$")

    def _literal(self, buffer: bytes, position: int, end: int, length: int, skeleton: bytes) -> int:
        if end < 0:
            if len(buffer) > position:
                self._keep(buffer[position:], b"")
            return len(buffer)
        self._keep(buffer[position : end + length], skeleton)
        self._mode = _Mode.SQL
        return end + length

    def _escape(self, buffer: bytes, position: int, final: bool) -> int:  # noqa: FBT001
        stop = _ESCAPE_STOP.search(buffer, position)
        if stop is None:
            return self._literal(buffer, position, -1, 0, b"")
        if stop.start() > position:
            self._keep(buffer[position : stop.start()], b"")
            return stop.start()
        if position + 1 >= len(buffer) and not final:
            return position
        if stop[0] == b"\\" or buffer[position + 1 : position + 2] == b"'":
            self._keep(buffer[position : position + 2], b"")
            return min(position + 2, len(buffer))
        self._literal(buffer, position, position, 1, b"'")
        self._after_escape = True
        return position + 1

    def _block(self, buffer: bytes, position: int, final: bool) -> int:  # noqa: FBT001
        stop = _BLOCK.search(buffer, position)
        if stop is None:
            end = len(buffer) if final else max(position, len(buffer) - 1)
            if end > position:
                self._keep(buffer[position:end], b"")
            return end
        self._keep(buffer[position : stop.end()], b"")
        self._nesting += 1 if stop[0] == b"/*" else -1
        if self._nesting == 0:
            self._mode = _Mode.SQL
            if not b"".join(self._skeleton).strip():  # a comment alone begins no statement
                self._reset()
        return stop.end()

    def _line_comment(self, buffer: bytes, position: int, final: bool) -> int:  # noqa: FBT001
        end = _COMMENT_END.search(buffer, position)
        if end is None and not final:
            if len(buffer) - position > LONGEST_STATEMENT:
                self._die("statement-too-long")
            return position
        stop = len(buffer) if end is None else end.start()
        if self._started:
            self._run = b""
            self._keep(buffer[position:stop], b" ")
        else:
            self._events.append(Comment(buffer[position:stop], self._line))
        self._mode = _Mode.SQL
        return stop

    # --- COPY data ------------------------------------------------------------------------------------------

    def _copy_line(self, buffer: bytes, position: int, _final: bool) -> int:  # noqa: FBT001
        """Read to the end of the line of the COPY statement; the newline itself opens the data."""
        end = buffer.find(b"\n", position)
        rest = buffer[position : end if end >= 0 else len(buffer)]
        if rest.strip():
            self._die("ambiguous-copy")
            return position
        if end < 0:
            return len(buffer)
        self._mode = _Mode.COPY
        return end

    def _copy(self, buffer: bytes, position: int, _final: bool) -> int:  # noqa: FBT001
        end = _find_copy_end(buffer, position)
        stop = max(position, len(buffer) - 4) if end is None else end
        if stop > position:
            data = buffer[position:stop] if position or stop < len(buffer) else buffer
            self._events.append(CopyData(data, self._line, last=end is not None))
            self._line += data.count(b"\n")
        if end is not None:
            self._mode = _Mode.SQL
        return stop


def _find_copy_end(buffer: bytes, position: int) -> int | None:
    r"""Return where the line `\.` ends; None when the buffer does not hold it whole."""
    at = buffer.find(b"\n\\.", position)
    while at >= 0:
        if (end := _COPY_END.match(buffer, at)) is not None:
            return end.end()
        at = buffer.find(b"\n\\.", at + 1)
    return None
