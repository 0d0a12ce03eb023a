"""One difference between two databases or two servers, and short texts for it."""

from dataclasses import dataclass

DETAIL_CHARS = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as it was.

    code: kebab-case, e.g. `rows-missing`; smos/checks/dr/content.py says what to do about each. object:
    `kind:name`. detail: what was expected and found; counts and short extracts of definitions, never a row,
    never the body of a function. uncertain: the two can't be compared fairly here (another major version
    prints definitions differently, the sandbox lacks an extension), so this proves nothing about the backup.
    """

    code: str
    object: str
    detail: str
    uncertain: bool = False


def contrast(expected: object, found: object) -> str:
    """Say what was expected and found, cut down to where the two begin to differ."""
    old, new = _plain(expected), _plain(found)
    room = (DETAIL_CHARS - 30) // 2
    if len(old) <= room and len(new) <= room:
        return f"expected {old}, found {new}"
    start = next(
        (at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    start = max(0, start - 15)
    lead = "…" if start else ""

    def cut(text: str) -> str:
        part = text[start : start + room - 2]
        return f"{lead}{part}{'…' if len(text) > start + room - 2 else ''}" or "(nothing)"

    return f"expected {cut(old)}, found {cut(new)}"


def _plain(value: object) -> str:
    if value is None:
        return "nothing"
    if value is True:
        return "yes"
    if value is False:
        return "no"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return " ".join(str(value).split()) or "(empty)"
