"""The disaster-recovery checks, and their judges: pure functions from what a drill recorded to findings."""

from smos.target import Settings, Target
from smos.verdict import Check

CHECKS = (
    Check("DR-01", "Backups of everything declared exist, are recent, and none is missing from the schedule"),
    Check("DR-02", "Every artifact is complete and unaltered"),
    Check(
        "DR-03",
        "Every declared PostgreSQL database restores completely into an isolated sandbox"
        " and equals its source",
    ),
    Check(
        "DR-04", "Every declared volume comes back, entry by entry, with owners, modes, links and attributes"
    ),
    Check("DR-05", "Every declared service gives positive evidence of health after recovery"),
    Check(
        "DR-06",
        "Vault comes back from its snapshot: unsealed by the escrowed shares, policies and logins work,"
        " old ciphertext decrypts",
    ),
    Check("DR-07", "Recovery time and recovery point, measured, meet their objectives"),
    Check("DR-08", "Backups are kept for the retention period, no shorter and no longer"),
)


def not_required(target: Target, _settings: Settings | None = None) -> tuple[tuple[str, str], ...]:
    """Return (check ID, why) for every check of this suite that the target does not ask for."""
    excused = []
    if (
        not target.databases and not target.derived
    ):  # a dump that can't be read hides the names of its databases
        excused.append(("DR-03", "the target declares no database"))
    if not target.volumes:
        excused.append(("DR-04", "the target declares no volume"))
    if not target.services and not target.smoke and target.host is None:
        excused.append(("DR-05", "the target declares no service, no smoke query and no host"))
    if target.vault is None:
        excused.append(("DR-06", "the target declares no Vault"))
    return tuple(excused)
