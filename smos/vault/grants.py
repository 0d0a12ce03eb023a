"""All that a role's token may do, so that nothing is granted which the access matrix does not know.

The matrix is tried cell by cell; a rule about a path that is no cell (another mount, sys/seal, a key of another name,
a verb such as `patch`) would never be tried. So the server is asked for the whole list of rules that a token has, with
what entities and groups add (`sys/internal/ui/resultant-acl`). That list leaves out rules with a `+`: those are looked
up in the texts of the token's policies, and the server is asked what the token may do at an example of each.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import hvac

from smos.vault.access import Matrix, PathRule, Verb
from smos.vault.model import CLIENT_ERRORS, REQUEST_LIMIT_S, VaultError, explain

VERBS: Mapping[str, Verb] = {
    "read": Verb.READ,
    "create": Verb.WRITE,
    "update": Verb.WRITE,
    "patch": Verb.WRITE,
    "list": Verb.LIST,
    "scan": Verb.LIST,
    "delete": Verb.DELETE,
}
"""Capabilities, by what the matrix calls them; `sudo` adds to another one and is none of its own."""
_QUOTED = re.compile(r'"([^"\s]*)"')
PolicyText = Callable[[str], str]
"""Gives the text of a policy by its name; VaultError where it can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One rule of a token. pattern: as in a policy: `+` is any one segment, `*` at the end is anything."""

    role: str
    pattern: str
    capabilities: tuple[str, ...]


def read_grants(client: hvac.Client, role: str, text_of: PolicyText) -> tuple[Grant, ...]:
    """Return every rule that the client's token has, but for denials.

    Raises VaultError (`access-not-listed`) where the server does not tell.
    """
    try:
        listed = _get(client, "sys/internal/ui/resultant-acl")
        found = {path: rule["capabilities"] for path, rule in (listed.get("exact_paths") or {}).items()}
        found |= {f"{path}*": rule["capabilities"] for path, rule in (listed.get("glob_paths") or {}).items()}
        if listed.get("root"):
            found["*"] = ["root"]
        token = client.auth.token.lookup_self()["data"]
        names = [*(token.get("policies") or []), *(token.get("identity_policies") or [])]
        found |= _with_plus(client, [text_of(name) for name in sorted(set(names) - {"root"})])
    except CLIENT_ERRORS as error:
        raise VaultError(explain(error), code="access-not-listed") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise VaultError(f"an ill-formed answer ({type(error).__name__})", code="access-not-listed") from None
    return tuple(
        Grant(role=role, pattern=pattern, capabilities=tuple(sorted(capabilities)))
        for pattern, capabilities in sorted(found.items())
        if "deny" not in capabilities
    )


def _with_plus(client: hvac.Client, texts: list[str]) -> dict[str, list[str]]:
    """Return what the server says of an example of each pattern with `+` that the texts name."""
    patterns = {
        found
        for text in texts
        for found in _QUOTED.findall(text)
        if "+" in found.removesuffix("*").split("/") and "{{" not in found
    }
    word = f"smos-{secrets.token_hex(4)}"
    examples = {
        pattern: "/".join(word if part in {"+", "+*"} else part for part in pattern.split("/")).replace(
            "*", word
        )
        for pattern in patterns
    }
    if not examples:
        return {}
    body = {"paths": sorted(examples.values())}
    answer = client.adapter.post("/v1/sys/capabilities-self", json=body, timeout=REQUEST_LIMIT_S)
    return {pattern: list(answer["data"][path]) for pattern, path in examples.items()}


def unexplained(matrix: Matrix, grant: Grant) -> tuple[str, ...]:
    """Return the capabilities of a rule for which the matrix has no reason."""
    if any(_covers(pattern, grant.pattern) for pattern in matrix.everybody):
        return tuple(item for item in grant.capabilities if item in {"sudo", "root"})
    granted = set(_granted(matrix, grant))
    return tuple(
        item
        for item in grant.capabilities
        if (not granted if item == "sudo" else item not in VERBS or VERBS[item] not in granted)
    )


def _granted(matrix: Matrix, grant: Grant) -> Iterator[Verb]:
    """Yield what the matrix grants the role at any path that the rule is about."""
    rule = _expression(grant.pattern)

    def reached(item: PathRule, verb: Verb) -> bool:
        path = matrix.api_path(item, verb)
        return rule.fullmatch(path) is not None or rule.fullmatch(path.rstrip("/")) is not None

    for verb in Verb:
        if any(matrix.grants(item, verb, grant.role) and reached(item, verb) for item in matrix.paths) or any(
            grant.role in item.roles(verb) and item.path == grant.pattern for item in matrix.unrequested
        ):
            yield verb


def _covers(wide: str, pattern: str) -> bool:
    return wide == pattern or ("*" not in pattern and _expression(wide).fullmatch(pattern) is not None)


def _expression(pattern: str) -> re.Pattern[str]:
    """Return a policy's pattern as an expression; a slash at its end may be missing."""
    parts = pattern.removesuffix("*").split("/")
    text = "/".join("[^/]+" if part == "+" else re.escape(part) for part in parts)
    return re.compile(text + (".*" if pattern.endswith("*") else "/?"))


def _get(client: hvac.Client, path: str) -> dict[str, dict[str, dict[str, list[str]]]]:
    found: dict[str, dict[str, dict[str, list[str]]]] = client.adapter.get(
        f"/v1/{path}", timeout=REQUEST_LIMIT_S
    )["data"]
    return found
