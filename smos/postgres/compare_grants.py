"""Compare owners and access lists, between servers whose bootstrap superusers have different names."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smos.postgres.acl import Grant, parse_acl
from smos.postgres.difference import Difference

_OWNER = "\0owner"  # no role can be called so
_MAINTAIN = "m"  # PostgreSQL 17; GRANT ALL of an older one does not have it


@dataclass(frozen=True, slots=True)
class Names:
    """How role names on the expected side are written on the other one."""

    superusers: tuple[str, str] | None = None

    def role(self, name: str) -> str:
        """Return the name that a role of the expected side has on the other one."""
        return self.superusers[1] if self.superusers and name == self.superusers[0] else name

    def grants(self, acl: Iterable[str], owner: str | None, *, expected: bool) -> frozenset[Grant]:
        """Read an access list; the owner is a placeholder, so that another owner is one difference only."""

        def name(role: str) -> str:
            if role and role == owner:
                return _OWNER
            return self.role(role) if expected else role

        return frozenset(
            Grant(name(grant.grantee), grant.right, grant.grantable, name(grant.grantor))
            for grant in parse_acl(acl)
        )


def compare_grants(
    key: str,
    expected: Mapping[str, Any],
    actual: Mapping[str, Any],
    names: Names,
    *,
    same_major: bool,
    owners: tuple[str | None, str | None] | None = None,
) -> Iterator[Difference]:
    """Yield grant-missing, grant-extra and grantor-differs for the `acl` of one object or column."""
    of_expected, of_actual = owners or (expected.get("owner"), actual.get("owner"))
    before = names.grants(expected.get("acl", ()), of_expected, expected=True)
    after = names.grants(actual.get("acl", ()), of_actual, expected=False)
    if not same_major:
        before = frozenset(grant for grant in before if grant.right != _MAINTAIN)
        after = frozenset(grant for grant in after if grant.right != _MAINTAIN)
    if before == after:
        return
    rights_before = {(g.grantee, g.right, g.grantable) for g in before}
    rights_after = {(g.grantee, g.right, g.grantable) for g in after}
    missing, extra = rights_before - rights_after, rights_after - rights_before
    if missing:
        yield Difference("grant-missing", key, f"missing: {_texts(missing)}")
    if extra:
        yield Difference("grant-extra", key, f"not expected: {_texts(extra)}")
    if not missing and not extra:
        yield Difference("grantor-differs", key, "the same rights, granted by another role")


def _texts(rights: Iterable[tuple[str, str, bool]]) -> str:
    texts = [
        str(Grant("the owner" if grantee == _OWNER else grantee, right, grantable, ""))
        for grantee, right, grantable in sorted(rights)
    ]
    more = f" and {len(texts) - 6} more" if len(texts) > 6 else ""
    return ", ".join(texts[:6]) + more
