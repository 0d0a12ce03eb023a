"""The registry of checks: stable IDs, titles in an auditor's words, and when each one is required."""

from smos.checks.controls import CONTROLS
from smos.target import Target
from smos.verdict import Check


def _dr(number: int, title: str) -> Check:
    check_id = f"DR-{number:02d}"
    return Check(check_id, title, CONTROLS.get(check_id, ()))


CHECKS: tuple[Check, ...] = (
    _dr(1, "Backups of everything declared exist, are recent, and none is missing from the schedule"),
    _dr(2, "Every artifact is complete and unaltered"),
    _dr(
        3,
        "Every declared PostgreSQL database restores completely into an isolated sandbox"
        " and equals its source",
    ),
    _dr(4, "Every declared volume comes back, entry by entry, with owners, modes, links and attributes"),
    _dr(5, "Every declared service gives positive evidence of health after recovery"),
    _dr(
        6,
        "Vault comes back from its snapshot: unsealed by the escrowed shares, policies and logins work,"
        " old ciphertext decrypts",
    ),
    _dr(7, "Recovery time and recovery point, measured, meet their objectives"),
    _dr(8, "Backups are kept for the retention period, no shorter and no longer"),
)
"""Every check, in the order of the reports."""

_BY_ID = {item.id: item for item in CHECKS}


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
    return check_id.partition("-")[0].lower()


def not_required(target: Target) -> tuple[tuple[str, str], ...]:
    """Return (check ID, why) for every check that this target does not ask for.

    Only what the target does not declare is not required; nothing else excuses a check but a waiver.
    """
    excused = []
    if (
        not target.databases and not target.derived
    ):  # a dump that can't be read hides the names of its databases
        excused.append(("DR-03", "the target declares no database"))
    if not target.volumes:
        excused.append(("DR-04", "the target declares no volume"))
    if not target.services and not target.smoke:
        excused.append(("DR-05", "the target declares no service and no smoke query"))
    if target.vault is None:
        excused.append(("DR-06", "the target declares no Vault"))
    return tuple(excused)


def required_checks(target: Target) -> tuple[str, ...]:
    """Return the IDs of the checks that this target requires, in the order of CHECKS."""
    excused = {check_id for check_id, _ in not_required(target)}
    return tuple(item.id for item in CHECKS if item.id not in excused)
