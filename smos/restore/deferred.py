"""Owners and rights of a dump that is restored into a live server: which of its statements the administrator may run.

While a dump is loaded into a live server, one role owns everything that it makes, and is a member of no other: code
in the dump then acts for nobody. Owners and rights are set at the end, by the administrator, statement by statement,
and only in the forms that pg_dump writes and on things that the dump itself made. Pure functions.
"""

import re

from smos.drill.ruling import Ruling
from smos.drill.sqlevents import Statement
from smos.drill.sqlobjects import ID

_NAME = rb"(?:" + ID + rb"\s*+\.\s*+){0,2}(?:" + ID + rb"|[-+*/<>=~!@#%^&|`?]{1,63})"
_THING = (
    rb"(?P<kind>[A-Za-z]++(?:\s++[A-Za-z]++){0,2}?)\s++(?P<name>" + _NAME + rb"|\d++)(?:\s*+\([^()']*+\))?"
)
_OWNER = re.compile(
    rb"\s*+ALTER\s++" + _THING + rb"(?:\s++USING\s++" + ID + rb")?\s++OWNER\s++TO\s++" + ID + rb"\s*+;\s*+\Z",
    re.IGNORECASE,
)
_NAMES = ID + rb"(?:\s*,\s*" + ID + rb")*"
_GRANT = re.compile(
    rb"\s*(?:GRANT|REVOKE(?:\s+GRANT\s+OPTION\s+FOR)?)\s[\w\s,()\"$\x80-\xff]+?\sON\s+"
    + _THING
    + rb"\s+(?:TO|FROM)\s+"
    + _NAMES
    + rb"(?:\s+WITH\s+GRANT\s+OPTION)?(?:\s+GRANTED\s+BY\s+"
    + ID
    + rb")?(?:\s+CASCADE|\s+RESTRICT)?\s*;\s*\Z",
    re.IGNORECASE,
)
_DEFAULTS = re.compile(
    rb"\s*ALTER\s+DEFAULT\s+PRIVILEGES\s[\w\s,\"$\x80-\xff]+;\s*\Z",
    re.IGNORECASE,
)
_OWNED_LATER = re.compile(rb"\sOWNER\s+TO\s+" + ID + rb"\s*;\s*\Z", re.IGNORECASE)
_FIRST = re.compile(rb'"((?:[^"]|"")+)"|([A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*)|(\d+)')
UNQUALIFIED = frozenset({"SCHEMA", "LARGE OBJECT", "PUBLICATION", "SERVER", "FOREIGN SERVER"})
"""Kinds of things that lie in no schema."""
AS_ROLE = frozenset({"SET SESSION AUTHORIZATION", "RESET SESSION AUTHORIZATION"})


def is_administrative(statement: Statement, ruling: Ruling) -> bool:
    """Tell whether a statement sets an owner or rights, and so waits for the end."""
    return (
        ruling.kind in AS_ROLE
        or ruling.kind.startswith(("GRANT", "REVOKE", "ALTER DEFAULT PRIVILEGES"))
        or (ruling.kind.startswith("ALTER ") and _OWNED_LATER.search(statement.skeleton) is not None)
    )


def may_run(text: bytes) -> bool:
    """Tell whether the administrator may run it: one statement, on one thing that is none of the system's.

    Names alone: no literal, no expression, no list of things; what lies in a schema is named with it, because the
    administrator's search path finds the system's things first.
    """
    if _DEFAULTS.match(text) is not None:
        return True
    match = _OWNER.match(text) or _GRANT.match(text)
    if match is None:
        return False
    kind = b" ".join(match["kind"].split()).upper().decode()
    first = _FIRST.match(match["name"])
    if first is None:
        return False
    name = first[1].replace(b'""', b'"') if first[1] is not None else (first[2] or first[3]).lower()
    if name.startswith(b"pg_") or name == b"information_schema":
        return False
    qualified = b"." in match["name"][first.end() :]
    return kind in UNQUALIFIED if not qualified else kind not in UNQUALIFIED


def own_large_objects(tag: str, definition: str, owner: str) -> list[bytes]:
    """Return the statements that give the large objects of one archive entry to their owner."""
    quoted = b'"' + owner.replace('"', '""').encode() + b'"'
    numbers = re.findall(r"\d+", definition if definition.strip() else tag)
    return [
        b"ALTER LARGE OBJECT %d OWNER TO %s;" % (int(number), quoted) for number in dict.fromkeys(numbers)
    ]
