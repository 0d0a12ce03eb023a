"""The engine: queries, settings, parameters and streamed inserts, with a connection for each client thread."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import chdb

CODE = re.compile(r"Code: (\d+)\. DB::")
INSERT = re.compile(r"\A(?:\s|--[^\n]*\n|/\*.*?\*/)*INSERT\s", re.IGNORECASE | re.DOTALL)
FORMAT_END = re.compile(r"\sFORMAT\s+(\w+)\s*;?\s*\Z", re.IGNORECASE)
VALUES_END = re.compile(r"\sVALUES\s*\Z", re.IGNORECASE)
IDENTIFIER = re.compile(r"\A\w+\Z")
PIECE_BYTES = 1 << 22
LEADING = re.compile(
    rb"\A(?:\s|--[^\n]*\n|/\*.*?\*/)*INSERT\s.*?\sFORMAT\s+\w+[ \t]*\r?\n", re.IGNORECASE | re.DOTALL
)
"""The statement at the head of a body that carries statement and data."""
SEARCHED = 1 << 16
"""Bytes at the head of a body within which such a statement ends."""


class EngineError(Exception):
    """What the engine refused; `code` is ClickHouse's number of the error."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        found = CODE.search(message)
        self.code = code if code is not None else int(found[1]) if found else 1002


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One request: the statement, the data that follow it, and what the URL said."""

    text: str
    data: bytes | None = None
    database: str = "default"
    format: str = "TabSeparated"
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; `format` is the one that the body is written in."""

    body: bytes
    format: str
    read_rows: int = 0
    written_rows: int = 0


def split(body: bytes) -> tuple[str, bytes | None]:
    """Take a body apart that carries a statement and perhaps an insert's data behind it."""
    if head := LEADING.match(body[:SEARCHED]):
        return head[0].decode().strip(), body[head.end() :]
    return body.decode(), None


class Engine:
    """The engine over one data directory; `run` may be called by any thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._local = threading.local()
        self._keeper = chdb.connect(path)
        """Held for the life of the process: the engine ends with its last connection."""

    def run(self, statement: Statement) -> Answer:
        """Carry out one statement. Raises EngineError."""
        connection = self._connection()
        self._use(connection, statement.database)
        done: list[str] = []
        try:
            for name, value in statement.settings.items():
                if not IDENTIFIER.match(name):
                    raise EngineError(f"Code: 115. DB::Exception: Unknown setting {name!r}", 115)
                self._query(connection, f"SET {name} = '{_quoted(value)}'", "Null", {})
                done.append(name)
            if INSERT.match(statement.text) and statement.data:
                return self._insert(connection, statement)
            text = statement.text
            if statement.data:
                text += "\n" + statement.data.decode()
            result = self._query(connection, text, statement.format, dict(statement.parameters))
            said = FORMAT_END.search(text)
            return Answer(
                body=result.bytes() or b"",
                format=said[1] if said else statement.format,
                read_rows=int(result.rows_read()),
                written_rows=int(result.rows_written()),
            )
        finally:
            for name in done:
                self._query(connection, f"SET {name} = DEFAULT", "Null", {})

    def release(self) -> None:
        """Close the calling thread's connection, if it has one."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            connection.close()

    def _insert(self, connection: Any, statement: Statement) -> Answer:
        text, data = statement.text, statement.data or b""
        if said := FORMAT_END.search(text):
            text, kind = text[: said.start()], said[1]
        elif values := VALUES_END.search(text):
            text, kind = text[: values.start()], "Values"
        else:  # INSERT … SELECT or VALUES with data in the statement and more in the body
            kind = "Values"
        try:
            with connection.send_insert(text, kind) as inserter:
                for at in range(0, len(data), PIECE_BYTES):
                    inserter.append(data[at : at + PIECE_BYTES])
                result = inserter.finish()
        except RuntimeError as error:
            raise EngineError(str(error)) from error
        return Answer(body=b"", format=kind, written_rows=int(result.rows_written))

    def _connection(self) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = chdb.connect(self._path)
            self._local.database = "default"
        return connection

    def _use(self, connection: Any, database: str) -> None:
        if self._local.database != database:
            self._query(connection, f"USE `{database.replace('`', '``')}`", "Null", {})
            self._local.database = database

    @staticmethod
    def _query(connection: Any, text: str, kind: str, parameters: dict[str, str]) -> Any:
        try:
            return connection.query(text, kind, params=parameters)
        except (RuntimeError, chdb.ChdbError) as error:
            raise EngineError(str(error)) from error


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
