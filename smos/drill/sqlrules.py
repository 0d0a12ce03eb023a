"""What may be done with each statement of a dump: pure rules on its skeleton (literals and comments emptied).

An allow list of what pg_dump writes. Three things may keep a statement from the sandbox:
- refused: it would reach outside (or try to), and a dump never holds it: `hostile-statement`;
- withheld: harmless or normal, but it needs a superuser, who has no place in a restore from a backup: a gap;
- skipped: of no use in an empty, isolated sandbox (DROP of `--clean`, but see cleaning; subscriptions, comments on
  built-in languages).
These rules report; what really protects is that the statements run without superuser rights in psql's
restricted mode, in a sandbox without a network.
"""

import re

from smos.drill.ruling import HOSTILE, SUPERUSER, UNEXPECTED, Action, Ruling, hostile, lines, refuse
from smos.drill.sqlevents import Statement
from smos.drill.sqlobjects import ID, REACHES_OUT, grantees, head, object_kind, object_of, roles_in
from smos.drill.sqlrules_create import CREATE_OK, EARLY, SUPERUSER_ONLY, judge_create
from smos.drill.sqltokens import TokenKind, tokenize

_OWNER = re.compile(rb"\sOWNER\s+TO\s+(" + ID + rb")\s*;\s*\Z", re.IGNORECASE)
_LARGE_OBJECT = re.compile(
    rb"\s*SELECT\s+pg_catalog\.(?:setval|lo_create|lo_open|lo_close|lowrite|lo_unlink|loread)\s*\([^()]*\)\s*;\s*\Z",
    re.IGNORECASE,
)
_UNLINK = re.compile(
    rb"\s*SELECT\s+pg_catalog\.lo_unlink\(oid\)\s+FROM\s+pg_catalog\.pg_largeobject_metadata\s+WHERE\s+oid\s*=\s*''\s*;\s*\Z",
    re.IGNORECASE,
)
_STATISTICS = re.compile(
    rb"\s*SELECT\s+\*\s+FROM\s+pg_catalog\.pg_(?:restore|clear)_(?:relation|attribute|extended)_stats\s*\(",
    re.IGNORECASE,
)
_SEARCH_PATH = re.compile(
    rb"\s*SELECT\s+pg_catalog\.set_config\('search_path',\s*'[^'\\]*',\s*false\)\s*;\s*\Z"
)
_SETTING = re.compile(
    rb"\s*+SET\s++(?:SESSION\s++)?+([A-Za-z_]++)\s*+(?:=|\bTO\b)\s*+([^;]*+);\s*+\Z", re.IGNORECASE
)
_AUTHORIZATION = re.compile(
    rb"\s*SET\s+SESSION\s+AUTHORIZATION\s+('(?:[^']|'')*'|" + ID + rb")\s*;\s*\Z", re.IGNORECASE
)
_TEMPLATE_FLAG = re.compile(
    rb"\s*UPDATE\s+pg_catalog\.pg_database\s+SET\s+datistemplate\s*=\s*(?:true|false)\s+WHERE\s+datname\s*=\s*''\s*;\s*\Z",
    re.IGNORECASE,
)

__all__ = ["HOSTILE", "SUPERUSER", "UNEXPECTED", "Action", "Ruling", "judge"]

ALLOWED_SETTINGS = frozenset(
    [
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "transaction_timeout",
        "client_encoding",
        "standard_conforming_strings",
        "check_function_bodies",
        "xmloption",
        "client_min_messages",
        "row_security",
        "default_tablespace",
        "default_table_access_method",
        "search_path",
        "default_with_oids",
        "escape_string_warning",
        "default_transaction_read_only",
        "synchronize_seqscans",
        "default_toast_compression",
        "quote_all_identifiers",
    ]
)
"""What pg_dump and pg_dumpall set, all versions since 9.6."""
SAFE_ENCODING = re.compile(
    rb"'(?:UTF-?8|UNICODE|SQL_ASCII|LATIN\d+|WIN\d+|ISO_8859_\d+|KOI8[RU]|EUC_\w+|MULE_INTERNAL)'",
    re.IGNORECASE,
)
"""In the others (SJIS, BIG5, GBK, …) a byte of a character may look like a quote or a backslash."""
ALTER_OK = (CREATE_OK | {"ROUTINE", "LARGE OBJECT", "DEFAULT PRIVILEGES"}) - {"CAST"}


