"""Compare what two databases hold, and what two servers know of roles. Pure functions from facts to differences.

Counts, hashes, flags and names are certain whatever the versions. Texts that a server prints from what it
parsed (views, defaults, checks, policies) are worded differently by another major version: such a difference
is marked `uncertain`, and so is whatever the sandbox's own server could not have held.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from smos.postgres.compare_catalogue import compare_catalogues, sandbox_gap
from smos.postgres.compare_grants import Names
from smos.postgres.compare_roles import compare_roles
from smos.postgres.content import (
    MAX_PROBES,
    DatabaseContent,
    RowSecurityFacts,
    SequenceContent,
    TableContent,
)
from smos.postgres.difference import Difference

__all__ = ["Difference", "compare_content", "compare_roles"]

_UNLOGGED = "u"
_UNREAD = {"sequence-unread", "large-objects-unread"}
_TYPES_PRINTED_BY_VERSION = frozenset(
    {'"char"', "xml", "jsonpath", "regclass", "regproc", "regprocedure", "regoper", "regoperator", "regtype"}
)
"""Types whose text is not the same on every major version (names may be quoted, "char" is escaped since 16)."""


def compare_content(
    expected: DatabaseContent,
    actual: DatabaseContent,
    *,
    same_major: bool | None = None,
    superuser_names: tuple[str, str] | None = None,
    unlogged_survives: bool = True,
    ordinary_roles: Collection[str] | None = None,
) -> tuple[Difference, ...]:
    """Return all that differs between a source and what was restored from it; nothing means equal.

    same_major: None takes it from the contents. superuser_names: the bootstrap superuser's name on either
    side, where the sandbox has another administrator: what the one owns there, the other owns here.
    unlogged_survives: False for physical backups, after which unlogged tables come back empty.
    ordinary_roles: of the source, those that may log in and that row security binds; None where that is not known.
    """
    if same_major is None:
        same_major = expected.server_version_num // 10000 == actual.server_version_num // 10000
    if superuser_names and superuser_names[0] == superuser_names[1]:
        superuser_names = None
    names = Names(superuser_names)
    differences = list(
        compare_catalogues(expected.catalogue, actual.catalogue, names=names, same_major=same_major)
    )
    differences += _rows(expected, actual, same_major=same_major, unlogged_survives=unlogged_survives)
    differences += _sequences(expected.sequences, actual.sequences)
    differences += _unlisted_sequences(expected, actual)
    differences += _large_objects(expected, actual)
    differences += _sort_order(expected, actual, differences)
    differences += _row_security(expected, actual, ordinary_roles)
    differences += _unread(expected, actual)
    return tuple(differences)


def _rows(
    expected: DatabaseContent, actual: DatabaseContent, *, same_major: bool, unlogged_survives: bool
) -> Iterator[Difference]:
    comparable = expected.mode is actual.mode
    if not comparable and expected.tables:
        detail = (
            f"hashed as {expected.mode.value} there and as {actual.mode.value} here; only counts compared"
        )
        yield Difference("content-unread", "database:", detail, uncertain=True)
    encoding = expected.catalogue.database.get("encoding") == actual.catalogue.database.get("encoding")
    gap = bool(sandbox_gap(expected.catalogue, actual.catalogue))
    for name, before in expected.tables.items():
        after = actual.tables.get(name)
        if after is None:
            if not _is_reported_missing(name, actual):
                detail = "its rows were read in the source, not here"
                yield Difference("content-unread", f"table:{name}", detail, uncertain=True)
            continue
        key = _key(name, actual)
        definition = actual.catalogue.objects.get(key, {})
        lossy = definition.get("persistence") == _UNLOGGED and not unlogged_survives
        difference = _table(key, before, after, comparable=comparable)
        if difference is None:
            continue
        code, detail, uncertain = difference
        if lossy and code == "rows-missing":
            yield Difference("unlogged-rows-missing", key, f"{detail} (an unlogged table)")
            continue
        if code == "values-changed":
            uncertain = (
                uncertain or not encoding or gap or (not same_major and _prints_differently(definition))
            )
        yield Difference(code, key, detail, uncertain)
    for name in actual.tables.keys() - expected.tables.keys():
        if _key(name, expected) in expected.catalogue.objects:
            yield Difference(
                "content-unread", _key(name, actual), "its rows were not read in the source", True
            )


def _key(name: str, content: DatabaseContent) -> str:
    view = f"materialized-view:{name}"
    return view if view in content.catalogue.objects else f"table:{name}"


def _is_reported_missing(name: str, actual: DatabaseContent) -> bool:
    return _key(name, actual) not in actual.catalogue.objects


def _table(
    key: str, before: TableContent, after: TableContent, *, comparable: bool
) -> tuple[str, str, bool] | None:
    """Return (code, detail, uncertain) for the rows of one table, None when they are the same."""
    if before.problem or after.problem:
        side, problem = ("here", after.problem) if after.problem else ("in the source", before.problem)
        return "content-unread", f"could not be read {side}: {problem}", True
    if before.rows is None or after.rows is None:
        if after.rows is not None:
            return "content-unread", "its rows were not counted in the source", True
        return None  # a materialized view without data: the catalogue compares that
    if after.rows != before.rows:
        code = "rows-missing" if after.rows < before.rows else "rows-extra"
        return code, f"expected {before.rows} rows, found {after.rows}", False
    if comparable and before.hash != after.hash:
        kind = key.partition(":")[0]
        return "values-changed", f"{after.rows} rows, as expected, but not the same ones ({kind})", False
    return None


def _prints_differently(definition: Mapping[str, object]) -> bool:
    columns = definition.get("columns", ())
    if not isinstance(columns, list):
        return False
    return any(
        str(column.get("type", "")).removesuffix("[]") in _TYPES_PRINTED_BY_VERSION for column in columns
    )


def _sequences(
    expected: Mapping[str, SequenceContent], actual: Mapping[str, SequenceContent]
) -> Iterator[Difference]:
    """Sequences are not bound to a snapshot: the rule is that the next value collides with nothing."""
    for name, before in expected.items():
        after = actual.get(name)
        if after is None:
            continue  # missing: the catalogue says so; unread: it is among the problems
        key = f"sequence:{name}"
        if after.behind and not before.behind:
            detail = f"its next value {after.next_value} was used before: its columns reach {after.highest}"
            yield Difference("sequence-behind", key, detail)
        elif not after.feeds and (after.next_value - before.next_value) * before.increment < 0:
            # No column tells what was used. A dump taken a moment earlier may be a little behind.
            detail = f"next value {after.next_value}; in the source it was {before.next_value}"
            yield Difference("sequence-behind", key, detail, uncertain=True)


def _unlisted_sequences(expected: DatabaseContent, actual: DatabaseContent) -> Iterator[Difference]:
    """Yield sequences that the source had, and of which it is not said where they stood, nor why not."""
    if any(problem.code == "sequence-unread" for problem in expected.problems):
        return
    for name in actual.sequences.keys() - expected.sequences.keys():
        key = f"sequence:{name}"
        if key in expected.catalogue.objects:
            yield Difference("content-unread", key, "its position was not read in the source", True)


def _large_objects(expected: DatabaseContent, actual: DatabaseContent) -> Iterator[Difference]:
    before, after = expected.large_objects, actual.large_objects
    told = any(problem.code == "large-objects-unread" for problem in (*expected.problems, *actual.problems))
    for side, item in (("in the source", before), ("here", after)):
        if not told and (item is None or item.hash is None):
            yield Difference("content-unread", "large-objects:", f"their content was not read {side}", True)
    if before is None or after is None:
        return
    if before.count != after.count:
        detail = f"expected {before.count}, found {after.count}"
        yield Difference("large-objects-differ", "large-objects:", detail)
    elif expected.mode is actual.mode and None not in {before.hash, after.hash} and before.hash != after.hash:
        detail = f"{after.count}, as expected, but their content or their OIDs differ"
        yield Difference("large-objects-differ", "large-objects:", detail)
    elif before.bytes != after.bytes and None not in {before.hash, after.hash}:
        detail = f"expected {before.bytes} bytes, found {after.bytes}"
        yield Difference("large-objects-differ", "large-objects:", detail)


def _sort_order(
    expected: DatabaseContent, actual: DatabaseContent, known: Iterable[Difference]
) -> Iterator[Difference]:
    if expected.sort_canary == actual.sort_canary:
        return
    if any(item.code in {"collation-differs", "database-encoding-differs"} for item in known):
        return
    if expected.sort_canary is None or actual.sort_canary is None:
        side = "in the source" if expected.sort_canary is None else "here"
        detail = f"how it sorts was not read {side}"
        yield Difference("content-unread", "database:", detail, uncertain=True)
        return
    # The same collation by name: it is the sandbox's library that sorts otherwise, not the backup.
    yield Difference(
        "sort-order-differs", "database:", "the collation of this name sorts otherwise here", True
    )


def _row_security(
    expected: DatabaseContent, actual: DatabaseContent, ordinary: Collection[str] | None
) -> Iterator[Difference]:
    if not expected.row_security_probed:
        yield Difference("row-security-behaviour-unknown", "database:", "not probed in the source")
        return
    if not actual.row_security_probed:
        if expected.row_security:
            yield Difference(
                "row-security-not-probed", "database:", "no ordinary role could log in here", True
            )
        return
    after = {(facts.table, facts.role): facts for facts in actual.row_security}
    for before in expected.row_security:
        found = after.get((before.table, before.role))
        if found is None:
            continue  # the role, the grant or row security itself is gone: reported as that
        difference = _behaviour(before, found)
        if difference:
            yield difference
    if ordinary is not None:
        yield from _unprobed(expected, actual, ordinary)


def _unprobed(
    expected: DatabaseContent, actual: DatabaseContent, ordinary: Collection[str]
) -> Iterator[Difference]:
    """Yield what the source should have been asked and was not: it knew the table and the role."""
    before = {(facts.table, facts.role) for facts in expected.row_security}
    code = "row-security-not-probed"
    for table, role in sorted(before):
        if role not in ordinary:
            yield Difference(code, f"table:{table}", f"role {role}: not one that is bound by it", True)
    if len(before) >= MAX_PROBES:
        return
    for facts in actual.row_security:
        key = f"table:{facts.table}"
        known = facts.role in ordinary and expected.catalogue.objects.get(key, {}).get("row_security")
        if known and (facts.table, facts.role) not in before:
            yield Difference(code, key, f"role {facts.role}: what it sees was not read in the source", True)


def _behaviour(before: RowSecurityFacts, after: RowSecurityFacts) -> Difference | None:
    if (before.visible_without_context, before.error) == (after.visible_without_context, after.error):
        return None

    def seen(facts: RowSecurityFacts) -> str:
        if facts.visible_without_context is None:
            return f"an error ({facts.error})"
        return f"{facts.visible_without_context} of {facts.total_rows} rows"

    detail = f"role {before.role} with no tenant set: expected {seen(before)}, found {seen(after)}"
    # Other rows in the table, or no login (the globals were not restored): that is another finding's subject.
    uncertain = before.total_rows != after.total_rows or "login-refused" in {before.error, after.error}
    return Difference("row-security-behaviour-differs", f"table:{before.table}", detail, uncertain)


def _unread(expected: DatabaseContent, actual: DatabaseContent) -> Iterator[Difference]:
    for side, content in (("in the source", expected), ("here", actual)):
        for problem in content.problems:
            if problem.code in _UNREAD:
                yield Difference(
                    "content-unread", "database:", f"{side}: {problem.code} {problem.detail}", True
                )
