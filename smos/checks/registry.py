"""The registry of checks: stable IDs, titles in an auditor's words, and when each one is required.

Every suite is a package beside this module with `CHECKS` and `not_required`; adding a suite is one line in SUITES.
"""

from collections.abc import Collection, Mapping
from types import ModuleType

from smos.checks import containers, demo, dr, failover, observability, pitr, rls, vault
from smos.target import Provision, Settings, Target
from smos.verdict import Check

SUITES: Mapping[str, ModuleType] = {
    "dr": dr,
    "vault": vault,
    "demo": demo,
    "rls": rls,
    "observability": observability,
    "containers": containers,
    "pitr": pitr,
    "failover": failover,
}
"""Suite (its marker, its folder under suites/) to the package that describes it, in the order of the reports."""

CHECKS: tuple[Check, ...] = tuple(item for suite in SUITES.values() for item in suite.CHECKS)
"""Every check, in the order of the reports."""

PROVISIONERS: Mapping[str, Collection[Provision]] = {
    "dr": (Provision.EMBEDDED, Provision.DOCKER, Provision.LIVE),
    "vault": (Provision.EMBEDDED, Provision.DOCKER, Provision.LIVE),
    "demo": (Provision.EMBEDDED, Provision.DOCKER),
    "rls": (Provision.EMBEDDED, Provision.LIVE),
    "observability": (Provision.EMBEDDED, Provision.DOCKER, Provision.LIVE),
    "containers": (Provision.DOCKER,),
    "pitr": (Provision.EMBEDDED, Provision.DOCKER),
    "failover": (Provision.EMBEDDED, Provision.DOCKER),
}
"""How the servers of a suite can come to exist, `auto` apart. What is not named is refused, never ignored."""
OF_A_GIVEN_TARGET = frozenset({"dr", "rls"})
"""Suites that speak of what the target names even when their servers are provisioned: backups, a database."""

_BY_ID = {item.id: item for item in CHECKS}
_SUITE_OF = {item.id: name for name, suite in SUITES.items() for item in suite.CHECKS}


def check(check_id: str) -> Check:
    """Return the check with this ID. Raises KeyError, which names the known ones."""
    try:
        return _BY_ID[check_id]
    except KeyError:
        raise KeyError(f"unknown check {check_id!r}; known: {', '.join(_BY_ID)}") from None


def is_known(check_id: str) -> bool:
    """Tell whether a check with this ID exists."""
    return check_id in _BY_ID


def suite_of(check_id: str) -> str:
    """Return the suite that a check belongs to: "DR-03" is of "dr"."""
    return _SUITE_OF.get(check_id, check_id.partition("-")[0].lower())


def not_required(
    target: Target, settings: Settings | None = None, suites: Collection[str] | None = None
) -> tuple[tuple[str, str], ...]:
    """Return (check ID, why) for every check that this target does not ask for. suites: None: of all.

    Only what the target does not declare is not required; nothing else excuses a check but a waiver.
    """
    return tuple(
        excused
        for name, suite in SUITES.items()
        if suites is None or name in suites
        for excused in suite.not_required(target, settings)
    )


def required_checks(
    target: Target, settings: Settings | None = None, suites: Collection[str] | None = None
) -> tuple[str, ...]:
    """Return the IDs of the checks that this target requires of these suites, in the order of CHECKS."""
    excused = {check_id for check_id, _ in not_required(target, settings, suites)}
    return tuple(
        item.id
        for item in CHECKS
        if item.id not in excused and (suites is None or suite_of(item.id) in suites)
    )


def not_provided(provision: Provision, suites: Collection[str]) -> tuple[str, ...]:
    """Return the suites that can't get their servers in this way."""
    if provision is Provision.AUTO:
        return ()
    return tuple(name for name in suites if provision not in PROVISIONERS.get(name, (Provision.EMBEDDED,)))
