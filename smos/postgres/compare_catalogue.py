"""Compare two catalogues object by object, attribute by attribute."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from smos.postgres.catalogue import Catalogue, locale_key
from smos.postgres.compare_grants import Names, compare_grants
from smos.postgres.difference import Difference, contrast
from smos.postgres.names import quote

_OWN_CODES = {
    "table",
    "view",
    "materialized-view",
    "foreign-table",
    "sequence",
    "index",
    "constraint",
    "trigger",
    "event-trigger",
    "rule",
    "type",
    "schema",
    "extension",
    "setting",
    "collation",
}
"""Kinds whose codes carry their own name; others are `object-missing`, `object-extra`, `definition-differs`."""
_CODES = {
    "policy": ("policy-lost", "policy-extra", "policy-changed"),
    "function": ("function-missing", "function-extra", "function-differs"),
    "procedure": ("function-missing", "function-extra", "function-differs"),
    "aggregate": ("function-missing", "function-extra", "function-differs"),
    "comment": ("comment-differs", "comment-differs", "comment-differs"),
    "default-privileges": ("default-privileges-differ",) * 3,
    "privileges": ("grant-missing", "grant-extra", "grant-differs"),
}
_CHILDREN = ("constraint", "trigger", "rule", "policy", "index", "comment", "privileges")
"""What goes with its table or view is not reported once more when that is missing."""
_PRINTED = {
    "definition",
    "default",
    "using",
    "check",
    "body",
    "partition_bound",
    "partition_key",
    "arguments",
    "result",
}
"""Texts that the server makes from parsed trees; their wording changes between major versions."""
_VERSIONED = _PRINTED | {"identity"}
"""Partitions share their parent's identity since PostgreSQL 17."""
_BETTER = {"invalid", "not_ready", "not_valid", "triggers_disabled", "notnull_not_valid"}
"""Flags of something broken: a difference only when the restored side has it and the source had not."""
_LOST_FLAGS = {
    "invalid": "index-invalid",
    "not_ready": "index-invalid",
    "not_valid": "constraint-not-valid",
    "notnull_not_valid": "constraint-not-valid",
    "triggers_disabled": "constraint-not-enforced",
}
_SINCE_18 = {"notnull_name", "notnull_no_inherit"}
"""Facts of NOT NULL constraints, which are objects of their own since PostgreSQL 18."""
_COLLATION = ("collate", "ctype", "provider", "locale", "rules")
_OF_DATABASES = frozenset(
    {"owner", "acl", "encoding", *_COLLATION, "collation_version", "connection_limit", "template"}
)
"""What `_compare_database` has a rule for."""


@dataclass(frozen=True, slots=True)
class _Pair:
    expected: Catalogue
    actual: Catalogue
    names: Names
    same_major: bool

    @property
    def oldest(self) -> int:
        """Version of the older of the two servers."""
        return min(self.expected.server_version_num, self.actual.server_version_num)


def sandbox_gap(expected: Catalogue, actual: Catalogue) -> str:
    """Say what the server of `actual` lacks to hold everything of `expected`; empty when nothing is known to lack."""
    if actual.server_version_num // 10000 < expected.server_version_num // 10000:
        return f"its server is older ({actual.server_version_num // 10000})"
    if actual.extensions_offered:
        lacking = sorted(set(expected.of_kind("extension")) - set(actual.extensions_offered))
        if lacking:
            return f"it can't install {', '.join(lacking)}"
    wants_icu = any(item.get("provider") == "i" for item in expected.of_kind("collation").values())
    if wants_icu and actual.locales_offered and "icu" not in actual.locales_offered:
        return "it has no ICU collations"
    return ""


