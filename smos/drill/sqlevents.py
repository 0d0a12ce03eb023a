"""What the lexer finds in the text of a dump."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement up to its semicolon.

    text: its bytes, comments included. skeleton: the same with literals emptied ('' and $$), comments a blank.
    line: where it begins, from 1. copies: COPY data follow. final: False for a piece of a long INSERT.
    """

    text: bytes
    skeleton: bytes
    line: int
    copies: bool = False
    final: bool = True


@dataclass(frozen=True, slots=True)
class Inserts:
    """A run of whole INSERT statements that hold nothing but literals: nothing in them is to be judged."""

    text: bytes
    line: int


@dataclass(frozen=True, slots=True)
class CopyData:
    r"""A part of the data of the COPY statement before it; `last` when it ends with the line `\.`."""

    data: bytes
    line: int
    last: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A psql command, its line from the backslash on. `inside`: in the middle of a statement."""

    text: bytes
    line: int
    inside: bool


@dataclass(frozen=True, slots=True)
class Comment:
    """A line comment between two statements."""

    text: bytes
    line: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """What can't be read as a whole, unambiguous dump. code: kebab-case, see FLAWS."""

    code: str
    line: int


Event: TypeAlias = Statement | Inserts | CopyData | Command | Comment | Flaw

FLAWS = {
    "copy-unterminated": "the data of a COPY do not end",
    "literal-unterminated": "a literal or a comment does not end",
    "statement-unterminated": "the last statement does not end",
    "nul-byte": "there is a NUL byte, which no dump holds",
    "ambiguous-literal": "a literal is written so that psql and the server could read it differently",
    "ambiguous-copy": "there is more on the line of a COPY statement",
    "statement-too-long": "a statement is longer than any that pg_dump writes",
    "command-too-long": "a psql command is longer than any that pg_dump writes",
}
