"""Words, names and values of one short SQL statement, for the few kinds that are parsed and not only passed on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class TokenKind(StrEnum):
    """What a token is."""

    WORD = "word"
    NAME = "name"  # in double quotes
    TEXT = "text"  # in single quotes
    NUMBER = "number"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class Token:
    """One token. text: of a name or a literal its value; of a word as it was written."""

    kind: TokenKind
    text: str

    @property
    def word(self) -> str:
        """The keyword in capitals; empty for anything but a word."""
        return self.text.upper() if self.kind is TokenKind.WORD else ""

    @property
    def name(self) -> str | None:
        """The identifier as the server understands it; None for what can't be one."""
        if self.kind is TokenKind.NAME:
            return self.text
        return self.text.lower() if self.kind is TokenKind.WORD else None


_TOKEN = re.compile(
    r"""(?P<blank>\s+|--[^\r\n]*)
      | (?P<escaped>[eE]'(?:[^'\\]|''|\\.)*')
      | (?P<text>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")+")
      | (?P<word>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*)
      | (?P<number>[0-9]+(?:\.[0-9]+)?)
      | (?P<sign>[^\s'"\\])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL
)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
MOST_BYTES = 2**20
"""Longest statement that is parsed."""


def tokenize(text: bytes) -> list[Token]:
    """Split a statement into tokens, without its final semicolon.

    Raises ValueError for what is no such statement (a dollar quote, a backslash, invalid UTF-8, over 1 MiB).
    The message holds nothing of the statement.
    """
    if len(text) > MOST_BYTES:
        raise ValueError("the statement is too long")
    try:
        source = text.decode()
    except UnicodeDecodeError:
        raise ValueError("the statement is not UTF-8") from None
    tokens: list[Token] = []
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None or "\0" in match[0]:
            raise ValueError("the statement can't be read")
        position = match.end()
        group = match.lastgroup
        if group == "blank":
            continue
        if group == "escaped":
            tokens.append(Token(TokenKind.TEXT, _unescape(match[0][2:-1].replace("''", "'"))))
        elif group in {"text", "name"}:
            quote = match[0][0]
            tokens.append(Token(TokenKind(group), match[0][1:-1].replace(quote * 2, quote)))
        elif group is not None:
            tokens.append(Token(TokenKind(group), match[0]))
    if tokens and tokens[-1] == Token(TokenKind.SIGN, ";"):
        tokens.pop()
    return tokens


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        octal, hexadecimal, short, long, letter = match.groups()
        if octal:
            return chr(int(octal, 8))
        if code := hexadecimal or short or long:
            return chr(int(code, 16))
        return _LETTERS.get(letter, letter)

    return _ESCAPE.sub(one, text)


class Reader:
    """Walks over tokens; every `take…` raises ValueError where something else stands."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def done(self) -> bool:
        """Whether all tokens were taken."""
        return self._at >= len(self._tokens)

    def peek(self, ahead: int = 0) -> Token:
        """Return the next token without taking it (an empty sign at the end)."""
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token(TokenKind.SIGN, "")

    def next(self) -> Token:
        """Take any token."""
        token = self.peek()
        if self.done:
            raise ValueError("the statement ends early")
        self._at += 1
        return token

    def accept(self, *words: str) -> bool:
        """Take these keywords when they come next."""
        if all(self.peek(ahead).word == word for ahead, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def accept_sign(self, sign: str) -> bool:
        """Take this sign when it comes next."""
        if self.peek() == Token(TokenKind.SIGN, sign):
            self._at += 1
            return True
        return False

    def expect(self, *words: str) -> None:
        """Take these keywords."""
        if not self.accept(*words):
            raise ValueError(f"{' '.join(words)} was expected")

    def name(self) -> str:
        """Take an identifier."""
        name = self.next().name
        if name is None:
            raise ValueError("a name was expected")
        return name

    def text(self) -> str:
        """Take a literal."""
        token = self.next()
        if token.kind is not TokenKind.TEXT:
            raise ValueError("a literal was expected")
        return token.text

    def integer(self) -> int:
        """Take an integer, which may be negative."""
        sign = -1 if self.accept_sign("-") else 1
        return sign * int(self.next().text)

    def names(self) -> tuple[str, ...]:
        """Take identifiers with commas between them."""
        found = [self.name()]
        while self.accept_sign(","):
            found.append(self.name())
        return tuple(found)

    def end(self) -> None:
        """Make sure that nothing follows."""
        if not self.done:
            raise ValueError("there is more than was expected")
