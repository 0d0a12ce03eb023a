"""The rules about CREATE: what an unprivileged role can make, what only a superuser could, and what is hostile."""

import re

from smos.drill.ruling import SUPERUSER, UNEXPECTED, Action, Ruling, hostile, lines, refuse
from smos.drill.sqlevents import Statement
from smos.drill.sqlobjects import ID, QUALIFIED, object_kind, object_of, roles_in

_POLICY = re.compile(
    rb"\s*CREATE\s+POLICY\s+" + ID + rb"\s+ON\s+" + QUALIFIED + rb"(?:\s+AS\s+\w+)?(?:\s+FOR\s+\w+)?\s+TO\s+("
    + ID + rb"(?:\s*,\s*" + ID + rb")*)",
    re.IGNORECASE,
)  # fmt: skip
_LANGUAGE = re.compile(rb"\sLANGUAGE\s+('|" + ID + rb")", re.IGNORECASE)
_LANGUAGE_TEXT = re.compile(rb"\sLANGUAGE\s+'?\"?(\w+)", re.IGNORECASE)
_LIBRARY = re.compile(rb"\sAS\s+'(\$libdir/[\w.-]+|[\w-]+)'", re.IGNORECASE)
_BASE_TYPE = re.compile(rb"\bINPUT\s*=", re.IGNORECASE)
_LEAKPROOF = re.compile(rb"\sLEAKPROOF\b", re.IGNORECASE)
_ICU = re.compile(rb"provider\s*=\s*\"?icu|locale_provider", re.IGNORECASE)
_CAST = re.compile(rb"CAST\s*\(([^()]*(?:\([^()]*\))?[^()]*)\)", re.IGNORECASE)

CREATE_OK = frozenset(
    [
        "SCHEMA",
        "TABLE",
        "VIEW",
        "SEQUENCE",
        "INDEX",
        "TYPE",
        "DOMAIN",
        "FUNCTION",
        "PROCEDURE",
        "AGGREGATE",
        "OPERATOR",
        "COLLATION",
        "CONVERSION",
        "TRIGGER",
        "RULE",
        "POLICY",
        "PUBLICATION",
        "STATISTICS",
        "CAST",
        "SERVER",
    ]
) | {
    "MATERIALIZED VIEW",
    "FOREIGN TABLE",
    "USER MAPPING",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
}
SUPERUSER_ONLY = frozenset({
    "EVENT TRIGGER", "OPERATOR CLASS", "OPERATOR FAMILY", "ACCESS METHOD", "LANGUAGE", "FOREIGN DATA WRAPPER",
    "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "TRANSFORM",
})  # fmt: skip
EARLY = frozenset({"SCHEMA", "COLLATION"})
OWN_LANGUAGES = frozenset({"sql", "plpgsql"})


