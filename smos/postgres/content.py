"""The facts about what one database holds, and their compact JSON form for a backup's manifest."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from smos.postgres.catalogue import Catalogue
from smos.postgres.hashing import HashMode
from smos.verdict import Problem

MAX_PROBES = 1000
"""Pairs of a table and a role whose row security is probed; beyond it the rest is left out, in the order of names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContent:
    """Rows of one table. rows and hash are None where they could not be read; `problem` says why.

    hash: the order-independent sums (`smos.postgres.hashing`), joined by colons. bytes: size on disk, for
    estimates; it is never compared.
    """

    rows: int | None
    hash: str | None
    bytes: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceContent:
    """Position of a sequence. It is not bound to a snapshot, so it is never compared for equality.

    feeds: columns (`schema.table.column`) that take their values from it. lowest, highest: over those
    columns, None where they hold nothing, are no integers or there are none.
    """

    last_value: int
    is_called: bool
    increment: int
    feeds: tuple[str, ...] = ()
    lowest: int | None = None
    highest: int | None = None

    @property
    def next_value(self) -> int:
        """The value that the next call gives."""
        return self.last_value + (self.increment if self.is_called else 0)

    @property
    def behind(self) -> bool:
        """True when the next value is one that the columns have already gone past: inserts would collide."""
        if self.increment > 0:
            return self.highest is not None and self.next_value <= self.highest
        return self.lowest is not None and self.next_value >= self.lowest


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjects:
    """All large objects together. hash: None where pg_largeobject could not be read (needs a superuser)."""

    count: int
    bytes: int
    hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSecurityFacts:
    """What an ordinary role sees of a table with row security, freshly logged in, with no tenant set.

    visible_without_context: None where the query failed; `error` is then the SQLSTATE.
    total_rows: counted without row security.
    """

    table: str
    role: str
    total_rows: int | None
    visible_without_context: int | None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseContent:
    """Everything that is compared between a source and what was restored from its backup.

    lsn: write-ahead log position, as the server prints it (on a standby: what was replayed). heartbeat_at:
    newest row of smos.heartbeat, UTC. sort_canary: fixed letters in the order of the database's collation,
    None where its encoding lacks them. problems: what could not be read; such a gap is never a proof.
    """

    server_version_num: int
    mode: HashMode
    lsn: str
    heartbeat_at: datetime | None
    catalogue: Catalogue
    tables: Mapping[str, TableContent]
    sequences: Mapping[str, SequenceContent]
    large_objects: LargeObjects | None
    sort_canary: tuple[str, ...] | None
    row_security: tuple[RowSecurityFacts, ...] = ()
    row_security_probed: bool = True
    problems: tuple[Problem, ...] = field(default=())

    @property
    def rows(self) -> int:
        """Rows of all tables that could be read."""
        return sum(table.rows or 0 for table in self.tables.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, compact: a table is [rows, hash, bytes] and, where there is one, a problem."""
        return {
            "server_version_num": self.server_version_num,
            "mode": self.mode.value,
            "lsn": self.lsn,
            "heartbeat_at": self.heartbeat_at.isoformat() if self.heartbeat_at else None,
            "catalogue": self.catalogue.to_json(),
            "tables": {
                name: [t.rows, t.hash, t.bytes, *([t.problem] if t.problem else [])]
                for name, t in self.tables.items()
            },
            "sequences": {
                name: [s.last_value, s.is_called, s.increment, s.lowest, s.highest, *s.feeds]
                for name, s in self.sequences.items()
            },
            "large_objects": asdict(self.large_objects) if self.large_objects else None,
            "sort_canary": "".join(self.sort_canary) if self.sort_canary is not None else None,
            "row_security": [asdict(facts) for facts in self.row_security],
            "row_security_probed": self.row_security_probed,
            "problems": [[problem.code, problem.detail] for problem in self.problems],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DatabaseContent":
        """Read what `to_json` gave. Raises ValueError for anything else: what is read leniently proves little."""
        try:
            if data.keys() - {item.name for item in fields(cls)}:
                raise ValueError("not the content of a database: it says what this version does not know")
            canary, beat = _text_or_none(data["sort_canary"]), _text_or_none(data["heartbeat_at"])
            return cls(
                server_version_num=_number(data["server_version_num"]),
                mode=HashMode(data["mode"]),
                lsn=_text(data["lsn"]),
                heartbeat_at=datetime.fromisoformat(beat) if beat else None,
                catalogue=Catalogue.from_json(data["catalogue"]),
                tables={str(name): _table(*row) for name, row in data["tables"].items()},
                sequences={str(name): _sequence(*row) for name, row in data["sequences"].items()},
                large_objects=None
                if data["large_objects"] is None
                else _large_objects(**data["large_objects"]),
                sort_canary=None if canary is None else tuple(canary),
                row_security=tuple(_row_security(**facts) for facts in data["row_security"]),
                row_security_probed=_flag(data["row_security_probed"]),
                problems=tuple(Problem(_text(code), _text(detail)) for code, detail in data["problems"]),
            )
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
            raise ValueError(f"not the content of a database: {type(error).__name__} {error}") from error


def _number(value: object) -> int:
    if type(value) is not int:  # JSON's true and 1.0 equal 1, too
        raise TypeError("not a number")
    return value


def _number_or_none(value: object) -> int | None:
    return None if value is None else _number(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _table(rows: object, digest: object, size: object, problem: object = "") -> TableContent:
    return TableContent(
        rows=_number_or_none(rows),
        hash=_text_or_none(digest),
        bytes=_number(size),
        problem=_text(problem),
    )


def _sequence(
    last_value: object, is_called: object, increment: object, lowest: object, highest: object, *feeds: object
) -> SequenceContent:
    return SequenceContent(
        last_value=_number(last_value),
        is_called=_flag(is_called),
        increment=_number(increment),
        lowest=_number_or_none(lowest),
        highest=_number_or_none(highest),
        feeds=tuple(_text(item) for item in feeds),
    )


def _large_objects(*, count: object, bytes: object, hash: object) -> LargeObjects:  # noqa: A002  (names in the JSON)
    return LargeObjects(count=_number(count), bytes=_number(bytes), hash=_text_or_none(hash))


def _row_security(
    *, table: object, role: object, total_rows: object, visible_without_context: object, error: object
) -> RowSecurityFacts:
    return RowSecurityFacts(
        table=_text(table),
        role=_text(role),
        total_rows=_number_or_none(total_rows),
        visible_without_context=_number_or_none(visible_without_context),
        error=_text(error),
    )
