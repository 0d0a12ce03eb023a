"""VAULT-06: every role may do what the access matrix grants, and nothing else.

A cell is judged by the request that was made and by what the server says of itself; both must agree with the matrix.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from html import escape
from typing import Any

from smos.vault.access import AccessFacts, Verb
from smos.vault.grants import unexplained
from smos.vault.verify.access import MatrixFacts
from smos.verdict import Finding, Judgement, fail, not_proven

LETTERS = {Verb.READ: "r", Verb.WRITE: "w", Verb.LIST: "l", Verb.DELETE: "d"}
MOST_NAMED = 8
ENOUGH = 3_000
"""Cells of the platform's matrix at least (it has 3,400): a matrix that shrank proves less than its title says."""
WITHOUT_DATA = (
    "name KV v2's paths in the policy: `smarteros/data/…` to read and write, `smarteros/metadata/…` to list"
)


def judge(facts: MatrixFacts) -> Judgement:
    """Judge the whole matrix; one finding for each role and kind of difference."""
    findings: list[Finding] = []
    for role, why in facts.silent.items():
        findings.append(
            not_proven("access-role-silent", f"Nothing is known of {role}: {why}", "give its credential anew")
        )
    for role in facts.matrix.roles:
        findings += _of(role, [cell for cell in facts.cells if cell.role == role])
        if role not in facts.silent:
            findings += _rules(role, facts)
    findings += _others(facts)
    whole = max(ENOUGH, len(facts.matrix.roles) * len(facts.matrix.paths) * len(Verb))
    if len(facts.cells) < whole and not facts.silent:
        findings.append(
            not_proven(
                "access-too-little",
                f"Only {len(facts.cells)} of at least {whole} cells were tried",
                "compare the matrix with compose/vault/access-matrix.yml of a release",
            )
        )
    return Judgement(tuple(findings), _shown(facts))


def _of(role: str, cells: Sequence[AccessFacts]) -> Iterator[Finding]:
    wide = [cell for cell in cells if not cell.expected and (cell.granted or cell.capable)]
    if wide:
        yield fail(
            "access-too-wide",
            f"{role} may do what nobody granted it: {_named(wide)}",
            "narrow its policy to what the access matrix grants (compose/vault/policies)",
        )
    narrow = [cell for cell in cells if cell.expected and (cell.granted is False or cell.capable is False)]
    bare = [cell for cell in narrow if cell.without_data]
    if bare:
        yield fail(
            "access-without-data",
            f"The policy of {role} names paths without `data/` or `metadata/`, so it grants nothing: {_named(bare)}",
            WITHOUT_DATA,
        )
    if rest := [cell for cell in narrow if not cell.without_data]:
        yield fail(
            "access-refused",
            f"{role} is refused what it needs: {_named(rest)}",
            "grant it in its policy, or take it out of the access matrix",
        )
    if odd := [
        cell for cell in cells if None not in {cell.granted, cell.capable} and cell.granted != cell.capable
    ]:
        yield fail(
            "access-disagrees",
            f"The server does not do what it says of {role}: {_named(odd)}",
            "trust the requests; report this to the server's publisher, with the policy",
        )
    if unknown := [cell for cell in cells if cell.requested and cell.granted is None]:
        yield not_proven(
            "access-no-answer",
            f"{role} got no answer that says anything: {_named(unknown)}",
            "look at the server's log and load, then run the check again",
        )
    if unsaid := [cell for cell in cells if cell.capable is None]:
        yield not_proven(
            "access-not-told",
            f"The server does not say what {role} may do: {_named(unsaid)}",
            "the policy `default` grants sys/capabilities-self: has it been changed?",
        )
    if untried := [cell for cell in cells if not cell.requested]:
        yield not_proven(
            "access-not-requested",
            f"Only the server's own account says what {role} may write and delete ({len(untried)} cells):"
            " such requests would change a live Vault",
            "run the check with --provision embedded as well: it tries them all, with the same policies",
        )


def _rules(role: str, facts: MatrixFacts) -> Iterator[Finding]:
    """Judge the rules that the server lists for a role, also about paths that are no cell."""
    grants = [item for item in facts.grants if item.role == role]
    if not grants:  # every token has some, for its own care
        yield not_proven(
            "access-not-listed",
            f"What else {role} may do is not known: {facts.unlisted.get(role) or 'no rule is listed'}",
            "the policy `default` grants sys/internal/ui/resultant-acl, compose/vault/verify.hcl the policies' texts",
        )
    beyond = [(item, words) for item in grants if (words := unexplained(facts.matrix, item))]
    if beyond:
        named = [f"{', '.join(words)} at {item.pattern}" for item, words in beyond]
        more = f" … and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        yield fail(
            "access-unlisted",
            f"{role} has rights that the access matrix knows nothing of: {'; '.join(named[:MOST_NAMED])}{more}",
            "take the rule out of its policies (those of its entity and groups as well), or put it into the matrix",
        )


