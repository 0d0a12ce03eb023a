"""The words in which the rules about statements answer."""

from dataclasses import dataclass
from enum import StrEnum

from smos.drill.sqlevents import Statement
from smos.drill.sqlobjects import REACHES_OUT


class Action(StrEnum):
    """What happens to a statement."""

    FEED = "feed"
    SKIP = "skip"
    NOTE = "note"  # skipped, and reported as information
    GAP = "gap"  # skipped, and reported as not proven
    REFUSE = "refuse"
    DATABASE = "database"  # concerns the database as a whole: the administrator does it
    EXTENSION = "extension"
    GLOBAL = "global"  # belongs to the globals
    GRANT = "grant"  # on something that is not the dump's own: the administrator does it


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rule's answer.

    kind: the statement's kind, e.g. "CREATE TABLE". code, detail: of a refusal, gap or note (with FEED: a gap, and
    the statement goes on in the form `text`). roles: names that must exist. subject: the object, for those that
    follow a skipped one. early: nothing of the database's own code can have been made by it.
    """

    action: Action
    kind: str
    code: str = ""
    detail: str = ""
    text: bytes | None = None
    roles: tuple[str, ...] = ()
    subject: str = ""
    early: bool = False


HOSTILE = "hostile-statement"
UNEXPECTED = "unexpected-statement"
SUPERUSER = "needs-superuser"


def refuse(kind: str, statement: Statement, detail: str = "") -> Ruling:
    """Refuse a statement: as hostile where it could reach outside, else as one that pg_dump does not write."""
    words = kind.split()
    runs = bool(words) and words[0] in {
        "DO",
        "CALL",
        "LOAD",
        "EXECUTE",
        "PREPARE",
        "IMPORT",
        "CHECKPOINT",
        "LISTEN",
        "NOTIFY",
    }
    if runs or REACHES_OUT.search(statement.skeleton):
        return Ruling(
            Action.REFUSE, kind, HOSTILE, detail or "it would run code or reach outside the database"
        )
    return Ruling(Action.GAP, kind, UNEXPECTED, detail or "pg_dump writes no such statement")


def hostile(kind: str, detail: str) -> Ruling:
    """Refuse a statement as hostile."""
    return Ruling(Action.REFUSE, kind, HOSTILE, detail)


def lines(statement: Statement, text: bytes) -> bytes:
    """Return `text` with as many line ends as the statement had."""
    return text + b"\n" * statement.text.count(b"\n")
