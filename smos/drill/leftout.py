"""What the sandbox left out of a dump is a gap of the sandbox: its absence says nothing against the backup."""

import re
from collections.abc import Iterable
from dataclasses import replace

from smos.postgres.difference import Difference

_KIND = re.compile(r"^(?:[A-Z]+ )+")
_ABSENT = ("-missing", "-lost", "comment-differs")


def excuse(differences: Iterable[Difference], left_out: Iterable[str]) -> tuple[Difference, ...]:
    """Return the differences; the absence of what was left out, and of what belongs to it, is uncertain.

    left_out: objects that the dump creates and the sandbox could not, as "KIND name" (`EVENT TRIGGER guard`,
    `FUNCTION app.f(integer)`). Only these are excused: what the dump does not hold stays missing.
    """
    names = frozenset(name for subject in left_out if (name := _name(_KIND.sub("", subject))))
    return tuple(replace(item, uncertain=True) if _absent(item, names) else item for item in differences)


def _absent(difference: Difference, names: frozenset[str]) -> bool:
    if not names or not difference.code.endswith(_ABSENT):
        return False
    text = difference.object.partition(":")[2]
    name, about = _name(text), _name(text.rpartition(" ")[2])
    parts = name.split(".")
    return about in names or any(".".join(parts[:end]) in names for end in range(1, len(parts) + 1))


def _name(text: str) -> str:
    """Return a name without the arguments of a routine: overloads are told apart by what was left out, not here."""
    bare = text if text.startswith("(") else text.partition("(")[0]
    return "".join(bare.split())