def compare_catalogues(
    expected: Catalogue, actual: Catalogue, *, names: Names, same_major: bool
) -> Iterator[Difference]:
    """Yield every difference between two catalogues. What a gap of the sandbox explains is uncertain.

    Raises what a catalogue runs into that `read_catalogue` did not read: KeyError, TypeError, ValueError.
    """
    pair = _Pair(expected, actual, names, same_major)
    before = {_mapped_key(key, names): value for key, value in expected.objects.items()}
    after = dict(actual.objects)
    gap = sandbox_gap(expected, actual)
    lost = _parents(set(before) - set(after))
    added = _parents(set(after) - set(before))
    for key in sorted(before.keys() | after.keys()):
        kind = key.partition(":")[0]
        if kind == "large-objects":
            continue
        if key not in after:
            if not (_within(key, before[key], lost) or _left_out_by_design(kind, before[key])):
                yield _missing(key, kind, pair, gap)
        elif key not in before:
            if not _within(key, after[key], added):
                yield Difference(
                    _code(kind, 1), key, "not in the source", uncertain=kind in _CODES and not same_major
                )
        else:
            yield from _compare(key, kind, before[key], after[key], pair)
    yield from _large_object_rights(pair)


def _mapped_key(key: str, names: Names) -> str:
    """Write the names of objects that are called by a role as on the other side."""
    kind, _, name = key.partition(":")
    if names.superusers and kind in {"default-privileges", "setting", "user-mapping"}:
        old, new = (quote(role) for role in names.superusers)
        if name == old or name.startswith(f"{old}."):
            return f"{kind}:{new}{name[len(old) :]}"
    return key


def _code(kind: str, which: int) -> str:
    """Return the code for missing (0), extra (1) or different (2)."""
    if kind in _CODES:
        return _CODES[kind][which]
    if kind in _OWN_CODES:
        return f"{kind}-{('missing', 'extra', 'differs')[which]}"
    return ("object-missing", "object-extra", "definition-differs")[which]


def _parents(keys: set[str]) -> frozenset[str]:
    kinds = ("table:", "view:", "materialized-view:", "foreign-table:")
    return frozenset(key.partition(":")[2] for key in keys if key.startswith(kinds))


def _within(key: str, definition: Mapping[str, Any], parents: frozenset[str]) -> bool:
    """Tell whether an object goes with a table that is reported already."""
    kind, _, name = key.partition(":")
    if not parents or kind not in _CHILDREN:
        return False
    if kind == "index":
        text = str(definition.get("definition", ""))
        return any(f" ON {parent} " in text or f" ON ONLY {parent} " in text for parent in parents)
    if kind in {"comment", "privileges"}:
        return any(name.endswith(f" {parent}") or f" {parent}." in name for parent in parents)
    return any(name.startswith(f"{parent}.") for parent in parents)


def _left_out_by_design(kind: str, definition: Mapping[str, Any]) -> bool:
    """Tell what pg_dump leaves out on purpose: indexes that were invalid in the source."""
    return kind == "index" and bool(definition.get("invalid"))


def _missing(key: str, kind: str, pair: _Pair, gap: str) -> Difference:
    if kind == "extension":
        offered = pair.actual.extensions_offered
        name = key.partition(":")[2]
        if offered and name.strip('"') not in offered:
            return Difference(
                "extension-missing", key, "the sandbox's server does not offer it", uncertain=True
            )
        return Difference("extension-missing", key, "the server offers it, but it was not created")
    detail = "in the source, not here"
    if gap:
        detail += f"; the sandbox may be why: {gap}"
    uncertain = bool(gap) or (not pair.same_major and kind == "privileges")
    return Difference(_code(kind, 0), key, detail, uncertain=uncertain)


def _compare(
    key: str, kind: str, before: Mapping[str, Any], after: Mapping[str, Any], pair: _Pair
) -> Iterator[Difference]:
    if kind == "user-mapping" and (before.get("hidden") or after.get("hidden")):
        # pg_dump is shown no more than this reader, so what the mapping holds may have been lost.
        yield Difference("content-unread", key, "its options were not shown to who read it", uncertain=True)
        return
    if before == after and pair.names.superusers is None:
        return
    if kind == "database":
        yield from _compare_database(key, before, after, pair)
        return
    if kind == "default-privileges":
        names = pair.names
        if names.grants(before.get("acl", ()), None, expected=True) != names.grants(
            after.get("acl", ()), None, expected=False
        ):
            detail = contrast(before.get("acl"), after.get("acl"))
            yield Difference("default-privileges-differ", key, detail)
        yield from _attributes(key, kind, before, after, pair, but=frozenset({"acl"}))
        return
    # The public schema's own owner and privileges changed in PostgreSQL 15.
    uncertain = not pair.same_major and key == "schema:public"
    # What initdb or an extension made belongs to whoever ran it; no dump says so.
    if (
        kind != "privileges"
        and "owner" in before
        and pair.names.role(str(before["owner"])) != after.get("owner")
    ):
        yield Difference("owner-differs", key, contrast(before["owner"], after.get("owner")), uncertain)
    for difference in compare_grants(key, before, after, pair.names, same_major=pair.same_major):
        yield replace(difference, uncertain=uncertain)
    if "columns" in before or "columns" in after:
        yield from _compare_columns(key, before, after, pair)
    yield from _attributes(key, kind, before, after, pair, but=frozenset({"owner", "acl", "columns"}))