def _others(facts: MatrixFacts) -> Iterator[Finding]:
    """Judge the logins that are no role of the matrix: what they may do was not tried."""
    if facts.no_strangers:
        yield not_proven(
            "access-ways-unknown",
            f"Which other logins there are is not known: {facts.no_strangers}",
            "give a token with compose/vault/verify.hcl of this version",
        )
    if facts.strangers:
        text = f"There are logins that the access matrix does not name: {', '.join(facts.strangers)}"
        remedy = "remove them, or add their roles to the matrix"
        # A Vault of somebody's own may well have them; what they may do stays unknown all the same.
        yield (not_proven if facts.live else fail)("access-login-unknown", text, remedy)


def _named(cells: Sequence[AccessFacts]) -> str:
    """Name the first of them: verb, path, what was seen."""
    words = [
        f"{cell.verb} {cell.path} ({_seen(cell)})" for cell in sorted(cells, key=lambda cell: str(cell.path))
    ]
    more = f" … and {len(words) - MOST_NAMED} more" if len(words) > MOST_NAMED else ""
    return ", ".join(words[:MOST_NAMED]) + more


def _seen(cell: AccessFacts) -> str:
    status = cell.status if cell.requested else "not requested"
    told = {True: "granted", False: "denied", None: "silent"}[cell.capable]
    return f"status {status}, account: {told}"


def _shown(facts: MatrixFacts) -> dict[str, Any]:
    made = [cell for cell in facts.cells if cell.requested]
    return {
        "requests": len(made),
        "cells": len(facts.cells),
        "seconds": round(facts.seconds, 3),
        "roles": list(facts.matrix.roles),
        "rules": len(facts.grants),
        "agree": sum(cell.agrees for cell in facts.cells),
        "statuses": dict(sorted(Counter(str(cell.status) for cell in made).items())),
        "matrix": table(facts),
    }


def table(facts: MatrixFacts) -> dict[str, dict[str, str]]:
    """Return path to role to letters (r, w, l, d) of what was seen to be granted.

    A letter that differs from the expectation is marked: `+r` granted and not expected, `-r` expected and
    refused, `?r` unknown.
    """
    found: dict[str, dict[str, str]] = {}
    known = frozenset(rule.path for rule in facts.matrix.paths if not rule.system)
    for cell in facts.cells:
        name = _row(cell.path, facts.matrix.kv_mount, known)
        row = found.setdefault(name, dict.fromkeys(facts.matrix.roles, ""))
        row[cell.role] += _letter(cell)
    return found


def _row(path: str, kv_mount: str, known: Collection[str]) -> str:
    """Return the path as the matrix names it."""
    path = path.rstrip("/")
    for folder in ("data", "metadata"):
        bare = path.removeprefix(f"{kv_mount}/{folder}/")
        if bare != path and bare in known:
            return bare
    return path


def _letter(cell: AccessFacts) -> str:
    letter = LETTERS[cell.verb]
    granted = cell.granted if cell.requested else cell.capable
    if granted is None:
        return f"?{letter}"
    if granted is cell.expected:
        return letter if granted else ""
    return f"+{letter}" if granted else f"-{letter}"


def page(shown: dict[str, Any]) -> str:
    """Return the matrix of a judgement's facts as an HTML table."""
    roles = shown["roles"]
    head = "".join(f"<th>{escape(role)}</th>" for role in roles)
    rows = "".join(_line(path, cells, roles) for path, cells in shown["matrix"].items())
    return (
        "<!doctype html><meta charset=utf-8><style>table{border-collapse:collapse;font:13px sans-serif}"
        "td,th{border:1px solid #bbb;padding:2px 6px}td.x{background:#fbb}</style>"
        f"<p>{shown['agree']} of {shown['cells']} cells as expected; {shown['requests']} requests in"
        f" {shown['seconds']} s. r read, w write, l list, d delete; +: granted and not expected, -: expected and"
        f" refused, ?: unknown.</p><table><tr><th>path</th>{head}</tr>{rows}</table>"
    )


def _line(path: str, cells: dict[str, str], roles: Iterable[str]) -> str:
    columns = "".join(
        f"<td class={'x' if set(cells[role]) & set('+-?') else 'o'}>{escape(cells[role])}</td>"
        for role in roles
    )
    return f"<tr><td>{escape(path)}</td>{columns}</tr>"