def judge(  # noqa: C901, PLR0911, PLR0912  (one line per kind of statement)
    statement: Statement, *, server_version_num: int, features: tuple[str, ...]
) -> Ruling:
    """Return what may be done with a statement of a database's dump, given what the sandbox's server is."""
    words = head(statement.skeleton)
    first = words[0] if words else ""
    if first == "SET":
        return _set(statement, server_version_num)
    if first == "SELECT":
        return _select(statement)
    if first == "COPY":
        return _copy(statement, words)
    if first == "INSERT":
        return _insert(statement, words)
    if first == "CREATE":
        return judge_create(statement, words, features)
    if first == "ALTER":
        return _alter(statement, words)
    if first in {"GRANT", "REVOKE"}:
        return _grant(statement, words)
    if first == "COMMENT":
        return _comment(statement, words)
    if first == "DROP":
        return _drop(words)
    if first in {"BEGIN", "COMMIT"} and len(words) <= 2:
        return Ruling(Action.FEED, first)
    if first == "REFRESH":
        return Ruling(Action.FEED, "REFRESH MATERIALIZED VIEW")
    if words[:3] == ["RESET", "SESSION", "AUTHORIZATION"]:
        return Ruling(Action.FEED, "RESET SESSION AUTHORIZATION", text=lines(statement, b"RESET ROLE;"))
    if words[:2] == ["SECURITY", "LABEL"]:
        return Ruling(Action.GAP, "SECURITY LABEL", "security-label", "a security label needs a provider")
    if first == "UPDATE" and _TEMPLATE_FLAG.match(statement.skeleton):
        return Ruling(Action.SKIP, "UPDATE pg_database")
    if not words or (first == ";" and len(words) == 1):
        return Ruling(Action.SKIP, "nothing")
    return refuse(" ".join(words[:2] if first in {"DO", "CALL", "LOAD"} else words[:1]), statement)


def _set(statement: Statement, version: int) -> Ruling:  # noqa: C901, PLR0911  (one case per parameter)
    if (authorization := _AUTHORIZATION.match(statement.text)) is not None:
        token = tokenize(authorization[1])[0]
        name = token.text if token.kind is TokenKind.TEXT else token.name
        if not name or name == "default":
            return Ruling(Action.FEED, "SET SESSION AUTHORIZATION", text=lines(statement, b"RESET ROLE;"))
        quoted = b'"' + name.replace('"', '""').encode() + b'"'
        return Ruling(
            Action.FEED, "SET SESSION AUTHORIZATION", text=lines(statement, b"SET ROLE " + quoted + b";"), roles=(name,)
        )  # fmt: skip
    match = _SETTING.match(statement.text)
    name = match[1].decode().lower() if match else ""
    if match is None or name not in ALLOWED_SETTINGS:
        return Ruling(Action.GAP, "SET", UNEXPECTED, "pg_dump sets no such parameter")
    value = match[2].strip()
    if name == "client_encoding" and not SAFE_ENCODING.fullmatch(value):
        return Ruling(
            Action.REFUSE,
            "SET client_encoding",
            "client-encoding",
            "text in this encoding can't be split safely",
        )
    if name == "standard_conforming_strings" and value.lower().strip(b"'") not in {b"on", b"off"}:
        return hostile("SET standard_conforming_strings", "a value that pg_dump never writes")
    if name == "transaction_timeout" and version < 170000:
        return Ruling(Action.SKIP, "SET")
    if name == "default_with_oids" and version >= 120000:
        if value == b"false":
            return Ruling(Action.SKIP, "SET")
        return Ruling(Action.GAP, "SET", "version-gap", "tables with OIDs exist up to PostgreSQL 11")
    if name == "default_table_access_method" and version < 120000:
        return Ruling(Action.SKIP, "SET")
    if name == "default_tablespace" and value not in {b"''", b'""'}:
        return Ruling(
            Action.NOTE, "SET default_tablespace", "tablespace-mapped", "the sandbox has one tablespace"
        )
    return Ruling(Action.FEED, "SET", early=True)


def _select(statement: Statement) -> Ruling:
    if _SEARCH_PATH.match(statement.text):
        return Ruling(Action.FEED, "SELECT set_config", early=True)
    if _LARGE_OBJECT.match(statement.skeleton):
        return Ruling(Action.FEED, "SELECT setval or large object")
    if _UNLINK.match(statement.skeleton):
        return Ruling(Action.SKIP, "SELECT lo_unlink")
    if _STATISTICS.match(statement.skeleton) and not REACHES_OUT.search(statement.skeleton):
        return Ruling(Action.FEED, "SELECT statistics")
    return refuse("SELECT", statement)


def _copy(statement: Statement, words: list[str]) -> Ruling:
    if statement.copies:
        return Ruling(
            Action.FEED,
            "COPY FROM stdin",
            subject=object_of(b"ALTER TABLE " + statement.skeleton.lstrip()[4:]),
        )
    if "PROGRAM" in words or re.search(rb"\bPROGRAM\b", statement.skeleton, re.IGNORECASE):
        return hostile("COPY PROGRAM", "it would run a shell command")
    if b"'" in statement.skeleton:
        return hostile("COPY with a file", "it would read or write a file")
    return hostile("COPY", "not the form that pg_dump writes")


