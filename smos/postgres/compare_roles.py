"""Compare what two servers know of roles: attributes, memberships, settings, tablespaces, parameter rights."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from smos.postgres.compare_grants import Names, compare_grants
from smos.postgres.difference import Difference, contrast

_NOT_COMPARED = {"bootstrap", "has_password", "comment"}
"""By the rule of all attributes; what else is asked of them stands below."""
_ALL = "settings_of_all"
"""What ALTER ROLE ALL set. Earlier manifests don't say, as of comments."""
_PREDEFINED_MEMBERS = "predefined_members"
"""Said where memberships of predefined roles were listed; earlier manifests left them out."""


def compare_roles(
    expected: Mapping[str, Any],
    actual: Mapping[str, Any],
    *,
    ignore: Collection[str] = (),
    superuser_names: tuple[str, str] | None = None,
) -> tuple[Difference, ...]:
    """Return all that differs between two results of `smos.postgres.roles.read_roles`.

    ignore: roles that the harness made in the sandbox. superuser_names: the bootstrap superusers; they are
    matched with each other and their attributes are not compared. None takes them from the facts.
    """
    if superuser_names is None:
        superuser_names = _bootstrap(expected, actual)
    names = Names(superuser_names)
    known = {*(superuser_names or ()), *_superusers(expected), *_superusers(actual)}
    differences = list(_roles(expected, actual, ignore=ignore, known=known))
    differences += _memberships(expected, actual, names, ignore=ignore)
    differences += _settings(expected, actual, names, ignore=ignore)
    differences += _objects(expected, actual, names)
    return tuple(differences)


def _superusers(side: Mapping[str, Any]) -> list[str]:
    return [name for name, role in side.get("roles", {}).items() if role.get("bootstrap")]


def _bootstrap(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[str, str] | None:
    sides = [next(iter(_superusers(side)), None) for side in (expected, actual)]
    if not sides[0] or not sides[1]:
        return None
    # Where the globals made a role of that name in the sandbox, it stands for itself.
    known = sides[0] in actual.get("roles", {})
    return (sides[0], sides[0]) if known else (sides[0], sides[1])


def _roles(
    expected: Mapping[str, Any], actual: Mapping[str, Any], *, ignore: Collection[str], known: Collection[str]
) -> Iterator[Difference]:
    before, after = expected.get("roles", {}), actual.get("roles", {})
    for name, role in before.items():
        key = f"role:{name}"
        if name in known:
            continue
        if name not in after:
            yield Difference("role-missing", key, "in the source, not here")
            continue
        found = after[name]
        for attribute in sorted((role.keys() | found.keys()) - _NOT_COMPARED):
            if role.get(attribute) != found.get(attribute):
                detail = f"{attribute}: {contrast(role.get(attribute), found.get(attribute))}"
                yield Difference("role-changed", key, detail)
        yield from _password_and_comment(key, role, found)
    for name in after:
        if name not in before and name not in known and name not in ignore:
            yield Difference("role-extra", f"role:{name}", "not in the source")


def _password_and_comment(
    key: str, role: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[Difference]:
    if role.get("has_password") and found.get("has_password") is False:
        yield Difference("password-missing", key, "it has a password in the source, none here")
    elif role.get("has_password") is False and found.get("has_password"):
        yield Difference("role-changed", key, "it has a password here, none in the source")
    if "comment" in role and role["comment"] != found.get("comment"):
        yield Difference("role-changed", key, "its comment is another one")


def _memberships(
    expected: Mapping[str, Any], actual: Mapping[str, Any], names: Names, *, ignore: Collection[str]
) -> Iterator[Difference]:
    before, after = _granted(expected, names), _granted(actual, Names())
    for pair, options in before.items():
        key = f"membership:{pair[1]} in {pair[0]}"
        if pair not in after:
            yield Difference("membership-missing", key, "in the source, not here")
            continue
        for option, value in options.items():
            found = after[pair][option]
            if value is not None and found is not None and value != found:
                yield Difference("membership-changed", key, f"{option}: {contrast(value, found)}")
    skip = {*ignore, *(names.superusers or ())}
    listed = _PREDEFINED_MEMBERS in expected
    for role, member in after.keys() - before.keys():
        if member.startswith("pg_") and not listed:
            continue
        if member not in skip and role not in ignore:
            yield Difference("membership-extra", f"membership:{member} in {role}", "not in the source")


def _granted(side: Mapping[str, Any], names: Names) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what each membership (role, member) allows; several grantors may have granted the same one."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for item in side.get("memberships", ()):
        pair = names.role(item["role"]), names.role(item["member"])
        options = found.setdefault(pair, {"admin": False, "inherit": None, "set": None})
        options["admin"] = options["admin"] or item["admin"]
        for option in ("inherit", "set"):
            if item.get(option) is not None:
                options[option] = bool(options[option]) or item[option]
    return found


def _settings(
    expected: Mapping[str, Any], actual: Mapping[str, Any], names: Names, *, ignore: Collection[str]
) -> Iterator[Difference]:
    before = {names.role(role): values for role, values in expected.get("settings", {}).items()}
    after = actual.get("settings", {})
    for role in sorted(before.keys() | after.keys()):
        if role not in ignore and before.get(role) != after.get(role):
            detail = contrast(before.get(role), after.get(role))
            yield Difference("role-setting-differs", f"role:{role}", detail)
    wanted, found = expected.get(_ALL), actual.get(_ALL, [])
    if wanted is None or wanted == found:
        return
    detail = f"of all roles: {contrast(wanted, found)}"
    yield Difference("role-setting-differs" if found else "setting-of-all-roles-lost", "role:", detail)


def _objects(expected: Mapping[str, Any], actual: Mapping[str, Any], names: Names) -> Iterator[Difference]:
    after = actual.get("tablespaces", {})
    for name, tablespace in expected.get("tablespaces", {}).items():
        key = f"tablespace:{name}"
        if name not in after:
            # A sandbox puts everything into one place; the content is compared all the same.
            yield Difference("tablespace-missing", key, "in the source, not here")
        else:
            yield from compare_grants(key, tablespace, after[name], names, same_major=True)
    # Parameters belong to whoever ran initdb, under whatever name.
    owners = (next(iter(_superusers(expected)), None), next(iter(_superusers(actual)), None))
    rights = actual.get("parameters", {})
    for name, acl in expected.get("parameters", {}).items():
        there, here = {"acl": acl}, {"acl": rights.get(name, [])}
        yield from compare_grants(f"parameter:{name}", there, here, names, same_major=True, owners=owners)
    for name in sorted(rights.keys() - expected.get("parameters", {}).keys()):
        yield Difference(
            "grant-extra", f"parameter:{name}", "somebody may set it, nobody could in the source"
        )