def _attributes(
    key: str,
    kind: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    pair: _Pair,
    *,
    but: frozenset[str],
) -> Iterator[Difference]:
    """Compare all attributes `but` those that were compared by a rule of their own."""
    for name in sorted((before.keys() | after.keys()) - but):
        if before.get(name) != after.get(name):
            found = _attribute(key, kind, name, before.get(name), after.get(name), pair)
            if found:
                yield found


def _attribute(  # noqa: C901, PLR0911  (one case per meaning; a table of functions would hide them)
    key: str, kind: str, name: str, before: Any, after: Any, pair: _Pair
) -> Difference | None:
    if name in _BETTER:
        return Difference(_LOST_FLAGS[name], key, contrast(before, after)) if after and not before else None
    if name in {"row_security", "force_row_security"}:
        what = "row security" if name == "row_security" else "FORCE ROW LEVEL SECURITY"
        if after:
            return Difference("row-security-gained", key, f"{what} is on; in the source it is off")
        return Difference("row-security-lost", key, f"{what} is off; in the source it is on")
    if name == "roles":
        mapped = sorted(pair.names.role(role) for role in before or ())
        if mapped == sorted(after or ()):
            return None
    if name == "enabled" and kind in {"trigger", "event-trigger", "rule"}:
        code = "trigger-disabled" if after == "D" else _code(kind, 2)
        return Difference(code, key, contrast(_STATES.get(before, before), _STATES.get(after, after)))
    if kind == "subscription" and name == "enabled" and not after:
        return None  # a restored subscription never replicates: pg_dump and the sandbox both see to that
    if name == "populated":
        if after:
            return Difference(_code(kind, 2), key, "it is filled here, and was not in the source")
        return Difference("materialized-view-empty", key, "it was not refreshed")
    if name == "tablespace":
        return Difference("tablespace-differs", key, contrast(before, after))
    if kind == "extension" and name == "version":
        offered = pair.actual.extensions_offered.get(key.partition(":")[2].strip('"'))
        # No dump says which version: every faithful restore gives the server's default one.
        by_default = offered is not None and (after == offered[0] or before not in offered)
        return Difference("extension-version-differs", key, contrast(before, after), uncertain=by_default)
    if name == "body":
        code, uncertain = "function-body-differs", not pair.same_major
        return Difference(code, key, f"digest of the body: {contrast(before, after)}", uncertain)
    uncertain = name in _PRINTED and not pair.same_major
    return Difference(_code(kind, 2), key, f"{name}: {contrast(before, after)}", uncertain)


_STATES = {"O": "enabled", "D": "disabled", "R": "enabled for replicas", "A": "always enabled"}


def _compare_columns(  # noqa: C901  (names, order, then attributes: one pass, easy to follow)
    key: str, before: Mapping[str, Any], after: Mapping[str, Any], pair: _Pair
) -> Iterator[Difference]:
    old = {column["name"]: column for column in before.get("columns", ())}
    new = {column["name"]: column for column in after.get("columns", ())}
    for name in old:
        if name not in new:
            yield Difference("column-missing", key, f"column {quote(name)} is missing")
    for name in new:
        if name not in old:
            yield Difference("column-extra", key, f"column {quote(name)} is not in the source")
    if old.keys() == new.keys() and list(old) != list(new):
        yield Difference("column-order-differs", key, contrast(list(old), list(new)))
    owners = (before.get("owner"), after.get("owner"))
    for name in old.keys() & new.keys():
        was, now = old[name], new[name]
        if was == now and pair.names.superusers is None:
            continue
        part = f"{key}.{quote(name)}"
        yield from compare_grants(part, was, now, pair.names, same_major=pair.same_major, owners=owners)
        for attribute in sorted(was.keys() | now.keys()):
            if attribute in {"acl", "name"} or was.get(attribute) == now.get(attribute):
                continue
            if attribute in _SINCE_18 and pair.oldest < 180000:
                continue
            if attribute in _BETTER:
                if now.get(attribute) and not was.get(attribute):
                    yield Difference(_LOST_FLAGS[attribute], part, "NOT NULL is not validated")
                continue
            code = "column-collation-differs" if attribute == "collation" else "column-differs"
            uncertain = attribute in _VERSIONED and not pair.same_major
            yield Difference(
                code,
                part,
                f"{attribute}: {contrast(was.get(attribute), now.get(attribute))}",
                uncertain,
            )


