"""Pieces of the questions to the system catalogues that all of them share."""

# The texts are assembled from constants of this package and a version number; nothing comes from outside.
# Whole clauses of SQL stay on one line.
# ruff: noqa: S608

USER_SCHEMA = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
FIRST_USER_OID = 16384
"""Source: src/include/access/transam.h, FirstNormalObjectId; smaller ones were made by initdb."""


def no_member(catalog: str, alias: str) -> str:
    """Exclude what belongs to an extension: it is restored by CREATE EXTENSION."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend AS member WHERE member.classid = '{catalog}'::regclass"
        f" AND member.objid = {alias}.oid AND member.deptype = 'e')"
    )


def acl_of(column: str, kind: str, owner: str) -> str:
    """Give an access list as JSON, a NULL one expanded to its default. kind: the letter of acldefault()."""
    return f"to_jsonb(coalesce({column}, acldefault('{kind}', {owner}))::text[])"


def role_name(column: str) -> str:
    """Give the name of the role with this OID."""
    return f"pg_get_userbyid({column})"


def sorted_array(array: str) -> str:
    """Give an array as JSON, in the order of its texts."""
    return f"(SELECT jsonb_agg(o ORDER BY o) FROM unnest({array}) AS o)"


def option_names(array: str) -> str:
    """Give the names of options `name=value`, never their values."""
    return f"(SELECT jsonb_agg(split_part(o, '=', 1) ORDER BY o) FROM unnest({array}) AS o)"


def settings_of(array: str) -> str:
    """Give settings as `name=value`; a custom one (dot in its name) may hold a key: a short digest of it."""
    return (
        "(SELECT jsonb_agg(CASE WHEN split_part(o, '=', 1) ~ '\\.' THEN split_part(o, '=', 1) || '=sha256:' ||"
        " left(encode(sha256(convert_to(o, getdatabaseencoding())), 'hex'), 8) ELSE o END ORDER BY o)"
        f" FROM unnest({array}) AS o)"
    )


def digest_of(text: str) -> str:
    """Give the first 128 bits of a SHA-256, in hexadecimal digits."""
    return f"left(encode(sha256(convert_to({text}, getdatabaseencoding())), 'hex'), 32)"


def select_of(kind: str, parts: str, definition: dict[str, str], rest: str, suffix: str = "''") -> str:
    """Build a query of (kind, name parts, suffix, definition); absent attributes are left out."""
    pairs = ", ".join(f"'{name}', {value}" for name, value in definition.items())
    return (
        f"SELECT {kind} AS kind, ARRAY[{parts}]::text[] AS parts, {suffix} AS suffix,"
        f" jsonb_strip_nulls(jsonb_build_object({pairs})) AS definition {rest}"
    )
