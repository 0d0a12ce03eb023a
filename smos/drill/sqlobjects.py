"""What a statement is about: its kind, the object and the roles in it; from its skeleton, by pure functions."""

import re

from smos.drill.sqlevents import Statement
from smos.drill.sqltokens import Token, tokenize

ID = rb"(?:[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*|\"(?:[^\"]|\"\")+\")"
QUALIFIED = ID + rb"(?:\s*\.\s*" + ID + rb"){0,2}"
_WORDS = re.compile(rb"\"(?:[^\"]|\"\")*\"|[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*|[^\s\w]|[0-9]+")
REACHES_OUT = re.compile(
    rb"(?<![\w$])(?:lo_import|lo_export|pg_read_file|pg_read_binary_file|pg_ls_\w*|pg_stat_file|pg_file_\w+|dblink\w*|"
    rb"pg_execute\w*|pg_reload_conf|pg_rotate_logfile\w*|pg_logdir_ls|pg_terminate_backend|pg_cancel_backend|"
    rb"pg_promote|pg_switch_wal|pg_create_\w*slot|pg_copy_\w*slot|pg_logical_\w+|pg_replication_\w+|pg_sleep\w*|"
    rb"query_to_xml\w*|table_to_xml\w*|database_to_xml\w*|pg_advisory\w*|pg_notify)\"?\s*\(",
    re.IGNORECASE,
)
_PLAIN_GRANT = re.compile(
    rb"\s*(GRANT|REVOKE)\s([\w\s,()\"$\x80-\xff]+?)\sON\s[\w\s,().\"\[\]$\x80-\xff]+;\s*\Z", re.IGNORECASE
)
PREFIXES = frozenset(
    [
        "OR",
        "REPLACE",
        "UNLOGGED",
        "UNIQUE",
        "TRUSTED",
        "PROCEDURAL",
        "CONSTRAINT",
        "RECURSIVE",
        "DEFAULT",
        "FORCE",
    ]
)
TWO_WORDS = frozenset(
    ["MATERIALIZED", "FOREIGN", "USER", "EVENT", "ACCESS", "OPERATOR", "LARGE", "DEFAULT", "SECURITY"]
)


def kind_of(skeleton: bytes) -> str:
    """Return the kind of any statement in keywords, without names, for reports."""
    words = head(skeleton)
    if not words:
        return "nothing"
    if words[0] in {"CREATE", "ALTER", "DROP"}:
        return f"{words[0]} {object_kind(words[1:])[0]}".strip()
    return words[0] if words[0].isalpha() else "unreadable text"


def object_of(skeleton: bytes) -> str:  # noqa: PLR0911  (one case per form of statement)
    """Return kind and name of the object that a statement creates, alters, grants on or comments on.

    The same object gives the same text in each of these; empty for anything else. It may hold names from the
    schema, never data.
    """
    words = [word.decode(errors="replace") for word in _WORDS.findall(skeleton[:4096])]
    upper = [word.upper() for word in words]
    if not upper:
        return ""
    start = 1
    if upper[0] in {"COMMENT", "GRANT", "REVOKE", "SECURITY"}:
        if "ON" not in upper:
            return ""
        start = upper.index("ON") + 1
    elif upper[0] not in {"CREATE", "ALTER"}:
        return ""
    kind, used = object_kind(upper[start:])
    rest = words[start + used :]
    while rest and rest[0].upper() in {"IF", "NOT", "EXISTS", "ONLY"}:
        rest = rest[1:]
    if kind in {"FUNCTION", "PROCEDURE", "AGGREGATE"}:
        return f"{kind} {_signature(rest)}"
    if kind == "CAST":
        return f"CAST {''.join(rest[: rest.index(')') + 1 if ')' in rest else 8])}"
    name = "".join(rest[: _name_length(rest)])
    if kind in {"OPERATOR CLASS", "OPERATOR FAMILY"}:  # the name is unique only with its access method
        return f"{kind} {name}"
    return f"{kind} {name}"


def _name_length(rest: list[str]) -> int:
    """Return how many words a qualified name takes."""
    length = 1
    while len(rest) > length + 1 and rest[length] == ".":
        length += 2
    return length


def _signature(rest: list[str]) -> str:
    """Return a routine's name with its arguments, without their default values."""
    length = _name_length(rest)
    parts = rest[:length]
    depth, skipping = 0, False
    for word in rest[length:]:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if (word == "," and depth == 1) or (word == ")" and depth == 0):
            skipping = False
        elif word.upper() == "DEFAULT" and depth == 1:
            skipping = True
        if not skipping:
            parts.append(word)
        if depth <= 0:
            break
    return " ".join(parts)