def _compare_database(
    key: str, before: Mapping[str, Any], after: Mapping[str, Any], pair: _Pair
) -> Iterator[Difference]:
    if before.get("encoding") != after.get("encoding"):
        detail = contrast(before.get("encoding"), after.get("encoding"))
        yield Difference("database-encoding-differs", key, detail)
    changed = [name for name in _COLLATION if _collation(before, name) != _collation(after, name)]
    if changed:
        detail = "; ".join(f"{name}: {contrast(before.get(name), after.get(name))}" for name in changed)
        yield Difference("collation-differs", key, detail, uncertain=_collation_gap(before, pair.actual))
    elif before.get("collation_version") != after.get("collation_version"):
        versions = (before.get("collation_version"), after.get("collation_version"))
        yield Difference("collation-version-differs", key, contrast(*versions), uncertain=True)
    if pair.names.role(str(before.get("owner"))) != after.get("owner"):
        yield Difference("owner-differs", key, contrast(before.get("owner"), after.get("owner")))
    yield from compare_grants(key, before, after, pair.names, same_major=pair.same_major)
    if before.get("connection_limit") != after.get("connection_limit"):
        limits = (before.get("connection_limit"), after.get("connection_limit"))
        yield Difference("setting-differs", key, f"connection limit: {contrast(*limits)}")
    if before.get("template") != after.get("template"):
        detail = contrast(before.get("template", False), after.get("template", False))
        yield Difference("setting-differs", key, f"whether it is a template: {detail}")
    yield from _attributes(key, "database", before, after, pair, but=_OF_DATABASES)


def _collation(database: Mapping[str, Any], name: str) -> object:
    value = database.get(name)
    return locale_key(value) if name in {"collate", "ctype"} and isinstance(value, str) else value


def _collation_gap(before: Mapping[str, Any], actual: Catalogue) -> bool:
    """Tell whether the server of `actual` could not have had this collation at all."""
    offered = actual.locales_offered
    if not offered:
        return False
    provider = before.get("provider")
    if provider == "i" and "icu" not in offered:
        return True
    if provider == "b" and actual.server_version_num < 170000:
        return True
    # ICU and built-in databases have a libc locale beside them.
    return any(locale_key(str(before.get(name, ""))) not in offered for name in ("collate", "ctype"))


def _large_object_rights(pair: _Pair) -> Iterator[Difference]:
    """Owners and access lists of large objects, by group: their names in the catalogue hold role names."""

    def groups(catalogue: Catalogue, *, expected: bool) -> dict[object, tuple[int, str]]:
        found: dict[object, tuple[int, str]] = {}
        for item in catalogue.of_kind("large-objects").values():
            if item.keys() - {"owner", "acl", "count", "oids"}:
                raise ValueError("large objects of which is said what this version does not know")
            owner = str(item["owner"])
            grants = pair.names.grants(item["acl"], owner, expected=expected)
            group = (pair.names.role(owner) if expected else owner, grants)
            count, oids = found.get(group, (0, "0"))
            found[group] = (count + int(item["count"]), str(int(oids) + int(item["oids"])))
        return found

    before, after = groups(pair.expected, expected=True), groups(pair.actual, expected=False)
    if before != after:
        counts = (sum(count for count, _ in side.values()) for side in (before, after))
        yield Difference(
            "large-objects-differ",
            "large-objects:",
            "their number, OIDs, owners or privileges differ; count: " + contrast(*counts),
        )
