"""Access lists: the server's text form (`reader=r*w/owner`) read into grants that can be compared."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_ITEM = re.compile(
    r'(?P<grantee>"(?:[^"]|"")*"|[^="]*)=(?P<rights>[A-Za-z*]*)/(?P<grantor>"(?:[^"]|"")*"|[^"]*)\Z'
)

RIGHTS = {
    "a": "INSERT",
    "r": "SELECT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "X": "EXECUTE",
    "U": "USAGE",
    "C": "CREATE",
    "T": "TEMPORARY",
    "c": "CONNECT",
    "s": "SET",
    "A": "ALTER SYSTEM",
    "m": "MAINTAIN",
}
"""Letters of an access list.

Source: PostgreSQL manual, chapter "Privileges", table "ACL Privilege Abbreviations".
"""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One right of one grantee. An empty grantee is PUBLIC. right: the letter."""

    grantee: str
    right: str
    grantable: bool
    grantor: str

    def __str__(self) -> str:
        option = " WITH GRANT OPTION" if self.grantable else ""
        return f"{RIGHTS.get(self.right, self.right)} to {self.grantee or 'PUBLIC'}{option}"


def _name(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def parse_acl(items: Iterable[str]) -> frozenset[Grant]:
    """Read access list items as the server prints them; the order does not matter.

    Raises ValueError for text that is none.
    """
    grants = set()
    for item in items:
        match = _ITEM.match(item)
        if match is None:
            raise ValueError("not an access list item")
        grantee, grantor = _name(match["grantee"]), _name(match["grantor"])
        for right, option in re.findall(r"([A-Za-z])(\*?)", match["rights"]):
            grants.add(Grant(grantee, right, bool(option), grantor))
    return frozenset(grants)