def head(skeleton: bytes) -> list[str]:
    """Return the first words and signs of a statement, in capitals."""
    return [word.decode(errors="replace").upper() for word in _WORDS.findall(skeleton[:1024])[:24]]


def object_kind(words: list[str]) -> tuple[str, int]:
    """Return the kind of object ("TEXT SEARCH PARSER") and how many words it took with what stands before it."""
    used = 0
    while (
        used < len(words) and words[used] in PREFIXES and words[used : used + 2] != ["DEFAULT", "PRIVILEGES"]
    ):
        used += 1
    rest = words[used:]
    if rest[:2] == ["TEXT", "SEARCH"]:
        return " ".join(rest[:3]), used + 3
    if rest[:3] == ["FOREIGN", "DATA", "WRAPPER"]:
        return "FOREIGN DATA WRAPPER", used + 3
    if rest and rest[0] == "OPERATOR":
        two = len(rest) > 1 and rest[1] in {"CLASS", "FAMILY"}
        return " ".join(rest[: 2 if two else 1]), used + (2 if two else 1)
    if rest[:2] == ["USER", "MAPPING"] or (rest and rest[0] in TWO_WORDS - {"USER"}):
        return " ".join(rest[:2]), used + 2
    return (rest[0] if rest and rest[0].isalpha() else ""), used + 1


def plain_grant(statement: Statement) -> bool:
    """Whether the administrator may run this GRANT or REVOKE on something that is not the dump's own.

    Names only; and of rights only those that let nobody make anything there or reach outside the database.
    """
    match = _PLAIN_GRANT.match(statement.text)
    if match is None or REACHES_OUT.search(statement.skeleton):
        return False
    if match[1].upper() == b"REVOKE":
        return True
    kind = object_of(statement.skeleton).partition(" ")[0]
    rights = {b" ".join(word.split()).upper() for word in re.sub(rb"\([^()]*\)", b"", match[2]).split(b",")}
    allowed = {b"SELECT", b"EXECUTE", b"USAGE"}
    # There ALL is EXECUTE or USAGE.
    if kind in {"FUNCTION", "PROCEDURE", "AGGREGATE", "TYPE", "LANGUAGE", "FOREIGN"}:
        allowed |= {b"ALL", b"ALL PRIVILEGES"}
    if kind in {"TABLE", "SEQUENCE"} and b"pg_catalog" not in statement.skeleton.lower():
        allowed |= {b"ALL", b"ALL PRIVILEGES", b"INSERT", b"UPDATE", b"DELETE"}
    return rights <= allowed


def bare(subject: str) -> str:
    """Return kind and qualified name without a routine's arguments: how an extension's own things are listed."""
    kind, _, name = subject.partition(" ")
    known = "FUNCTION" if kind in {"PROCEDURE", "AGGREGATE"} else kind
    return f"{known} {name.split('(')[0].replace(' ', '')}"


def roles_in(listed: bytes) -> tuple[str, ...]:
    """Return the names in a list; PUBLIC and the like are no names."""
    try:
        tokens: list[Token] = tokenize(listed)
    except ValueError:
        return ()
    special = {"PUBLIC", "CURRENT_USER", "SESSION_USER", "CURRENT_ROLE"}
    return tuple(token.name for token in tokens if token.name is not None and token.word not in special)


def grantees(skeleton: bytes) -> tuple[str, ...]:
    """Return the roles that a GRANT, REVOKE or ALTER DEFAULT PRIVILEGES names."""
    names = ID + rb"(?:\s*,\s*" + ID + rb")*"
    found: list[str] = []
    for pattern in (
        rb"\sFOR\s+(?:ROLE|USER)\s+(" + names + rb")",
        rb"\s(?:TO|FROM)\s+(" + names + rb")(?:\s+WITH\s+GRANT\s+OPTION)?(?:\s+GRANTED\s+BY\s+" + ID + rb")?"
        rb"(?:\s+CASCADE|\s+RESTRICT)?\s*;\s*\Z",
        rb"\sGRANTED\s+BY\s+(" + ID + rb")\s*;\s*\Z",
    ):  # fmt: skip
        if (match := re.search(pattern, skeleton, re.IGNORECASE)) is not None:
            found += roles_in(match[1])
    return tuple(found)