def judge_create(statement: Statement, words: list[str], features: tuple[str, ...]) -> Ruling:  # noqa: C901, PLR0911, PLR0912  (one branch per kind that is special)
    """Return what may be done with a CREATE. words: its first words in capitals. features: of the server."""
    kind, _ = object_kind(words[1:])
    skeleton = statement.skeleton
    label = f"CREATE {kind}"
    subject = object_of(skeleton)
    if kind == "DATABASE":
        return Ruling(Action.DATABASE, label)
    if kind == "EXTENSION":
        return Ruling(Action.EXTENSION, label, early=True)
    if kind in {"ROLE", "USER", "GROUP", "TABLESPACE"}:
        return Ruling(Action.GLOBAL, label)
    if kind == "SUBSCRIPTION":
        return Ruling(
            Action.NOTE,
            label,
            "subscription-disabled",
            "subscriptions are disabled in the sandbox",
            subject=subject,
        )
    if kind == "LANGUAGE" and re.search(rb"\bplpgsql\b", skeleton, re.IGNORECASE):
        return Ruling(Action.SKIP, label, subject=subject)
    if kind in SUPERUSER_ONLY:
        return Ruling(Action.GAP, label, SUPERUSER, "only a superuser can create it", subject=subject)
    if kind == "CONVERSION" or kind not in CREATE_OK:
        if kind == "CONVERSION":
            return Ruling(Action.FEED, label, subject=subject)
        return refuse(label, statement)
    if kind in {"FUNCTION", "PROCEDURE"}:
        return _routine(statement, label, subject)
    if kind == "TYPE" and (
        _BASE_TYPE.search(skeleton)
        or re.match(rb"\s*CREATE\s+TYPE\s+" + QUALIFIED + rb"\s*;", skeleton, re.IGNORECASE)
    ):
        return Ruling(
            Action.GAP, label, SUPERUSER, "only a superuser can create a base type", subject=subject
        )
    if kind == "CAST" and (
        (found := _CAST.search(skeleton)) is None
        or b"." not in found[1]
        or b"WITHOUT FUNCTION" in skeleton.upper()
    ):
        return Ruling(Action.GAP, label, SUPERUSER, "only a superuser can create this cast", subject=subject)
    if kind == "PUBLICATION" and re.search(
        rb"FOR\s+(?:ALL\s+TABLES|TABLES\s+IN|ALL\s+SEQUENCES)", skeleton, re.IGNORECASE
    ):
        return Ruling(
            Action.GAP, label, SUPERUSER, "only a superuser can publish all tables", subject=subject
        )
    if kind == "COLLATION" and _ICU.search(skeleton) and "icu" not in features:
        name = re.match(rb"\s*CREATE\s+COLLATION\s+(" + QUALIFIED + rb")", skeleton, re.IGNORECASE)
        if name is not None:
            text = lines(statement, b"CREATE COLLATION " + name[1] + b' FROM pg_catalog."C";')
            return Ruling(
                Action.FEED, label, "collation-unavailable",
                "the sandbox's PostgreSQL has no ICU: the collation C took its place", text,
                subject=subject, early=True,
            )  # fmt: skip
    roles: tuple[str, ...] = ()
    if kind == "POLICY" and (listed := _POLICY.match(skeleton)) is not None:
        roles = roles_in(listed[1])
    if (
        kind == "USER MAPPING"
        and (mapped := re.search(rb"\sFOR\s+(" + ID + rb")", skeleton, re.IGNORECASE)) is not None
    ):
        roles = roles_in(mapped[1])
    if kind == "SCHEMA":
        return _schema(statement, subject)
    return Ruling(Action.FEED, label, subject=subject, roles=roles, early=kind in EARLY)


def _schema(statement: Statement, subject: str) -> Ruling:
    plain = re.match(
        rb"\s*CREATE\s+SCHEMA\s+(?:IF\s+NOT\s+EXISTS\s+)?(" + ID + rb")\s*;\s*\Z",
        statement.skeleton,
        re.IGNORECASE,
    )
    if plain is None:
        return Ruling(
            Action.GAP, "CREATE SCHEMA", UNEXPECTED, "pg_dump writes no such statement", subject=subject
        )
    text = (
        lines(statement, b"CREATE SCHEMA IF NOT EXISTS " + plain[1] + b";")
        if plain[1].lower() == b"public"
        else None
    )
    return Ruling(Action.FEED, "CREATE SCHEMA", text=text, subject=subject, early=True)


def _routine(statement: Statement, label: str, subject: str) -> Ruling:
    found = _LANGUAGE.search(statement.skeleton)
    spelled = _LANGUAGE_TEXT.search(statement.text) if found else None
    language = spelled[1].decode(errors="replace").lower() if spelled else "sql"
    if language in {"c", "internal"}:
        if language == "c" and not _LIBRARY.search(statement.text):
            return hostile(f"{label} LANGUAGE c", "it would load a library from outside the installation")
        return Ruling(
            Action.GAP,
            label,
            SUPERUSER,
            f"a function in language {language} needs a superuser",
            subject=subject,
        )
    if language not in OWN_LANGUAGES and language.endswith("u"):
        return Ruling(
            Action.GAP,
            label,
            SUPERUSER,
            "a function in an untrusted language needs a superuser",
            subject=subject,
        )
    leak = _LEAKPROOF.search(statement.text)
    quote = min(
        (at for at in (statement.text.find(b"'"), statement.text.find(b"$")) if at >= 0),
        default=len(statement.text),
    )
    if _LEAKPROOF.search(statement.skeleton) and leak is not None and leak.start() < quote:
        text = statement.text[: leak.start()] + statement.text[leak.end() :]
        return Ruling(
            Action.FEED,
            label,
            SUPERUSER,
            "only a superuser can mark a function as leakproof",
            text,
            subject=subject,
        )
    return Ruling(Action.FEED, label, subject=subject)