def _insert(statement: Statement, words: list[str]) -> Ruling:
    if REACHES_OUT.search(statement.skeleton):
        return hostile("INSERT", "it calls a function that reaches outside the database")
    if re.search(rb"\bSELECT\b", statement.skeleton, re.IGNORECASE) and "VALUES" not in words:
        return Ruling(Action.GAP, "INSERT SELECT", UNEXPECTED, "pg_dump writes no such statement")
    return Ruling(Action.FEED, "INSERT")


def _alter(statement: Statement, words: list[str]) -> Ruling:  # noqa: PLR0911  (one case per object)
    kind, _ = object_kind(words[1:])
    label = f"ALTER {kind}"
    skeleton = statement.skeleton
    subject = object_of(skeleton)
    if kind == "DATABASE":
        return Ruling(Action.DATABASE, label)
    if kind in {"ROLE", "USER", "GROUP"}:
        inside = re.search(rb"\sIN\s+DATABASE\s", skeleton, re.IGNORECASE)
        return Ruling(Action.DATABASE if inside else Action.GLOBAL, label)
    if kind == "SYSTEM":
        return hostile("ALTER SYSTEM", "it would change the server's settings")
    if kind == "SUBSCRIPTION":
        return Ruling(Action.SKIP, label, subject=subject)
    if kind in SUPERUSER_ONLY:
        return Ruling(Action.SKIP, label, subject=subject)
    owner = _OWNER.search(skeleton)
    if kind not in ALTER_OK or (kind in {"SERVER", "USER MAPPING"} and owner is None):
        return refuse(label, statement)
    if kind == "PUBLICATION" and re.search(rb"\sTABLES\s+IN\s+SCHEMA\s", skeleton, re.IGNORECASE):
        return Ruling(Action.GAP, label, SUPERUSER, "only a superuser can publish a schema")
    roles: tuple[str, ...] = roles_in(owner[1]) if owner is not None else ()
    if kind == "DEFAULT PRIVILEGES":
        roles = grantees(skeleton)
        subject = ""
    early = kind in EARLY and owner is not None
    return Ruling(Action.FEED, label, roles=roles, subject=subject, early=early)


def _grant(statement: Statement, words: list[str]) -> Ruling:
    label = words[0]
    skeleton = statement.skeleton
    if "ON" not in words and not re.search(rb"\sON\s", skeleton, re.IGNORECASE):
        return Ruling(Action.GLOBAL, f"{label} role")
    subject = object_of(skeleton)
    kind, _, name = subject.partition(" ")
    if kind == "DATABASE":
        return Ruling(Action.DATABASE, f"{label} ON DATABASE")
    if kind == "PARAMETER":
        return Ruling(Action.GLOBAL, f"{label} ON PARAMETER")
    if kind == "TABLESPACE":
        return Ruling(
            Action.NOTE, f"{label} ON TABLESPACE", "tablespace-mapped", "the sandbox has one tablespace"
        )
    roles = grantees(skeleton)
    label = f"{label} ON {kind}"
    foreign = kind == "LANGUAGE" or subject.startswith("FOREIGN DATA") or name.lower().startswith(
        ("pg_catalog", '"pg_catalog', "information_schema")
    )  # fmt: skip
    if foreign:
        return Ruling(Action.GRANT, label, roles=roles, subject=subject)
    return Ruling(Action.FEED, label, roles=roles, subject=subject)


def _comment(statement: Statement, words: list[str]) -> Ruling:
    kind, _ = object_kind(words[2:])
    label = f"COMMENT ON {kind}"
    if kind == "EXTENSION":
        return Ruling(Action.EXTENSION, label, early=True)
    if kind == "LANGUAGE":  # built in
        return Ruling(Action.SKIP, label, early=True)
    if kind in SUPERUSER_ONLY or kind in {"SUBSCRIPTION", "TABLESPACE"}:
        return Ruling(Action.SKIP, label)
    if kind == "DATABASE":
        return Ruling(Action.DATABASE, label)
    if kind == "ROLE":
        return Ruling(Action.GLOBAL, label)
    return Ruling(Action.FEED, label, subject=object_of(statement.skeleton), early=kind in EARLY)


def _drop(words: list[str]) -> Ruling:
    kind, _ = object_kind(words[1:])
    if kind in {"ROLE", "USER", "GROUP", "OWNED"}:
        return Ruling(Action.GLOBAL, f"DROP {kind}")
    return Ruling(Action.SKIP, f"DROP {kind}", early=True)
